/** From what the user typed to runtest lines: a path, one of the package's own files, a line of those by its ID, or a program. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { basename, join, normalize, resolve } from "node:path";
import { reasonOf, UsageError } from "../base/errors.js";
import { packaged } from "../base/package.js";
import { ALONE, shellWord } from "../base/quoting.js";
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
  /** These are some of its lines, by their IDs. */
  part?: true;
}

/** LTP's largest runtest file has 100 KiB; beyond this it is something else. */
const FILE_BYTES_MAX = 16 * 1024 * 1024;

/** Names of the package's own runtest files, sorted. */
export function packagedRuntests(): string[] {
  return readdirSync(packaged("runtest")).sort();
}

/**
 * What the arguments name, in their order. Lines that are named one after the other by their IDs are one file's.
 *
 * @param programs the programs that there are: one by its name is a line without options
 * @param alsoMeant other words that the user may have misspelled
 * @throws UsageError whatever is wrong with one of them
 */
export function loadRuntests(
  words: readonly string[],
  cwd: string,
  programs: readonly string[],
  alsoMeant: readonly string[],
): RuntestFile[] {
  const files: RuntestFile[] = [];
  for (const word of words) {
    const path = find(word, cwd);
    const named = path ? fileAt(path) : lineNamed(word, programs);
    const last = files.at(-1);
    if (!named) throw nothingNamed(word, [...programs, ...alsoMeant]);
    if (last?.part && named.part && last.path === named.path) last.lines.push(...named.lines);
    else files.push(named);
  }
  return files;
}

/**
 * One line without a file, by its words. What finds it again begins with `-- `, which no path does that was resolved.
 *
 * @throws UsageError there is no program
 */
export function lineAlone([program, ...words]: readonly string[]): RuntestFile {
  if (program === undefined) throw new UsageError("run -- needs a program: run -- PROGRAM [ARG...]");
  const command = [program, ...words].map(shellWord).join(" ");
  const id = program.replaceAll(/[^\w-]/g, "_");
  const line: RuntestLine = { number: 1, id, command, argv: [program, ...words] };
  return { path: "the command line", again: `${ALONE}${command}`, suite: id, lines: [line] };
}

/** A program, or the one line of the package's files that has this ID. */
function lineNamed(word: string, programs: readonly string[]): RuntestFile | undefined {
  if (programs.includes(word)) {
    return { path: word, again: word, suite: word, lines: parseRuntest(`${word} ${word}\n`, word) };
  }
  const found = packagedRuntests().flatMap((name): RuntestFile[] => {
    const path = join(packaged("runtest"), name);
    const lines = parseRuntest(read(path, path), path).filter(({ id }) => id === word);
    return lines.length > 0 ? [{ path, again: name, suite: name, lines, part: true }] : [];
  });
  const [first] = found;
  // Files of ours repeat lines of LTP's.
  if (new Set(found.flatMap(({ lines }) => lines.map(({ command }) => command))).size > 1) {
    const files = found.map(({ suite }) => suite).join(" and ");
    throw new UsageError(`${word} is a line of ${files}: name one of them, and add -s '^${word}$'`);
  }
  return first;
}

/** Reads the runtest file that an argument names. @throws UsageError whatever is wrong with it */
export function loadRuntest(argument: string, cwd: string): RuntestFile {
  const path = find(argument, cwd);
  if (!path) throw nothingNamed(argument, []);
  return fileAt(path);
}

/** Where a file is. */
interface Found {
  absolute: string;
  shown: string;
  /** The name, where it is one of the package's own. */
  packaged?: string;
}

function fileAt({ absolute, shown, packaged }: Found): RuntestFile {
  const again = statSync(absolute).isFile() ? { again: packaged ?? absolute } : {};
  const lines = parseRuntest(read(absolute, shown), shown);
  if (lines.length === 0) throw new UsageError(`${shown} has no test lines: add some, or name another file`);
  return { path: shown, suite: basename(absolute), lines, ...again };
}

/** Undefined where it is neither a path nor one of the package's own files. */
function find(argument: string, cwd: string): Found | undefined {
  const here = resolve(cwd, argument);
  if (argument !== "" && statSync(here, { throwIfNoEntry: false })) return { absolute: here, shown: argument };
  const name = basename(argument);
  const plain = normalize(argument);
  if (!packagedRuntests().includes(name) || (plain !== name && plain !== join("runtest", name))) return undefined;
  const path = join(packaged("runtest"), name);
  return { absolute: path, shown: path, packaged: name };
}

/** @param alsoMeant other words that the user may have misspelled */
function nothingNamed(argument: string, alsoMeant: readonly string[]): UsageError {
  const names = packagedRuntests();
  const meant = didYouMean(basename(argument), [...names, ...alsoMeant]);
  return new UsageError(
    `no runtest file "${argument}"${meant}: give a path, a program, the ID of a line, or one of ${names.join(", ")}`,
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
