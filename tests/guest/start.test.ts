/** What a guest is started from: the initramfs, the emulator's command line, what is shared with it. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { shellWord } from "../../ts/base/quoting.js";
import { calibrate } from "../../ts/guest/agent-protocol.js";
import { ARCHITECTURES, type Architecture } from "../../ts/guest/architectures.js";
import { initramfs, initScript } from "../../ts/guest/init.js";
import { pageSizeOf } from "../../ts/guest/kernel.js";
import { parseGuest } from "../../ts/guest/name.js";
import { oldNote } from "../../ts/guest/prepare.js";
import { type MachineOptions, qemuArguments } from "../../ts/guest/qemu.js";
import { needs } from "../support/needs.js";

const architecture = (name: string) => ARCHITECTURES.find((row) => row.name === name) as Architecture;
const options = (parts: Partial<MachineOptions> = {}): MachineOptions => ({
  ...{ architecture: architecture("ppc64le"), accelerator: "tcg", kernel: "/k/vmlinux", initramfs: Buffer.alloc(0) },
  ...{ root: "/cache/root", package: "/srv/a,b", memoryBytes: 2 ** 31 },
  disk: { backing: "/tmp", bytes: 2 ** 31 },
  ...parts,
});

test("the emulator has no network, its console, both disks and the port", () => {
  const args = qemuArguments(options({ disk: { backing: "/tmp", bytes: 2 ** 31, iops: 3000 } })).join(" ");
  expect(args).toContain("-nodefaults");
  expect(args).not.toMatch(/-net|netdev|virtio-net/);
  expect(args).toContain("console=hvc0");
  expect(args.match(/throttling\.iops-write=3000/g)).toHaveLength(2);
  for (const bytes of [512, 4096]) expect(args).toContain(`logical_block_size=${bytes}`);
  expect(args).toContain("virtserialport,chardev=port,name=aiodio-ltp");
  expect(args).toContain("path=/srv/a,,b,mount_tag=package,security_model=none,readonly=on");
});

test("KVM takes the host's processor", () => {
  const kvm = qemuArguments(options({ architecture: architecture("amd64"), accelerator: "kvm" })).join(" ");
  expect(kvm).toContain("-cpu host -accel kvm");
});

test("an interactive guest has the terminal and no port", () => {
  const args = qemuArguments(options({ interactive: true })).join(" ");
  expect(args).toContain("-serial mon:stdio");
  expect(args).not.toContain("virtserialport");
});

test.each(["agent", "shell", "probe"] as const)("init for %s is a script that sh can read", (is) => {
  const purpose = { is, node: "/usr/bin/node", path: "/it's here/agent.js", bin: "/bin" } as Parameters<
    typeof initScript
  >[0];
  const { status, stderr } = spawnSync("sh", ["-n"], { input: initScript(purpose), encoding: "utf8" });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
});

test("the initramfs holds the modules in their order, the addon and the script", () => {
  needs("cpio");
  const folder = mkdtempSync(join(tmpdir(), "init-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  for (const name of ["busybox", "addon", "config"]) writeFileSync(join(folder, name), name);
  const archive = initramfs({
    busybox: join(folder, "busybox"),
    modules: ["jbd2", "ext4"].map((name) => ({ name, data: Buffer.from(name) })),
    purpose: { is: "agent", node: "/usr/bin/node", path: "/agent.js" },
    addon: join(folder, "addon"),
    config: join(folder, "config"),
  });
  const list = spawnSync("cpio", ["-t", "--quiet"], { input: archive, encoding: "utf8" }).stdout;
  expect(list.split("\n").filter((name) => /\//.test(name))).toEqual([
    ...["dev/console", "dev/null", "bin/busybox", "bin/sh", "modules/jbd2.ko", "modules/ext4.ko", "modules/order"],
    ...["files/addon.node", "files/config", "files/up"],
  ]);
  expect(archive.includes("jbd2\next4\n")).toBe(true);
});

test("a word for the shell stays one word", () => {
  const word = 'it\'s $HOME; `x` "y"';
  expect(spawnSync("sh", ["-c", `printf %s ${shellWord(word)}`], { encoding: "utf8" }).stdout).toBe(word);
});

test.each([
  ["CONFIG_PPC_64K_PAGES=y", "64k"],
  ["# CONFIG_PPC_64K_PAGES is not set\nCONFIG_PPC_4K_PAGES=y", "4k"],
  ["CONFIG_ARM64_16K_PAGES=y", "16k"],
  ["CONFIG_PAGE_SIZE_64KB=y", "64k"],
  ["CONFIG_HAVE_PAGE_SIZE_4KB=y", undefined],
])("%j has pages of %s", (config, size) => {
  expect(pageSizeOf(config)).toBe(size);
});

test("the calibration is the best of its rounds, by the clock that it is given", () => {
  const rounds = [300, 250, 900, 260, 400];
  const clock = rounds.flatMap((ms, index) => [index * 1000, index * 1000 + ms]);
  expect(calibrate(() => clock.shift() ?? 0)).toBe(250);
});

test("what was fetched 30 days ago is told, and what was not fetched never", () => {
  const guest = parseGuest("ppc64le-64k:sid");
  const before = (days: number) => new Date(Date.now() - days * 86_400_000).toISOString();
  expect(oldNote(guest, before(29), before(29))).toEqual([]);
  expect(oldNote(guest, undefined, undefined)).toEqual([]);
  const remedy = "`aiodio-ltp guest prepare ppc64le-64k:sid --refresh` brings today's";
  expect(oldNote(guest, before(30), before(365))).toEqual([
    `its kernel was fetched 30 days ago: ${remedy}`,
    `its root was fetched 365 days ago: ${remedy}`,
  ]);
});
