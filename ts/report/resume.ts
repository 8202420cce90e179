/** Whether a run can go on where a journal ends. */
import { UsageError } from "../plan/usage-error.js";
import type { PlannedRun } from "./events.js";
import type { History } from "./journal.js";

/** What has to be the same for a run to go on. */
export interface Resumption {
  plan: readonly PlannedRun[];
  directory: string;
  engine?: string | undefined;
}

/** @throws UsageError unless the run in the journal is the run that is asked for */
export function checkResumable(path: string, { start }: History, { plan, directory, engine }: Resumption): void {
  const begin = "or begin a new journal without --resume";
  const same = (a: PlannedRun | undefined, b: PlannedRun | undefined) =>
    a?.key === b?.key && a?.program === b?.program && JSON.stringify(a?.argv) === JSON.stringify(b?.argv);
  const length = Math.max(plan.length, start.plan.length);
  for (let index = 0; index < length; index++) {
    const [now, then] = [plan[index], start.plan[index]];
    if (same(now, then)) continue;
    const describe = (run: PlannedRun | undefined) => (run ? `"${run.key} ${run.command}"` : "nothing");
    throw new UsageError(
      `the journal ${path} is of another plan: run ${index + 1} is ${describe(then)} there and ${describe(now)} here: ` +
        `give the same files and options, ${begin}`,
    );
  }
  if (start.directory !== directory) {
    throw new UsageError(`the journal ${path} is of a run in ${start.directory}: add -d ${start.directory}, ${begin}`);
  }
  if (start.engine !== engine) {
    const option = start.engine === undefined ? "drop --engine" : `add --engine ${start.engine}`;
    throw new UsageError(`the journal ${path} is of a run with another engine: ${option}, ${begin}`);
  }
}
