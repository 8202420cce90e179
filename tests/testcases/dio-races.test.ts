/**
 * aio_unwritten and dio_races end to end. What the workloads can find is planted beside the core too
 * (crates/aiodio-core/tests/races.rs); here where no engine of ours does the I/O, and in the words that are printed.
 */
import { afterEach, expect, test, vi } from "vitest";
import type { RacesOutcome } from "#native";
import type { Testcase } from "../../ts/testcase/testcase.js";
import { backingDirectory } from "../filesystem/fixture.js";
import { executed } from "../support/execute.js";
import { filesystems } from "../support/filesystems.js";
import { onFaultfs, run, verdicts } from "./races.js";

const backing = backingDirectory();

/** Changes what a race's run has come to. */
let plant: (race: string, outcome: RacesOutcome) => void = () => {};
vi.mock("#native", async (original) => {
  const { watched } = await import("../support/native.js");
  return watched(original, { races: { after: ({ race }, outcome) => plant(race, outcome) } });
});
const races = (await import("../../testcases/dio_races.js")).default as unknown as Testcase;
afterEach(() => {
  plant = () => {};
});

for (const { name, directory } of filesystems()) {
  test(`aio_unwritten and dio_races pass on ${name}`, async () => {
    for (const space of ["hole", "allocated", "punched", "extended"]) {
      const lines = await run("aio_unwritten", directory, ["-n", "3", "-s", "4m", "--space", space]);
      expect(verdicts(lines)).toEqual([
        "TPASS: 24 completed writes were there at once, and the file was as long as they reach",
      ]);
    }
    const lines = verdicts(await run("dio_races", directory, ["-n", "5"]));
    expect(lines.length).toBeGreaterThan(2);
    expect(lines.filter((line) => !line.startsWith("TPASS"))).toEqual([]);
  });

  test(`a race that never met on ${name} is a warning and proves nothing`, async () => {
    plant = (race, outcome) => {
      if (race === "eof-pieces") outcome.overlaps = 0;
    };
    const counted = expect.stringMatching(
      /^TWARN: eof-pieces: both sides were under way 0 times in \d+ rounds: nothing has raced, so nothing is proven$/,
    );
    for (const argv of [[], ["--race", "eof-pieces"]]) {
      const { texts } = await executed(races, directory, ["-n", "3", ...argv]);
      expect(texts.filter((line) => line.includes("eof-pieces") && !line.startsWith("TINFO"))).toEqual([counted]);
      expect(verdicts(texts).filter((line) => !line.startsWith("TPASS"))).toEqual([counted]);
    }
  });
}

test("a race that fails on kernels without a fix runs only when asked for", async () => {
  const [{ directory } = { directory: "" }] = filesystems();
  const asked: string[] = [];
  plant = (race) => void asked.push(race);
  await executed(races, directory, ["-n", "1"]);
  expect(asked).toContain("append-visible");
  expect(asked).not.toContain("truncate-up");
  await executed(races, directory, ["-n", "1", "--race", "truncate-up"]);
  expect(asked).toContain("truncate-up");
});

test("zeros until later are an unwritten extent that was not converted", async () => {
  const argv = ["-n", "3", "-s", "4m"];
  const rules = ["zeros-until:file=testfile:ms=200"];
  const { output, counts } = await onFaultfs(backing, rules, "aio_unwritten", argv);
  expect(counts[0]).toBeGreaterThan(0);
  expect(output).toContain("TFAIL: unwritten extent not converted at completion");
});

test.each([
  ["append-visible", "size-before-data", "A reader saw the new size before the data"],
  ["eof-pieces", "flip-bit:op=write", "A piece that was written behind the end is lost"],
  ["own-mmap", "flip-bit:op=write:io=direct", "The file does not hold what was written"],
  ["own-mmap", "eio-once:op=write:io=direct", "A direct write failed"],
  ["unfaulted-buffer", "flip-bit:op=write:io=direct", "The file does not hold what was written"],
  ["exit-in-flight", "flip-bit:op=write:io=direct", "The file does not hold what was written"],
  ["exit-in-flight", "corrupt-direct-reads:range=0-512", "The file does not hold what was written"],
  // What the kernel had taken must be there, whole: neither torn nor dropped.
  ["exit-in-flight", "tear:io=direct:range=0x1000-0x2000", "The file does not hold what was written"],
  ["exit-in-flight", "drop-write:io=direct:range=0x1000-0x2000", "The file does not hold what was written"],
  ["append-visible", "eio-once:op=read:io=direct", "What was written can't be read"],
  // The second of two reads that should be the same; the child reads the second half only.
  [
    "exit-in-flight",
    "corrupt-direct-reads:range=0-512:count=1",
    "The file changed after the process with the transfers was gone",
  ],
  [
    "truncate-up",
    "drop-write:io=direct",
    "A completed write is lost to a truncate that made the file longer meanwhile",
  ],
])("%s fails with its own words under %s", async (race, rule, words) => {
  const { output, counts } = await onFaultfs(backing, [`${rule}:file=testfile.${race}`], "dio_races", [
    ...["-n", "3", "--race", race],
  ]);
  expect(counts[0]).toBeGreaterThan(0);
  expect(output).toContain(`TFAIL: ${race}: ${words}`);
});

test.each([
  [
    "short-write:op=write:io=direct:file=testfile.exit-in-flight",
    / TCONF: exit-in-flight: \S+ has no direct writes in one piece/,
  ],
  // For such a rule the server is waited for in io_submit(2).
  ["short-write:file=testfile.exit-in-flight", / TCONF: exit-in-flight: \S+ has no asynchronous I\/O/],
])(
  "nobody goes on with a write that a process has left, so one that is cut short is no failure: %s",
  async (rule, words) => {
    const argv = ["-n", "3", "--race", "exit-in-flight"];
    const { output, counts } = await onFaultfs(backing, [rule], "dio_races", argv);
    expect(counts[0]).toBeGreaterThan(0);
    expect(output).toMatch(words);
  },
);
