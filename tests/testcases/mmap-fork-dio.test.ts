/** mmap_fork_dio end to end; what can be wrong with the data is planted beside the core. */
import { readFileSync } from "node:fs";
import { execa } from "execa";
import { expect, test } from "vitest";
import { backingDirectory } from "../filesystem/fixture.js";
import { commandLine, plainEnvironment } from "../support/command.js";
import { filesystems } from "../support/filesystems.js";
import { onFaultfs, run, verdicts } from "./races.js";

const backing = backingDirectory();
const QUICK = ["-n", "3", "-s", "256k", "-b", "64k"];

/** Whether this kernel gives transparent huge pages to who asks for them. */
const HUGE = /\[(always|madvise)\]/.test(readFileSync("/sys/kernel/mm/transparent_hugepage/enabled", "utf8"));

for (const { name, directory } of filesystems()) {
  test(`it passes on ${name} with each kind of memory, and says how much changed`, async () => {
    for (const memory of [
      ["--memory", "shared"],
      ["--memory", "file", "--engine", "libaio"],
      ...(HUGE ? [["--memory", "thp", "--writer", "thread", "--engine", "io_uring"]] : []),
    ]) {
      const lines = await run("mmap_fork_dio", directory, [...QUICK, ...memory]);
      // More rounds than asked for where nothing has met in those.
      expect(lines).toContainEqual(
        expect.stringMatching(
          /^TPASS: \d+ rounds: each byte read back is one that was in the memory during its write$/,
        ),
      );
      expect(lines).toContainEqual(
        expect.stringMatching(/The memory changed during [1-9]\d* of \d+ writes, by [\d.]+ MiB/),
      );
    }
    const argv = [...QUICK, "--memory", "private", "--engine", "io_uring", "--buffer-offset", "512"];
    expect(verdicts(await run("mmap_fork_dio", directory, argv))).toContainEqual(
      expect.stringMatching(
        /^TPASS: \d+ rounds: no byte of a child's copy got into the file, and none that was read got lost$/,
      ),
    );
  });
}

/** PR_SET_THP_DISABLE, which children and execve keep. */
const SMALL_PAGES = "import ctypes,os,sys; ctypes.CDLL(None).prctl(41,1,0,0,0); os.execv(sys.argv[1], sys.argv[1:])";

test("where the kernel gives no huge page, none is claimed to be tested", async () => {
  const [{ directory } = { directory: "" }] = filesystems();
  const program = commandLine("mmap_fork_dio");
  const argv = [...QUICK, "--memory", "thp", "--writer", "thread", "--engine", "io_uring"];
  const env = plainEnvironment({ TMPDIR: directory });
  const { all, exitCode } = await execa("python3", ["-c", SMALL_PAGES, ...program, ...argv], {
    env,
    extendEnv: false,
    reject: false,
    all: true,
  });
  expect(all).toMatch(/TCONF: The kernel gave no transparent huge page for this memory: /);
  expect(all).not.toContain("TPASS");
  expect(exitCode).toBe(32);
});

const FAULTS: [rule: string, words: RegExp][] = [
  [
    "eio-once:op=read:file=testfile",
    /TFAIL: What was written can't be read back: the checksum was computed from pages that changed/,
  ],
  ["eio-once:op=write:file=testfile", /TFAIL: A direct write from memory that changes meanwhile failed/],
  ["eio-fsync:file=testfile", /TFAIL: fsync failed after direct writes[\s\S]*EIO \(5\)/],
  ["flip-bit:op=write:file=testfile", /TFAIL: The file holds a value that nobody wrote there during the write/],
  ["mutate-in-flight:file=testfile", /TFAIL: The file holds a value that nobody wrote there during the write/],
  ["drop-write:file=testfile", /TFAIL: The file holds a value that nobody wrote there during the write/],
  ["corrupt-direct-reads:file=testfile", /TFAIL: The page cache and the disk disagree about what was written/],
];

test.each(FAULTS)("%s is found and named", async (rule, words) => {
  const { output, counts } = await onFaultfs(backing, [rule], "mmap_fork_dio", QUICK);
  expect(counts[0]).toBeGreaterThan(0);
  expect(output).toMatch(words);
});

test("what it can't do is said", async () => {
  const [{ directory } = { directory: "" }] = filesystems();
  const verdict = async (...argv: string[]) => verdicts(await run("mmap_fork_dio", directory, argv))[0];
  expect(await verdict("--memory", "thp")).toBe(
    "TBROK: Transparent huge pages are private: use --writer thread with --memory thp",
  );
  expect(await verdict("--memory", "private")).toContain("TCONF: A fork during a transfer needs one that goes on");
  expect(await verdict("-b", "3000")).toContain("TBROK: The size 1048576 is not a multiple of the block size 3000");
  expect(await verdict("--buffer-offset", "3")).toBe("TBROK: Invalid buffer offset '3'");
  expect(await verdict("--memory", "file", "--engine", "io_uring-fixed")).toContain("TCONF: The kernel registers no");
});
