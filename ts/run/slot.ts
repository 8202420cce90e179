/** A place where one testcase runs at a time, with a warm worker in it. */
import { type Counters, count, exitStatus, type Verdict, verdictOf } from "../report/events.js";
import { callerOf } from "../testcase/location.js";
import type { RunRequest } from "./protocol.js";
import { type Report, removeLeftover, supervise } from "./supervise.js";
import { Worker } from "./worker.js";

export interface Outcome {
  verdict: Verdict;
  /** LTP's exit status. */
  exit: number;
  counters: Counters;
  /** Whether LTP would print a Summary block. */
  summary: boolean;
  interrupted: boolean;
}

export class Slot {
  private worker: Worker;

  /** Starts its worker at once, so that it is warm when the first testcase comes. */
  constructor(
    private readonly env: NodeJS.ProcessEnv,
    /** What workers are started by: the command that enters a filesystem's mount namespace. */
    private enter: readonly string[] = [],
  ) {
    this.worker = new Worker(env, enter);
  }

  /** Ends the worker and starts the next one elsewhere. */
  async move(enter: readonly string[]): Promise<void> {
    await this.close();
    this.enter = enter;
    this.worker = new Worker(this.env, enter);
  }

  /**
   * Runs one testcase. The worker is kept after TPASS and TCONF; after anything else a new one takes its place, since a
   * testcase that went wrong may have left anything in its process.
   */
  async run(request: Omit<RunRequest, "type">, report: (event: Report) => void, signal: AbortSignal): Promise<Outcome> {
    if (this.worker.dead) this.worker = new Worker(this.env, this.enter);
    const { counters, summary, alive, interrupted, leftover } = await supervise(this.worker, request, report, signal);
    const clean = verdictOf(counters) === "TPASS" || verdictOf(counters) === "TCONF";
    if (alive && !clean) await this.worker.close();
    if (!alive) {
      // Dead, or not to be killed: then nobody waits for it any more, and the run goes on.
      this.worker.abandon();
      this.worker = new Worker(this.env, this.enter);
    }
    if (leftover !== undefined) {
      const error = await removeLeftover(this.worker, leftover);
      if (error !== undefined) {
        count(counters, "TWARN");
        report({ type: "line", result: "TWARN", ...callerOf(this.run), text: error });
      }
    }
    return { verdict: verdictOf(counters), exit: exitStatus(counters), counters, summary, interrupted };
  }

  /** Ends the worker. */
  async close(): Promise<void> {
    if (!this.worker.dead) await this.worker.close();
  }
}
