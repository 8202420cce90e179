/** The default: on a terminal one live line per worker and a bar; elsewhere a line for each testcase. */
import type { Reporter, RunEvent } from "../events/events.js";
import { LiveRegion } from "./live-region.js";
import type { Results } from "./results.js";
import {
  elapsedSeconds,
  formatDurations,
  formatExpected,
  formatExplanation,
  formatFilesystemEvent,
  formatFilesystems,
  formatGuest,
  formatKnownIssues,
  formatNotApplicable,
  formatRates,
  formatRepeat,
  formatSeconds,
  formatSkippedList,
  formatTest,
  formatTotals,
} from "./summary.js";
import type { Terminal } from "./terminal.js";

/** Often enough to look alive, seldom enough to cost nothing on a serial console. */
const REDRAW_MS = 100;
const BAR_WIDTH = 30;
/** Where nothing moves on a screen, a sign of life: CI systems kill what is silent for long. */
const HEARTBEAT_MS = 60_000;
/** A longer list of what did not pass scrolls the totals away. */
const LISTED_MAX = 200;

interface Running {
  key: string;
  startedMs: number;
  progress: string;
}

export interface ProgressOptions {
  terminal: Terminal;
  results: Results;
  /** The journal, told at the end; one that is kept without being asked for only where it is of use. */
  journal?: { path: string; kept: boolean } | undefined;
  /** So many of the longest testcases are told at the end. */
  durations?: number;
  /** Milliseconds, for durations on the screen. */
  now?: () => number;
}

export class ProgressReporter implements Reporter {
  readonly #terminal: Terminal;
  readonly #results: Results;
  readonly #journal: ProgressOptions["journal"];
  readonly #durations: number;
  readonly #now: () => number;
  readonly #region: LiveRegion | undefined;
  readonly #running = new Map<number, Running>();
  #timer: NodeJS.Timeout | undefined;
  #workers = 0;
  #startedMs = 0;
  #over = false;

  constructor({ terminal, results, journal, durations = 0, now = () => performance.now() }: ProgressOptions) {
    this.#terminal = terminal;
    this.#results = results;
    this.#journal = journal;
    this.#durations = durations;
    this.#now = now;
    if (terminal.live) this.#region = new LiveRegion(terminal);
  }

  event(event: RunEvent): void {
    switch (event.type) {
      case "run-start":
        this.#runStart(event);
        break;
      case "test-start":
        this.#running.set(event.worker, { key: event.key, startedMs: this.#now(), progress: "" });
        break;
      case "progress": {
        const running = this.#runningOf(event.key)?.[1];
        const part = event.total > 0 ? Math.floor((100 * event.done) / event.total) : 0;
        if (running) running.progress = ` ${part}%`;
        break;
      }
      case "trace":
        this.#print(`${this.#results.label(this.#results.of(event.key).run)} ${event.text}\n`);
        break;
      case "test-end":
        this.#testEnd(event);
        break;
      case "run-end":
        this.#over = true;
        this.#print(this.#closing());
        break;
      case "unavailable":
      case "check":
      case "unchecked":
      case "filesystem":
        this.#print(formatFilesystemEvent(event, this.#results));
        break;
      case "guest":
        this.#print(formatGuest(event));
        break;
      case "line":
      case "raw":
      case "kernel":
      case "known-issue":
      case "stale-issues":
      case "data":
        break;
    }
  }

  note(text: string): void {
    // Written past the live lines, it would end up among them.
    if (this.#region) this.#print(text);
    else this.#terminal.err(text);
  }

  end(): void {
    clearInterval(this.#timer);
    this.#over = true;
    this.#print("");
  }

  #runStart({ workers, directory, shuffleSeed, plan }: Extract<RunEvent, { type: "run-start" }>): void {
    const { earlier, planned, skippedCount } = this.#results;
    this.#workers = Math.min(workers, planned - earlier);
    this.#startedMs = this.#now();
    const facts = [
      `${planned} testcases ${plan.some(({ filesystem }) => filesystem !== undefined) ? "on filesystems of their own" : `in ${directory}`}`,
      ...(earlier > 0 ? [`${earlier} of them already done`] : []),
      ...(skippedCount > 0 ? [`${skippedCount} more skipped as listed`] : []),
      ...(workers > 1 ? [`${workers} at once`] : []),
      ...(shuffleSeed === undefined ? [] : [`--shuffle=${shuffleSeed}`]),
    ];
    this.#print(`${facts.join(", ")}\n`);
    const [beat, ms] = this.#region
      ? [() => this.#print(""), REDRAW_MS]
      : [() => this.#print(this.#heartbeat()), HEARTBEAT_MS];
    // It must not keep the process alive: only the run does.
    this.#timer = setInterval(beat, ms).unref();
  }

  #testEnd(event: Extract<RunEvent, { type: "test-end" }>): void {
    const slot = this.#runningOf(event.key)?.[0];
    if (slot !== undefined) this.#running.delete(slot);
    if (event.interrupted) return;
    const { colour } = this.#terminal;
    const result = { ...this.#results.of(event.key), end: event };
    const passed = event.verdict === "TPASS";
    // On a terminal the bar counts what passed; only trouble deserves a line that stays.
    if (passed && this.#region) return;
    const issue = this.#results.expected(event.key);
    if (issue !== undefined) this.#print(formatExpected(result, this.#results, issue));
    else
      this.#print(
        formatTest(result, this.#results, colour) + (passed ? "" : formatExplanation(result, this.#results, colour)),
      );
  }

  /** How far it is, and how long what runs has been running. */
  #heartbeat(): string {
    const running = [...this.#running.values()].map(({ key, startedMs, progress }) => {
      const seconds = formatSeconds((this.#now() - startedMs) / 1000);
      return `${this.#results.label(this.#results.of(key).run)} for ${seconds}${progress}`;
    });
    const { endedCount, planned } = this.#results;
    return `… ${endedCount} of ${planned} done; ${running.length > 0 ? `running: ${running.join(", ")}` : "between testcases"}\n`;
  }

  #runningOf(key: string): [number, Running] | undefined {
    return [...this.#running].find(([, running]) => running.key === key);
  }

  #print(text: string): void {
    if (this.#region) this.#region.draw(text, this.#over ? [] : this.#liveLines(this.#region.linesMax));
    else if (text !== "") this.#terminal.out(text);
  }

  #liveLines(max: number): string[] {
    const lines: string[] = [];
    // The bar needs a line too, and what is not shown one that says so.
    const shown = this.#workers + 1 <= max ? this.#workers : Math.max(0, max - 2);
    for (let worker = 1; worker <= shown; worker++) {
      const running = this.#running.get(worker);
      if (!running) {
        lines.push("-");
        continue;
      }
      const { run } = this.#results.of(running.key);
      const seconds = formatSeconds((this.#now() - running.startedMs) / 1000);
      lines.push(
        `${this.#results.label(run).padEnd(this.#results.labelWidth())} ${seconds}${running.progress}  ${run.command}`,
      );
    }
    if (shown < this.#workers && max > 1) lines.push(`… and ${this.#workers - shown} more at once`);
    lines.push(this.#bar());
    return lines;
  }

  #bar(): string {
    const { endedCount, planned, earlier } = this.#results;
    const part = planned > 0 ? endedCount / planned : 1;
    const filled = Math.floor(part * BAR_WIDTH);
    const counts = this.#results.verdicts();
    const trouble = counts.TFAIL + counts.TBROK + counts.TWARN - this.#results.expectedCount;
    const seconds = (this.#now() - this.#startedMs) / 1000;
    const fresh = endedCount - earlier;
    const left =
      fresh > 0 && endedCount < planned
        ? `, about ${formatSeconds((seconds / fresh) * (planned - endedCount))} left`
        : "";
    // ASCII: serial consoles are where this runs.
    const bar = `[${"#".repeat(filled)}${"-".repeat(BAR_WIDTH - filled)}]`;
    return `${bar} ${endedCount}/${planned}${trouble > 0 ? `, ${trouble} not passed` : ""}  ${formatSeconds(seconds)}${left}`;
  }

  #closing(): string {
    const { colour } = this.#terminal;
    const results = this.#results;
    // What did not apply must not scroll away the failure among it.
    const bad = results.trouble();
    const list = bad.slice(0, LISTED_MAX).map((result) => {
      // What its filesystem's checker made of it afterwards has not been told under it.
      const repeat = result.complaints.length > 0 ? formatRepeat(result, results) : "";
      return `  ${formatTest(result, results, colour)}${repeat && `    ${repeat}`}`;
    });
    if (bad.length > list.length) list.push(`  … and ${bad.length - list.length} more\n`);
    const notPassed = bad.length > 0 ? `\nDid not pass:\n${list.join("")}` : "";
    const totals = formatTotals(results, elapsedSeconds(results), colour);
    const unfinished = results.planned > results.endedCount;
    const told = this.#journal && (!this.#journal.kept || unfinished || bad.length > 0);
    const journal = told ? `Journal: ${this.#journal?.path}${unfinished ? " (go on with --resume)" : ""}\n` : "";
    return `${notPassed}${formatKnownIssues(results)}${formatSkippedList(results)}${formatNotApplicable(results)}${formatRates(results)}${formatDurations(results, this.#durations)}${formatFilesystems(results)}\n${totals}${journal}`;
  }
}
