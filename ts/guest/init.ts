/** The initramfs of a guest: busybox, the modules, the addon, and the script that brings the guest to its agent. */

import { readFileSync } from "node:fs";
import { shellWord } from "../base/quoting.js";
import { INIT_MARK } from "./console.js";
import { type CpioEntry, characterDevice, cpio, directory, file, symlink } from "./cpio.js";
import type { Module } from "./modules.js";

/** Tags of the 9p shares. */
export const ROOT_TAG = "root";
export const PACKAGE_TAG = "package";
/** Where the guest finds what the host gives it; in memory. */
const OURS = "/run/aiodio-ltp";
const BUSYBOX = `${OURS}/busybox`;
/** Where the host's directory with the package is mounted. */
export const PACKAGE_MOUNT = `${OURS}/package`;

/** What init does when the guest is up. */
export type Purpose =
  /** `path`: of the agent's program, below {@link PACKAGE_MOUNT}. */
  | { is: "agent"; node: string; path: string }
  | { is: "shell"; bin: string }
  /** Says that it has come so far, and ends. */
  | { is: "probe" };

export interface InitramfsParts {
  /** Path of a static busybox of the guest's architecture. */
  busybox: string;
  /** In the order of insertion. */
  modules: readonly Module[];
  purpose: Purpose;
  /** Path of the addon; absent where the package has it. */
  addon?: string | undefined;
  /** Path of the kernel's configuration, as testcases look for it. */
  config?: string | undefined;
}

/** The archive that the kernel unpacks as its first root. */
export function initramfs({ busybox, modules, purpose, addon, config }: InitramfsParts): Buffer {
  const entries: CpioEntry[] = [
    ...["bin", "dev", "proc", "sys", "new", "modules", "files"].map(directory),
    characterDevice("dev/console", 5, 1),
    characterDevice("dev/null", 1, 3, 0o666),
    file("bin/busybox", readFileSync(busybox), 0o755),
    symlink("bin/sh", "busybox"),
    ...modules.map(({ name, data }) => file(`modules/${name}.ko`, data)),
    file("modules/order", modules.map(({ name }) => `${name}\n`).join("")),
    ...(addon === undefined ? [] : [file("files/addon.node", readFileSync(addon), 0o755)]),
    ...(config === undefined ? [] : [file("files/config", readFileSync(config))]),
    ...(purpose.is === "probe" ? [] : [file("files/up", upScript(purpose))]),
    file("init", initScript(purpose), 0o755),
  ];
  return cpio(entries);
}

/** The first process of a guest. Whatever happens, the machine ends with it. */
export function initScript(purpose: Purpose): string {
  const lines = [
    "#!/bin/sh",
    "export PATH=/bin",
    `say() { echo "${INIT_MARK} $*"; }`,
    // The kernel's own words go on, and nothing is written after a power-off.
    "end() { busybox sync; busybox poweroff -f; }",
    'fail() { say "failed $*"; end; }',
    "busybox mount -t proc proc /proc && busybox mount -t sysfs sysfs /sys && busybox mount -t devtmpfs dev /dev ||" +
      ' fail "the kernel has no proc, sysfs or devtmpfs"',
    "say init",
  ];
  if (purpose.is === "probe") return [...lines, "end", ""].join("\n");
  const share = "trans=virtio,version=9p2000.L,msize=262144,cache=loose,ro";
  return [
    ...lines,
    "while read -r name; do",
    // What can't be inserted is missed later, or not: the console keeps the kernel's reason.
    '  busybox insmod "/modules/$name.ko" || say "cannot insert $name"',
    "done </modules/order",
    `busybox mount -t 9p -o ${share} ${ROOT_TAG} /new || fail "the root cannot be mounted: has the kernel 9p over virtio?"`,
    "for name in proc sys dev; do busybox mount --move /$name /new/$name; done",
    "for name in tmp run; do busybox mount -t tmpfs -o mode=1777 tmpfs /new/$name; done",
    "busybox mkdir -p /new/dev/shm /new/dev/pts",
    "busybox mount -t tmpfs -o mode=1777 shm /new/dev/shm; busybox mount -t devpts devpts /new/dev/pts",
    `busybox mkdir -p /new${PACKAGE_MOUNT}`,
    `busybox mount -t 9p -o ${share} ${PACKAGE_TAG} /new${PACKAGE_MOUNT} || fail "the package cannot be mounted"`,
    `busybox cp /files/* /bin/busybox /new${OURS}/`,
    "say root",
    // Mount namespaces begin at the true root, so that a chroot would not do.
    `exec busybox switch_root /new ${BUSYBOX} sh ${OURS}/up`,
    "",
  ].join("\n");
}

/** What init goes on with when the root is the guest's. */
function upScript(purpose: Exclude<Purpose, { is: "probe" }>): string {
  return [
    `[ -e ${OURS}/addon.node ] && export NAPI_RS_NATIVE_LIBRARY_PATH=${OURS}/addon.node`,
    `[ -e ${OURS}/config ] && export KCONFIG_PATH=${OURS}/config`,
    "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp TMPDIR=/tmp LC_ALL=C.UTF-8",
    purpose.is === "agent"
      ? `${shellWord(purpose.node)} ${shellWord(purpose.path)}`
      : // A terminal of its own, so that Ctrl-C reaches what runs in the shell.
        `cd ${PACKAGE_MOUNT}; PATH=${shellWord(purpose.bin)}:$PATH ${BUSYBOX} setsid ${BUSYBOX} cttyhack /bin/bash -i`,
    purpose.is === "agent" ? `echo "${INIT_MARK} failed the agent ended (exit status $?)"` : ":",
    `${BUSYBOX} sync; ${BUSYBOX} poweroff -f`,
    "",
  ].join("\n");
}
