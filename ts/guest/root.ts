/** The root filesystem of a guest: the host's own for its architecture, else one unpacked from Debian's packages. */
import { lstatSync, mkdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { Apt, checksums, type Tell, unpack } from "./apt.js";
import type { Architecture } from "./architectures.js";
import type { Cache } from "./cache.js";

/** The suite whose Node is 20 or newer, whatever suite the kernel is from. */
export const ROOT_SUITE = "trixie";

export interface Root {
  /** The directory that the guest sees, read-only. */
  directory: string;
  /** Path of Node in it. */
  node: string;
  /** Path, on the host, of a static busybox of the guest's architecture. */
  busybox: string;
}

const PACKAGES = [
  ...["base-files", "bash", "busybox-static", "coreutils", "kmod", "mount", "nodejs", "procps", "util-linux"],
  ...["btrfs-progs", "dosfstools", "e2fsprogs", "exfatprogs", "f2fs-tools", "xfsprogs"],
];
/** Links of a merged /usr: they must be there before the first package is unpacked. */
const MERGED = ["bin", "sbin", "lib", "lib64"];
/** What init mounts on, and what filesystems are mounted below. */
const MOUNT_POINTS = ["dev", "mnt", "proc", "run", "sys", "tmp", "var/lib/btrfs"];
const BUSYBOX = join("usr", "bin", "busybox");

/** Whether the host's own root serves. */
export function isHost({ node }: Architecture): boolean {
  return process.platform === "linux" && process.arch === node;
}

/** Name of what {@link rootFor} keeps in the cache. */
export function rootEntry(architecture: Architecture): string {
  return join(isHost(architecture) ? "busybox" : "root", `${architecture.name}-${ROOT_SUITE}`);
}

/** @throws UsageError when it can't be had */
export async function rootFor(architecture: Architecture, cache: Cache, tell: Tell): Promise<Root> {
  const packages = isHost(architecture) ? ["busybox-static"] : PACKAGES;
  const { directory } = await cache.entry(rootEntry(architecture), async (making) => {
    const work = join(making, "apt");
    const apt = await Apt.open(work, ROOT_SUITE, architecture.debian, tell);
    const debs = isHost(architecture) ? await apt.download(packages) : await apt.downloadWithDependencies(packages);
    const root = join(making, "root");
    for (const name of MERGED) {
      mkdirSync(join(root, "usr", name), { recursive: true });
      symlinkSync(join("usr", name), join(root, name));
    }
    await unpack(debs, root);
    for (const name of MOUNT_POINTS) mkdirSync(join(root, name), { recursive: true });
    const fetched = await checksums(debs);
    rmSync(work, { recursive: true });
    // busybox and Node are what a guest fails without; the rest is theirs to miss.
    const node = join("root", "usr", "bin", "node");
    const check = [join("root", BUSYBOX), ...(lstatSync(join(making, node), { throwIfNoEntry: false }) ? [node] : [])];
    return { check, fetched, facts: {} };
  });
  const root = join(directory, "root");
  return {
    directory: isHost(architecture) ? "/" : root,
    node: isHost(architecture) ? process.execPath : "/usr/bin/node",
    busybox: join(root, BUSYBOX),
  };
}
