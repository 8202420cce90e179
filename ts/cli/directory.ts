/** Checks, before anything runs, that testcases can work in a directory at all. */
import { mkdtempSync, rmdirSync, statfsSync, statSync } from "node:fs";
import { isAbsolute, join, resolve } from "node:path";
import { reasonOf, UsageError } from "../base/errors.js";

/** A testcase of part1 holds two files of 1 MiB, rounded up to its blocks; with room for the filesystem's own needs. */
const FREE_BYTES_PER_WORKER = 8 * 1024 * 1024;

/** The directory that `-d`, TMPDIR or the default names. Not checked yet. */
export function chosenDirectory(option: string | undefined, env: NodeJS.ProcessEnv, cwd: string): string {
  if (option !== undefined) return resolve(cwd, option);
  const { TMPDIR: tmpdir } = env;
  if (tmpdir && !isAbsolute(tmpdir)) {
    throw new UsageError(
      "You must specify an absolute pathname for environment variable TMPDIR, " +
        `and "${tmpdir}" is relative: set another, or use -d DIR`,
    );
  }
  return resolve(tmpdir || "/tmp");
}

/** Bytes that this user may still write to the filesystem. */
export function freeBytes(directory: string): number {
  const { bsize, bfree, bavail } = statfsSync(directory);
  return bsize * (process.geteuid?.() === 0 ? bfree : bavail);
}

export function mebibytes(bytes: number): string {
  return bytes >= 10 * 1024 ** 3 ? `${Math.floor(bytes / 1024 ** 3)} GiB` : `${Math.floor(bytes / 1024 ** 2)} MiB`;
}

/** Throws one {@link UsageError} if the testcases cannot work in the directory. */
export function checkDirectory(directory: string, workers: number): void {
  const other = "choose another with -d DIR";
  let isDirectory: boolean;
  try {
    isDirectory = statSync(directory).isDirectory();
  } catch (error) {
    const reason = reasonOf(error);
    if (reason === "ENOENT") throw new UsageError(`no directory ${directory}: create it, or ${other}`);
    throw new UsageError(`cannot use ${directory} (${reason}): ${other}`);
  }
  if (!isDirectory) throw new UsageError(`${directory} is no directory: ${other}`);
  const free = freeBytes(directory);
  const needed = FREE_BYTES_PER_WORKER * workers;
  if (free < needed) {
    throw new UsageError(
      `${directory} has ${mebibytes(free)} free and ${mebibytes(needed)} are needed: make room, or ${other}`,
    );
  }
  try {
    // Trying is the only sure way: root may write everywhere but to a read-only filesystem, quotas do not show.
    rmdirSync(mkdtempSync(join(directory, ".aiodio-ltp-")));
  } catch (error) {
    const reason = reasonOf(error);
    const why =
      reason === "EROFS"
        ? "is read-only"
        : reason === "EACCES" || reason === "EPERM"
          ? "is not writable for this user"
          : reason === "ENOSPC"
            ? "has no room left for files"
            : `takes no new files (${reason})`;
    throw new UsageError(`${directory} ${why}: ${other}`);
  }
}
