/** A process around the command line that remembers, and a scheduler that runs nothing. */
import { EventEmitter } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { main } from "../../ts/cli/main.js";
import type { System } from "../../ts/cli/system.js";
import { exitStatus, type PlannedRun, type Verdict, zeroCounters } from "../../ts/events/events.js";
import { placeOf } from "../../ts/report/results.js";
import type { RunPlan } from "../../ts/run/scheduler.js";
import { type FakeTerminal, fakeTerminal } from "../report/fixture.js";

const COUNTER = { TPASS: "passed", TFAIL: "failed", TBROK: "broken", TWARN: "warnings", TCONF: "skipped" } as const;

/** A scheduler whose testcases end at once with the verdict that `verdictOf` gives. */
export function fakeScheduler(verdictOf: (run: PlannedRun) => Verdict = () => "TPASS") {
  const ran: string[] = [];
  const options: Parameters<RunPlan>[1][] = [];
  const runPlan: RunPlan = async (plan, given, emit) => {
    options.push(given);
    for (const { key, id } of plan) {
      // Gives signals and other callbacks their turn, as real testcases do.
      await new Promise(setImmediate);
      if (given.signal.aborted) return { interrupted: true };
      given.marker(id);
      ran.push(key);
      const run = plan.find((candidate) => candidate.key === key) as PlannedRun;
      emit({ type: "test-start", time: new Date().toISOString(), key, worker: 1 });
      const result = verdictOf(run);
      const interrupted = given.signal.aborted;
      emit({ type: "line", key, result, file: "aiocp.ts", line: 1, text: `${id} says so` });
      const counters = { ...zeroCounters(), [COUNTER[result]]: 1 };
      emit({
        ...{ type: "test-end", time: new Date().toISOString(), key, verdict: result, exit: exitStatus(counters) },
        ...{ counters, durationSeconds: 0.01, summary: true },
        ...(interrupted ? { interrupted } : {}),
      });
      if (run.filesystem !== undefined) {
        const result = { clean: true, reports: [], seconds: 0 };
        const facts = { filesystem: placeOf(run), worker: 1, suspects: [], result };
        emit({ type: "check", time: new Date().toISOString(), ...facts });
      }
      if (given.bail?.()) break;
    }
    return { interrupted: given.signal.aborted };
  };
  return { ran, options, runPlan };
}

export interface FakeSystem extends System {
  terminal: FakeTerminal;
  signals: EventEmitter;
  exits: number[];
}

export function fakeSystem(parts: Partial<System> = {}): FakeSystem {
  const exits: number[] = [];
  return {
    terminal: fakeTerminal(),
    env: {},
    cwd: "/",
    kernelLog: "/nowhere",
    watchKernel: () => ({ begin() {}, tell() {}, end: () => [], between: () => [], poll() {}, close() {} }),
    nowMs: () => 0,
    signals: new EventEmitter(),
    exits,
    exit: (status) => void exits.push(status),
    runPlan: fakeScheduler().runPlan,
    ...parts,
  } as FakeSystem;
}

/** Runs the command in `system` and returns all that a user sees. */
export async function command(line: string | string[], system: FakeSystem = fakeSystem()) {
  const args = typeof line === "string" ? line.split(" ").filter(Boolean) : line;
  const status = await main(args, system);
  return { status, ...system.terminal.written };
}

/** A directory that is gone when the test is over. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "cli-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
