/** What a run has shown so far: the one place where events are added up. Reporters read it, resuming fills it. */
import type { RecordAnswer, RecordedOperation } from "#native";
import {
  type Check,
  count,
  exitStatus,
  isDamaged,
  lineOf,
  type MachineFacts,
  type PlannedRun,
  type ResultLine,
  type RunEnd,
  type RunEvent,
  type RunStart,
  type TestEnd,
  type Verdict,
  verdictOf,
  zeroCounters,
} from "../events/events.js";
import { seedIn } from "./repeat.js";
import { type Unchecked, UncheckedRuns } from "./unchecked.js";

/** A line of a testcase's output: a result line, or text without file and type. */
export type LogLine = ({ type: "line" } & ResultLine) | { type: "raw"; text: string };

/** Where a result line says to come from that no testcase reported: its filesystem could not be provided. */
const UNAVAILABLE = "filesystem";

/** One planned run and what came of it. */
export interface TestResult {
  run: PlannedRun;
  log: LogLine[];
  /** The seed that it has told, hexadecimal. */
  seed?: string;
  /** The worker that has begun it last. */
  worker?: number;
  /** Absent while it has not ended. */
  end?: TestEnd;
}

/** One that has ended. */
export interface EndedTest extends TestResult {
  /** With what its filesystem's checker has said since. */
  end: TestEnd;
  /** As it ended by itself. */
  own: TestEnd;
  /** The checks that have found its filesystem not clean. */
  complaints: Check[];
}

export class Results {
  /** Every planned run by its key, in the plan's order. */
  readonly #tests = new Map<string, TestResult>();
  readonly #ended = new Map<string, EndedTest>();
  readonly #verdicts = noVerdicts();
  /** Why a testcase was expected not to pass, by key. */
  readonly #expected = new Map<string, string>();
  readonly #unchecked = new UncheckedRuns();
  /** What passed and is not final, by key. */
  readonly #provisional = new Set<string>();
  /** What lists want not to be run, by key. */
  #skipped: ReadonlySet<string> = new Set();
  /** The checks that found a filesystem not clean, for which no testcase can be blamed. */
  readonly unblamed: Check[] = [];
  /** Facts of the guests that came up, by name. */
  readonly #guests = new Map<string, MachineFacts>();
  /** Known issues that nothing has needed. */
  staleIssues: readonly string[] = [];
  start: RunStart | undefined;
  end: RunEnd | undefined;
  /** Keys of testcases for which TCONF will not do. */
  required: ReadonlySet<string> = new Set();
  /** Testcases that an earlier part of a resumed run has brought. */
  earlier = 0;

  /** @param keepLogs keep the lines of what passed too: only kirk's report needs them, and they are most of a run. */
  constructor(readonly keepLogs = false) {}

  add(event: RunEvent): void {
    this.#unchecked.add(event, (key) => {
      const run = this.#tests.get(key)?.run;
      return run?.filesystem === undefined ? undefined : placeOf(run);
    });
    switch (event.type) {
      case "run-start":
        this.doubtUnchecked();
        this.start = event;
        this.end = undefined;
        for (const key of this.#ended.keys()) if (!this.completed(key)) this.#forget(key);
        this.earlier = this.#ended.size;
        // A run that is resumed is judged anew by the known issues of that time.
        this.#expected.clear();
        this.staleIssues = [];
        this.#skipped = new Set(event.skipped?.flatMap(({ keys }) => keys));
        this.required = new Set(event.required === "all" ? event.plan.map(({ key }) => key) : event.required);
        for (const run of event.plan) {
          if (!this.#tests.has(run.key)) this.#tests.set(run.key, { run, log: [] });
        }
        break;
      case "test-start": {
        const result = this.of(event.key);
        result.log = [];
        delete result.seed;
        result.worker = event.worker;
        delete result.end;
        break;
      }
      case "line":
      case "raw": {
        const { key, ...line } = event;
        const result = this.of(key);
        result.log.push(line);
        const seed = line.type === "line" && line.result === "TINFO" ? seedIn(line.text) : undefined;
        // The first one: a testcase that repeats itself makes the others of it.
        if (seed !== undefined) result.seed ??= seed;
        break;
      }
      case "test-end": {
        const result = this.of(event.key);
        result.end = event;
        // An interrupted testcase has shown nothing: it counts as not run.
        if (!event.interrupted && !this.#ended.has(event.key)) {
          this.#ended.set(event.key, { ...result, end: event, own: event, complaints: [] });
          this.#verdicts[event.verdict] += 1;
        }
        if (event.verdict === "TPASS" && !this.keepLogs) result.log.length = 0;
        break;
      }
      case "unavailable":
        for (const key of event.keys) this.#unavailable(key, event.reason);
        break;
      case "check":
        if (event.result.clean) break;
        if (event.suspects.length === 0) this.unblamed.push(event);
        for (const key of event.suspects) this.#suspect(key, event);
        break;
      case "unchecked":
        for (const key of event.suspects) {
          // What did not pass stands as it is.
          if (this.#ended.get(key)?.end.verdict !== "TPASS") continue;
          this.#provisional.add(key);
          this.#demote(key, "TWARN", `${event.filesystem} was not checked afterwards`);
        }
        break;
      case "known-issue":
        this.#expected.set(event.key, event.text);
        break;
      case "stale-issues":
        this.staleIssues = event.issues;
        break;
      case "run-end":
        this.end = event;
        break;
      case "guest":
        this.#guests.set(event.guest, event.machine);
        break;
      case "filesystem":
      case "kernel":
      case "progress":
      case "trace":
      case "data":
        break;
    }
  }

  #unavailable(key: string, reason: string): void {
    const result = this.of(key);
    if (this.#ended.has(key)) return;
    result.log = [{ type: "line", result: "TCONF", file: UNAVAILABLE, line: 0, text: reason }];
    const counters = { ...zeroCounters(), skipped: 1 };
    const end: TestEnd = {
      ...{ type: "test-end", time: this.start?.time ?? "", key, verdict: "TCONF", exit: exitStatus(counters) },
      ...{ counters, durationSeconds: 0, summary: false, unbegun: true },
    };
    result.end = end;
    this.#ended.set(key, { ...result, end, own: end, complaints: [] });
    this.#verdicts.TCONF += 1;
  }

  /** As if it had not been run; what it has shown is another part's. */
  #forget(key: string): void {
    const ended = this.#ended.get(key);
    if (!ended) return;
    this.#verdicts[ended.end.verdict] -= 1;
    this.#ended.delete(key);
    this.#provisional.delete(key);
    const result = this.of(key);
    result.log = [];
    delete result.worker;
    delete result.end;
  }

  /** The filesystem was not found clean after this testcase: its verdict does not stand. */
  #suspect(key: string, event: Check): void {
    const { filesystem, result: check } = event;
    const complaint = check.reports.find(({ verdict }) => verdict !== "clean");
    const what = check.unchecked ?? complaint?.checker ?? check.unmountable ?? "its checker";
    const [result, found] = isDamaged(check)
      ? (["TFAIL", "was found damaged"] as const)
      : (["TWARN", "could not be checked"] as const);
    this.#ended.get(key)?.complaints.push(event);
    this.#demote(key, result, `${filesystem} ${found} afterwards: ${what}`);
  }

  /** Counts one more result of a testcase that has ended. */
  #demote(key: string, result: "TFAIL" | "TWARN", text: string): void {
    const ended = this.#ended.get(key);
    if (!ended) return;
    const counters = { ...ended.end.counters };
    count(counters, result);
    // What was known of the testcase does not explain this.
    this.#expected.delete(key);
    const verdict = verdictOf(counters);
    const end = { ...ended.end, counters, exit: exitStatus(counters), verdict };
    const log: LogLine[] = [...ended.log, { type: "line", result, file: "filesystem", line: 0, text }];
    this.#verdicts[ended.end.verdict] -= 1;
    this.#verdicts[verdict] += 1;
    this.#ended.set(key, { ...ended, end, log });
    Object.assign(this.of(key), { end, log });
  }

  /**
   * What passed on a filesystem that nothing has checked since, when nothing runs any more: for `unchecked` events. What
   * did not pass stands as it is.
   */
  takeUnchecked(): Unchecked[] {
    const passed = (key: string) => this.#ended.get(key)?.end.verdict === "TPASS";
    const all = this.#unchecked.take().map(({ filesystem, suspects }) => {
      return { filesystem, suspects: suspects.filter(passed) };
    });
    return all.filter(({ suspects }) => suspects.length > 0);
  }

  /** Nothing runs any more, in good order or not: what passed and was not checked is not {@link completed}. */
  doubtUnchecked(): void {
    for (const { suspects } of this.takeUnchecked()) for (const key of suspects) this.#provisional.add(key);
  }

  /** Verdict counts of each filesystem of each guest, in the plan's order; empty when the run is on none of its own. */
  filesystems(): { name: string; verdicts: Record<Verdict, number>; notRun: number; reason?: string }[] {
    const rows = new Map<string, { verdicts: Record<Verdict, number>; notRun: number; reason?: string }>();
    for (const { run, end, log } of this.#tests.values()) {
      if (run.filesystem === undefined) continue;
      const name = placeOf(run);
      let row = rows.get(name);
      if (!row) {
        row = { verdicts: noVerdicts(), notRun: 0 };
        rows.set(name, row);
      }
      if (!end || !this.#ended.has(run.key)) row.notRun += this.#skipped.has(run.key) ? 0 : 1;
      else row.verdicts[end.verdict] += 1;
      const [first] = log;
      if (isUnavailable(log) && first) row.reason = first.text;
    }
    return [...rows].map(([name, row]) => ({ name, ...row }));
  }

  /** Facts of the guests that came up, by name. */
  get guests(): ReadonlyMap<string, MachineFacts> {
    return this.#guests;
  }

  /** Where the testcases ran: the guest, where it was one and the same; else this machine. */
  get machine(): MachineFacts | undefined {
    const [only, ...others] = this.#guests.values();
    return only && others.length === 0 ? only : this.start?.machine;
  }

  /** Of each line that has run more than once, how often it ended with which verdict, in the plan's order. */
  rates(): { name: string; command: string; verdicts: Record<Verdict, number>; ran: number }[] {
    const lines = new Map<string, { command: string; verdicts: Record<Verdict, number>; ran: number }>();
    for (const { run } of this.#tests.values()) {
      const end = this.#ended.get(run.key)?.end;
      if (!end) continue;
      // All iterations of a line count for the first one's name.
      const name = this.label({ ...run, key: lineOf(run) });
      const line = lines.get(name) ?? { command: run.command, verdicts: noVerdicts(), ran: 0 };
      line.verdicts[end.verdict] += 1;
      line.ran += 1;
      lines.set(name, line);
    }
    return [...lines].filter(([, { ran }]) => ran > 1).map(([name, line]) => ({ name, ...line }));
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

  /** Whether this run has ended with a verdict that stands: what says otherwise is run again by `--resume`. */
  completed(key: string): boolean {
    const ended = this.#ended.get(key);
    // That its machine or filesystem was not there says nothing of it: this time they may be.
    return ended !== undefined && !ended.own.unbegun && !this.#provisional.has(key);
  }

  /** What has ended with a verdict, in the order of ending. */
  ended(): EndedTest[] {
    return [...this.#ended.values()];
  }

  /** What was begun and did not end: all of it has its worker. */
  underWay(): TestResult[] {
    return [...this.#tests.values()].filter(({ worker, end }) => worker !== undefined && end === undefined);
  }

  /** What came of this run, if it has ended with a verdict. */
  endedAs(key: string): EndedTest | undefined {
    return this.#ended.get(key);
  }

  /** Everything that is planned, in the plan's order. */
  runs(): PlannedRun[] {
    return [...this.#tests.values()].map(({ run }) => run);
  }

  get endedCount(): number {
    return this.#ended.size;
  }

  /** How many are to be run, or have been. */
  get planned(): number {
    return this.#tests.size - this.#skipped.size;
  }

  /** How many are not to be run, because lists want it so. */
  get skippedCount(): number {
    return this.#skipped.size;
  }

  /** The known issue that explains why this testcase did not pass. */
  expected(key: string): string | undefined {
    return this.#expected.get(key);
  }

  /** What failed, broke or warned, or was required and did not apply, without a known issue that explains it. */
  trouble(): EndedTest[] {
    return this.ended().filter(
      ({ run, end: { verdict } }) =>
        verdict !== "TPASS" && (verdict !== "TCONF" || this.required.has(run.key)) && !this.#expected.has(run.key),
    );
  }

  /** How many testcases {@link trouble} has, and how many filesystems were not clean although no testcase had run there. */
  get unexpected(): number {
    return this.trouble().length + this.unblamed.length;
  }

  /** Whether there is no trouble, but only because nothing passed either. */
  get nothingPassed(): boolean {
    return this.#ended.size > 0 && this.#verdicts.TPASS === 0 && this.unexpected === 0;
  }

  get expectedCount(): number {
    return this.#expected.size;
  }

  /** How many testcases ended with each verdict. */
  verdicts(): Record<Verdict, number> {
    return { ...this.#verdicts };
  }

  /** A testcase's short name: its key, without the suite when there is only one. */
  label({ key, suite, id }: PlannedRun): string {
    const plan = this.start?.plan ?? [];
    this.#single ??= plan.every((run) => run.suite === plan[0]?.suite && !run.key.includes(`${run.suite}@`));
    // The suite in the key may be `name@2`; the ID holds no colon.
    return this.#single ? key.replace(`${suite}:${id}`, id) : key;
  }
  #single: boolean | undefined;

  /** Width of the widest label. */
  labelWidth(): number {
    this.#width ??= Math.max(0, ...(this.start?.plan ?? []).slice(0, 10_000).map((run) => this.label(run).length));
    return this.#width;
  }
  #width: number | undefined;
}

export function noVerdicts(): Record<Verdict, number> {
  return { TPASS: 0, TFAIL: 0, TBROK: 0, TWARN: 0, TCONF: 0 };
}

/** All operations that a flight record tells of, those that are still in flight last. */
export function operationsIn({ operations = [], inFlight = [] }: Partial<RecordAnswer>): RecordedOperation[] {
  const known = new Set(operations.map(({ id }) => id));
  return [...operations, ...inFlight.filter(({ id }) => !known.has(id))];
}

/** Where a run is, in words: its guest and its filesystem; empty in a directory of this machine. */
export function placeOf({ guest, filesystem }: PlannedRun): string {
  return [guest, filesystem].filter((name) => name !== undefined).join(" ");
}

/** The lines that say why a verdict is not TPASS: from the first line of trouble to the end, preamble left out. */
export function explanation(log: readonly LogLine[]): LogLine[] {
  const first = log.findIndex((line) => line.type === "raw" || !["TPASS", "TINFO", "TDEBUG"].includes(line.result));
  return first < 0 ? [] : log.slice(first);
}

/** The first line that says why the verdict is what it is. */
export function verdictReason({ log, end }: Pick<EndedTest, "log" | "end">): string {
  const line = log.find((one) => one.type === "line" && one.result === end.verdict);
  return line?.text ?? (end.verdict === "TCONF" ? "it tests nothing" : end.verdict);
}

/** Whether the testcase could not run because its filesystem is not to be had here. */
export function isUnavailable([first]: readonly LogLine[]): boolean {
  return first?.type === "line" && first.file === UNAVAILABLE && first.result === "TCONF";
}
