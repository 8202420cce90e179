/**
 * Faults planted into what the programs of LTP's old library do and see: each must turn the verdict. Some are planted in
 * the files, between a workload and its verification; some in what the workload reports; and some in the system calls,
 * by strace.
 */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { DioCheck } from "#native";
import { programs } from "../../ts/testcase/registry.js";
import { command, commandUnderStrace, summaryOf } from "../support/command.js";
import { writeAt } from "../support/damage.js";
import { executed } from "../support/execute.js";
import { filesystems } from "../support/filesystems.js";
import { needs } from "../support/needs.js";
import { onFirstFilesystem } from "../support/temporary.js";

/** Called with what a workload was given, before it runs and after it, when it may change the outcome. */
let before: (name: string, options: { path: string }) => void = () => {};
let after: (name: string, options: { path: string }, outcome: unknown) => void = () => {};

vi.mock("#native", async (original) => {
  const { watched } = await import("../support/native.js");
  const tampered = (name: string) => ({
    before: (options: { path: string }) => before(name, options),
    after: (options: { path: string }, outcome: unknown) => after(name, options, outcome),
  });
  return watched(original, {
    segments: tampered("segments"),
    "aio-rounds": tampered("aio-rounds"),
    "dio-limits": tampered("dio-limits"),
    "fork-dma": tampered("fork-dma"),
    copy: {
      before: ({ destination }) => before("copy", { path: destination }),
      after: ({ destination }, outcome) => after("copy", { path: destination }, outcome),
    },
  });
});

const load = async (name: string) => (await programs.get(name)?.load()) as unknown;

afterEach(() => {
  before = () => {};
  after = () => {};
});

const zeros = Buffer.alloc(512);

describe.each(filesystems())("on $name", ({ directory }) => {
  /** Program, where its data begin, its results with a sector of zeros there, and what must be told. */
  const IN_THE_FILE: [string, string[], number, string[], string][] = [
    ["diotest1", [], 0, ["TFAIL"], "TFAIL: file compare failed for infile and outfile"],
    ["diotest2", ["-i", "2"], 8192, Array(3).fill("TFAIL"), "TINFO: 3/3 testblocks failed"],
    ["diotest3", ["-i", "2", "-o", "4096"], 4096, Array(3).fill("TFAIL"), "TFAIL: Read with Direct IO, Write without"],
    ["diotest5", ["-i", "2"], 512, Array(3).fill("TFAIL"), "TFAIL: Write with Direct IO, Read without"],
    ["diotest6", ["-i", "2"], 4096, Array(3).fill("TFAIL"), "TFAIL: Read, Write with Direct IO"],
    ["aio01", [], 512, [...Array(6).fill("TPASS"), "TFAIL"], "TFAIL: The file does not hold what was written last"],
  ];

  test.each(IN_THE_FILE)(
    "%s %j: what was written is lost behind its back",
    async (name, argv, offset, results, line) => {
      after = (_, { path }) => writeAt(path, offset, zeros);
      const found = await executed(await load(name), directory, argv);
      expect(found.results).toEqual(results);
      expect(found.texts).toContain(line);
      const where = `512 bytes at offset 0x${offset.toString(16)}: zeros`;
      expect(found.texts).toContainEqual(expect.stringContaining(`page cache: ${where}`));
      expect(found.texts).toContainEqual(expect.stringContaining(`disk: ${where}`));
      expect(readdirSync(directory)).toEqual([]);
    },
  );

  test("aio02: what was written is lost before it is read, and behind the last read", async () => {
    let calls = 0;
    after = (_, { path }) => {
      calls += 1;
      if (calls === 3) writeAt(path, 65_536, zeros);
    };
    const early = await executed(await load("aio02"), directory, []);
    expect(early.results).toEqual(["TPASS", "TPASS", "TPASS", "TFAIL"]);
    expect(early.texts).toContain("TFAIL: READ : O_RDWR: the data read are not what was written");
    calls = -3;
    const late = await executed(await load("aio02"), directory, []);
    expect(late.results).toEqual([...Array(6).fill("TPASS"), "TFAIL"]);
    expect(late.texts).toContain("TFAIL: READ : O_RDONLY: the file does not hold what was written");
  });

  test("diotest4: a call that failed has changed the file", async () => {
    after = (_, { path }) => writeAt(path, 4096 * 3, zeros);
    const { results, texts } = await executed(await load("diotest4"), directory, ["-b", "8"]);
    expect(results).toHaveLength(18);
    expect(texts).toContain("TFAIL: The file is not what it was: a call that failed has changed it");
  });

  test("dma_thread_diotest: wrong data in one page of one file", async () => {
    before = (_, { path }) => {
      if (path.endsWith("file2")) writeAt(path, 2 ** 20 - 512, zeros);
    };
    const argv = ["--files", "3", "--file-size", "1M", "-w", "2"];
    const { results, texts } = await executed(await load("dma_thread_diotest"), directory, argv);
    expect(results[0]).toBe("TFAIL");
    expect(texts).toContain("TFAIL: data corruption is detected");
    expect(texts).toContainEqual(expect.stringMatching(/TINFO: file2, worker 2: 512 bytes at offset 0xffe00: zeros/));
    expect(texts.filter((text) => /TINFO: file\d/.test(text) && !text.includes("file2"))).toEqual([]);
  });
});

const place = onFirstFilesystem("oldlib");

/** Every check of diotest4, with LTP's words. */
const CHECKS: [DioCheck["name"], string][] = [
  ["negative-offset", "Negative Offset"],
  ["odd-count", "Odd count of read and write"],
  ["beyond-end", "Read beyond the file size"],
  ["invalid-descriptor", "Invalid file descriptor"],
  ["descriptor-out-of-range", "Out of range file descriptor"],
  ["closed-descriptor", "Closed file descriptor"],
  ["character-device", "character device read, write"],
  ["mapped-file", "read, write to a mmaped file"],
  ["unmapped-file", "read, write to an unmapped file"],
  ["not-open-for-reading", "read from file not open for reading"],
  ["not-open-for-writing", "write to file not open for writing"],
  ["unaligned-memory", "read, write with non-aligned buffer"],
  ["read-only-memory", "read, write buffer in read-only space"],
  ["no-memory", "read, write in non-existant space"],
  ["synchronous", "read, write for file with O_SYNC"],
];

test.each(CHECKS)("diotest4: %s fails when its call returns something else", async (name, text) => {
  after = (_, __, outcome) => {
    const check = (outcome as { checks: DioCheck[] }).checks.find((one) => one.name === name);
    if (!check) throw new Error(`no check ${name}`);
    delete check.unsupported;
    check.attempts = [
      { call: "read", expected: "EINVAL", code: "EIO", good: false },
      { call: "write", expected: "4096", got: 4096, good: true },
    ];
  };
  const { results, texts } = await executed(await load("diotest4"), place, []);
  expect(results.filter((result) => result === "TFAIL")).toHaveLength(1);
  expect(texts[texts.indexOf(`TFAIL: ${text}`) + 1]).toBe("TINFO: read: EIO, not EINVAL");
});

const WRONG = {
  ...{ kind: "wrong-data", offset: 0, bytes: 4096, ranges: [], rangesTotal: 0 },
  detail: "8 sectors read are not what was written",
};
test.each([
  ["wrong data", { got: 4096, wrongData: WRONG }, "TINFO: read: 8 sectors read are not what was written"],
  ["odd counts where they can't work", { got: 1 }, "TINFO: read: 1, not EINVAL"],
])("diotest4: %s", async (_, attempt, line) => {
  after = (_name, _options, outcome) => {
    const check = (outcome as { checks: DioCheck[] }).checks.find(({ name }) => name === "odd-count");
    if (check) check.attempts = [{ call: "read", expected: "EINVAL", good: false, ...attempt }];
  };
  const { results, texts } = await executed(await load("diotest4"), place, []);
  expect(results.filter((result) => result === "TFAIL")).toHaveLength(1);
  expect(texts).toContain(line);
});

test("diotest4: a filesystem that maps no files is TCONF of that check alone", async () => {
  after = (_, __, outcome) => {
    const check = (outcome as { checks: DioCheck[] }).checks.find(({ name }) => name === "mapped-file");
    if (check) Object.assign(check, { attempts: [], unsupported: "ENODEV" });
  };
  const { results, texts } = await executed(await load("diotest4"), place, []);
  expect(results).toHaveLength(17);
  expect(results).not.toContain("TFAIL");
  expect(texts).toContainEqual(expect.stringMatching(/^TCONF: \S+ has no shared mappings$/));
});

test.each([
  [
    "diotest3",
    ["-n", "4", "-i", "2"],
    "TWARN: None of 48 transfers began while another child's was under way: nothing has raced",
  ],
  [
    "dma_thread_diotest",
    ["--files", "1", "--file-size", "1M"],
    /TWARN: 0 of \d+ children were made during \d+ reads: nothing has raced/,
  ],
])("%s warns when nothing has raced", async (name, argv, line) => {
  after = (_, __, outcome) => Object.assign(outcome as object, { overlapping: 0, forksDuringReads: 0 });
  const { results, texts } = await executed(await load(name), place, argv);
  expect(results).toContain("TWARN");
  expect(texts).toContainEqual(typeof line === "string" ? line : expect.stringMatching(line));
});

const error = { step: "open", message: "It can't be", code: "EIO", errno: 5 };
test.each([
  ["diotest2", "segments"],
  ["diotest6", "segments"],
  ["diotest4", "dio-limits"],
  ["aio01", "aio-rounds"],
  ["aio02", "aio-rounds"],
  ["dma_thread_diotest", "fork-dma"],
  ["diotest1", "copy"],
])("%s: a workload that can't go on is TBROK", async (name, workload) => {
  after = (called, _, outcome) => {
    if (called === workload) Object.assign(outcome as object, { error });
  };
  const argv = name.startsWith("dma") ? ["--files", "1", "--file-size", "1M"] : [];
  const { results, texts } = await executed(await load(name), place, argv);
  expect(results.at(-1)).toBe("TBROK");
  expect(texts.at(-1)).toBe("TBROK: It can't be: EIO (5)");
});

describe("with strace's injections", () => {
  let directory: string;
  beforeEach(() => {
    needs("strace");
    directory = mkdtempSync(join(place, "strace-"));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  // strace counts by thread, and each block has threads of its own: what is injected happens in each of the three.
  const ALL = { passed: 0, failed: 3 };
  test.each([
    [
      "a write that writes nothing",
      "diotest2",
      ["-i", "4"],
      "pwrite64:retval=4096:when=3",
      /another generation \(2\)/,
      ALL,
    ],
    [
      "a read that reads nothing",
      "diotest5",
      ["-i", "4", "-v", "2"],
      "preadv:retval=8192:when=2",
      /Iteration 2: 8 sectors read are not what was written/,
      ALL,
    ],
    [
      "a read that ends early",
      "diotest5",
      ["-i", "4", "-v", "2"],
      "preadv:retval=0:when=2",
      /Only 0 of 8192 bytes could be read/,
      ALL,
    ],
    [
      "an error of a read",
      "diotest6",
      ["-i", "4", "-v", "2"],
      "preadv:error=EIO:when=3",
      /Iteration 3: .*Reading 8192 bytes.*: EIO \(5\)/,
      ALL,
    ],
    [
      "an error of a vector's write",
      "diotest5",
      ["-i", "4"],
      "pwritev:error=ENOSPC:when=2",
      /Iteration 2: .*ENOSPC \(28\)/,
      ALL,
    ],
    [
      "a vector's write that writes nothing",
      "diotest6",
      ["-v", "2"],
      "pwritev:retval=8192:when=9",
      /another generation \(8\)/,
      ALL,
    ],
    [
      "an error of fsync",
      "diotest6",
      [],
      "fsync:error=EIO:when=2",
      /Iteration 2: .*EIO \(5\)/,
      { passed: 2, failed: 1 },
    ],
    [
      "a block that is not copied",
      "diotest1",
      [],
      "pwrite64:retval=8192:when=25",
      /disk: 8 KiB at offset 0x8000: zeros/,
      { passed: 0, failed: 1 },
    ],
    [
      "EINTR of a write, tried again",
      "diotest2",
      ["-i", "4"],
      "pwrite64:error=EINTR:when=2",
      /TPASS/,
      { passed: 3, failed: 0 },
    ],
    [
      "EINTR of a vector's read, tried again",
      "diotest5",
      ["-i", "4"],
      "preadv:error=EINTR:when=2",
      /TPASS/,
      { passed: 3, failed: 0 },
    ],
    [
      "io_submit's error",
      "aio01",
      [],
      "io_submit:error=EIO:when=12",
      /TFAIL: Test 2: io_submit failed - retval=-5, errno=5/,
      { passed: 1, failed: 1 },
    ],
  ])("%s: %s %j", async (_, name, argv, injection, line, counts) => {
    const { all, exitCode } = await commandUnderStrace([injection], name, argv, { TMPDIR: directory });
    expect(all).toMatch(line);
    expect(summaryOf(all), all).toMatchObject({ ...counts, broken: 0 });
    expect(exitCode).toBe(counts.failed > 0 ? 1 : 0);
    expect(readdirSync(directory)).toEqual([]);
  });
});

test("--legacy-output is the old library's, on standard output alone", async () => {
  const { stdout, stderr, exitCode } = await command("diotest4", ["--legacy-output"], { TMPDIR: place });
  expect(exitCode).toBe(0);
  expect(stderr).toBe("");
  const lines = stdout.trimEnd().split("\n");
  for (const line of lines) expect(line).toMatch(/^diotest4 +\d+ {2}T[A-Z]+ {2}: {2}/);
  expect(lines[0]).toMatch(/^diotest4 {4}0 {2}TINFO {2}: {2}Using \S+ as tmpdir \(.* filesystem\)$/);
  expect(lines.filter((line) => /TPASS|TCONF/.test(line)).map((line) => Number(line.slice(8, 13)))).toEqual(
    Array.from({ length: 17 }, (_, index) => index + 1),
  );
  const broken = await command("diotest2", ["--legacy-output", "-b", "1"], { TMPDIR: place });
  expect(broken.exitCode).toBe(2);
  expect(broken.stdout).toMatch(
    /diotest02 {4}1 {2}TBROK {2}: {2}execute\.ts:\d+: bufsize must be multiple of 4k\ndiotest02 {4}2 {2}TBROK {2}: .*: Remaining cases broken\n$/,
  );
});
