/** The Test Anything Protocol, version 14. */
import { stringify } from "yaml";
import { type Bad, type Expected, type Judged, judged } from "./judged.js";
import type { Results } from "./results.js";

/** `#` begins a directive, and a backslash keeps it from that. */
const plain = (text: string) => text.replaceAll(/[\\#]/g, "\\$&").replaceAll(/\s+/g, " ").trim();

function point(one: Judged, number: number, results: Results): string {
  const { run } = one;
  const name = plain(`${results.label(run)} ${run.command}`);
  switch (one.as) {
    case "passed":
      return `ok ${number} - ${name}\n${diagnosis({ duration_ms: milliseconds(one) })}`;
    case "skipped":
      return `ok ${number} - ${name} # SKIP ${plain(one.why)}\n`;
    case "expected":
      return `not ok ${number} - ${name} # TODO ${plain(one.why)}\n${diagnosis(complaint(one))}`;
    case "failed":
    case "broken":
      return `not ok ${number} - ${name}\n${diagnosis({ message: one.why, ...complaint(one) })}`;
  }
}

const milliseconds = ({ seconds }: Judged) => Math.round(1000 * seconds);

function complaint(one: Bad | Expected): object {
  return { severity: one.verdict, duration_ms: milliseconds(one), output: one.details };
}

/** A YAML block that belongs to the test point before it. */
function diagnosis(values: object): string {
  const block = `---\n${stringify(values, { lineWidth: 0 })}...\n`;
  return block.replaceAll(/^(?=.)/gm, "  ");
}

/** One test point for each planned run, in the plan's order; a run that ended before its plan bails out. */
export function tapReport(results: Results): string {
  const all = judged(results);
  const points = all.map((one, index) => point(one, index + 1, results));
  const left = results.planned - results.endedCount;
  const bail = left > 0 ? `Bail out! ${left} of ${results.planned} testcases were not run\n` : "";
  return `TAP version 14\n1..${all.length}\n${points.join("")}${bail}`;
}
