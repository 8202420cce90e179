/** Runs on filesystems that the program makes for itself, as a user types them. */
import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statfsSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { backingDirectory, expectNoTraces, mountsHere } from "../filesystem/fixture.js";
import { childrenOf, command, printed } from "../support/command.js";
import { needsFilesystems } from "../support/needs.js";

if (process.getuid?.() !== 0 && process.env.CI) throw new Error("making filesystems needs root");

const base = mkdtempSync(join(tmpdir(), "aiodio-filesystems-"));
afterAll(() => rmSync(base, { recursive: true, force: true }));
const backing = backingDirectory();

function runtest(name: string, lines: string): string {
  const path = join(base, name);
  writeFileSync(path, lines);
  return path;
}

/** All that a run might leave on the machine. Other tests' loop devices come and go meanwhile. */
async function expectNothingLeft(mounts: string): Promise<void> {
  await expectNoTraces(backing);
  expect(mountsHere()).toBe(mounts);
}

/** The keeper's descriptor of the unnamed file behind its loop device. */
function backingOf(runner: number | undefined): string {
  for (const pid of childrenOf(runner)) {
    if (!readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("keeper-main")) continue;
    for (const fd of readdirSync(`/proc/${pid}/fd`)) {
      const path = `/proc/${pid}/fd/${fd}`;
      if (readlinkSync(path).startsWith(`${backing}/`)) return path;
    }
  }
  throw new Error("no keeper with a backing file");
}

describe.runIf(process.getuid?.() === 0)("on filesystems of the run's own", () => {
  beforeEach(() => needsFilesystems("ext4", "xfs", "btrfs"));

  test("the same verdicts with one worker and with two, a table, and nothing left", async () => {
    const before = mountsHere();
    const list = "ext4,ext4:1k,xfs,xfs:4ks,btrfs,btrfs:zstd,tmpfs,bcachefs";
    const argv = ["ltp-aiodio.part1", "-s", "AD0(01|02|33|34|97)", "--filesystems", list, "--backing", backing];
    for (const workers of ["1", "2"]) {
      const { stdout, exitCode } = await command("aiodio-ltp", [...argv, "-j", workers]);
      expect(exitCode, stdout).toBe(0);
      const table = stdout.slice(stdout.indexOf("\nfilesystem")).split("\n");
      const row = (name: string) =>
        table
          .find((line) => line.startsWith(`${name} `))
          ?.trim()
          .split(/\s+/)
          .slice(1, 6)
          .join(" ");
      for (const name of ["ext4", "ext4:1k", "xfs", "btrfs", "btrfs:zstd"]) expect(row(name), name).toBe("5 0 0 0 0");
      // A block of 1 KiB is no multiple of a sector of 4096 bytes; tmpfs has no O_DIRECT.
      expect(row("xfs:4ks")).toBe("4 0 0 0 1");
      expect(row("tmpfs")).toBe("2 0 0 0 3");
      expect(stdout).toMatch(/^bcachefs +0 +0 +0 +0 +5 {2}The kernel has no bcachefs: it needs CONFIG_BCACHEFS_FS/m);
    }
    await expectNothingLeft(before);
  });

  test.each(["remount", "full"])("--verify %s reads the data again after mounting", async (level) => {
    const journal = join(base, `journal-${level}`);
    const file = runtest("one", "ONE aiocp -b 4k -n 4 -f DIRECT\nTWO aiocp -b 4k -f SYNC\n");
    const argv = [file, "--filesystems", "ext4,xfs", "--backing", backing, "--verify", level, "--journal", journal];
    const { exitCode, all } = await command("aiodio-ltp", argv);
    expect(exitCode, all).toBe(0);
    const events = readFileSync(journal, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    rmSync(journal);
    const verified = events.filter(({ type, name }) => type === "data" && name === "verify");
    expect(verified).toHaveLength(4);
    for (const { value } of verified) {
      expect(value.map((finding: { level: string }) => finding.level)).toEqual(["cache", "disk", "remount"]);
      expect(value[2]).toMatchObject({ sectors: 2048, sectorsBad: 0 });
    }
    const checks = events.filter(({ type }) => type === "check");
    // When the last testcase on it has run, and with "full" after each of the two.
    const times = level === "full" ? 3 : 1;
    const expected = ["ext4", "xfs"].flatMap((name) => Array(times).fill([name, true]));
    expect(checks.map(({ filesystem, result }) => [filesystem, result.clean])).toEqual(expected);
    expect(checks.at(-1).result.reports[0].checker).toMatch(/^xfs_repair -n /);
  });

  test.each(["progress", "quiet"])(
    "--loop-direct-io that the filesystem below does not grant is told: %s",
    async (reporter) => {
      const memory = mkdtempSync("/dev/shm/aiodio-backing-");
      onTestFinished(() => rmSync(memory, { recursive: true }));
      expect(statfsSync(memory).type).toBe(0x01021994);
      const journal = join(base, `journal-direct-${reporter}`);
      const argv = [
        runtest("direct", "ONE aiocp -b 4k\n"),
        "--filesystems",
        "ext4",
        "--size",
        "64m",
        "--loop-direct-io",
      ];
      const { stdout, exitCode } = await command("aiodio-ltp", [
        ...[...argv, "--backing", memory, "--reporter", reporter, "--journal", journal],
      ]);
      const direct = readFileSync(journal, "utf8").includes('"type":"filesystem"');
      expect(direct).toBe(true);
      const note =
        /ext4: the loop device goes through the page cache in spite of --loop-direct-io: \/dev\/shm\/\S+ is on tmpfs, which is memory/;
      expect(exitCode, stdout).toBe(0);
      expect(stdout).toMatch(note);
      expect(readFileSync(journal, "utf8")).toMatch(/"note":"the loop device goes through the page cache/);
      const granted = await command("aiodio-ltp", [...argv, "--backing", backing, "--reporter", reporter]);
      expect(granted.stdout).not.toContain("page cache");
    },
  );

  const SLOW = "aiocp -b 1k -n 1 -s 10m -f DIRECT";
  /** The copy of the superblock in the last allocation group: the kernel reads it only when it grows the filesystem. */
  const damageXfs = (backing: string) => {
    const fd = openSync(backing, "r+");
    const group = (2 * 2 ** 30) / 4;
    writeSync(fd, Buffer.alloc(512, 0x5a), 0, 512, 3 * group);
    closeSync(fd);
  };

  test("damage that only the checker sees makes TFAIL of all that may have done it", async () => {
    const file = runtest("two", `FIRST aiocp -b 4k\nSECOND ${SLOW}\n`);
    const run = command("aiodio-ltp", [file, "--filesystems", "xfs", "--backing", backing]);
    await printed(run, /FIRST +TPASS/);
    damageXfs(backingOf(run.pid));
    const { stdout, exitCode } = await run;
    expect(stdout).toMatch(/xfs is damaged; one of these did it, so they are TFAIL: xfs\/two:FIRST, xfs\/two:SECOND\n/);
    expect(stdout).toMatch(/xfs_repair -n .*\n(.*\n)*.*superblock/);
    expect(stdout).toMatch(/^xfs +0 +2 +0 +0 +0$/m);
    expect(exitCode).toBe(1);
  });

  test("--bail sees what a checker finds", async () => {
    const file = runtest("bail", `FIRST aiocp -b 4k\nSECOND ${SLOW}\n`);
    const run = command("aiodio-ltp", [file, "--bail", "--filesystems", "xfs,ext4", "--backing", backing]);
    await printed(run, /FIRST +TPASS/);
    damageXfs(backingOf(run.pid));
    const { stdout, exitCode } = await run;
    expect(stdout).toMatch(/^xfs +0 +2 +0 +0 +0$/m);
    expect(stdout).toMatch(/^ext4 +0 +0 +0 +0 +0 {2}2 not run$/m);
    expect(exitCode).toBe(1);
  });

  test("--verify full names the one testcase that did it", async () => {
    const file = runtest("three", `FIRST aiocp -b 4k\nSECOND ${SLOW}\nTHIRD aiocp -b 4k\n`);
    const run = command("aiodio-ltp", [file, "--filesystems", "xfs", "--backing", backing, "--verify", "full"]);
    await printed(run, /FIRST +TPASS/);
    damageXfs(backingOf(run.pid));
    const { stdout, exitCode } = await run;
    expect(stdout).toMatch(/SECOND TFAIL/);
    expect(stdout).toMatch(/TFAIL: xfs is damaged\n/);
    expect(stdout).toMatch(/THIRD +TPASS/);
    expect(stdout).not.toContain("nothing ran on it");
    expect(exitCode).toBe(1);
  });

  test("killed at any moment it leaves nothing", async () => {
    const before = mountsHere();
    for (let kill = 0; kill < 12; kill += 1) {
      const argv = [
        "ltp-aiodio.part1",
        "--filesystems",
        "ext4,xfs,btrfs,overlayfs",
        "--backing",
        backing,
        "-j",
        "2",
        "-s",
        "AD0[3-9]",
      ];
      const run = command("aiodio-ltp", argv);
      await new Promise((resolve) => setTimeout(resolve, 150 + 250 * kill));
      run.kill("SIGKILL");
      await run;
      await expectNothingLeft(before);
    }
  });

  test.each([
    ["an unknown filesystem", ["--filesystems", "ext5"], /There is no filesystem 'ext5'/],
    [
      "too small a size",
      ["--filesystems", "xfs", "--size", "64m"],
      /xfs: 64 MiB are too small for xfs: use --size 300M or more/,
    ],
    ["no room for the backing file", ["--filesystems", "ext4", "--size", "900000g"], /no room for a filesystem/],
    ["a directory as device", ["--device", "/tmp", "--erase", "--filesystems", "ext4"], /\/tmp/],
    ["--erase without --device", ["--filesystems", "ext4", "--erase"], /--erase confirms --device/],
    ["--size without --filesystems", ["--size", "1g"], /add --filesystems/],
    ["--verify full without --filesystems", ["--verify", "full"], /add --filesystems/],
  ])("%s is refused in one line, before anything is made", async (_, argv, message) => {
    const { exitCode, stdout, stderr } = await command("aiodio-ltp", ["ltp-aiodio.part1", ...argv]);
    expect(stderr).toMatch(message);
    expect(stderr.trim().split("\n")).toHaveLength(1);
    expect(stdout).toBe("");
    expect(exitCode).toBe(2);
  });
});
