/** The files that say what of a plan is not to be run, and what of it may fail. */

import type { PlannedRun, RunStart } from "../events/events.js";
import { KnownIssues, readKnownIssues } from "../kernel/known-issues.js";
import { readSkipList, type SkipList } from "../kernel/skip-list.js";

/** Reads `--known-issues`. */
export async function loadKnownIssues(path: string, note: (text: string) => void): Promise<KnownIssues> {
  const { parseYaml } = await import("../kernel/yaml.js");
  const { issues, notes } = readKnownIssues(path, parseYaml);
  for (const text of notes) note(`--known-issues: ${text}`);
  return new KnownIssues(issues);
}

/** Reads `--skip-file`. */
export async function loadSkipList(path: string, note: (text: string) => void): Promise<SkipList> {
  const { parseYaml } = await import("../kernel/yaml.js");
  const list = readSkipList(path, parseYaml);
  for (const text of list.notes) note(`--skip-file: ${text}`);
  return list;
}

/** Says which runs are not to be run, and why. */
export function skippedOf(
  plan: readonly PlannedRun[],
  why: (run: PlannedRun) => string | undefined,
): NonNullable<RunStart["skipped"]> {
  const skipped = new Map<string, string[]>();
  for (const run of plan) {
    const reason = why(run);
    if (reason !== undefined) skipped.set(reason, [...(skipped.get(reason) ?? []), run.key]);
  }
  return [...skipped].map(([reason, keys]) => ({ reason, keys }));
}
