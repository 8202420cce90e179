/** What a run has shown so far: the one place where events are added up. Reporters read it, resuming fills it. */
import type { PlannedRun, ResultLine, RunEvent, Verdict } from "./events.js";

export type RunStart = Extract<RunEvent, { type: "run-start" }>;
export type RunEnd = Extract<RunEvent, { type: "run-end" }>;
export type TestEnd = Extract<RunEvent, { type: "test-end" }>;

/** A line of a testcase's output: a result line, or text without file and type. */
export type LogLine = ({ type: "line" } & ResultLine) | { type: "raw"; text: string };

/** One planned run and what came of it. */
export interface TestResult {
  run: PlannedRun;
  log: LogLine[];
  /** Absent while it has not ended. */
  end?: TestEnd;
}

export class Results {
  /** Every planned run by its key, in the plan's order. */
  readonly #tests = new Map<string, TestResult>();
  readonly #ended = new Map<string, TestResult & { end: TestEnd }>();
  readonly #verdicts: Record<Verdict, number> = { TPASS: 0, TFAIL: 0, TBROK: 0, TWARN: 0, TCONF: 0 };
  start: RunStart | undefined;
  end: RunEnd | undefined;
  /** Testcases that an earlier part of a resumed run has brought. */
  earlier = 0;

  /** @param keepLogs keep the lines of what passed too: only kirk's report needs them, and they are most of a run. */
  constructor(readonly keepLogs = false) {}

  add(event: RunEvent): void {
    switch (event.type) {
      case "run-start":
        this.start = event;
        this.end = undefined;
        this.earlier = this.#ended.size;
        for (const run of event.plan) {
          if (!this.#tests.has(run.key)) this.#tests.set(run.key, { run, log: [] });
        }
        break;
      case "test-start":
        this.of(event.key).log = [];
        break;
      case "line":
      case "raw": {
        const { key, ...line } = event;
        this.of(key).log.push(line);
        break;
      }
      case "test-end": {
        const result = this.of(event.key);
        result.end = event;
        // An interrupted testcase has shown nothing: it counts as not run.
        if (!event.interrupted && !this.#ended.has(event.key)) {
          this.#ended.set(event.key, { ...result, end: event });
          this.#verdicts[event.verdict] += 1;
        }
        if (event.verdict === "TPASS" && !this.keepLogs) result.log.length = 0;
        break;
      }
      case "run-end":
        this.end = event;
        break;
      case "progress":
      case "data":
        break;
    }
  }

  /** The planned run with this key; a key outside the plan is a bug. */
  of(key: string): TestResult {
    const result = this.#tests.get(key);
    if (!result) throw new Error(`event for ${JSON.stringify(key)}, which is not in the plan`);
    return result;
  }

  has(key: string): boolean {
    return this.#tests.has(key);
  }

  /** Whether this run has ended with a verdict. */
  completed(key: string): boolean {
    return this.#ended.has(key);
  }

  /** What has ended with a verdict, in the order of ending. */
  ended(): (TestResult & { end: TestEnd })[] {
    return [...this.#ended.values()];
  }

  get endedCount(): number {
    return this.#ended.size;
  }

  get planned(): number {
    return this.#tests.size;
  }

  /** How many testcases ended with each verdict. */
  verdicts(): Record<Verdict, number> {
    return { ...this.#verdicts };
  }

  /** A testcase's short name: its key, without the suite when there is only one. */
  label({ key, suite, id }: PlannedRun): string {
    const plan = this.start?.plan ?? [];
    this.#single ??= plan.every((run) => run.key.startsWith(`${plan[0]?.suite}:`));
    // The suite in the key may be `name@2`; the ID holds no colon.
    return this.#single && key.startsWith(`${suite}:${id}`) ? key.slice(suite.length + 1) : key;
  }
  #single: boolean | undefined;

  /** Width of the widest label. */
  labelWidth(): number {
    this.#width ??= Math.max(0, ...(this.start?.plan ?? []).slice(0, 10_000).map((run) => this.label(run).length));
    return this.#width;
  }
  #width: number | undefined;
}

/** The lines that say why a verdict is not TPASS: from the first line of trouble to the end, preamble left out. */
export function explanation(log: readonly LogLine[]): LogLine[] {
  const first = log.findIndex((line) => line.type === "raw" || !["TPASS", "TINFO", "TDEBUG"].includes(line.result));
  return first < 0 ? [] : log.slice(first);
}
