/** A place where one testcase runs at a time, with a warm worker in it. */

import { callerOf } from "../base/location.js";
import { surroundingSeconds } from "../base/timing.js";
import { type Counters, count, exitStatus, type TestReport, type Verdict, verdictOf } from "../events/events.js";
import { FlightFile, flightLines } from "./flight.js";
import type { RunRequest } from "./protocol.js";
import { endForSure, removeLeftover, stopForSure, supervise } from "./supervise.js";
import { type Recording, Worker } from "./worker.js";

export interface RunOutcome {
  verdict: Verdict;
  /** LTP's exit status. */
  exit: number;
  counters: Counters;
  /** Whether LTP would print a Summary block. */
  summary: boolean;
  interrupted: boolean;
  /** True where its time limit ended it; absent otherwise. */
  unended?: boolean;
  /** As {@link Ending} has it. */
  peakBytes?: number | undefined;
  /** Something did not come to an end: where it ran may hang the next testcase, too. */
  hung: boolean;
}

/** What a worker's operations are recorded into. */
export interface SlotOptions {
  /** Name of the flight record's file; absent: one without a name. */
  flight?: string | undefined;
  /** Report each operation when it completes. */
  trace?: boolean;
}

export class Slot {
  private worker: Worker;
  private readonly flight: FlightFile | undefined;
  private readonly recording: Recording;

  /** Starts its worker at once, so that it is warm when the first testcase comes. */
  constructor(
    private readonly env: NodeJS.ProcessEnv,
    /** What workers are started by: the command that enters a filesystem's mount namespace. */
    private enter: readonly string[] = [],
    { flight, trace = false }: SlotOptions = {},
  ) {
    this.flight = FlightFile.open(flight);
    this.recording = { fd: this.flight?.fd, trace };
    this.worker = this.hire();
  }

  /** Ends the worker and starts the next one elsewhere. */
  async move(enter: readonly string[]): Promise<void> {
    await this.dismiss();
    this.enter = enter;
    this.worker = this.hire();
  }

  private hire(): Worker {
    return new Worker(this.env, this.enter, this.recording);
  }

  /**
   * Runs one testcase. The worker is kept after TPASS and TCONF; after anything else a new one takes its place, since a
   * testcase that went wrong may have left anything in its process.
   */
  async run(
    request: Omit<RunRequest, "type">,
    report: (event: TestReport) => void,
    signal: AbortSignal,
  ): Promise<RunOutcome> {
    if (this.worker.dead) this.worker = this.hire();
    const limitSeconds = surroundingSeconds(this.env);
    const ending = await supervise(this.worker, request, report, signal, limitSeconds);
    const { counters, summary, alive, interrupted, timedOut, peakBytes, leftover } = ending;
    let hung = timedOut;
    const clean = verdictOf(counters) === "TPASS" || verdictOf(counters) === "TCONF";
    if (!clean) await this.tellFlight(report, !alive);
    if (alive && !clean) {
      await this.dismiss();
      if (!this.worker.dead) this.worker = this.hire();
    }
    if (!alive) {
      // Dead, or not to be killed: then nobody waits for it any more, and the run goes on.
      this.worker.abandon();
      this.worker = this.hire();
    }
    if (leftover !== undefined) {
      const removal = await removeLeftover(this.worker, leftover, limitSeconds);
      if (removal.error !== undefined) {
        count(counters, "TWARN");
        report({ type: "line", result: "TWARN", ...callerOf(this.run), text: removal.error });
      }
      if (removal.hung) {
        hung = true;
        for (const text of removal.stacks) report({ type: "raw", text });
        if (!(await stopForSure(this.worker))) this.worker.abandon();
        this.worker = this.hire();
      }
    }
    const verdict = verdictOf(counters);
    return {
      verdict,
      exit: exitStatus(counters),
      counters,
      summary,
      interrupted,
      peakBytes,
      hung,
      ...(timedOut && { unended: true }),
    };
  }

  /** What the flight recorder has of a testcase that went wrong. */
  private async tellFlight(report: (event: TestReport) => void, died: boolean): Promise<void> {
    const record = await this.flight?.read();
    if (!record || record.error || record.total === 0) return;
    report({ type: "data", name: "flight", value: record });
    for (const text of flightLines(record, died)) {
      report({ type: "line", result: "TINFO", ...callerOf(this.run), text });
    }
  }

  /** Ends the worker; one that hangs in the kernel and can't be ended is left behind. */
  private async dismiss(): Promise<void> {
    if (!this.worker.dead && !(await endForSure(this.worker))) this.worker.abandon();
  }

  /** Ends the worker. */
  async close(): Promise<void> {
    await this.dismiss();
    this.flight?.close();
  }
}
