/** What workloads find, in words. A testcase has a sentence of its own for each kind. */
import type { Finding, Findings } from "#native";
import { formatBytes } from "../base/numbers.js";
import type { Test } from "./testcase.js";
import { describeRanges } from "./verification.js";

/** A testcase's sentences: by kind, what is said of a finding. */
export type Words = Readonly<Record<string, (finding: Finding) => string>>;

/** The sentence for a finding. */
export function sentence(words: Words, finding: Finding): string {
  return words[finding.kind]?.(finding) ?? finding.kind;
}

/** Findings shown of each kind. */
const SHOWN = 3;

/**
 * One TFAIL for each kind of finding, with its sentence from `words`, and what is known of the first of them as TINFO.
 * `file` is the name shown, `race` what each sentence begins with. Returns whether there was any.
 */
export function reportFindings<K extends string>(
  test: Pick<Test, "fail" | "info">,
  file: string,
  findings: Findings,
  words: Readonly<Record<K, string>>,
  race = "",
): boolean {
  for (const kind of new Set(findings.first.map((finding) => finding.kind))) {
    test.fail(`${race}${(words as Readonly<Record<string, string>>)[kind] ?? kind}`);
    const found = findings.first.filter((finding) => finding.kind === kind);
    for (const finding of found.slice(0, SHOWN)) for (const line of describeRound(file, finding)) test.info(line);
  }
  if (findings.total > findings.first.length) test.info(`${findings.total} troubles in all`);
  return findings.total > 0;
}

/** The facts of a race's finding as lines. */
export function describeRound(file: string, finding: Finding): string[] {
  const { round, offset, bytes, detail } = finding;
  const what = `${formatBytes(bytes)} at offset 0x${offset.toString(16)}${answer(finding)}: ${detail}`;
  return describeFinding(`${file}, round ${round}`, finding, what);
}

/** A finding as lines that begin with `where`: what it is, and its bad ranges. */
export function describeFinding(where: string, finding: Finding, what = explainFinding(finding)): string[] {
  return [`${where}: ${what}`, ...describeRanges(where, finding.ranges, finding.rangesTotal)];
}

/** The core's half sentence, with the file and the kernel's answer. */
export function explainFinding(finding: Finding): string {
  const file = finding.file === undefined ? "" : `${finding.file}: `;
  return `${file}${finding.detail}${answer(finding)}`;
}

/** The kernel's answer, as LTP's TERRNO has it; nothing where that is not the trouble. */
function answer({ code, errno }: Finding): string {
  return code === undefined ? "" : `: ${code} (${errno})`;
}
