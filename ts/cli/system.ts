/** What the command line takes from the process around it; tests give their own. */
import type { EventEmitter } from "node:events";
import type { PlannedRun, RunEvent } from "../report/events.js";
import { processTerminal, type Terminal } from "../report/terminal.js";
import type { RunOptions } from "../run/scheduler.js";

export type RunPlan = (
  plan: readonly PlannedRun[],
  options: RunOptions,
  emit: (event: RunEvent) => void,
) => Promise<{ interrupted: boolean }>;

export interface System {
  terminal: Terminal;
  env: NodeJS.ProcessEnv;
  cwd: string;
  /** Where SIGINT, SIGTERM and SIGHUP are heard. */
  signals: Pick<EventEmitter, "on" | "off">;
  /** Ends the process at once. */
  exit(status: number): void;
  /** The scheduler; loaded only when something runs. */
  runPlan: RunPlan;
}

/** This process. */
export function processSystem(): System {
  return {
    terminal: processTerminal(),
    env: process.env,
    cwd: process.cwd(),
    signals: process,
    exit: (status) => process.exit(status),
    runPlan: async (plan, options, emit) => (await import("../run/scheduler.js")).runPlan(plan, options, emit),
  };
}
