/** A testcase's temporary directory: LTP's names and rules. */
import { lchownSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { basename, dirname, isAbsolute, join, normalize } from "node:path";
import { MARKS, withVariables } from "../base/variables.js";

const PREFIX = "LTP_";
/** What can't be emptied in so many passes has entries that come back, such as the open files that NFS renames. */
const PASSES_MAX = 100;

/** A directory that could not be made or removed; `message` is LTP's. */
export class TmpdirError extends Error {}

/** `ENOSPC (28)`, LTP's way to print an errno. */
export function errnoText(error: unknown): string {
  const { code, errno } = error as NodeJS.ErrnoException;
  return errno === undefined ? String(code ?? error) : `${code} (${Math.abs(errno)})`;
}

/**
 * Makes `<parent>/LTP_<first three characters of the program><six random ones>`, owned by the caller's group. LTP's has mode
 * 0777; this one has 0700, or any user could plant a link in the place of a file that root is about to write.
 *
 * @throws TmpdirError for a relative or unusable parent
 */
export function makeTmpdir(parent: string, program: string): string {
  if (!isAbsolute(parent)) {
    throw new TmpdirError("You must specify an absolute pathname for environment variable TMPDIR");
  }
  const prefix = join(parent, PREFIX + program.slice(0, 3));
  let directory: string;
  try {
    directory = mkdtempSync(prefix);
  } catch (error) {
    throw new TmpdirError(`tst_tmpdir: mkdtemp(${prefix}XXXXXX) failed: ${errnoText(error)}`);
  }
  try {
    lchownSync(directory, -1, process.getgid?.() ?? -1);
  } catch (error) {
    rmSync(directory, { recursive: true, force: true });
    throw new TmpdirError(`tst_tmpdir: preparing ${directory} failed: ${errnoText(error)}`);
  }
  return directory;
}

/**
 * Makes room for a file that a runtest line names by `$TMPDIR` and `$$`. Here `$TMPDIR` is the testcase's own temporary
 * directory, so that nothing beside it is touched and nothing stays.
 *
 * @returns its path, relative to the directory
 * @throws TmpdirError for a path that leads out of it
 */
export function placeFile(directory: string, word: string): string {
  const path = normalize(word.replace(`${MARKS.TMPDIR}/`, "").replaceAll(MARKS.PID, String(process.pid)));
  if (
    path === "." ||
    path.endsWith("/") ||
    path.split("/").includes("..") ||
    isAbsolute(path) ||
    path.includes(MARKS.TMPDIR)
  ) {
    throw new TmpdirError(`'${withVariables(word)}' is no file in the temporary directory`);
  }
  try {
    mkdirSync(join(directory, dirname(path)), { recursive: true });
  } catch (error) {
    throw new TmpdirError(`mkdir(${dirname(path)}) failed: ${errnoText(error)}`);
  }
  return path;
}

/**
 * Removes such a directory with all that is in it; one that is gone already is fine.
 *
 * @throws TmpdirError when something stays; never touches a path that makeTmpdir would not have made
 */
export function removeTmpdir(directory: string): void {
  if (!isAbsolute(directory) || !basename(directory).startsWith(PREFIX)) {
    throw new TmpdirError(`tst_rmdir: ${directory} is no temporary directory of a testcase`);
  }
  for (let pass = 1; ; pass += 1) {
    try {
      // By its path: nobody else may put anything into it (0700) or, in a sticky parent such as /tmp, into its place.
      rmSync(directory, { recursive: true, force: true });
      return;
    } catch (error) {
      // Processes that were killed just now, and a workload that was abandoned, may still put a file into it.
      if ((error as NodeJS.ErrnoException).code === "ENOTEMPTY" && pass < PASSES_MAX) continue;
      throw new TmpdirError(`tst_rmdir: rmobj(${directory}) failed: ${errnoText(error)}`);
    }
  }
}
