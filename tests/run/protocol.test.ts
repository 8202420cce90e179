import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { describe, expect, onTestFinished, test } from "vitest";
import { call } from "#native";
import { LineSplitter } from "../../ts/base/lines.js";
import { encode } from "../../ts/run/protocol.js";
import { decodeFromWorker, type FromWorker, ProtocolError } from "../../ts/run/protocol-check.js";

const text = fc.string({ unit: "binary", maxLength: 40 });
const message: fc.Arbitrary<FromWorker> = fc.oneof(
  fc.record({ type: fc.constant("raw" as const), text }),
  fc.record({
    type: fc.constant("line" as const),
    result: fc.constantFrom("TPASS" as const, "TFAIL" as const, "TINFO" as const),
    file: text,
    line: fc.nat(),
    text,
  }),
  fc.record({ type: fc.constant("done" as const), summary: fc.boolean() }),
);

describe("the worker protocol", () => {
  test("survives any cutting of its bytes", () => {
    fc.assert(
      fc.property(fc.array(message), fc.array(fc.nat(300)), (messages, cuts) => {
        const bytes = Buffer.from(messages.map(encode).join(""));
        const splitter = new LineSplitter();
        const lines: string[] = [];
        let start = 0;
        for (const cut of [...cuts, bytes.length]) {
          lines.push(...splitter.push(bytes.subarray(start, start + cut)));
          start += cut;
        }
        lines.push(...splitter.push(bytes.subarray(start)));
        expect(lines.map(decodeFromWorker)).toEqual(messages);
        expect(splitter.end()).toBe("");
      }),
    );
  });

  test("carries what is said of another run's data, whose seed has more digits than a number", async () => {
    const path = join(mkdtempSync(join(tmpdir(), "protocol-")), "file");
    onTestFinished(() => rmSync(dirname(path), { recursive: true }));
    const key = { fileId: 1, generation: 0 };
    const seed = 2n ** 64n - 1n;
    expect(await call("fill", { path, bytes: 4096, key: { ...key, seed } })).toEqual({});
    const found = await call("verify", {
      ...{ path, offset: 0, bytes: 4096, key: { ...key, seed: 1n }, level: "cache", rangesMax: 1 },
    });
    expect(found.ranges[0]).toMatchObject({ kind: "other-run", seed });
    const line = encode({ type: "data", name: "verify", value: [found] });
    expect(decodeFromWorker(line.trimEnd())).toMatchObject({ value: [{ ranges: [{ seed: String(seed) }] }] });
  });

  test("a torn end is given back, not taken for a message", () => {
    const splitter = new LineSplitter();
    expect(splitter.push(Buffer.from('{"type":"ready"}\n{"type":"do'))).toEqual(['{"type":"ready"}']);
    expect(splitter.end()).toBe('{"type":"do');
  });

  test("garbage is a ProtocolError that shows it", () => {
    for (const line of [
      "",
      "hello",
      "{}",
      '{"type":"line"}',
      '{"type":"run"}',
      "[]",
      "null",
      '{"type":"deadline","seconds":-1}',
    ]) {
      expect(() => decodeFromWorker(line)).toThrow(ProtocolError);
    }
    fc.assert(
      fc.property(fc.string(), (line) => {
        try {
          decodeFromWorker(line);
        } catch (error) {
          return error instanceof ProtocolError;
        }
        return true;
      }),
    );
  });
});
