/** Which results known issues explain: asked as they come, and anew of all of them where a run is resumed. */
import { basename } from "node:path";
import { type Check, RESULT_BITS, type RunEvent } from "../events/events.js";
import { issueText, type KnownIssue, type KnownIssues } from "../kernel/known-issues.js";
import type { EndedTest, Results } from "./results.js";

type KnownIssueEvent = Extract<RunEvent, { type: "known-issue" }>;

export class Excuses {
  constructor(
    private readonly known: KnownIssues,
    private readonly results: Results,
  ) {}

  /** What explains what this event, which the results have already, has shown. */
  after(event: RunEvent): KnownIssueEvent[] {
    if (event.type === "test-end") return this.#of([event.key]);
    return event.type === "check" ? this.#of(event.suspects) : [];
  }

  /** What explains anything that has ended. */
  all(): KnownIssueEvent[] {
    return this.#of(this.results.ended().map(({ run }) => run.key));
  }

  #of(keys: readonly string[]): KnownIssueEvent[] {
    return keys.flatMap((key) => {
      const ended = this.results.endedAs(key);
      const text = ended && this.#explain(ended);
      return text === undefined ? [] : [{ type: "known-issue", key, text }];
    });
  }

  /** Undefined where there is nothing to explain, or where a part of it is not explained. */
  #explain({ run, own, complaints }: EndedTest): string | undefined {
    const issues: (KnownIssue | undefined)[] = [];
    const issue = this.known.explain(run, own.verdict, own.exit, own.unended);
    if (own.verdict !== "TPASS" && own.verdict !== "TCONF") issues.push(issue);
    for (const { checker, exit } of complaints.flatMap(saidBy)) {
      issues.push(checker === undefined ? undefined : this.known.explainCheck(run, checker, exit));
    }
    if (issues.length === 0) return undefined;
    const texts = issues.map((one) => (one && !one.keepFail ? issueText(one) : undefined));
    return texts.includes(undefined) ? undefined : [...new Set(texts)].join("; ");
  }
}

/** Who has complained, and what that makes of a testcase; nobody where it could not even be asked. */
function saidBy({ result: { reports, unmountable, unchecked } }: Check): { checker?: string; exit: number }[] {
  const said: { checker?: string; exit: number }[] = reports
    .filter(({ verdict }) => verdict !== "clean")
    .map(({ checker, verdict }) => ({
      checker: basename(checker.split(" ", 1)[0] ?? ""),
      exit: verdict === "corrupt" ? RESULT_BITS.TFAIL : RESULT_BITS.TWARN,
    }));
  if (unmountable !== undefined) said.push({ checker: "mount", exit: RESULT_BITS.TFAIL });
  if (unchecked !== undefined || said.length === 0) said.push({ exit: RESULT_BITS.TWARN });
  return said;
}
