/** From what the user typed to a runtest file: a path, or the name of one of the package's own files. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { basename, join, normalize, resolve } from "node:path";
import { reasonOf, UsageError } from "../base/errors.js";
import { packaged } from "../base/package.js";
import { didYouMean } from "../base/suggest.js";
import { parseRuntest, type RuntestLine } from "./runtest.js";

/** A runtest file that was found, read and parsed. */
export interface RuntestFile {
  /** As messages name it. */
  path: string;
  /** What finds it again from any directory; absent for what can be read only once. */
  again?: string;
  /** Base name. */
  suite: string;
  /** At least one. */
  lines: RuntestLine[];
}

/** LTP's largest runtest file has 100 KiB; beyond this it is something else. */
const FILE_BYTES_MAX = 16 * 1024 * 1024;

/** Names of the package's own runtest files, sorted. */
export function packagedRuntests(): string[] {
  return readdirSync(packaged("runtest")).sort();
}

/**
 * Reads the runtest file that an argument names. Whatever is wrong with it is one {@link UsageError}.
 * @param alsoMeant other words that the user may have misspelled
 */
export function loadRuntest(argument: string, cwd: string, alsoMeant: readonly string[] = []): RuntestFile {
  const path = find(argument, cwd, alsoMeant);
  const again = statSync(path.absolute).isFile() ? { again: path.packaged ?? path.absolute } : {};
  const lines = parseRuntest(read(path.absolute, path.shown), path.shown);
  if (lines.length === 0) throw new UsageError(`${path.shown} has no test lines: add some, or name another file`);
  return { path: path.shown, suite: basename(path.absolute), lines, ...again };
}

/** `packaged`: the name, where it is one of the package's own. */
function find(
  argument: string,
  cwd: string,
  alsoMeant: readonly string[],
): { absolute: string; shown: string; packaged?: string } {
  const here = resolve(cwd, argument);
  if (argument !== "" && statSync(here, { throwIfNoEntry: false })) return { absolute: here, shown: argument };
  const folder = packaged("runtest");
  const names = packagedRuntests();
  const name = basename(argument);
  const plain = normalize(argument);
  if (names.includes(name) && (plain === name || plain === join("runtest", name))) {
    return { absolute: join(folder, name), shown: join(folder, name), packaged: name };
  }
  throw new UsageError(
    `no runtest file "${argument}"${didYouMean(name, [...names, ...alsoMeant])}: give a path, or one of ${names.join(", ")}`,
  );
}

function read(path: string, shown: string): string {
  let bytes: Buffer;
  try {
    const stats = statSync(path);
    if (stats.isDirectory()) throw new UsageError(`${shown} is a directory: name a runtest file in it`);
    // A FIFO is what `<(...)` of a shell gives.
    if (!stats.isFile() && !stats.isFIFO()) throw new UsageError(`${shown} is no regular file: name a runtest file`);
    if (stats.size > FILE_BYTES_MAX) throw new UsageError(`${shown} is too large to be a runtest file: name another`);
    bytes = readFileSync(path);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`cannot read ${shown} (${reasonOf(error)}): check its permissions, or name another file`);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new UsageError(`${shown} is not UTF-8 text: name a runtest file`);
  }
}
