/**
 * Known issues, in openQA's format: a failure that is listed is expected. It is reported as such and never as a pass,
 * and what is listed but no longer fails is told.
 *
 * suite -> ID of the test -> list of entries. Of the entries that fit, the first counts, for skipping too. For an ID that
 * has no key of its own, those of the key `*` count whose `test` matches it. A suite may also be just a list, whose
 * entries apply to every test of it. This is exactly what openQA's own reader does (lib/LTP/WhiteList.pm of
 * os-autoinst-distri-opensuse): an excuse that it would not accept must be none here.
 */
import { readFileSync } from "node:fs";
import * as z from "zod";
import { reasonOf, UsageError } from "../base/errors.js";
import { didYouMean } from "../base/suggest.js";
import type { MachineFacts, PlannedRun, Verdict } from "../events/events.js";

/** What an entry's conditions are compared with. One that is not known here fits no entry that asks for it. */
export const ATTRIBUTES = [
  "product",
  "ltp_version",
  "revision",
  "arch",
  "kernel",
  "backend",
  "retval",
  "flavor",
  "machine",
  "test_variant",
] as const;

export type Attribute = (typeof ATTRIBUTES)[number];

/** Attributes of a machine; `retval` is each test's own. */
export type Environment = Partial<Record<Exclude<Attribute, "retval">, string>>;

/** What is known of a machine: of a guest that has not been booted yet it may be less than all. */
export type KnownFacts = Partial<Pick<MachineFacts, "kernel" | "machine" | "distribution" | "distributionVersion">>;

/** One entry, where it stands, and what it asks for. */
export interface KnownIssue {
  /** For messages: `ltp-aiodio.part1 / AD033 / 2`. */
  place: string;
  suite: string;
  /** ID; `*` for all. */
  test: string;
  /** Of the key `*`: only tests whose ID matches, and that have no key of their own. */
  others?: { pattern: RegExp; own: ReadonlySet<string> };
  conditions: Partial<Record<Attribute, RegExp>>;
  message?: string;
  bugzilla?: string;
  /** Not to be run at all. */
  skip: boolean;
  /** The failure is known, and stays a failure. */
  keepFail: boolean;
}

const text = z.union([z.string(), z.number()]).transform(String);
/** Perl's truth: a text such as "no" is true. */
const truth = z
  .union([z.boolean(), z.number(), z.string()])
  .nullable()
  .transform((value) => (typeof value === "string" ? value !== "" && value !== "0" : Boolean(value)));

const pattern = text.transform((source, context) => {
  try {
    return perlPattern(source);
  } catch {
    context.addIssue({ code: "custom", message: `"${source}" is no regular expression` });
    return z.NEVER;
  }
});

const entrySchema = z.object({
  ...(Object.fromEntries(ATTRIBUTES.map((name) => [name, pattern.nullish()])) as Record<
    Attribute,
    z.ZodOptional<z.ZodNullable<typeof pattern>>
  >),
  test: pattern.nullish(),
  message: text.nullish(),
  bugzilla: text.nullish(),
  skip: truth.default(false),
  keep_fail: truth.default(false),
});

// What has all its entries commented out is null.
const entries = z.array(entrySchema);
const fileSchema = z
  .record(z.string(), z.union([entries, z.record(z.string(), entries.nullable())]).nullable())
  .nullable()
  .transform((file) => file ?? {});

/** openQA's patterns are Perl's; these few differ. Throws where it is none. */
function perlPattern(source: string): RegExp {
  const inline = /^\(\?([ims]+)\)/.exec(source);
  const flags = inline?.[1] ?? "";
  const body = source.slice(inline?.[0].length ?? 0);
  // An escaped backslash before the letter is a backslash.
  const anchored = body.replaceAll(/\\(.)/gs, (whole, letter: string) => {
    if (letter === "A") return "^";
    return letter === "z" || letter === "Z" ? "$" : whole;
  });
  return new RegExp(anchored, flags);
}

/** What a file holds. */
export interface Parsed {
  value: unknown;
  /** The line of the key or the item at this path, from 1. */
  lineOf(path: readonly PropertyKey[]): number | undefined;
}

/** Reads the text of a file; throws on what it cannot read. */
export type Parse = (content: string) => Parsed;

/** The entries of a file. */
export interface KnownIssuesFile {
  issues: KnownIssue[];
  /** What of it does not count, one line each: told, because its author expects that it does. */
  notes: string[];
}

/** The entries of a file. Whatever is wrong with it is one {@link UsageError} that names the place. */
export function parseKnownIssues(content: string, path: string, parse: Parse): KnownIssuesFile {
  let parsed: Parsed;
  try {
    parsed = parse(content.replace(/^\uFEFF/, ""));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new UsageError(`--known-issues: ${path} is no JSON or YAML (${reason}): correct it, or name another file`);
  }
  if (isSkipList(parsed.value)) {
    throw new UsageError(`--known-issues: ${path} is LKFT's skip list, not openQA's format: give it as --skip-file`);
  }
  const { data, error } = fileSchema.safeParse(withoutTemplates(parsed.value));
  if (error) {
    const { place, message } = deepest(error.issues, []);
    const where = place.length > 0 ? ` at ${place.map(String).join(" / ")}` : "";
    throw new UsageError(`--known-issues: ${path} is not openQA's format${where}: ${message}`);
  }
  const issues: KnownIssue[] = [];
  const notes = new Map<string, string>();
  const note = (place: readonly PropertyKey[], text: string) => {
    if (!notes.has(text)) notes.set(text, `${path}:${parsed.lineOf(place) ?? "?"}: ${text}`);
  };
  const take = (
    entry: Entry,
    raw: unknown,
    place: [suite: string, ...rest: PropertyKey[]],
    own?: ReadonlySet<string>,
  ) => {
    for (const key of Object.keys(raw as object)) {
      if (KEYS.includes(key)) continue;
      note([...place, key], `the key "${key}"${didYouMean(key, KEYS)} is not known and does not count`);
    }
    const test = place.length > 2 ? String(place[1]) : "*";
    const pattern = own && entry.test && !NOTHING.includes(entry.test.source) ? entry.test : undefined;
    if (own && !pattern) {
      note(place, 'an entry of "*" without `test` does not count, as in openQA');
      return;
    }
    if (place.length === 2 && entry.test)
      note([...place, "test"], "`test` in a suite's list does not count, as in openQA");
    issues.push(issueOf(entry, place.map(String).join(" / "), place[0], test, pattern && own && { pattern, own }));
  };
  const raw = parsed.value as Record<string, Record<string, unknown[]>>;
  for (const [suite, tests] of Object.entries(data)) {
    if (Array.isArray(tests)) {
      for (const [index, entry] of tests.entries()) take(entry, raw[suite]?.[index], [suite, index]);
      continue;
    }
    const lists = Object.entries(tests ?? {});
    const own = new Set(lists.filter(([, list]) => list !== null).map(([test]) => test));
    for (const [test, list] of lists) {
      for (const [index, entry] of (list ?? []).entries()) {
        take(entry, raw[suite]?.[test]?.[index], [suite, test, index], test === "*" ? own : undefined);
      }
    }
  }
  return { issues, notes: [...notes.values()] };
}

/** What only holds anchors for others to merge stands beside the suites, under such a key. */
function withoutTemplates(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).filter(([key]) => !/^(?:\.|x-)/.test(key)));
}

/** LKFT's format: every test of it would be a suite's that no run has, so that nothing would be skipped or excused. */
function isSkipList(value: unknown): boolean {
  return typeof value === "object" && value !== null && Array.isArray((value as { skiplist?: unknown }).skiplist);
}

/** Reads and parses one. */
export function readKnownIssues(path: string, parse: Parse): KnownIssuesFile {
  let content: string;
  try {
    content = readFileSync(path, "utf8");
  } catch (error) {
    throw new UsageError(`--known-issues: cannot read ${path} (${reasonOf(error)}): name a file in openQA's format`);
  }
  return parseKnownIssues(content, path, parse);
}

/** Of the shapes that a suite may have, the problem that lies deepest is the one that was meant. */
function deepest(
  issues: readonly z.core.$ZodIssue[],
  above: readonly PropertyKey[],
): { place: readonly PropertyKey[]; message: string } {
  const all = issues.flatMap((issue) => {
    const place = [...above, ...issue.path];
    const inner = issue.code === "invalid_union" ? issue.errors.filter((list) => list.length > 0) : [];
    return inner.length > 0 ? inner.map((list) => deepest(list, place)) : [{ place, message: issue.message }];
  });
  return all.reduce((best, one) => (one.place.length > best.place.length ? one : best));
}

type Entry = z.infer<typeof entrySchema>;

/** What an entry may hold. */
const KEYS: readonly string[] = Object.keys(entrySchema.shape);

/** Patterns that Perl takes for no pattern: RegExp's own way to write an empty one, and a false text. */
const NOTHING = ["(?:)", "0"];

function issueOf(entry: Entry, place: string, suite: string, test: string, others: KnownIssue["others"]): KnownIssue {
  const conditions: KnownIssue["conditions"] = {};
  for (const name of ATTRIBUTES) {
    const condition = entry[name];
    if (condition) conditions[name] = condition;
  }
  return {
    place,
    suite,
    test,
    ...(others && { others }),
    conditions,
    ...(typeof entry.message === "string" && { message: entry.message }),
    ...(typeof entry.bugzilla === "string" && { bugzilla: entry.bugzilla }),
    skip: entry.skip,
    keepFail: entry.keep_fail,
  };
}

/** What this machine is in openQA's words. What openQA alone knows may be given in `more`: flavor, revision… */
export function environmentOf(facts: KnownFacts, ltpVersion: string, more: Environment = {}): Environment {
  const { machine, kernel, distribution, distributionVersion } = facts;
  return {
    ...(distribution !== undefined && { product: productOf(distribution, distributionVersion ?? "") }),
    ...(machine !== undefined && { arch: machine }),
    ...(kernel !== undefined && { kernel }),
    ltp_version: ltpVersion,
    ...more,
  };
}

/** `sle:15-SP6`, `opensuse:Tumbleweed`, and for others os-release's own words. */
function productOf(id: string, version: string): string {
  if (id === "opensuse-tumbleweed") return "opensuse:Tumbleweed";
  if (id.startsWith("opensuse")) return `opensuse:${version}`;
  if (!/^sle[sd]?(?:_|$)/.test(id)) return `${id}:${version}`;
  // From 16 on it is plain.
  const pack = /^(1[25])\.(\d+)$/.exec(version);
  return `sle:${pack ? `${pack[1]}-SP${pack[2]}` : version}`;
}

/** openQA's words for a test that has not run, and for one that came to no end of its own: a timeout, a crash. */
const RETVAL = { none: "none", undefined: "undefined" };

function fits(issue: KnownIssue, environment: Environment, retval: string): boolean {
  const known: Partial<Record<Attribute, string>> = { ...environment, retval };
  return ATTRIBUTES.every((name) => {
    const condition = issue.conditions[name];
    const value = known[name];
    return condition === undefined || (value !== undefined && condition.test(value));
  });
}

/** What of a planned run entries are about. */
type Run = Pick<PlannedRun, "suite" | "id" | "guest">;

function names(issue: KnownIssue, { suite, id }: Run): boolean {
  if (issue.suite !== suite) return false;
  if (issue.others) return !issue.others.own.has(id) && issue.others.pattern.test(id);
  return issue.test === "*" || issue.test === id;
}

/** Why an expected failure is expected, in one line. */
export function issueText({ message, bugzilla, place }: KnownIssue): string {
  const bug = bugzilla === undefined ? undefined : /^\d+$/.test(bugzilla) ? `bug ${bugzilla}` : bugzilla;
  // A message is often several lines with links.
  const parts = [bug, message?.replaceAll(/\s+/g, " ").trim()].filter((part) => part !== undefined && part !== "");
  return parts.length > 0 ? parts.join(": ") : place;
}

/** An entry of this run's suites that nothing has needed. */
export interface StaleIssue {
  issue: KnownIssue;
  /** `unneeded`: its test ran and did not fail so. `absent`: no test of this run is meant. */
  reason: "unneeded" | "absent";
}

/** The known issues of one run. Remembers which of them were needed. */
export class KnownIssues {
  readonly #needed = new Set<KnownIssue>();
  readonly #ran = new Set<KnownIssue>();
  /** By the guest's name; undefined for this machine. */
  readonly #environments = new Map<string | undefined, Environment>();

  /** @param issues only those of this run's suites count; the others are some other run's. */
  constructor(private readonly issues: readonly KnownIssue[]) {}

  /**
   * Says what the tests of a guest run on, or, without a name, those of this machine. What is said last counts: of a
   * guest more is known when it is up. Before anything is said only entries without conditions fit.
   */
  describe(environment: Environment, guest?: string): void {
    this.#environments.set(guest, environment);
  }

  /** The entry that says not to run this test: the first that fits, if it says so. */
  skip(run: Run): KnownIssue | undefined {
    const environment = this.#environments.get(run.guest) ?? {};
    const issue = this.issues.find((one) => names(one, run) && fits(one, environment, RETVAL.none));
    if (!issue?.skip) return undefined;
    this.#needed.add(issue);
    return issue;
  }

  /**
   * The entry that explains how a test ended; none for one that did not fail. Ask for every test that ran.
   *
   * @param unended whether it came to no end of its own: then its status is openQA's `undefined` too
   */
  explain(run: Run, verdict: Verdict, exit: number, unended = false): KnownIssue | undefined {
    const meant = this.issues.filter((one) => names(one, run));
    for (const issue of meant) this.#ran.add(issue);
    if (verdict === "TPASS" || verdict === "TCONF") return undefined;
    return this.#fitting(meant, run, [String(exit), ...(unended ? [RETVAL.undefined] : [])]);
  }

  /**
   * The entry that explains what a checker of this test's filesystem said after it. It is about the checker, under whose
   * name it stands in place of a test's: what is known of a test does not explain a damaged filesystem.
   *
   * @param checker name of the program: `e2fsck`, `xfs_repair`, `btrfs`
   * @param exit what it makes of the test, as an exit status
   */
  explainCheck(run: Run, checker: string, exit: number): KnownIssue | undefined {
    const meant = this.issues.filter(({ suite, test }) => suite === run.suite && test === checker);
    return this.#fitting(meant, run, [String(exit)]);
  }

  #fitting(meant: readonly KnownIssue[], { guest }: Run, retvals: readonly string[]): KnownIssue | undefined {
    const environment = this.#environments.get(guest) ?? {};
    const fitting = meant.filter((one) => retvals.some((retval) => fits(one, environment, retval)));
    for (const issue of fitting) this.#needed.add(issue);
    return fitting[0];
  }

  /** Entries for the machines of this run that nothing needed, for its end over these suites. */
  stale(suites: Iterable<string>): StaleIssue[] {
    const wanted = new Set(suites);
    return this.issues
      .filter((issue) => wanted.has(issue.suite) && !this.#needed.has(issue))
      .filter((issue) => {
        // Which value a test would have returned is no matter of the machine.
        const { retval, ...conditions } = issue.conditions;
        return [...this.#environments.values()].some((environment) =>
          fits({ ...issue, conditions }, environment, RETVAL.none),
        );
      })
      .map((issue) => ({ issue, reason: this.#ran.has(issue) ? "unneeded" : "absent" }));
  }
}
