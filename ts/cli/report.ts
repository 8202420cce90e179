/** `aiodio-ltp report [JOURNAL] --reporter …`: the reports of a run, from its journal, as the run itself would have made them. */
import { resolve } from "node:path";
import { UsageError } from "../base/errors.js";
import { EXIT } from "../base/exit.js";
import { readJournal } from "../report/journal.js";
import { Results } from "../report/results.js";
import type { Flags } from "./flags.js";
import { latestJournal } from "./kept-runs.js";
import { keepsLogs, makeReporters, wantedReporters } from "./reporters.js";
import type { System } from "./system.js";

/** @throws UsageError there is no such journal, or a report can't be written */
export async function report(flags: Flags, operands: readonly string[], system: System): Promise<number> {
  const [name, ...more] = operands;
  if (more.length > 0) throw new UsageError("report takes one journal: report [JOURNAL] --reporter NAME[=FILE]");
  const path = name === undefined ? latestJournal(system.env) : resolve(system.cwd, name);
  const wanted = wantedReporters(flags, system.cwd);
  const results = new Results(keepsLogs(wanted));
  const reporters = await makeReporters(wanted, results, system, {
    journal: { path, kept: false },
    durations: flags.durations,
  });
  await readJournal(path, (event) => {
    results.add(event);
    for (const reporter of reporters) reporter.event(event);
  });
  for (const reporter of reporters) reporter.end?.();
  return EXIT.ok;
}
