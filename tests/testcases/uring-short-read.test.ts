/**
 * What the testcase says of each kind of wrong read. That the workload notices each of them is tested with it
 * (crates/aiodio-core/tests/short_read.rs).
 */
import { truncateSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type ShortReadOutcome, startRecord } from "#native";
import type { Testcase } from "../../ts/testcase/testcase.js";
import { invertAt } from "../support/damage.js";
import { executed } from "../support/execute.js";
import { filesystems } from "../support/filesystems.js";

/** Called with the file when it has been filled and nothing has been read. */
let tamper: (path: string) => void = () => {};
/** Called when all reads are over. */
let plant: (outcome: ShortReadOutcome) => void = () => {};
vi.mock("#native", async (original) => {
  const { watched } = await import("../support/native.js");
  return watched(original, {
    "short-read": { before: ({ path }) => tamper(path), after: (_, outcome) => plant(outcome) },
  });
});
const shortRead = (await import("../../testcases/uring_short_read.js")).default as unknown as Testcase;

beforeEach(() => void startRecord({}));
afterEach(() => {
  tamper = () => {};
  plant = () => {};
});

async function run(parent: string, ...argv: string[]): Promise<string[]> {
  return (await executed(shortRead, parent, ["-s", "4m", "-n", "8", ...argv])).texts;
}

function verdicts(lines: string[]): string[] {
  return lines.filter((line) => !line.startsWith("TINFO")).map((line) => line.slice(0, 5));
}

/** The file's 64 blocks of 64 KiB and the tail: the reads of one pass. */
const BLOCKS = 65;

describe.each(filesystems())("on $name", ({ directory }) => {
  test("every read is complete and right, by every engine, gone on with or not", async () => {
    // It goes on where the disturbing threads of a busy machine have not had their turn yet.
    const passes = (lines: string[], right: RegExp) =>
      lines.flatMap((line) => right.exec(line)?.[1] ?? []).map((reads) => Number(reads) / BLOCKS);
    const atLeastTwo = (found: number[]) => found.every((count) => Number.isInteger(count) && count >= 2);
    expect(passes(await run(directory), /^TPASS: all (\d+) reads were complete and right$/)).toSatisfy(
      (found) => found.length === 1 && atLeastTwo(found),
    );
    const resumed = await run(directory, "--resubmit", "-i", "2");
    expect(passes(resumed, /^TPASS: all (\d+) reads were complete and right, after \d+ res/)).toSatisfy(
      (found) => found.length === 2 && atLeastTwo(found),
    );
    expect(verdicts(resumed)).toEqual(["TPASS", "TPASS"]);
    for (const engine of ["io_uring-fixed", "libaio", "sync"]) {
      expect(verdicts(await run(directory, "--engine", engine, "--buffer-align", "512"))).toEqual(["TPASS"]);
    }
    const quiet = await run(directory, "--disturb", "off");
    expect(quiet).toContain("TPASS: all 130 reads were complete and right");
    expect(quiet).toContain("TINFO: Dropped pages 0 times, read ahead 0 times, reclaimed 0 times");
  });

  test("a file that is not what was written is no short read, each time", async () => {
    tamper = (path) => invertAt(path, 2 ** 20 + 100);
    for (let time = 0; time < 3; time += 1) {
      const lines = await run(directory, "--passes", "1");
      expect(verdicts(lines)).toEqual(["TFAIL"]);
      expect(lines).toContain("TFAIL: read of short_read at offset 0x100000: got 65536 bytes that are not the file's");
      expect(lines).toContainEqual(expect.stringMatching(/short_read: 512 bytes at offset 0x100000: mutated: /));
    }
  });

  test("a read that ends before it must is a short read, with its operation, each time", async () => {
    tamper = (path) => truncateSync(path, 4 * 2 ** 20 + 100);
    for (const argv of [[], [], ["--resubmit"]]) {
      const lines = await run(directory, "--passes", "1", ...argv);
      expect(verdicts(lines)).toEqual(["TFAIL"]);
      expect(lines).toContain("TFAIL: short read of short_read at offset 0x400000: got 100 of 612");
      expect(lines).toContainEqual(expect.stringMatching(/io_uring#\d+ pread\(short_read, 0x400000, 65536\) = 100 </));
      expect(lines.join("\n")).not.toContain("corrupt");
    }
  });
});

const READ = {
  ...{ offset: 65_536, bytes: 65_536, got: 4096, least: 65_536, most: 65_536 },
  ...{ detail: "", ranges: [], rangesTotal: 0 },
};
const WHERE = "short_read at offset 0x10000";

test.each([
  [{ kind: "short" }, `TFAIL: short read of ${WHERE}: got 4096 of 65536`],
  [
    { kind: "touched", detail: "first at byte 5000" },
    `TFAIL: short read of ${WHERE}: got 4096 of 65536, and memory behind them changed, first at byte 5000`,
  ],
  [
    { kind: "unfilled", got: 65_536, detail: "from byte 512 on" },
    `TFAIL: read of ${WHERE} says 65536 bytes, and left memory as it was from byte 512 on`,
  ],
  [{ kind: "long", most: 100 }, `TFAIL: read of ${WHERE} returned 4096 bytes, and the file has 100 there`],
  [{ kind: "refused", code: "EIO", errno: 5 }, `TFAIL: read of 65536 bytes of ${WHERE} failed: EIO (5)`],
] as const)("a read that went wrong: %o", async (wrong, line) => {
  plant = (outcome) => {
    outcome.findings.first.push({ ...READ, ...wrong, ranges: [] });
    outcome.findings.total = 2;
  };
  const lines = await run(process.env.TMPDIR ?? "/tmp");
  expect(lines).toContain(line);
  expect(lines).toContain("TINFO: 1 more reads went wrong");
  expect(verdicts(lines)).toEqual(["TFAIL"]);
});

test("a block that is no multiple of a stamp is TCONF", async () => {
  const lines = await run(process.env.TMPDIR ?? "/tmp", "-b", "100");
  expect(lines.at(-1)).toBe("TCONF: Block size is not a multiple of 512");
});
