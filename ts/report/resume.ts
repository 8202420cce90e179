/** Whether a run can go on where a journal ends. */
import { UsageError } from "../base/errors.js";
import type { PlannedRun, RunStart } from "../events/events.js";

/** The parts of a run that has a journal, and the one that is to follow. */
export interface Parts {
  first: RunStart;
  last: RunStart;
  next: RunStart;
  /** Kernels of guests and hosts, by name: what the earlier parts had, and what is known to be there now. */
  kernels: { name: string; before: string; now: string | undefined }[];
}

/**
 * @param force go on although results of different things come together; never with another plan
 * @throws UsageError unless the run in the journal is the run that is asked for
 */
export function checkResumable(path: string, parts: Parts, force: boolean): void {
  const { first, next } = parts;
  const begin = "or begin a new journal without --resume";
  checkPlan(path, first.plan, next.plan);
  if (first.directory !== next.directory) {
    throw new UsageError(`the journal ${path} is of a run in ${first.directory}: add -d ${first.directory}, ${begin}`);
  }
  if (first.engine !== next.engine) {
    const option = first.engine === undefined ? "drop --engine" : `add --engine ${first.engine}`;
    throw new UsageError(`the journal ${path} is of a run with another engine: ${option}, ${begin}`);
  }
  const differences = differencesOf(parts);
  if (differences.length === 0 || force) return;
  throw new UsageError(
    `the journal ${path} is of a run with another ${differences.join(", another ")}: ` +
      `make it the same, go on all the same with --resume=force, ${begin}`,
  );
}

function checkPlan(path: string, then: readonly PlannedRun[], now: readonly PlannedRun[]): void {
  const same = (a: PlannedRun | undefined, b: PlannedRun | undefined) =>
    a?.key === b?.key && a?.program === b?.program && JSON.stringify(a?.argv) === JSON.stringify(b?.argv);
  const length = Math.max(now.length, then.length);
  for (let index = 0; index < length; index++) {
    const [here, there] = [now[index], then[index]];
    if (same(here, there)) continue;
    const describe = (run: PlannedRun | undefined) => (run ? `"${run.key} ${run.command}"` : "nothing");
    throw new UsageError(
      `the journal ${path} is of another plan: run ${index + 1} is ${describe(there)} there and ${describe(here)} here: ` +
        "give the same files and options, or begin a new journal without --resume",
    );
  }
}

/** What is not the same as in the part before, which may have been forced. */
function differencesOf({ last, next, kernels }: Parts): string[] {
  const elsewhere = next.plan.some(({ guest }) => guest !== undefined);
  const pairs: [what: string, then: string | undefined, now: string | undefined][] = [
    // What runs elsewhere does not care which kernel the controller is on.
    ...(elsewhere ? [] : [["kernel", last.machine.kernel, next.machine.kernel] as [string, string, string]]),
    ["version of this package", last.version, next.version],
    ["--verify", last.verify, next.verify],
    ["--size", last.sizeBytes?.toString(), next.sizeBytes?.toString()],
    ["--device", last.devices?.join(" "), next.devices?.join(" ")],
  ];
  for (const { name, before, now } of kernels) if (now !== undefined) pairs.push([`kernel of ${name}`, before, now]);
  return pairs
    .filter(([, then, now]) => then !== now)
    .map(([what, then = "none", now = "none"]) => `${what} (${then} there, ${now} here)`);
}
