/** kirk's report, complete, so that what reads kirk's results.json (openQA, HTML scripts) reads ours. */
import type { Machine, Reporter, RunEvent } from "./events.js";
import { formatLogLine, formatSummary } from "./ltp.js";
import type { Results, TestEnd, TestResult } from "./results.js";

/** kirk's word for an exit status: everything it does not know is a failure. */
const STATUS: ReadonlyMap<number, string> = new Map([
  [0, "pass"],
  [2, "brok"],
  [-1, "brok"],
  [4, "warn"],
  [32, "conf"],
]);

function testReport({ run, log, end }: TestResult & { end: TestEnd }): object {
  const plain = { colour: false, reproducible: false };
  const status = STATUS.get(end.exit) ?? "fail";
  const text =
    log.map((line) => formatLogLine(line, plain)).join("") + (end.summary ? formatSummary(end.counters) : "");
  const { passed, failed, broken, skipped, warnings } = end.counters;
  return {
    test_fqn: run.id,
    status,
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

function environment(machine: Machine): object {
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

/** The report as text. What was interrupted or not run is not in it, as with kirk. */
export function kirkReport(results: Results): string {
  const ended = results.ended();
  const stats = { runtime: 0, passed: 0, failed: 0, broken: 0, skipped: 0, warnings: 0 };
  for (const { end } of ended) {
    stats.runtime += end.durationSeconds;
    for (const name of ["passed", "failed", "broken", "skipped", "warnings"] as const)
      stats[name] += end.counters[name];
  }
  const report = {
    results: ended.map(testReport),
    stats,
    environment: results.machine ? environment(results.machine) : {},
  };
  return `${JSON.stringify(report, undefined, 4)}\n`;
}

/** Hands the report to `write` when the run is over. The results must keep their logs. */
export class JsonReporter implements Reporter {
  constructor(
    readonly results: Results,
    readonly write: (report: string) => void,
  ) {}

  event(_event: RunEvent): void {}

  end(): void {
    this.write(kirkReport(this.results));
  }
}
