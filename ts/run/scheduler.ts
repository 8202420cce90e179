/** Spreads planned runs over warm workers and tells what happens as events. */
import type { PlannedRun, RunEvent } from "../report/events.js";
import { Slot } from "./slot.js";

export interface RunOptions {
  /** Absolute; temporary directories go below it. */
  directory: string;
  /** Testcases at once, at least 1. */
  workers: number;
  /** Stop at the first testcase that is neither TPASS nor TCONF. */
  bail: boolean;
  /** I/O engine for the testcases that have a choice and whose command does not say. */
  engine?: string;
  /** LTP_TIMEOUT_MUL for the testcases. */
  timeoutMul?: number;
  /** Called with the ID before each testcase: the mark in the kernel log. */
  marker: (id: string) => void;
  /** Aborting it kills what runs and starts nothing more. */
  signal: AbortSignal;
}

/** Runs the plan; emits test-start to test-end for each run. */
export async function runPlan(
  plan: readonly PlannedRun[],
  options: RunOptions,
  emit: (event: RunEvent) => void,
): Promise<{ interrupted: boolean }> {
  const { signal, timeoutMul, engine } = options;
  const env = timeoutMul === undefined ? process.env : { ...process.env, LTP_TIMEOUT_MUL: String(timeoutMul) };
  const defaults = engine === undefined ? undefined : { engine };
  // One iterator for all: whoever is free takes the next run.
  const queue = plan.values();
  let bailed = false;

  const runSlot = async (number: number): Promise<void> => {
    const slot = new Slot(env);
    try {
      while (!signal.aborted && !bailed) {
        const next = queue.next();
        if (next.done) break;
        const { key, id, program, argv } = next.value;
        options.marker(id);
        const started = performance.now();
        emit({ type: "test-start", time: new Date().toISOString(), key, worker: number });
        const { interrupted, ...outcome } = await slot.run(
          { program, argv, parent: options.directory, defaults },
          (report) => emit({ ...report, key }),
          signal,
        );
        emit({
          type: "test-end",
          time: new Date().toISOString(),
          key,
          ...outcome,
          durationSeconds: (performance.now() - started) / 1000,
          ...(interrupted && { interrupted }),
        });
        if (options.bail && outcome.exit !== 0 && outcome.verdict !== "TCONF") bailed = true;
      }
    } finally {
      await slot.close();
    }
  };

  await Promise.all(Array.from({ length: Math.min(options.workers, plan.length) }, (_, index) => runSlot(index + 1)));
  return { interrupted: signal.aborted };
}
