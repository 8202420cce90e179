/** A testcase as a command: what a user, kirk or openQA sees of it, whatever happens to its process. */
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { childrenOf, command, commandUnderStrace, emptied, goneOf, printed, summaryOf } from "../support/command.js";
import { needs } from "../support/needs.js";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "aiodio-standalone-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const RESULT_LINE = /^[\w.:/]+\s+(\w+):\s+.*$/;
/** Kills the command, and waits until its worker and its directory are gone. */
async function leavesNothing(controller = Number.NaN): Promise<void> {
  const [worker = Number.NaN] = childrenOf(controller);
  process.kill(controller, "SIGKILL");
  await emptied(directory);
  await goneOf(worker);
}

/** Long enough to be interfered with. */
const LONG = ["-b", "1k", "-n", "1", "-s", "128m", "-f", "DIRECT"];

describe("aiocp", () => {
  test("prints LTP's preamble, one verdict and the Summary on standard error alone", async () => {
    const { stdout, stderr, exitCode } = await command("aiocp", ["-b", "4k", "-n", "4", "--seed", "7"], {
      TMPDIR: directory,
    });
    expect(exitCode).toBe(0);
    expect(stdout).toBe("");
    const lines = stderr.split("\n\nSummary:\n")[0]?.split("\n") ?? [];
    for (const line of lines) expect(line).toMatch(RESULT_LINE);
    const texts = lines.map((line) => line.replace(/^\S+ /, ""));
    expect(texts.map((text) => text.replace(directory, "$TMPDIR"))).toEqual([
      expect.stringMatching(/^TINFO: Using \$TMPDIR\/LTP_aio\w{6} as tmpdir \(.+ filesystem\)$/),
      expect.stringMatching(/^TINFO: aiodio-ltp version: \d/),
      expect.stringMatching(/^TINFO: Tested kernel: \S+ #?.+ \S+$/),
      expect.stringMatching(/^TINFO: (Parsing kernel config '.+'|Couldn't locate kernel config!)$/),
      ...texts.filter((text) => text.includes("kernel option detected")),
      expect.stringMatching(/^TINFO: Overall timeout per run is 0h 3\dm \d\ds$/),
      expect.stringMatching(/^TINFO: Maximum AIO blocks: \d+$/),
      expect.stringMatching(/^TINFO: Use .+ strategy$/),
      "TINFO: Seed 0x7, engine libaio, buffer alignment logical, fsync none",
      "TINFO: Fill srcfile.bin with random data",
      "TINFO: Copy srcfile.bin -> dstfile.bin",
      "TINFO: Comparing srcfile.bin with dstfile.bin",
      "TPASS: Files are identical",
    ]);
    expect(lines.at(-1)).toMatch(/^aiocp\.ts:\d+: /);
    expect(summaryOf(stderr)).toEqual({ passed: 1, failed: 0, broken: 0, skipped: 0, warnings: 0 });
    expect(readdirSync(directory)).toEqual([]);
  });

  test("-i repeats the copy with data of its own and counts every verdict; -i 0 exits with 0 and nothing counted", async () => {
    const three = await command("aiocp", ["-b", "4k", "-i", "3"], { TMPDIR: directory });
    expect(three.exitCode).toBe(0);
    expect(summaryOf(three.all)?.passed).toBe(3);
    const none = await command("aiocp", ["-i", "0"], { TMPDIR: directory });
    expect(none.exitCode).toBe(0);
    expect(summaryOf(none.all)).toEqual({ passed: 0, failed: 0, broken: 0, skipped: 0, warnings: 0 });
  });

  test("-h and -V print no Summary and exit 0", async () => {
    const help = await command("aiocp", ["-h"]);
    expect(help.exitCode).toBe(0);
    expect(help.stderr).toMatch(/^Options\n-------\n/m);
    expect(help.stderr).toMatch(/^--buffer-align logical\|page\|OFFSET$/m);
    expect(summaryOf(help.stderr)).toBeUndefined();
    const version = await command("aiocp", ["-V"]);
    expect(version).toMatchObject({ exitCode: 0, stderr: expect.stringMatching(/^aiodio-ltp version: [\d.]+\n$/) });
  });

  test.each([
    ["an unknown option", ["-Z"], /invalid option -- 'Z'\n[\s\S]*TBROK: Invalid option\n/, 2],
    ["an argument", ["extra"], /TBROK: Unexpected argument\(s\) 'extra'\.\.\.\n/, 2],
    ["a bad depth", ["-n", "abc"], /TBROK: Invalid number of I\/O 'abc'\n/, 2],
    ["a bad block size", ["-b", "0"], /TBROK: Invalid write blocks size '0'\n/, 2],
    ["a bad file size", ["-s", "1kk"], /TBROK: Invalid file size '1kk'\n/, 2],
    ["a bad engine", ["--engine", "fast"], /TBROK: 'fast' is not one of libaio, io_uring, io_uring-fixed, sync\n/, 2],
    ["an option given twice", ["-n", "2", "-n", "4"], /TWARN: Option -n passed multiple times\n/, 4],
    [
      "a block that is no multiple of the sector",
      ["-b", "300", "-f", "DIRECT"],
      /TCONF: Block size is not multiple of drive block size\n/,
      32,
    ],
  ])("%s: one clear line, LTP's status, nothing left", async (_, argv, line, exit) => {
    const { all, exitCode } = await command("aiocp", argv, { TMPDIR: directory });
    expect(all).toMatch(line);
    expect(exitCode).toBe(exit);
    expect(summaryOf(all)).toBeDefined();
    expect(readdirSync(directory)).toEqual([]);
  });

  test.each([
    ["relative", { TMPDIR: "here" }, "TBROK: You must specify an absolute pathname for environment variable TMPDIR"],
    ["missing", { TMPDIR: "/nonexistent" }, "failed: ENOENT (2)"],
    ["a factor out of range", { LTP_TIMEOUT_MUL: "0.01" }, "TBROK: Failed to parse LTP_TIMEOUT_MUL: ERANGE"],
  ])("environment: %s", async (_, env, text) => {
    const { all, exitCode } = await command("aiocp", ["-b", "4k"], { TMPDIR: directory, ...env });
    expect(all).toContain(text);
    expect(exitCode).toBe(2);
    expect(readdirSync(directory)).toEqual([]);
  });

  test("LTP_REPRODUCIBLE_OUTPUT and LTP_COLORIZE_OUTPUT", async () => {
    const plain = await command("aiocp", [], { TMPDIR: directory, LTP_REPRODUCIBLE_OUTPUT: "1" });
    expect(plain.stderr).toMatch(/^aiocp\.ts:\d+: TPASS: \n\nSummary:\n/);
    const coloured = await command("aiocp", [], { TMPDIR: directory, LTP_COLORIZE_OUTPUT: "1" });
    expect(coloured.stderr).toContain("\u001b[1;32mTPASS: \u001b[0mFiles are identical\n");
  });

  test("a crash in native code is TBROK with the signal's name, and leaves no directory", async () => {
    const process_ = command("aiocp", LONG, { TMPDIR: directory });
    await printed(process_, /Copy srcfile/);
    const [worker] = childrenOf(process_.pid);
    process.kill(worker ?? 0, "SIGSEGV");
    const { all, exitCode } = await process_;
    expect(all).toContain("TBROK: Test killed by SIGSEGV!\n");
    expect(summaryOf(all)?.broken).toBe(1);
    expect(exitCode).toBe(2);
    expect(readdirSync(directory)).toEqual([]);
  });

  test("SIGINT kills the testcase and gives LTP's verdict", async () => {
    const process_ = command("aiocp", LONG, { TMPDIR: directory });
    await printed(process_, /Copy srcfile/);
    process_.kill("SIGINT");
    const { all, exitCode } = await process_;
    expect(all).toContain("Sending SIGKILL to test process...\n");
    expect(all).toContain("TBROK: Test killed! (timeout?)\n");
    expect(exitCode).toBe(2);
    expect(readdirSync(directory)).toEqual([]);
  });

  test("a testcase that hangs is killed when its time is over", async () => {
    const env = { TMPDIR: directory, LTP_TIMEOUT_MUL: "0.1" };
    const process_ = command("aiocp", [...LONG, "-I", "1"], env);
    await printed(process_, /Copy srcfile/);
    for (const worker of childrenOf(process_.pid)) process.kill(worker, "SIGSTOP");
    const { all, exitCode } = await process_;
    expect(all).toContain("Test timeouted, sending SIGKILL!\n");
    expect(all).toContain("TBROK: Test killed! (timeout?)\n");
    expect(exitCode).toBe(2);
    expect(readdirSync(directory)).toEqual([]);
  });

  test("SIGKILL to the command itself leaves no process and no directory", async () => {
    const process_ = command("aiocp", LONG, { TMPDIR: directory });
    await printed(process_, /Copy srcfile/);
    await leavesNothing(process_.pid);
  });

  test("nor does it where the workload goes on making files while its directory is removed", async () => {
    const process_ = command("aio-stress", ["-f", "5000", "-s", "4k", "-r", "4k"], { TMPDIR: directory });
    const files = () => readdirSync(directory).flatMap((name) => readdirSync(join(directory, name))).length;
    await expect.poll(files, { timeout: 60_000, interval: 1 }).toBeGreaterThan(100);
    await leavesNothing(process_.pid);
  });

  test("what can't be removed while the workload lives is removed when it is gone", async () => {
    needs("strace");
    const busy = ["rmdir:error=EBUSY:when=1", "unlinkat:error=EBUSY:when=1"];
    const strace = commandUnderStrace(busy, "aiocp", LONG, { TMPDIR: directory });
    await printed(strace, /Copy srcfile/);
    const [controller = Number.NaN] = childrenOf(strace.pid);
    await leavesNothing(controller);
  });

  test("a read-only directory", async () => {
    const inner = join(directory, "read-only");
    mkdirSync(inner);
    chmodSync(inner, 0o555);
    // Root may write there all the same: what must hold is one verdict and nothing left.
    const { exitCode, all } = await command("aiocp", [], { TMPDIR: inner });
    expect(exitCode).toBe(process.getuid?.() === 0 ? 0 : 2);
    expect(summaryOf(all)).toBeDefined();
    expect(readdirSync(inner)).toEqual([]);
  });
});
