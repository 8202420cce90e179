/**
 * Known issues, in openQA's format: a failure that is listed is expected. It is reported as such and never as a pass,
 * and what is listed but no longer fails is told.
 *
 * suite -> ID of the test, or `*` with a `test` pattern in its entries -> list of entries. A suite may also be just a
 * list, whose entries apply to every test of it. Of the entries that fit, the first counts.
 */
import { readFileSync } from "node:fs";
import { z } from "zod";
import { reasonOf, UsageError } from "../plan/usage-error.js";
import type { Machine, PlannedRun, Verdict } from "../report/events.js";

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
export type KnownFacts = Partial<Pick<Machine, "kernel" | "machine" | "distribution" | "distributionVersion">>;

/** One entry, where it stands, and what it asks for. */
export interface KnownIssue {
  /** For messages: `ltp-aiodio.part1 / AD033 / 2`. */
  place: string;
  suite: string;
  /** ID; `*` for all. */
  test: string;
  /** Only tests whose ID matches. */
  testPattern?: RegExp;
  conditions: Partial<Record<Attribute, RegExp>>;
  message?: string;
  bugzilla?: string;
  /** Not to be run at all. */
  skip: boolean;
  /** The failure is known, and stays a failure. */
  keepFail: boolean;
}

const text = z.union([z.string(), z.number()]).transform(String);
/** Perl's truth, as a JSON or YAML file may spell it. */
const truth = z
  .union([z.boolean(), z.number(), z.string()])
  .transform((value) => !["", "0", "false", "no"].includes(String(value).toLowerCase()));

const pattern = text.transform((source, context) => {
  try {
    return perlPattern(source);
  } catch {
    context.addIssue({ code: "custom", message: `"${source}" is no regular expression` });
    return z.NEVER;
  }
});

const entrySchema = z.object({
  ...(Object.fromEntries(ATTRIBUTES.map((name) => [name, pattern.optional()])) as Record<
    Attribute,
    z.ZodOptional<typeof pattern>
  >),
  test: pattern.optional(),
  message: text.optional(),
  bugzilla: text.optional(),
  skip: truth.default(false),
  keep_fail: truth.default(false),
});

const entries = z.array(entrySchema);
const fileSchema = z.record(z.string(), z.union([entries, z.record(z.string(), entries)]));

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

/** How a file is written. */
export interface Syntax {
  name: string;
  /** Throws on what it cannot read. */
  parse(content: string): unknown;
}

const JSON_SYNTAX: Syntax = { name: "JSON", parse: JSON.parse };

/** The entries of a file. Whatever is wrong with it is one {@link UsageError} that names the place. */
export function parseKnownIssues(content: string, path: string, syntax = JSON_SYNTAX): KnownIssue[] {
  let value: unknown;
  try {
    value = syntax.parse(content.replace(/^\uFEFF/, ""));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new UsageError(`--known-issues: ${path} is no ${syntax.name} (${reason}): correct it, or name another file`);
  }
  const { data, error } = fileSchema.safeParse(value);
  if (error) {
    const { place, message } = deepest(error.issues, []);
    const where = place.length > 0 ? ` at ${place.map(String).join(" / ")}` : "";
    throw new UsageError(`--known-issues: ${path} is not openQA's format${where}: ${message}`);
  }
  return Object.entries(data).flatMap(([suite, tests]) =>
    Array.isArray(tests)
      ? tests.map((entry, index) => issueOf(entry, suite, "*", `${suite} / ${index}`))
      : Object.entries(tests).flatMap(([test, list]) =>
          list.map((entry, index) => issueOf(entry, suite, test, `${suite} / ${test} / ${index}`)),
        ),
  );
}

/** Reads and parses one. */
export function readKnownIssues(path: string, syntax = JSON_SYNTAX): KnownIssue[] {
  let content: string;
  try {
    content = readFileSync(path, "utf8");
  } catch (error) {
    throw new UsageError(`--known-issues: cannot read ${path} (${reasonOf(error)}): name a file in openQA's format`);
  }
  return parseKnownIssues(content, path, syntax);
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

function issueOf(entry: z.infer<typeof entrySchema>, suite: string, test: string, place: string): KnownIssue {
  const conditions: KnownIssue["conditions"] = {};
  for (const name of ATTRIBUTES) {
    const condition = entry[name];
    if (condition) conditions[name] = condition;
  }
  return {
    place,
    suite,
    test,
    ...(entry.test && { testPattern: entry.test }),
    conditions,
    ...(entry.message !== undefined && { message: entry.message }),
    ...(entry.bugzilla !== undefined && { bugzilla: entry.bugzilla }),
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

function fits(issue: KnownIssue, environment: Environment, retval?: number): boolean {
  const known: Partial<Record<Attribute, string>> = {
    ...environment,
    ...(retval !== undefined && { retval: String(retval) }),
  };
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
  return (issue.test === "*" || issue.test === id) && (issue.testPattern?.test(id) ?? true);
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

  /** The entry that says not to run this test. */
  skip(run: Run): KnownIssue | undefined {
    const environment = this.#environments.get(run.guest) ?? {};
    const issue = this.issues.find((one) => one.skip && names(one, run) && fits(one, environment));
    if (issue) this.#needed.add(issue);
    return issue;
  }

  /** The entry that explains how a test ended; none for one that did not fail. Ask for every test that ran. */
  explain(run: Run, verdict: Verdict, exit: number): KnownIssue | undefined {
    const meant = this.issues.filter((one) => names(one, run));
    for (const issue of meant) this.#ran.add(issue);
    if (verdict === "TPASS" || verdict === "TCONF") return undefined;
    const fitting = meant.filter((one) => fits(one, this.#environments.get(run.guest) ?? {}, exit));
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
        return [...this.#environments.values()].some((environment) => fits({ ...issue, conditions }, environment));
      })
      .map((issue) => ({ issue, reason: this.#ran.has(issue) ? "unneeded" : "absent" }));
  }
}
