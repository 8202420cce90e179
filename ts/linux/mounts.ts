/** Mounting and unmounting what a filesystem consists of, in the mount namespace of this process. */
import { readlinkSync } from "node:fs";
import { type Failure, flushDevice, mountFaultfs, mountFilesystem, unmountFilesystem } from "#native";
import { textOf } from "../base/files.js";
import { within } from "./mountinfo.js";
import { numbersIn } from "./proc.js";

/** One mount; a filesystem is a list of them, each on top of those before it. Can be sent as JSON. */
export interface Mount {
  /** The device; any word where the filesystem has none; the socket of a {@link FAULTFS}. */
  source: string;
  /** The directory, absolute. */
  target: string;
  /** As in /proc/filesystems, or {@link FAULTFS}. */
  type: string;
  /** As for `mount -o`. */
  options: string;
}

/** The type of what a server of our own mounts when it is told to; its kernel name is fuseblk. */
export const FAULTFS = "faultfs";

/** How long users that are about to go may take: an exiting process's last descriptor, an AIO context being destroyed. */
const PATIENCE_MS = 5_000;
const HOLDERS_SHOWN = 5;

/** A mount or unmount that failed; `errno` is the kernel's, `code` its name. */
export class MountError extends Error {
  readonly errno: number | undefined;
  readonly code: string | undefined;
  /** The message without the path. */
  readonly reason: string;
  constructor({ message, path, errno, code }: Failure, more = "") {
    const reason = `${message}${code === undefined ? "" : `: ${code} (${errno})`}${more}`;
    super(path === undefined ? reason : `${path}: ${reason}`);
    this.errno = errno;
    this.code = code;
    this.reason = reason;
  }
}

/** @throws MountError, and then none of them is mounted */
export function mountAll(mounts: readonly Mount[]): void {
  const done: Mount[] = [];
  for (const mount of mounts) {
    const failure = mount.type === FAULTFS ? mountFaultfs(mount.source, mount.target) : mountFilesystem(mount);
    if (failure) {
      unmountAll(done);
      throw new MountError(failure);
    }
    done.push(mount);
  }
}

/**
 * Unmounts from the top down; what is not mounted is fine. Nothing of the device is in the page cache afterwards.
 *
 * @throws MountError that names who holds it, when it is still in use after 5 seconds
 */
export function unmountAll(mounts: readonly Mount[]): void {
  for (const { source, target } of mounts.toReversed()) {
    const failure = unmountFilesystem(target, PATIENCE_MS);
    if (failure?.code === "EINVAL") continue;
    if (!failure) {
      // The keeper's own descriptor keeps the kernel from doing this.
      const kept = source.startsWith("/dev/") ? flushDevice(source) : null;
      if (kept) throw new MountError(kept);
      continue;
    }
    const holders = failure.code === "EBUSY" ? holdersOf(target) : [];
    const shown = holders.slice(0, HOLDERS_SHOWN).join(", ");
    throw new MountError(failure, holders.length > 0 ? `; it is held by ${shown}` : "");
  }
}

/**
 * Unmounts and mounts again, so that what is read afterwards comes from the disk. For the process that runs the
 * testcases too: its working directory may lie on the filesystem, but no file there may be open.
 *
 * @throws MountError; the working directory is the root then
 */
export function remountAll(mounts: readonly Mount[]): void {
  const directory = process.cwd();
  process.chdir("/");
  unmountAll(mounts);
  mountAll(mounts);
  process.chdir(directory);
}

/** Processes of this mount namespace that use something below the directory: `process 123 (node): /mnt/x/file`. */
export function holdersOf(directory: string): string[] {
  const quiet = <T>(read: () => T[]): T[] => {
    try {
      return read();
    } catch {
      return []; // The process is gone.
    }
  };
  // The same path is another filesystem in another namespace.
  const namespace = (pid: number | "self") => quiet(() => [readlinkSync(`/proc/${pid}/ns/mnt`)])[0];
  const here = namespace("self");
  const found: string[] = [];
  for (const pid of numbersIn("/proc").filter((process) => namespace(process) === here)) {
    const links = ["cwd", "root", "exe", ...numbersIn(`/proc/${pid}/fd`).map((fd) => `fd/${fd}`)];
    const paths = [
      ...links.flatMap((link) => quiet(() => [readlinkSync(`/proc/${pid}/${link}`)])),
      ...(textOf(`/proc/${pid}/maps`) ?? "").split("\n").map((line) => line.slice(line.indexOf("/"))),
    ];
    const held = paths.find((path) => within(path, directory));
    if (held === undefined) continue;
    found.push(`process ${pid} (${textOf(`/proc/${pid}/comm`) ?? "?"}): ${held}`);
  }
  return found;
}
