/** Which block devices hold a directory: the names that kernel messages about it can have. */
import { readdirSync, readFileSync, realpathSync } from "node:fs";
import { basename, dirname, join } from "node:path";

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
  if (text(join(path, "partition")) !== undefined) addDevice(basename(dirname(path)), roots, found, depth - 1);
  for (const slave of names(join(path, "slaves"))) addDevice(slave, roots, found, depth - 1);
  const backing = text(join(path, "loop", "backing_file"));
  if (backing !== undefined) addDirectory(dirname(backing), roots, found, depth - 1);
}

function btrfsMembers(name: string, roots: Roots): string[] {
  const folder = join(roots.sys, "fs", "btrfs");
  const members = names(folder).map((uuid) => names(join(folder, uuid, "devices")));
  return members.find((devices) => devices.includes(name)) ?? [];
}

/** The mount that a path lies in, from /proc/self/mountinfo: of several at one place, the last covers the others. */
function mountOf(path: string, roots: Roots): { number: string; type: string; source: string } | undefined {
  let best: { point: string; number: string; type: string; source: string } | undefined;
  for (const line of (text(join(roots.proc, "self", "mountinfo")) ?? "").split("\n")) {
    const [left = "", right = ""] = line.split(" - ");
    const [, , number, , escaped] = left.split(" ");
    const [type, source] = right.split(" ");
    if (number === undefined || escaped === undefined || type === undefined || source === undefined) continue;
    const point = unescapeMount(escaped);
    if (!within(path, point) || (best && point.length < best.point.length)) continue;
    best = { point, number, type, source: unescapeMount(source) };
  }
  return best;
}

/** Blanks and backslashes are octal there. */
function unescapeMount(field: string): string {
  return field.replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** Whether a path is a folder or something in it. */
export function within(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith("/") ? folder : `${folder}/`);
}

function resolved(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}

function text(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trimEnd();
  } catch {
    return undefined;
  }
}

function names(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
