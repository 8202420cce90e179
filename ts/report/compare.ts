/**
 * What two runs of the same lines have shown differently: what passed before and does not now, what is mended, what fails in another
 * way, and what has become slower by more than runs differ by themselves.
 */
import { groupBy } from "../base/group.js";
import { lineOf, type Verdict } from "../events/events.js";
import { type Results, verdictReason } from "./results.js";
import { ORDER } from "./summary.js";

/** Below this, by Fisher's exact test, a rate is told to have changed; else it may be chance. */
const CHANCE_MAX = 0.01;
/** A program, or a line that was repeated, is slower where it takes so many times as long. */
const SLOWER = 1.5;
/** Of a program, nearly every line must be slower, and by more than noise. */
const SLOWER_LINES = 0.9;
const SLOWER_EACH = 1.2;
/** With fewer lines, or repetitions of one, a median says little. */
const LINES_MIN = 8;
const REPEATS_MIN = 5;
/** What takes less is the machine's noise. In seconds. */
const SECONDS_MIN = 0.02;
/** With fewer programs nobody can say whether it was the machine. */
const PROGRAMS_MIN = 3;

/** All runs of one line in one run of ours. */
export interface LineResults {
  name: string;
  command: string;
  program: string;
  ran: number;
  /** How often it did not pass, and neither could not apply nor was expected to. */
  bad: number;
  /** How often it could not apply. */
  unfit: number;
  worst: Verdict;
  /** Why it did not pass, first lines, without what differs from run to run. */
  reasons: string[];
  seconds: number[];
}

/** A line whose verdicts changed. */
export interface Change {
  old: LineResults;
  now: LineResults;
  /** How likely so many failures more (or fewer) would be if nothing had changed; 1 for a line that ran once. */
  chance: number;
}

export interface Comparison {
  /** It passed every time, and does not now. */
  broken: Change[];
  /** It could be tested, and can't be now. */
  unfit: Change[];
  /** It failed before, and fails more often now. */
  worse: Change[];
  /** It failed, and passes now every time. */
  fixed: Change[];
  /** It fails less often. */
  better: Change[];
  /** It fails as before, for another reason. */
  reasons: Change[];
  /** Programs and lines that take longer, with how many times as long. */
  slower: { what: string; times: number }[];
  missing: string[];
  added: string[];
  compared: number;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const [low = 0, high = 0] = sorted.length % 2 === 1 ? [sorted[middle], sorted[middle]] : sorted.slice(middle - 1);
  return (low + high) / 2;
}

/** Without numbers, addresses and names of temporary files: what differs from run to run. */
const lasting = (reason: string) => reason.replaceAll(/\bLTP_\w+|0x[0-9a-f]+|\d+/gi, "…");

/** By name: the key without its iteration. */
export function linesOf(results: Results): Map<string, LineResults> {
  const lines = new Map<string, LineResults>();
  for (const test of results.ended()) {
    const { run, end } = test;
    const name = lineOf(run);
    const line = lines.get(name) ?? {
      ...{ name, command: run.command, program: run.program, ran: 0, bad: 0, unfit: 0 },
      ...{ worst: "TPASS" as const, reasons: [], seconds: [] },
    };
    lines.set(name, line);
    line.ran += 1;
    line.seconds.push(end.durationSeconds);
    if (end.verdict === "TPASS" || results.expected(run.key) !== undefined) continue;
    if (ORDER.indexOf(end.verdict) < ORDER.indexOf(line.worst)) line.worst = end.verdict;
    if (end.verdict === "TCONF" && !results.required.has(run.key)) line.unfit += 1;
    else {
      line.bad += 1;
      const reason = lasting(verdictReason(test));
      if (!line.reasons.includes(reason)) line.reasons.push(reason);
    }
  }
  return lines;
}

/**
 * Fisher's exact test, one-sided: how likely at least `k` of the `n` would be among the `bad` if the `bad` of all `total` were spread by
 * chance.
 */
export function chanceOf(k: number, n: number, bad: number, total: number): number {
  const logFactorials = [0];
  for (let factor = 1; factor <= total; factor++)
    logFactorials.push((logFactorials[factor - 1] ?? 0) + Math.log(factor));
  const log = (value: number) => logFactorials[value] ?? 0;
  const logChoose = (from: number, take: number) => log(from) - log(take) - log(from - take);
  let chance = 0;
  for (let hits = k; hits <= Math.min(n, bad); hits++) {
    if (n - hits > total - bad) continue;
    chance += Math.exp(logChoose(bad, hits) + logChoose(total - bad, n - hits) - logChoose(total, n));
  }
  return Math.min(1, chance);
}

/** How likely it is that the side with the higher rate has it by chance. */
function chanceBetween(old: LineResults, now: LineResults): number {
  const [more, ran] = now.bad / now.ran >= old.bad / old.ran ? [now.bad, now.ran] : [old.bad, old.ran];
  return chanceOf(more, ran, old.bad + now.bad, old.ran + now.ran);
}

export function compare(before: Results, after: Results): Comparison {
  const [old, now] = [linesOf(before), linesOf(after)];
  const both = [...old].flatMap(([name, line]): Change[] => {
    const same = now.get(name);
    return same ? [{ old: line, now: same, chance: chanceBetween(line, same) }] : [];
  });
  const failedBefore = both.filter((change) => change.old.bad > 0);
  const passedBefore = both.filter((change) => change.old.bad === 0);
  const failsStill = failedBefore.filter((change) => change.now.bad > 0);
  const rate = ({ bad, ran }: LineResults) => bad / ran;
  const certain = failsStill.filter(({ chance }) => chance < CHANCE_MAX);
  const worse = certain.filter((change) => rate(change.now) > rate(change.old));
  const better = certain.filter((change) => rate(change.now) < rate(change.old));
  return {
    broken: passedBefore.filter((change) => change.now.bad > 0),
    unfit: both.filter((change) => change.now.bad === 0 && change.now.unfit > change.old.unfit),
    fixed: failedBefore.filter((change) => change.now.bad === 0 && change.now.unfit <= change.old.unfit),
    ...{ worse, better },
    reasons: failsStill.filter(({ old, now }) => !now.reasons.every((reason) => old.reasons.includes(reason))),
    slower: slower(both),
    missing: [...old.keys()].filter((name) => !now.has(name)),
    added: [...now.keys()].filter((name) => !old.has(name)),
    compared: both.length,
  };
}

/** What has become slower. Where there are programs enough, what all of them have in common is the machine's. */
function slower(both: readonly Change[]): Comparison["slower"] {
  const timed = both.filter(({ old, now }) => old.bad + old.unfit + now.bad + now.unfit === 0);
  const long = timed.flatMap(({ old, now }) => {
    const times = median(now.seconds) / median(old.seconds);
    return median(old.seconds) >= SECONDS_MIN ? [{ old, now, times }] : [];
  });
  const medians = [...groupBy(long, ({ old }) => old.program)].map(([program, lines]) => ({
    ...{ program, lines },
    times: median(lines.map(({ times }) => times)),
  }));
  const machine = medians.length >= PROGRAMS_MIN ? median(medians.map(({ times }) => times)) : 1;
  const slow = medians.flatMap(({ program, lines, times }) => {
    const share = lines.filter((line) => line.times / machine > SLOWER_EACH).length / lines.length;
    const is = lines.length >= LINES_MIN && times / machine >= SLOWER && share >= SLOWER_LINES;
    return is ? [{ what: program, times: times / machine, lines }] : [];
  });
  const told = new Set(slow.flatMap(({ lines }) => lines.map(({ old }) => old.name)));
  const single = long.flatMap(({ old, now, times }) => {
    if (told.has(old.name) || Math.min(old.seconds.length, now.seconds.length) < REPEATS_MIN) return [];
    // Each of the new times is longer than each of the old ones: by chance once in 252 at the least.
    const apart = Math.min(...now.seconds) / machine > Math.max(...old.seconds);
    return apart && times / machine >= SLOWER ? [{ what: old.name, times: times / machine }] : [];
  });
  return [...slow.map(({ what, times }) => ({ what, times })), ...single];
}

/** Whether anything that passed before does not now. */
export const isWorse = ({ broken, unfit, worse }: Comparison) => broken.length + unfit.length + worse.length > 0;

/** More lines than this of one kind are no overview any more. */
const SHOWN_MAX = 50;

function often({ bad, unfit, ran, worst }: LineResults): string {
  if (bad + unfit === 0) return ran === 1 ? "passed" : `passed ${ran} times`;
  return ran === 1 ? worst : `${worst} ${bad > 0 ? bad : unfit} of ${ran} times`;
}

function told({ old, now, chance }: Change): string {
  const repeated = Math.max(old.ran, now.ran) > 1;
  const sure = repeated
    ? ` (by chance: ${chance < 0.001 ? "less than 0.001" : chance.toFixed(3)}${chance < CHANCE_MAX ? "" : ", so run more"})`
    : "";
  return `${often(now)}, before: ${often(old)}${sure}`;
}

/** The sections of a comparison: a title, and a line for each thing with its place and what is told of it. */
function sectionsOf(all: Comparison): { title: string; rows: [name: string, text: string][] }[] {
  const change = (one: Change): [string, string] => [one.now.name, `${told(one)}  ${one.now.command}`];
  const because = (one: Change): [string, string] => [one.now.name, `${told(one)}: ${one.now.reasons.join("; ")}`];
  const names = (list: readonly string[]): [string, string][] => list.map((name) => [name, ""]);
  const sections: { title: string; rows: [string, string][] }[] = [
    { title: "New failures", rows: all.broken.map(because) },
    { title: "Can't be tested any more", rows: all.unfit.map(change) },
    { title: "Fails more often", rows: all.worse.map(change) },
    { title: "Fails for another reason", rows: all.reasons.map(because) },
    { title: "Slower", rows: all.slower.map(({ what, times }) => [what, `${times.toFixed(2)} times as long`]) },
    { title: "Fixed", rows: all.fixed.map(change) },
    { title: "Fails less often", rows: all.better.map(change) },
    { title: "Only in the old run", rows: names(all.missing) },
    { title: "Only in the new run", rows: names(all.added) },
  ];
  return sections
    .filter(({ rows }) => rows.length > 0)
    .map(({ title, rows }) => {
      const more = rows.length - SHOWN_MAX;
      const shown: [string, string][] = more > 0 ? [...rows.slice(0, SHOWN_MAX), [`… and ${more} more`, ""]] : rows;
      return { title: `${title}: ${rows.length}`, rows: shown };
    });
}

/** All of it in a few words, and its sections. */
export function summaryOf(all: Comparison): { verdict: string; sections: ReturnType<typeof sectionsOf> } {
  const sections = sectionsOf(all);
  const verdict = sections.length === 0 ? "no difference" : isWorse(all) ? "worse" : "nothing that passed fails";
  return { verdict, sections };
}

/** For the terminal. */
export function formatComparison(all: Comparison): string {
  const { verdict, sections } = summaryOf(all);
  const parts = sections.map(
    ({ title, rows }) => `${title}\n${rows.map(([name, text]) => `  ${name}  ${text}`.trimEnd()).join("\n")}\n\n`,
  );
  return `${parts.join("")}${all.compared} lines compared: ${verdict}\n`;
}
