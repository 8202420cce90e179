/** Block devices: their numbers, and which of them hold a directory, by the names that kernel messages about it can have. */
import { realpathSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { namesIn, textOf } from "../base/files.js";
import { type Mounted, mountsIn, within } from "./mountinfo.js";

/** Devices below devices, and files on devices: deeper than anything that is built on purpose. */
const DEPTH_MAX = 12;

interface Roots {
  proc: string;
  sys: string;
  dev: string;
}

const ROOTS: Roots = { proc: "/proc", sys: "/sys", dev: "/dev" };

/**
 * Names as the kernel has them (`loop3`, `sda1`, `dm-0`), with all that they stand on: a partition's disk, what a
 * mapped device is made of, and the device that holds a loop device's backing file. Empty for what has no device.
 * Touches no filesystem but /proc, /sys and /dev; the directory must be absolute and without symbolic links.
 */
export function devicesBehind(directory: string, roots: Roots = ROOTS): string[] {
  const found = new Set<string>();
  addDirectory(directory, roots, found, DEPTH_MAX);
  return [...found];
}

/** Filesystems that no block device of this machine stands behind, whatever its kernel says of one. */
const NO_DEVICE = /^(?:tmpfs|ramfs|nfs4?|cifs|smb3|9p|virtiofs|ceph|fuse(?:\..*)?)$/;

/**
 * The same where it is known: undefined where a directory may lie on a device that is not found. Empty only where there
 * is none, so that no message about a device is about the directory.
 */
export function knownDevicesBehind(directory: string, roots: Roots = ROOTS): string[] | undefined {
  const found = devicesBehind(directory, roots);
  return found.length > 0 || NO_DEVICE.test(mountOf(directory, roots)?.type ?? "") ? found : undefined;
}

/** The same for a device, by whatever path it is named (`/dev/disk/by-id/…`). */
export function devicesOf(path: string, roots: Roots = ROOTS): string[] {
  const found = new Set<string>();
  addDevice(basename(resolved(path) ?? path), roots, found, DEPTH_MAX);
  return [...found];
}

function addDirectory(directory: string, roots: Roots, found: Set<string>, depth: number): void {
  const mount = mountOf(directory, roots);
  if (!mount || depth === 0) return;
  // Filesystems without a device number of their own, btrfs above all, still name their source.
  const byNumber = resolved(join(roots.sys, "dev", "block", mount.number));
  const bySource = mount.source.startsWith("/dev/")
    ? resolved(join(roots.dev, mount.source.slice("/dev/".length)))
    : undefined;
  const name = basename(byNumber ?? bySource ?? "");
  if (name === "") return;
  addDevice(name, roots, found, depth);
  if (mount.type === "btrfs") {
    for (const member of btrfsMembers(name, roots)) addDevice(member, roots, found, depth);
  }
}

function addDevice(name: string, roots: Roots, found: Set<string>, depth: number): void {
  if (found.has(name) || depth === 0) return;
  found.add(name);
  const path = resolved(join(roots.sys, "class", "block", name));
  if (path === undefined) return;
  if (textOf(join(path, "partition")) !== undefined) addDevice(basename(dirname(path)), roots, found, depth - 1);
  for (const slave of namesIn(join(path, "slaves"))) addDevice(slave, roots, found, depth - 1);
  const backing = textOf(join(path, "loop", "backing_file"));
  if (backing !== undefined) addDirectory(dirname(backing), roots, found, depth - 1);
}

function btrfsMembers(name: string, roots: Roots): string[] {
  const folder = join(roots.sys, "fs", "btrfs");
  const members = namesIn(folder).map((uuid) => namesIn(join(folder, uuid, "devices")));
  return members.find((devices) => devices.includes(name)) ?? [];
}

/** The mount that a path lies in: of several at one place, the last covers the others. */
function mountOf(path: string, { proc }: Roots): Mounted | undefined {
  let best: Mounted | undefined;
  for (const mount of mountsIn(join(proc, "self", "mountinfo"))) {
    if (within(path, mount.point) && !(best && mount.point.length < best.point.length)) best = mount;
  }
  return best;
}

function resolved(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}

/** The two parts of a device number as stat(2) has it: the layout of dev_t in the kernel's system calls and in glibc. */
export function partsOf(device: bigint): { major: bigint; minor: bigint } {
  return {
    major: ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn),
    minor: (device & 0xffn) | ((device >> 12n) & 0xffffff00n),
  };
}

/** `major:minor` of a block device's node, undefined for anything else. */
export function deviceNumber(path: string): string | undefined {
  try {
    const stat = statSync(path, { bigint: true });
    if (!stat.isBlockDevice()) return undefined;
    const { major, minor } = partsOf(stat.rdev);
    return `${major}:${minor}`;
  } catch {
    return undefined;
  }
}
