/** kirk's report, complete, so that what reads kirk's results.json (openQA, HTML scripts) reads ours. */
import type { MachineFacts, PlannedRun } from "../events/events.js";
import { formatLogLine, formatSummary, PLAIN } from "./ltp.js";
import { repeatCommand } from "./repeat.js";
import type { EndedTest, Results } from "./results.js";

/** kirk's word for an exit status: everything it does not know is a failure. */
const STATUS: ReadonlyMap<number, string> = new Map([
  [0, "pass"],
  [2, "brok"],
  [-1, "brok"],
  [4, "warn"],
  [32, "conf"],
]);

function testReport(result: EndedTest, name: string, results: Results): object {
  const { run, log, end, seed } = result;
  const issue = results.expected(run.key);
  const fine = end.verdict === "TPASS" || end.verdict === "TCONF";
  const repeat = fine ? undefined : repeatCommand(result, results);
  const status = STATUS.get(end.exit) ?? "fail";
  const { suite, iteration, filesystem, guest } = run;
  const text =
    log.map((line) => formatLogLine(line, PLAIN)).join("") + (end.summary ? formatSummary(end.counters) : "");
  const { passed, failed, broken, skipped, warnings } = end.counters;
  return {
    test_fqn: name,
    status,
    suite,
    iteration,
    ...(filesystem !== undefined && { filesystem }),
    ...(guest !== undefined && { guest }),
    ...(issue !== undefined && { known_issue: issue }),
    ...(seed !== undefined && { seed }),
    ...(repeat !== undefined && { repeat }),
    test: {
      command: run.program,
      arguments: run.argv,
      log: text,
      retval: [String(end.exit)],
      duration: end.durationSeconds,
      failed,
      passed,
      broken,
      skipped,
      warnings,
      result: status,
    },
  };
}

function environment(machine: MachineFacts): object {
  return {
    distribution: machine.distribution,
    distribution_version: machine.distributionVersion,
    kernel: `Linux ${machine.kernel} ${machine.kernelVersion}`,
    cmdline: machine.cmdline,
    arch: machine.machine,
    cpu: machine.cpu,
    swap: machine.swap,
    RAM: machine.memory,
  };
}

/**
 * The report as text; the results must keep their logs. What was interrupted or not run is not in it, as with kirk.
 *
 * `test_fqn` is the bare ID, as kirk has it, where that is unique among what was planned; else the run's key, because
 * readers such as openQA keep one result a name: a failure must not be overwritten by a later pass of the same line on
 * another filesystem. Keys of `results` that kirk does not have are `suite`, `iteration`, `filesystem`, `guest`,
 * `known_issue` (why the failure was expected), `seed` and `repeat` (the command that runs just this again).
 */
export function kirkReport(results: Results): string {
  const ended = results.ended();
  const planned = new Map<string, number>();
  for (const { id } of results.runs()) planned.set(id, (planned.get(id) ?? 0) + 1);
  const nameOf = ({ id, key }: PlannedRun) => (planned.get(id) === 1 ? id : key);
  const stats = { runtime: 0, passed: 0, failed: 0, broken: 0, skipped: 0, warnings: 0 };
  for (const { end } of ended) {
    stats.runtime += end.durationSeconds;
    for (const name of ["passed", "failed", "broken", "skipped", "warnings"] as const)
      stats[name] += end.counters[name];
  }
  const report = {
    results: ended.map((result) => testReport(result, nameOf(result.run), results)),
    stats,
    environment: results.machine ? environment(results.machine) : {},
  };
  return `${JSON.stringify(report, undefined, 4)}\n`;
}
