/** Where filesystems are mounted: over a directory that nobody misses, in the keeper's mount namespace only. */
import { readdirSync, realpathSync } from "node:fs";

/** Directories that are empty on most machines; people have the least below the first ones. */
const CANDIDATES = ["/srv", "/media", "/var/opt", "/var/empty", "/opt", "/mnt", "/home"];

/**
 * The first that is empty, or else the first, of those that hide no needed path when they are mounted over. Undefined
 * where there is none.
 *
 * @param needed absolute paths; they need not exist
 */
export function findMountPoint(
  needed: readonly string[],
  candidates: readonly string[] = CANDIDATES,
): string | undefined {
  const paths = needed.flatMap((path) => [`${path}/`, `${real(path)}/`]);
  const hides = (directory: string) => paths.some((path) => path.startsWith(`${directory}/`));
  const free = candidates.filter(
    (candidate) => entriesOf(candidate) !== undefined && !hides(candidate) && !hides(real(candidate)),
  );
  return free.find((candidate) => entriesOf(candidate) === 0) ?? free[0];
}

/** Without symbolic links, as far as it exists. */
function real(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

/** How many; undefined for what is no directory, or not to be read. */
function entriesOf(directory: string): number | undefined {
  try {
    return readdirSync(directory).length;
  } catch {
    return undefined;
  }
}

/** All of them, for a message. */
export const MOUNT_POINTS = CANDIDATES.join(", ");
