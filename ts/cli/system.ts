/** What the command line takes from the process around it; tests give their own. */
import type { EventEmitter } from "node:events";
import { type KernelWatch, openKernelWatch } from "../kernel/watch.js";
import { shieldFromOom } from "../process/oom.js";
import { processTerminal, type Terminal } from "../report/terminal.js";
import type { RunPlan } from "../run/scheduler.js";
import { prepareElsewhere } from "./guests.js";

export interface System {
  terminal: Terminal;
  env: NodeJS.ProcessEnv;
  cwd: string;
  /** Where SIGINT, SIGTERM and SIGHUP are heard. */
  signals: Pick<EventEmitter, "on" | "off">;
  /** A clock that only goes forward. */
  nowMs(): number;
  /** The device that takes messages for the kernel log. */
  kernelLog: string;
  /** Begins to read what the kernel says. */
  watchKernel(): KernelWatch;
  /** Ends the process at once. */
  exit(status: number): void;
  /** The scheduler; loaded only when something runs. */
  runPlan: RunPlan;
  /** Prepares guests, or reaches hosts; the scheduler for them. */
  prepareElsewhere: typeof prepareElsewhere;
}

/** This process. */
export function processSystem(): System {
  const terminal = processTerminal();
  // Node would exit with 1, which means that a testcase failed.
  process.on("uncaughtException", (error) => {
    terminal.err(`aiodio-ltp: cannot go on: ${error.stack ?? error.message}\n`);
    process.exit(3);
  });
  return {
    terminal,
    env: process.env,
    cwd: process.cwd(),
    signals: process,
    nowMs: () => performance.now(),
    kernelLog: "/dev/kmsg",
    watchKernel: () => openKernelWatch(),
    exit: (status) => process.exit(status),
    prepareElsewhere,
    runPlan: async (plan, options, emit) => {
      shieldFromOom();
      return (await import("../run/scheduler.js")).runPlan(plan, options, emit);
    },
  };
}
