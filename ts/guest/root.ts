/** The root filesystem of a guest: the host's own for its architecture, else one unpacked from Debian's packages. */
import { lstatSync, mkdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { Apt, checksums, firstOf, type Tell, unpack } from "./apt.js";
import type { Architecture } from "./architectures.js";
import type { Cache, Entry } from "./cache.js";

/** The suites whose Node is 20 or newer, whatever suite the kernel is from; the first that has all of it serves. */
export const ROOT_SUITES = ["trixie", "sid"] as const;

export interface Root {
  /** The directory that the guest sees, read-only. */
  directory: string;
  /** Path of Node in it. */
  node: string;
  /** Path, on the host, of a static busybox of the guest's architecture. */
  busybox: string;
  /** When it was fetched, ISO 8601; of the host's own root, that busybox. */
  time: string;
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

/** Names of what {@link rootFor} keeps in the cache, one for each suite that it may be from. */
export function rootEntries(architecture: Architecture): string[] {
  return ROOT_SUITES.map((suite) => rootEntry(architecture, suite));
}

function rootEntry(architecture: Architecture, suite: (typeof ROOT_SUITES)[number]): string {
  return join(isHost(architecture) ? "busybox" : "root", `${architecture.name}-${suite}`);
}

/** @throws ArchiveError when it can't be had */
export async function rootFor(architecture: Architecture, cache: Cache, tell: Tell): Promise<Root> {
  const kept = (await Promise.all(rootEntries(architecture).map((name) => cache.find(name)))).find(Boolean);
  const fetch = (suite: (typeof ROOT_SUITES)[number]) => fetchRoot(architecture, suite, cache, tell);
  const { directory, manifest } = kept ?? (await firstOf(`the root of ${architecture.name}`, ROOT_SUITES, fetch, tell));
  const root = join(directory, "root");
  return {
    directory: isHost(architecture) ? "/" : root,
    node: isHost(architecture) ? process.execPath : "/usr/bin/node",
    busybox: join(root, BUSYBOX),
    time: manifest.time,
  };
}

function fetchRoot(
  architecture: Architecture,
  suite: (typeof ROOT_SUITES)[number],
  cache: Cache,
  tell: Tell,
): Promise<Entry> {
  const packages = isHost(architecture) ? ["busybox-static"] : PACKAGES;
  return cache.entry(rootEntry(architecture, suite), async (making) => {
    const work = join(making, "apt");
    const apt = await Apt.open(work, suite, architecture.debian, tell);
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
}
