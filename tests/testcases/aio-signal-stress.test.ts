/**
 * What the testcase says: that all is well, what is wrong with a file or an operation, and whose error it is. That the
 * workload notices each fault of an engine is tested with it (crates/aiodio-core/tests/signal_stress.rs).
 */
import { readFileSync, truncateSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type SignalStressOutcome, startRecord } from "#native";
import type { Testcase } from "../../ts/testcase/testcase.js";
import { invertAt, writeAt } from "../support/damage.js";
import { executed } from "../support/execute.js";
import { filesystems } from "../support/filesystems.js";

/** Called when the workload is over and nothing has been verified. */
let plant: (outcome: SignalStressOutcome) => void = () => {};
vi.mock("#native", async (original) => {
  const { watched } = await import("../support/native.js");
  return watched(original, { "signal-stress": { after: (_, outcome) => plant(outcome) } });
});
const stress = (await import("../../testcases/aio_signal_stress.js")).default as unknown as Testcase;

beforeEach(() => void startRecord({}));
afterEach(() => {
  plant = () => {};
});

async function run(parent: string, ...argv: string[]): Promise<string[]> {
  return (await executed(stress, parent, argv)).texts;
}

function verdicts(lines: string[]): string[] {
  return lines.map((line) => line.slice(0, 5)).filter((word) => word !== "TINFO");
}

const SMALL = ["-p", "2", "-n", "200", "--files", "2", "-s", "5"];
const SECTOR = 512;

/** Offset of the n-th sector that is whole and stamped; how many there are is chance. */
function stamped(path: string, number: number): number {
  const bytes = readFileSync(path);
  const found: number[] = [];
  for (let offset = 0; offset + SECTOR <= bytes.length; offset += SECTOR) {
    if (bytes.toString("latin1", offset, offset + 8) === "AIODIO1\n") found.push(offset);
  }
  const offset = found[number];
  if (offset === undefined) throw new Error(`${found.length} stamps are too few`);
  return offset;
}

const TAMPERED: [string, (path: string) => void, RegExp][] = [
  ["zeros", (path) => writeAt(path, stamped(path, 4), Buffer.alloc(SECTOR)), /disk: .* at offset 0x\w+: zeros/],
  [
    "another place's data",
    (path) => {
      // Of the same write, mostly: one that is older says that before anything else.
      const from = stamped(path, 5);
      writeAt(path, stamped(path, 4), readFileSync(path).subarray(from, from + SECTOR));
    },
    /another offset's stamp/,
  ],
  ["a flipped bit", (path) => invertAt(path, stamped(path, 4) + 100), /mutated: \d bits in 1 bytes/],
  ["a torn sector", (path) => writeAt(path, stamped(path, 4) + 256, Buffer.alloc(256)), /torn, .*: the rest is zeros/],
  ["a wrong size", (path) => truncateSync(path, stamped(path, 4)), /missing: the file ends before it/],
];

describe.each(filesystems())("on $name", ({ name, directory }) => {
  test("nothing is wrong, twice in one directory and with every engine alone", async () => {
    const lines = await run(directory, ...SMALL, "-i", "2");
    expect(verdicts(lines)).toEqual(["TPASS", "TPASS"]);
    expect(lines).toContainEqual(expect.stringMatching(/TPASS: 400 operations, \d+ reads and 2 files are right, /));
    expect(lines).toContainEqual(expect.stringMatching(/TINFO: Seed 0x5, engines libaio, io_uring/));
    for (const engine of ["libaio", "io_uring", "io_uring-fixed", "sync"]) {
      expect(verdicts(await run(directory, ...SMALL, "--engine", engine))).toEqual(["TPASS"]);
    }
    expect(verdicts(await run(directory, ...SMALL, "--io", "direct", "--signals", "off"))).toEqual(["TPASS"]);
    expect(verdicts(await run(directory, ...SMALL, "--io", "buffered"))).toEqual(["TPASS"]);
  });

  test.each(TAMPERED)("%s is TFAIL with its diagnosis, each time", async (_, tamper, diagnosis) => {
    plant = ({ files }) => tamper(files[1]?.path ?? "");
    for (let time = 0; time < 3; time += 1) {
      const lines = await run(directory, ...SMALL);
      expect(verdicts(lines)).toEqual(["TFAIL"]);
      expect(lines).toContain("TFAIL: stress1 does not hold what was written");
      expect(lines).toContainEqual(expect.stringMatching(diagnosis));
      expect(lines).toContainEqual(expect.stringMatching(/looks like this: /));
    }
  });

  test("the old mistake is the test's own error and never the kernel's", async () => {
    const argv = ["-p", "4", "-n", "300", "--engine", "libaio", "--io", "direct", "--commit-old-mistake"];
    const lines = await run(directory, ...argv);
    // Where a direct write is over when io_submit returns, there is nothing to be mistaken about.
    if (verdicts(lines)[0] === "TCONF") expect(name).toBe("btrfs");
    else
      expect(lines).toContain(
        "TBROK: the test's own error: a buffer was used again while the kernel was still transferring",
      );
    expect(verdicts(lines)).toHaveLength(1);
    if (verdicts(lines)[0] === "TBROK") {
      expect(lines).toContainEqual(expect.stringMatching(/In flight: .* libaio#\d+ pwrite\(stress\d, /));
      expect(lines).toContainEqual(expect.stringMatching(/Meanwhile: .* fill\(stress\d, /));
    }
  });
});

const OPERATION = {
  ...{ detail: "pread(stress0, 0x1000, 512) through libaio with O_DIRECT", file: "stress0", offset: 4096, bytes: 512 },
  ...{ ranges: [], rangesTotal: 0 },
};
const WHAT = OPERATION.detail;

test.each([
  [{ kind: "refused", code: "EIO", errno: 5 }, `TFAIL: ${WHAT} failed: EIO (5)`],
  [{ kind: "short", got: 100, least: 512 }, `TFAIL: ${WHAT} went no further: got 100 of 512 bytes that must be there`],
  [{ kind: "long", got: 512, most: 7 }, `TFAIL: ${WHAT} returned 512 bytes, and the file has 7 there at most`],
  [{ kind: "wrong-data", rangesTotal: 2 }, `TFAIL: ${WHAT} returned data that nobody wrote there, in 2 ranges`],
  [
    { kind: "size", detail: "fstat(stress0)", got: 1, least: 2, most: 3 },
    "TFAIL: fstat(stress0): size 1, must be from 2 to 3",
  ],
] as const)("an operation that went wrong: %o", async (wrong, line) => {
  plant = (outcome) => {
    outcome.findings.first.push({ ...OPERATION, ...wrong, ranges: [] });
    outcome.findings.total = 3;
  };
  const lines = await run(process.env.TMPDIR ?? "/tmp", ...SMALL);
  expect(lines).toContain(line);
  expect(lines).toContain("TINFO: 2 more operations went wrong");
  expect(verdicts(lines)).toEqual(["TFAIL"]);
});

test("a full filesystem breaks the test", async () => {
  plant = (outcome) => {
    outcome.error = { step: "write", message: "The filesystem is full", code: "ENOSPC", errno: 28 };
  };
  expect(await run(process.env.TMPDIR ?? "/tmp", ...SMALL)).toContain("TBROK: The filesystem is full: ENOSPC (28)");
});
