/**
 * Writes newc cpio archives, the format of an initramfs.
 *
 * Source of the format: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.
 */

/** File types of st_mode (stat.h). */
const DIRECTORY = 0o040000;
const REGULAR = 0o100000;
const SYMLINK = 0o120000;
const CHARACTER = 0o020000;

const MAGIC = "070701";
/** Names and contents begin and end at multiples of this. */
const ALIGNMENT = 4;
const TRAILER = "TRAILER!!!";
/** The header holds sizes as eight hexadecimal digits. */
const FILE_BYTES_MAX = 2 ** 32 - 1;

export interface CpioEntry {
  /** Relative to the archive's root, without a leading slash. */
  name: string;
  /** st_mode: type and permissions. */
  mode: number;
  data?: Uint8Array;
  device?: { major: number; minor: number };
}

export function directory(name: string): CpioEntry {
  return { name, mode: DIRECTORY | 0o755 };
}

export function file(name: string, data: Uint8Array | string, permissions = 0o644): CpioEntry {
  return { name, mode: REGULAR | permissions, data: typeof data === "string" ? Buffer.from(data) : data };
}

export function symlink(name: string, target: string): CpioEntry {
  return { name, mode: SYMLINK | 0o777, data: Buffer.from(target) };
}

export function characterDevice(name: string, major: number, minor: number, permissions = 0o600): CpioEntry {
  return { name, mode: CHARACTER | permissions, device: { major, minor } };
}

/** The archive of `entries`, in their order: a directory must come before what is in it. */
export function cpio(entries: readonly CpioEntry[]): Buffer {
  const parts: Uint8Array[] = [];
  for (const [index, entry] of entries.entries()) append(parts, entry, index + 1);
  append(parts, { name: TRAILER, mode: 0 }, 0);
  return Buffer.concat(parts);
}

function append(parts: Uint8Array[], { name, mode, data, device }: CpioEntry, inode: number): void {
  if (name.startsWith("/") || name.includes("\0")) throw new Error(`no name for an archive: ${JSON.stringify(name)}`);
  const body = data ?? new Uint8Array();
  if (body.length > FILE_BYTES_MAX) throw new Error(`${name} is too large for a newc archive`);
  const path = Buffer.from(`${name}\0`);
  const fields = [inode, mode, 0, 0, 1, 0, body.length, 0, 0, device?.major ?? 0, device?.minor ?? 0, path.length, 0];
  const header = MAGIC + fields.map((field) => field.toString(16).padStart(8, "0").toUpperCase()).join("");
  parts.push(Buffer.from(header), path, padding(header.length + path.length), body, padding(body.length));
}

function padding(bytes: number): Uint8Array {
  return new Uint8Array((ALIGNMENT - (bytes % ALIGNMENT)) % ALIGNMENT);
}
