import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type Flags, parseCommandLine } from "../../ts/cli/flags.js";
import { elsewhereOf } from "../../ts/cli/guests.js";
import { addonEntry } from "../../ts/guest/addon.js";
import { kernelEntry } from "../../ts/guest/kernel.js";
import { parseGuest } from "../../ts/guest/name.js";
import { rootEntries } from "../../ts/guest/root.js";
import { machineFacts } from "../../ts/linux/machine.js";
import { eventsOf } from "../support/journal.js";
import { command, fakeScheduler, fakeSystem, temporaryFolder } from "./fixture.js";

const flagsOf = (line: string): Flags => parseCommandLine(`${line} f`.split(" ").filter(Boolean)).flags;

describe("--guest", () => {
  test("runs on ext4, xfs and btrfs unless told otherwise", () => {
    const guests = elsewhereOf(flagsOf("--guest ppc64le-64k:bookworm --guest amd64"), "/");
    expect(guests?.names).toEqual(["ppc64le-64k:bookworm", "amd64"]);
    expect([...(guests?.variants?.keys() ?? [])]).toEqual(["ext4", "xfs", "btrfs"]);
    expect(elsewhereOf(flagsOf(""), "/")).toBeUndefined();
  });

  test("an own kernel's paths are relative to the working directory", () => {
    const guests = elsewhereOf(flagsOf("--guest amd64 --kernel arch/x86/boot/bzImage --modules m"), "/linux");
    expect(guests?.guests[0]?.source).toEqual({ kernel: "/linux/arch/x86/boot/bzImage", modules: "/linux/m" });
  });

  test.each([
    "--guest amd64 -d /x",
    "--guest amd64 --device /dev/x",
    "--guest amd64 --loop-direct-io",
    "--guest amd64 --filesystems ext5",
    "--guest amd64 --filesystems xfs --size 1m",
    "--guest amd64 --modules m",
    "--guest amd64:sid --kernel k",
    "--kernel k",
    "--disk-iops 100",
    "--guest amd65",
  ])("%s is one clear error", async (line) => {
    const { status, err } = await command(`${line} ltp-aiodio.part1`);
    expect(status).toBe(2);
    expect(err).toMatch(/^[^\n]+\n$/);
    expect(err).toMatchSnapshot();
  });
});

test("--known-issues: a guest's failure is matched with the guest, before and after it is up", async () => {
  const folder = temporaryFolder();
  const issues = join(folder, "issues.json");
  const suite = "ltp-aiodio.part1";
  const here = { kernel: `^${release().replaceAll(".", "\\.")}$` };
  const there = { kernel: "^6\\.1\\.0-guest$" };
  const file = {
    [suite]: { AD001: [here], AD002: [there], AD003: [{ ...there, skip: 1 }], AD004: [{ ...here, skip: 1 }] },
  };
  writeFileSync(issues, JSON.stringify(file));
  const scheduler = fakeScheduler(() => "TFAIL");
  const machine = { ...machineFacts(), kernel: "6.1.0-guest", machine: "ppc64le" };
  const runPlan: typeof scheduler.runPlan = (plan, options, emit) => {
    const up = { accelerator: "tcg", bootSeconds: 1, timeoutMul: 1, time: "", worker: 1 } as const;
    emit({ type: "guest", guest: "ppc64le-64k:bookworm", machine, ...up });
    return scheduler.runPlan(plan, options, emit);
  };
  const facts = new Map([["ppc64le-64k:bookworm", { kernel: "6.1.0-guest" }]]);
  const system = fakeSystem({ prepareElsewhere: async () => ({ runPlan, facts }) });
  const journal = join(folder, "journal");
  const guest = ["--guest", "ppc64le-64k:bookworm", "--filesystems", "ext4", "-s", "^AD00[1-4]$"];
  await command([suite, ...guest, "--known-issues", issues, "--journal", journal], system);
  expect(scheduler.ran.map((key) => key.slice(-5))).toEqual(["AD001", "AD002", "AD004"]);
  const explained = (await eventsOf(journal)).events.flatMap((event) =>
    event.type === "known-issue" ? [event.key.slice(-5)] : [],
  );
  expect(explained).toEqual(["AD002"]);
});

describe("guest", () => {
  test("list shows what there is, and what needs no network any more", async () => {
    const cache = temporaryFolder();
    const system = fakeSystem({ env: { XDG_CACHE_HOME: cache } });
    const { out } = await command("guest list", system);
    expect(out).toContain("ppc64le-64k");
    expect(out).toContain("bookworm-backports");
    expect(out).toContain("none yet");
  });

  test("clean deletes the cache, and nothing beside it", async () => {
    const cache = temporaryFolder();
    mkdirSync(join(cache, "aiodio-ltp", "guest", "kernel"), { recursive: true });
    writeFileSync(join(cache, "aiodio-ltp", "other"), "");
    await command("guest clean", fakeSystem({ env: { XDG_CACHE_HOME: cache } }));
    expect(() => rmSync(join(cache, "aiodio-ltp", "guest"))).toThrow("ENOENT");
    rmSync(join(cache, "aiodio-ltp", "other"));
  });

  /** A cache with the kernel and the busybox or root that amd64:sid needs, fetched so many days ago, and a verdict about KVM. */
  function filled(days: number): string {
    const cache = temporaryFolder();
    const guests = join(cache, "aiodio-ltp", "guest");
    const time = new Date(Date.now() - days * 86_400_000).toISOString();
    const amd64 = parseGuest("amd64:sid");
    const entries = [kernelEntry(amd64) ?? "", ...rootEntries(amd64.architecture), addonEntry(amd64.architecture)];
    for (const entry of entries) {
      mkdirSync(join(guests, entry), { recursive: true });
      const manifest = { time, fetched: {}, files: {}, facts: { release: "6.99-amd64" } };
      writeFileSync(join(guests, entry, "manifest.json"), JSON.stringify(manifest));
    }
    writeFileSync(join(guests, "kvm.json"), JSON.stringify({ machine: "x", accelerator: "tcg", time }));
    return cache;
  }

  test.each([
    [3, /^ {2}amd64-4k:sid {2}6\.99-amd64, fetched 3 days ago$/m, /^ {2}does not work, tried 3 days ago$/m],
    [
      31,
      /^ {2}amd64-4k:sid {2}6\.99-amd64, fetched 31 days ago \(old: `guest prepare NAME --refresh`\)$/m,
      /^ {2}does not work, tried 31 days ago \(old: /m,
    ],
  ])("list shows how old it is: %d days", async (days, kernel, kvm) => {
    const { out } = await command("guest list", fakeSystem({ env: { XDG_CACHE_HOME: filled(days) } }));
    expect(out).toMatch(kernel);
    expect(out).toMatch(kvm);
  });

  test("clean and prepare --refresh take nothing from under a running guest", async () => {
    const cache = filled(1);
    const users = join(cache, "aiodio-ltp", "guest", "users");
    mkdirSync(users);
    const [, , , , , , , , , , , , , , , , , , , start] = readFileSync(`/proc/${process.ppid}/stat`, "latin1")
      .replace(/^.*\) /s, "")
      .split(" ");
    writeFileSync(join(users, `${process.ppid}-${start}`), "");
    for (const line of ["guest clean", "guest prepare amd64:sid --refresh"]) {
      const { status, err } = await command(line, fakeSystem({ env: { XDG_CACHE_HOME: cache } }));
      expect(status).toBe(2);
      expect(err).toMatch(new RegExp(`^aiodio-ltp: guest .*: process ${process.ppid} uses what is kept here`));
    }
    expect(readdirSync(join(cache, "aiodio-ltp", "guest"))).toContain("kernel");
  });

  test.each([
    "guest clean --refresh",
    "guest list --refresh",
    "guest pripare",
    "guest prepare",
    "guest list amd64",
    "guest shell amd64 arm64",
  ])("%s is one clear error", async (line) => {
    const { status, err } = await command(line);
    expect(status).toBe(2);
    expect(err).toMatchSnapshot();
  });
});
