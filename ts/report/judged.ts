/** What was planned, as other tools' formats know tests: passed, failed, not able to run, or failed as expected. */
import { isDamaged, type PlannedRun, type Verdict } from "../events/events.js";
import { formatLogLine, PLAIN } from "./ltp.js";
import { type EndedTest, explanation, type Results, verdictReason } from "./results.js";
import { formatFilesystemEvent, formatRepeat } from "./summary.js";

/** That something did not pass: the reason in one line, and what is known of it. */
interface Complaint {
  verdict: Verdict;
  why: string;
  details: string;
}

export type Judged = { run: PlannedRun; seconds: number } & (
  | { as: "passed" }
  | { as: "skipped"; why: string }
  /** `broken`: it could not come to a verdict. `expected`: a known issue, which `why` tells, explains it. */
  | ({ as: "failed" | "broken" | "expected" } & Complaint)
);

export type Bad = Judged & { as: "failed" | "broken" } & Complaint;
export type Expected = Judged & { as: "expected" } & Complaint;

export const isBad = (one: Judged): one is Bad => one.as === "failed" || one.as === "broken";
export const isExpected = (one: Judged): one is Expected => one.as === "expected";

/**
 * Everything that was planned, in the plan's order: what was not run is skipped, with the reason. Behind it the filesystems that were
 * not clean although no testcase had run there.
 */
export function judged(results: Results): Judged[] {
  const listed = new Map(results.start?.skipped?.flatMap(({ reason, keys }) => keys.map((key) => [key, reason])));
  const tests = results.runs().map((run): Judged => {
    const result = results.endedAs(run.key);
    if (!result) {
      return { run, seconds: 0, as: "skipped", why: `not run: ${listed.get(run.key) ?? "the run ended before"}` };
    }
    const { verdict, durationSeconds: seconds } = result.end;
    if (verdict === "TPASS") return { run, seconds, as: "passed" };
    const why = verdictReason(result);
    if (verdict === "TCONF" && !results.required.has(run.key)) return { run, seconds, as: "skipped", why };
    const issue = results.expected(run.key);
    const as = issue !== undefined ? "expected" : verdict === "TBROK" ? "broken" : "failed";
    return { run, seconds, as, verdict, why: issue ?? why, details: detailsOf(result, results) };
  });
  const filesystems = results.unblamed.map((check, index): Judged => {
    const { filesystem } = check;
    const id = `${filesystem}-check-${index + 1}`;
    const run = { key: `filesystems:${id}`, suite: "filesystems", id, iteration: 1, program: "", argv: [], filesystem };
    const details = formatFilesystemEvent(check, results);
    const [why = ""] = details.split("\n", 1);
    const verdict = isDamaged(check.result) ? "TFAIL" : "TWARN";
    const command = check.result.reports[0]?.checker ?? "check";
    return { run: { ...run, command }, seconds: check.result.seconds, as: "failed", verdict, why, details };
  });
  return [...tests, ...filesystems];
}

function detailsOf(result: EndedTest, results: Results): string {
  const lines = explanation(result.log).map((line) => formatLogLine(line, PLAIN));
  return lines.join("") + formatRepeat(result, results);
}

/** How many of each there are. */
export function countsOf(all: readonly Judged[]): Record<Judged["as"], number> {
  const counts = { passed: 0, failed: 0, broken: 0, expected: 0, skipped: 0 };
  for (const { as } of all) counts[as] += 1;
  return counts;
}
