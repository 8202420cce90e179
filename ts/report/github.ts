/** GitHub's workflow commands: an annotation for each testcase that did not pass. */
import { isBad, isExpected, judged } from "./judged.js";
import type { Results } from "./results.js";

/** GitHub shows so many of each kind for a step. */
const SHOWN_MAX = 10;
/** Lines of an annotation: the job's page has more. */
const LINES_MAX = 8;

const escapeText = (text: string) => text.replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
const escapeValue = (text: string) => escapeText(text).replaceAll(":", "%3A").replaceAll(",", "%2C");

function annotation(kind: "error" | "warning" | "notice", title: string, text: string): string {
  return `::${kind} title=${escapeValue(title)}::${escapeText(text.trimEnd())}\n`;
}

/** The first lines, and the last, which is how to have it again. */
function shortened(details: string): string {
  const lines = details.trimEnd().split("\n");
  const left = lines.length - LINES_MAX;
  if (left <= 1) return details;
  return [...lines.slice(0, LINES_MAX - 1), `… and ${left} more lines`, lines.at(-1)].join("\n");
}

/** The commands, one a line. What broke or failed is an error, what a known issue explains a notice. */
export function githubReport(results: Results): string {
  const all = judged(results);
  const bad = all.filter(isBad);
  const lines = bad
    .slice(0, SHOWN_MAX - 1)
    .map((one) => annotation("error", `${one.verdict} ${results.label(one.run)}`, shortened(one.details) || one.why));
  const others = bad.slice(SHOWN_MAX - 1);
  if (others.length > 0) {
    const names = others.map(({ run }) => results.label(run)).join("\n");
    lines.push(annotation("error", `${others.length} more testcases did not pass`, names));
  }
  const expected = all.filter(isExpected);
  if (expected.length > 0) {
    const names = expected.map(({ run, why }) => `${results.label(run)}: ${why}`).join("\n");
    lines.push(annotation("notice", `${expected.length} did not pass, as expected`, names));
  }
  const left = results.planned - results.endedCount;
  if (left > 0) lines.push(annotation("warning", `${left} testcases were not run`, `${left} of ${results.planned}`));
  return lines.join("");
}
