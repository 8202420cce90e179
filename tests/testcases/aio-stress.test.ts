/**
 * aio-stress as a command and under faults. What each check of the workload finds is tested beside the core; here: that it
 * passes on sound filesystems with LTP's words, and that every kind of finding becomes LTP's verdict and is told.
 */
import { beforeEach, describe, expect, test, vi } from "vitest";
import type { ResultLine } from "../../ts/events/events.js";
import type { Testcase } from "../../ts/testcase/testcase.js";
import { commandUnderStrace } from "../support/command.js";
import { invertAt } from "../support/damage.js";
import { executed } from "../support/execute.js";
import { filesystems } from "../support/filesystems.js";
import { needs } from "../support/needs.js";

/** Called with the files' paths when the stages are over. */
let plant: (paths: string[]) => void = () => {};
vi.mock("#native", async (original) => {
  const { watched } = await import("../support/native.js");
  return watched(original, { "aio-stress": { after: ({ files }) => plant(files) } });
});

const program = (await import("../../testcases/aio_stress.js")).default as unknown as Testcase;

async function run(parent: string, argv: string[]): Promise<ResultLine[]> {
  return (await executed(program, parent, argv)).lines;
}

const texts = (lines: ResultLine[]) => lines.map(({ result, text }) => `${result}: ${text}`);
const verdicts = (lines: ResultLine[]) => lines.map(({ result }) => result).filter((result) => result !== "TINFO");

/** Small enough for a test. */
const SMALL = ["-s", "4m", "-a", "5", "-r", "16k"];

describe.each(filesystems())("on $name", ({ directory }) => {
  test.each([
    [["-o0", "-t2", "-f2"]],
    [["-o1", "-O"]],
    [["-o2", "-O", "-t2", "-f2", "-c2"]],
    [["-o3", "-f2", "--engine", "io_uring"]],
    [["-o2", "-i", "2", "-n", "-b", "3"]],
  ])("%j passes", async (argv) => {
    const lines = await run(directory, [...SMALL, ...argv]);
    expect(verdicts(lines)).toEqual(argv.includes("-i") ? ["TPASS", "TPASS"] : ["TPASS"]);
    expect(texts(lines)).toContain("TPASS: Test passed");
    // openQA counts lines by their file name.
    expect(lines.every(({ file }) => /^[\w.:/]+$/.test(file))).toBe(true);
  });

  test("what is bad in a file at the end is TFAIL and named", async () => {
    plant = ([, second = ""]) => invertAt(second, 5000);
    const lines = await run(directory, [...SMALL, "-f2"]);
    plant = () => {};
    expect(verdicts(lines)).toEqual(["TFAIL"]);
    expect(texts(lines)).toContain("TFAIL: Test did not pass");
    expect(texts(lines)).toContainEqual(expect.stringMatching(/TINFO: file1.bin, disk: 1 of \d+ sectors are bad/));
    expect(texts(lines).filter((text) => /file0\.bin, disk: .*\bbad\b/.test(text))).toEqual([]);
  });
});

const directory = filesystems()[0]?.directory ?? "";

test("the lines of LTP, and how much of each stage was done", async () => {
  const lines = texts(await run(directory, [...SMALL, "-f2", "-t4", "-d", "4", "-l", "-L", "--seed", "7"]));
  for (const text of [
    "dropping io_iter to 4",
    "Dropping thread count to the number of contexts 2",
    "file size 4MB, record size 16KB, depth 4, I/O per iteration 4",
    "threads 2 files 2 contexts 1 context offset 2MB verification on",
    "Running multi thread version num_threads: 2",
    "Seed 0x7, engine libaio",
    "write: 40 of 512 transfers of the stage, the limit of -a 5",
    "read: 40 of 40 transfers of the stage",
    "random write: 40 of 512 transfers of the stage, the limit of -a 5",
  ]) {
    expect(lines).toContain(`TINFO: ${text}`);
  }
  const rate = String.raw`\(\d+\.\d\d MB/s\) \d+\.\d\d MB in \d+\.\d\ds$`;
  for (const pattern of [
    `TINFO: write on file0.bin ${rate}`,
    `TINFO: thread 1 random read totals ${rate}`,
    `TINFO: random write throughput ${rate}`,
    String.raw`TINFO: latency min \d+\.\d\d avg \d+\.\d\d max \d+\.\d\d$`,
    String.raw`TINFO: \d+ < 100 0 < 250 0 < 500 `,
  ]) {
    expect(lines).toContainEqual(expect.stringMatching(pattern));
  }
  const one = texts(await run(directory, [...SMALL, "-o3"]));
  for (const text of ["Adding stage random read", "starting with random read", "Running single thread version"]) {
    expect(one).toContain(`TINFO: ${text}`);
  }
  expect(one).toContain("TINFO: Laid out 4 MiB of each file, which nothing had written");
});

test.each([
  [["-a", "0"], "TBROK: Invalid number of total ayncs I/O '0'"],
  [["-b", "-1"], "TBROK: Invalid number of iocbs '-1'"],
  [["-c", "x"], "TBROK: Invalid number of contexts per file 'x'"],
  [["-d", "0"], "TBROK: Invalid number of pending aio requests '0'"],
  [["-e", "0"], "TBROK: Invalid number of I/O per file '0'"],
  [["-f", "0"], "TBROK: Invalid number of files to generate '0'"],
  [["-g", "x"], "TBROK: Invalid offset between contexts 'x'"],
  [["-m"], "TBROK: Invalid shm option ''"],
  [["-o", "4"], "TBROK: Invalid stage number '4'"],
  [["-r", "x"], "TBROK: Invalid record size 'x'"],
  [["-s", "x"], "TBROK: Invalid file size 'x'"],
  [["-t", "0"], "TBROK: Invalid number of threads '0'"],
  [["-c", "9", "-s", "4m"], "TBROK: file size 4194304 too small for 9 contexts"],
  [["-r", "8m", "-s", "4m"], "TBROK: A record of 8388608 bytes does not fit a file of 4194304"],
  [["-O", "-r", "1000"], "TCONF: Record size is not multiple of drive block size"],
])("%j is %s", async (argv, line) => {
  const lines = await run(directory, argv);
  expect(verdicts(lines)).toEqual([line.split(":")[0]]);
  expect(texts(lines)).toContainEqual(expect.stringContaining(line));
});

describe("with strace's injections", () => {
  beforeEach(() => needs("strace"));

  const SYNC = [...SMALL, "--engine", "sync"];
  test.each([
    [
      "a write that did nothing, read back",
      SYNC,
      "pwrite64:retval=16384:when=3",
      ["verify error, file file0.bin offset 32768, stage read", "16 KiB at offset 0x8000: zeros"],
    ],
    [
      "a write that did nothing, never read",
      ["-o2", "-a", "5", "-r", "16k", "--engine", "sync", "--seed", "1"],
      "pwrite64:retval=16384:when=3",
      ["file0.bin, disk: 32 of "],
    ],
    [
      "a write's error",
      SYNC,
      "pwrite64:error=EIO:when=3",
      ["io err in stage write: file0.bin: Writing 16384 bytes at offset 32768 failed: EIO (5)"],
    ],
  ])("%s is TFAIL and told", async (_, argv, injection, notes) => {
    const { all, exitCode } = await commandUnderStrace([injection], "aio-stress", argv, { TMPDIR: directory });
    expect(all).toContain("TFAIL: Test did not pass\n");
    for (const note of notes) expect(all).toContain(note);
    expect(exitCode).toBe(1);
  });
});
