import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { KernelClock, KernelReader, openKernelReader, parseRecord } from "../../ts/kernel/reader.js";
import { LIBRARY } from "../support/library.js";
import { FakeLog } from "./fixture.js";

const parse = (text: string) => parseRecord(Buffer.from(text, "latin1"));

describe("a record", () => {
  test("has level, number, stamp and text", () => {
    expect(parse("3,1234,48470444,-;Page cache invalidation failure\n")).toEqual({
      level: "err",
      fromKernel: true,
      sequence: 1234,
      seconds: 48.470444,
      text: "Page cache invalidation failure",
      properties: [],
    });
  });

  // Documentation/ABI/testing/dev-kmsg
  test("has a driver's properties", () => {
    expect(parse("6,416,1579132,-;pci 0:0: hello\n SUBSYSTEM=pci\n DEVICE=+pci:0000:00:00.0\n")).toMatchObject({
      level: "info",
      text: "pci 0:0: hello",
      properties: ["SUBSYSTEM=pci", "DEVICE=+pci:0000:00:00.0"],
    });
  });

  test("may tell the thread, and fields that nobody knows yet", () => {
    expect(parse("4,1,2,c,caller=T378;x\n").thread).toBe(378);
    expect(parse("4,1,2,-,caller=C1,new=7;x\n")).toMatchObject({ text: "x", sequence: 1 });
    expect(parse("4,1,2,-,caller=C1;x\n").thread).toBeUndefined();
  });

  test("of a program is not the kernel's word", () => {
    expect(parse("12,1,2,-;aiodio-ltp: Starting AD001\n")).toMatchObject({ fromKernel: false, level: "warning" });
  });

  test("has its escapes resolved", () => {
    expect(parse("3,1,2,-;two\\x0alines \\x5c caf\\xc3\\xa9; 1;2,3\n").text).toBe("two\nlines \\ café; 1;2,3");
    // No UTF-8: nothing is lost.
    expect(parse("3,1,2,-;\\xff\\xc3\n").text).toBe("\\xff\\xc3");
  });

  test.each(["", "\n", "hello", "3,4;x", "a,b,c,d;e", "3,1,2,-", "\0\xff"])(
    "that is none comes back as its text: %j",
    (text) => {
      expect(parse(text)).toEqual({
        level: "unknown",
        fromKernel: false,
        sequence: -1,
        seconds: -1,
        text,
        properties: [],
      });
    },
  );

  test("never throws and loses no text, whatever comes", () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.boolean(), (bytes, headed) => {
        const body = Buffer.from(bytes).toString("latin1");
        const { text, properties } = parse(headed ? `3,1,2,-;${body}` : body);
        // Line ends part text from properties; escapes may be resolved to less.
        const letters = (from: string) => from.replaceAll(/\\x[0-9a-f]{2}|[\n ]/g, "").length;
        expect(letters([text, ...properties].join(""))).toBeGreaterThanOrEqual(letters(body));
      }),
      { numRuns: 2000 },
    );
  });

  test("of plain letters comes back as it was", () => {
    // As the kernel escapes: bytes below 32, above 126, and the backslash.
    const escaped = (text: string) =>
      [...Buffer.from(text)]
        .map((byte) =>
          byte < 32 || byte >= 127 || byte === 0x5c
            ? `\\x${byte.toString(16).padStart(2, "0")}`
            : String.fromCharCode(byte),
        )
        .join("");
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (text) => {
        expect(parse(`3,1,2,-;${escaped(text)}\n`).text).toBe(text);
      }),
    );
  });
});

describe("reading", () => {
  test("brings what came since the last time", () => {
    const log = new FakeLog();
    log.say("old");
    log.reader.skip();
    expect(log.reader.drain()).toEqual({ records: [], lost: 0 });
    log.say("a", "b");
    expect(log.reader.drain().records.map(({ text }) => text)).toEqual(["a", "b"]);
    expect(log.reader.drain().records).toEqual([]);
  });

  test("tells how many records were overwritten", () => {
    const log = new FakeLog();
    log.say("a");
    log.reader.drain();
    log.lose(41);
    log.say("b");
    expect(log.reader.drain()).toMatchObject({ lost: 41, records: [{ text: "b" }] });
    log.say("c");
    expect(log.reader.drain().lost).toBe(0);
  });

  test("ends, however fast the kernel logs", () => {
    const reader = new KernelReader(() => Buffer.from("3,1,2,-;again\n"));
    reader.skip();
    expect(reader.drain().records.length).toBeLessThanOrEqual(100_000);
    expect(new KernelReader(() => "lost").drain().records).toEqual([]);
  });
});

describe("opening", () => {
  test("a missing device is one sentence", () => {
    expect(openKernelReader("/nowhere/kmsg")).toEqual({
      unreadable:
        "/nowhere/kmsg cannot be read (ENOENT), so what the kernel says is not seen: the device is missing here",
    });
  });

  test("what is no kernel log is not taken for one", async () => {
    const folder = await mkdtemp(join(tmpdir(), "kmsg-"));
    writeFileSync(join(folder, "kmsg"), "3,1,2,-;forged\n");
    for (const path of [join(folder, "kmsg"), folder, "/dev/null"]) {
      expect(openKernelReader(path)).toEqual({
        unreadable: `${path} is no kernel log, so what the kernel says is not seen`,
      });
    }
    await rm(folder, { recursive: true });
  });

  test.skipIf(process.getuid?.() !== 0)("an open log neither blocks nor keeps a process", () => {
    const script = `import { openKernelReader } from ${LIBRARY};
      const [reader, left] = [openKernelReader("/dev/kmsg"), openKernelReader("/dev/kmsg")];
      reader.drain();
      reader.close();
      reader.close();
      console.log(reader.drain().records.length, left.drain().lost);`;
    const { status, stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" });
    expect([status, stdout]).toEqual([0, "0 0\n"]);
  });
});

describe("the kernel's clock", () => {
  const at = (...seconds: number[]) => seconds.map((stamp) => parse(`3,1,${stamp * 1e6},-;x`));

  test("is that of the machine until it proves to be otherwise", () => {
    let now = 1000;
    const clock = new KernelClock(
      () => now,
      () => 5_000_000 + now * 1000,
    );
    now = 1010;
    expect(clock.time(1004)).toBe(new Date(5_000_000 + 1_004_000).toISOString());
  });

  test.each([
    ["behind", -30],
    ["ahead", 30],
  ])("may have drifted %s: records lie between two looks at the log", (_, drift) => {
    let now = 1000;
    const clock = new KernelClock(
      () => now,
      () => now * 1000,
    );
    clock.learn([]);
    now += 2;
    clock.learn(at(1000.5 + drift, 1001.5 + drift));
    const told = Date.parse(clock.time(1001 + drift)) / 1000;
    expect(told).toBeGreaterThanOrEqual(1000);
    expect(told).toBeLessThanOrEqual(1002);
  });

  test("follows the wall clock when that is set", () => {
    let wall = 0;
    const clock = new KernelClock(
      () => 1000,
      () => wall,
    );
    wall = 3_600_000;
    expect(clock.time(999)).toBe(new Date(3_599_000).toISOString());
    expect(clock.time(-1)).toBe(new Date(3_600_000).toISOString());
  });
});
