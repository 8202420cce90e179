/**
 * Faults in the system calls themselves, injected by strace into the real ones: what is the test's business to survive
 * (EINTR, EAGAIN, short transfers) must not be seen in the verdict, and what is the kernel's error or lie must be.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { command, commandUnderStrace, summaryOf } from "../support/command.js";
import { needs } from "../support/needs.js";

let directory: string;
beforeEach(() => {
  // Not the temporary directory as such: it may be a tmpfs, where O_DIRECT has nothing to test.
  directory = mkdtempSync(join(process.env.AIODIO_TEST_DIRS?.split(":")[0] ?? tmpdir(), "aiodio-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const SYNC_ENGINE = ["-b", "4k", "-n", "4", "-s", "64k", "--engine", "sync", "-f", "DIRECT"];
const LIBAIO = ["-b", "4k", "-n", "4", "-s", "64k", "-f", "DIRECT"];
const URING = [...LIBAIO, "--engine", "io_uring"];

/** pwrite64's first call fills the source; the fifth copies block 3. */
describe("with strace's injections", () => {
  beforeEach(() => needs("strace"));

  test.each([
    [
      "EINTR from a write is retried",
      SYNC_ENGINE,
      "pwrite64:error=EINTR:when=3+4",
      /TINFO: Retried [1-9]\d* interrupted/,
    ],
    [
      "EAGAIN from io_submit is retried",
      LIBAIO,
      "io_submit:error=EAGAIN:when=3+4",
      /TINFO: Retried \d+ interrupted and [1-9]\d* refused/,
    ],
    [
      "EINTR from io_uring is retried",
      URING,
      "io_uring_enter:error=EINTR:when=3+4",
      /TINFO: Retried [1-9]\d* interrupted/,
    ],
  ])("%s, and the copy is right", async (_, argv, injection, note) => {
    const { all, exitCode } = await commandUnderStrace([injection], "aiocp", argv, { TMPDIR: directory });
    expect(all).toMatch(note);
    expect(all).toContain("TPASS: Files are identical\n");
    expect(exitCode).toBe(0);
  });

  test.each([
    ["a write", SYNC_ENGINE, "pwrite64:error=EIO:when=5", /TBROK: Write error: EIO at offset 12288 of dstfile\.bin\n/],
    ["fsync", LIBAIO, "fsync:error=EIO:when=2", /TBROK: fsync\(dstfile\.bin\) failed: EIO \(5\)\n/],
    ["io_setup", LIBAIO, "io_setup:error=EAGAIN", /TBROK: .*sysctl -w fs\.aio-max-nr=/],
    ["io_submit", LIBAIO, "io_submit:error=EIO:when=2", /TBROK: io_submit write error: EIO\n/],
  ])("an error of %s breaks the test and is named", async (_, argv, injection, line) => {
    const { all, exitCode } = await commandUnderStrace([injection], "aiocp", argv, { TMPDIR: directory });
    expect(all).toMatch(line);
    expect(all).not.toContain("TPASS");
    expect(exitCode).toBe(2);
    expect(readdirSync(directory)).toEqual([]);
  });

  test.each([
    ["all of it", "pwrite64:retval=4096:when=5", /disk: 4 KiB at offset 0x3000: zeros/],
    ["its first sector", "pwrite64:retval=512:when=5", /disk: 512 bytes at offset 0x3000: zeros/],
  ])("a write that reports success and writes nothing of %s is found", async (_, injection, line) => {
    const { all, exitCode } = await commandUnderStrace([injection], "aiocp", SYNC_ENGINE, { TMPDIR: directory });
    expect(all).toContain("TFAIL: Files are not identical\n");
    expect(all).toMatch(line);
    // A short result is resumed where it ended, and counted: it is not what is wrong here.
    expect(all.includes("Resumed 0 short reads and 1 short writes\n")).toBe(injection.includes("=512"));
    expect(exitCode).toBe(1);
  });
});

describe.runIf(process.getuid?.() === 0)("on a tmpfs", () => {
  test.each([
    ["no space", "256k", ["-f", "SYNC"], /TBROK: .*ENOSPC/, 2],
    ["O_DIRECT", "4m", ["-f", "DIRECT"], /TCONF: O_DIRECT not supported on tmpfs\n/, 32],
    ["O_SYNC", "4m", ["-f", "SYNC"], /TINFO: tmpfs has no O_DIRECT: verified in the page cache only\n[\s\S]*TPASS/, 0],
  ])("%s", async (_, size, argv, line, exit) => {
    const mount = join(directory, "tmpfs");
    mkdirSync(mount);
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", mount]);
    try {
      const { all, exitCode } = await command("aiocp", argv, { TMPDIR: mount });
      expect(all).toMatch(line);
      expect(exitCode).toBe(exit);
      expect(summaryOf(all)).toBeDefined();
      expect(readdirSync(mount)).toEqual([]);
    } finally {
      execFileSync("umount", [mount]);
    }
  });
});
