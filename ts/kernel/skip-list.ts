/**
 * Lists of tests that are not to be run, as others keep them:
 *
 * - kirk's (`--skip-file`): an item a line, each a regular expression that is looked for in the test's ID
 * - LKFT's (skipfile-lkft.yaml of Linaro's test-definitions): entries with a reason, tests, and the boards, branches and
 *   environments that they are for
 */
import { readFileSync } from "node:fs";
import * as z from "zod";
import { firstOf, reasonOf, UsageError } from "../base/errors.js";
import type { Parse } from "./known-issues.js";

/** One reason not to run some tests. */
export interface SkipEntry {
  /** For messages: `skipfile:12`, or the reason that the file gives. */
  reason: string;
  skips(id: string): boolean;
  /** `4.14`, `linux-6.6.y`…; absent for all. */
  branches?: readonly string[];
}

export interface SkipList {
  entries: SkipEntry[];
  /** What of it does not count here. */
  notes: string[];
}

const some = z.union([z.string(), z.number()]).transform(String);
/** One name or several; `all` among them is all. */
const names = z
  .union([some.transform((name) => [name]), z.array(some)])
  .nullish()
  .transform((list) => (list?.includes("all") ? undefined : (list ?? undefined)));

const lkftSchema = z.object({
  skiplist: z
    .array(
      z.object({
        reason: some.nullish(),
        url: some.nullish(),
        environments: names,
        boards: names,
        branches: names,
        tests: z.array(some).nullable(),
      }),
    )
    .nullable(),
});

/** Of LKFT's two environments the one with the whole list; staging's is a small part of it. */
const ENVIRONMENT = "production";
const BOARDS_SHOWN = 4;

/** Reads a list of either form. Whatever is wrong with it is one {@link UsageError}. */
export function readSkipList(path: string, parse: Parse): SkipList {
  let content: string;
  try {
    content = readFileSync(path, "utf8");
  } catch (error) {
    throw new UsageError(`--skip-file: cannot read ${path} (${reasonOf(error)}): name a file of kirk's or LKFT's form`);
  }
  return parseSkipList(content, path, parse);
}

/** The same of its text; `path` is for messages. */
export function parseSkipList(content: string, path: string, parse: Parse): SkipList {
  return /^(?:---|skiplist *:)/m.test(content) ? lkft(content, path, parse) : kirk(content, path);
}

function kirk(content: string, path: string): SkipList {
  const entries: SkipEntry[] = [];
  for (const [index, line] of content.split("\n").entries()) {
    const source = line.trim();
    if (source === "" || source.startsWith("#")) continue;
    const place = `${path}:${index + 1}`;
    let pattern: RegExp;
    try {
      pattern = new RegExp(source);
    } catch {
      throw new UsageError(`--skip-file: ${place}: "${source}" is neither an ID nor a regular expression: correct it`);
    }
    entries.push({ reason: place, skips: (id) => pattern.test(id) });
  }
  return { entries, notes: [] };
}

function lkft(content: string, path: string, parse: Parse): SkipList {
  let value: unknown;
  try {
    value = parse(content).value;
  } catch (error) {
    throw new UsageError(`--skip-file: ${path} is no YAML (${(error as Error).message}): correct it`);
  }
  const { data, error } = lkftSchema.safeParse(value);
  if (error) {
    const { path: place, message } = error.issues[0] ?? { path: [], message: "" };
    throw new UsageError(`--skip-file: ${path} is not LKFT's format at ${place.map(String).join(" / ")}: ${message}`);
  }
  const entries: SkipEntry[] = [];
  const boards = new Set<string>();
  for (const entry of data.skiplist ?? []) {
    if (entry.environments && !entry.environments.includes(ENVIRONMENT)) continue;
    if (entry.boards) {
      for (const board of entry.boards) boards.add(board);
      continue;
    }
    const tests = new Set(entry.tests);
    const said = [entry.reason?.replaceAll(/\s+/g, " ").trim(), entry.url].filter((text) => text);
    entries.push({
      reason: said.join(" ") || path,
      skips: (id) => tests.has(id),
      ...(entry.branches && { branches: entry.branches }),
    });
  }
  const shown = firstOf([...boards].sort(), BOARDS_SHOWN, "boards").join(", ");
  return { entries, notes: boards.size > 0 ? [`${path}: what is only for boards (${shown}) is run here`] : [] };
}

/**
 * Why a test is not to be run, if it is not.
 *
 * @param kernel release of the kernel that it would run on, as far as it is known: an entry that is for some branches
 *   needs one of their versions
 */
export function skipReason({ entries }: SkipList, id: string, kernel: string | undefined): string | undefined {
  const version = versionOf(kernel ?? "");
  const fits = ({ branches }: SkipEntry) =>
    branches === undefined || (version !== undefined && branches.some((branch) => versionOf(branch) === version));
  return entries.find((entry) => entry.skips(id) && fits(entry))?.reason;
}

/** `6.6` of `linux-6.6.y`, `v6.6-rt` and `6.6.32-default`. */
function versionOf(text: string): string | undefined {
  return /(?:^|[^\d.])(\d+\.\d+)(?!\d)/.exec(text)?.[1];
}
