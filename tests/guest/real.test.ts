/**
 * Guests for real: Debian's kernels in emulated machines. They need the network the first time and minutes of work, so
 * they run in CI and where AIODIO_GUESTS is set.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { root } from "../../ts/base/package.js";
import { guestCache } from "../../ts/cli/guests.js";
import { cpio, directory, file, symlink } from "../../ts/guest/cpio.js";
import { BootError, Guest } from "../../ts/guest/guest.js";
import { kernelEntry } from "../../ts/guest/kernel.js";
import { parseGuest } from "../../ts/guest/name.js";
import { prepareGuest } from "../../ts/guest/prepare.js";
import { VirtualMachine } from "../../ts/guest/qemu.js";
import { rootFor } from "../../ts/guest/root.js";
import { findTool } from "../../ts/process/tools.js";
import { childrenOf, command, emptied, goneOf, plainEnvironment, printed } from "../support/command.js";
import { needs, skipFor } from "../support/needs.js";

const PPC = "ppc64le-64k:bookworm";
const AMD = "amd64:bookworm";
/** Boots of emulated machines beside other tests, with room. */
const TIMEOUT = 15 * 60_000;

const EMULATORS: Record<string, string> = { [PPC]: "qemu-system-ppc64", [AMD]: "qemu-system-x86_64" };
/** What an archive's hole is called (`ts/guest/apt.ts`). */
const ARCHIVE = /can't be (?:had|read from)/;

const wanted = Boolean(process.env.CI || process.env.AIODIO_GUESTS);

describe.skipIf(!wanted)("a guest", { timeout: TIMEOUT }, () => {
  let base: string;
  beforeAll(async () => {
    base = mkdtempSync(join(tmpdir(), "aiodio-guests-"));
    for (const name of [PPC, AMD]) {
      const prepared = await command("aiodio-ltp", ["guest", "prepare", name]);
      // What an archive does not have today is no fault of a guest's.
      if (prepared.exitCode === 2 && ARCHIVE.test(prepared.all))
        lacking.set(name, prepared.all.trim().split("\n").at(-1) ?? "");
      else if (findTool(EMULATORS[name] ?? "") !== undefined) expect(prepared.exitCode, prepared.all).toBe(0);
    }
  }, TIMEOUT);
  beforeEach(() => needs("qemu-system-ppc64", "qemu-system-x86_64", "powerpc64le-linux-gnu-gcc"));
  const lacking = new Map<string, string>();
  /** The test runs in these. */
  const inGuests = (...names: string[]) => {
    for (const name of names) if (lacking.has(name)) skipFor(lacking.get(name) ?? "");
  };
  afterAll(() => rmSync(base, { recursive: true, force: true }));

  const start = (guest: string, ...argv: string[]) =>
    command("aiodio-ltp", ["pagesize", "--guest", guest, "--backing", base, ...argv]);
  const events = (journal: string) =>
    readFileSync(journal, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));

  // Linux 6.1 computes btrfs's checksums from pages that their owner may change: the test of these tests.
  test("with 64 KiB pages shows btrfs's wrong checksums, explained by its kernel's log", async () => {
    inGuests(PPC);
    const journal = join(base, "ppc.journal");
    const lines = ["--filesystems", "btrfs:4k", "-s", "^(AD047|MFD01)$"];
    const { exitCode, all } = await start(PPC, ...lines, "--journal", journal);
    expect(exitCode, all).toBe(1);
    const [up] = events(journal).filter(({ type }) => type === "guest");
    expect(up).toMatchObject({ guest: PPC, machine: { machine: "ppc64le", pageBytes: 65_536 } });
    expect(up.machine.kernel).toMatch(/^6\.1\./);
    expect(all).toMatch(/btrfs:4k\/AD047 +TPASS/);
    expect(all).toMatch(/btrfs:4k\/MFD01 +TFAIL/);
    expect(all).toMatch(/TFAIL: kernel: BTRFS warning \(device vda\): csum failed/);
    // Said once, though the kernel complains of every block.
    expect(all.match(/kernel: btrfs-csum-failed: /g)).toHaveLength(1);
  });

  test("with the host's root and 4 KiB pages shows the same, and uses disks of either sector size", async () => {
    inGuests(AMD);
    const journal = join(base, "amd.journal");
    const lines = ["--filesystems", "btrfs,xfs:4ks", "-s", "^MFD01$"];
    const { exitCode, all } = await start(AMD, ...lines, "--journal", journal);
    expect(exitCode, all).toBe(1);
    expect(all).toMatch(/btrfs\/MFD01 +TFAIL/);
    expect(all).toMatch(/xfs:4ks\/MFD01 +TPASS/);
    const story = events(journal);
    expect(story.find(({ type }) => type === "guest")).toMatchObject({
      machine: { machine: "x86_64", pageBytes: 4096 },
    });
    const devices = story.filter(({ type }) => type === "filesystem").map(({ device }) => device);
    expect(new Set(devices).size).toBe(2);
  });

  test("boots the user's own kernel with its modules", async () => {
    inGuests(AMD);
    const build = guestCache(process.env).path(kernelEntry(parseGuest(AMD)) ?? "");
    const own = ["--kernel", join(build, "kernel"), "--modules", join(build, "modules")];
    const { exitCode, all } = await start("amd64", ...own, "--filesystems", "ext4", "-s", "^AD075$");
    expect(exitCode, all).toBe(0);
    // Without --kernel it would be a newer one.
    expect(all).toMatch(/amd64: Linux 6\.1\./);
    expect(all).toMatch(/amd64\/ext4\/AD075 +TPASS/);
  });

  test("that is killed breaks its testcase, and the rest runs in a fresh one", async () => {
    inGuests(AMD);
    const run = start(AMD, "--filesystems", "ext4", "-s", "AD0(47|33|61|75|49|35)", "-i", "3");
    await printed(run, /ext4\/AD047 +TPASS/);
    const [emulator] = childrenOf(run.pid);
    process.kill(emulator ?? 0, "SIGKILL");
    const { exitCode, all } = await run;
    expect(exitCode, all).toBe(1);
    expect(all).toMatch(/TBROK: the guest ended \(killed by SIGKILL\): it was running/);
    expect(all.match(/up in/g)).toHaveLength(2);
    // What had passed in it ran on a filesystem that went with it, unchecked.
    expect(all).toMatch(/ext4 was not checked any more, so what passed is TWARN: .*AD047/);
    const [, warned, passed] = /18 testcases in .*: 1 TBROK, (\d+) TWARN, (\d+) TPASS/.exec(all ?? "") ?? [];
    expect(Number(warned) + Number(passed), all).toBe(17);
  });

  test("goes with its controller, even by SIGKILL, and leaves nothing", async () => {
    inGuests(PPC);
    const folder = mkdtempSync(join(base, "killed-"));
    const run = command("aiodio-ltp", [
      ...["pagesize", "--guest", PPC, "--filesystems", "ext4", "--backing", folder, "-i", "100"],
    ]);
    await printed(run, /up in/);
    const [emulator = 0] = childrenOf(run.pid);
    // What starts the emulator has become it by now.
    expect(readFileSync(`/proc/${emulator}/cmdline`, "utf8")).toContain("qemu-system-ppc64");
    expect(readdirSync(folder)).toEqual([]);
    run.kill("SIGKILL");
    await run;
    await goneOf(emulator);
    await emptied(folder);
  });

  test("of the newest kernels boots, whose packages hold no configuration, and runs a line", async () => {
    const { stdout, exitCode, all } = await execa(
      process.execPath,
      [join(root, "scripts", "check-guests.js"), "amd64:sid"],
      {
        ...{ reject: false, all: true, env: plainEnvironment(), extendEnv: false },
      },
    );
    if (/^amd64:sid: not in the archive/m.test(stdout)) skipFor(stdout.trim());
    expect(exitCode, all).toBe(0);
    expect(stdout).toMatch(/^amd64:sid: Linux [6-9]\.\d+\..*: TPASS$/m);
  });

  test("whose kernel panics tells the oops", async () => {
    inGuests(PPC);
    const name = parseGuest(PPC);
    const cache = guestCache(process.env);
    const tell = () => {};
    const disk = { backing: base, bytes: 2 ** 20 };
    const { machine: options } = await prepareGuest(name, [], "agent", disk, cache, tell);
    const { busybox } = await rootFor(name.architecture, cache, tell);
    const script = "#!/bin/busybox sh\n/bin/busybox mount -t proc proc /proc\necho c >/proc/sysrq-trigger\n";
    const initramfs = cpio([
      ...["bin", "dev", "proc"].map(directory),
      file("bin/busybox", readFileSync(busybox), 0o755),
      symlink("bin/sh", "busybox"),
      file("init", script, 0o755),
    ]);
    const machine = new VirtualMachine({ ...options, initramfs });
    const error = await Guest.boot(machine, new AbortController().signal).catch((failure: unknown) => failure);
    expect(error).toBeInstanceOf(BootError);
    expect((error as BootError).message).toBe("it ended while it came up: kernel panic: sysrq triggered crash");
    expect((error as BootError).words.join("\n")).toMatch(/Call Trace/);
  });
});
