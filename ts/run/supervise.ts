/** Runs one testcase on one worker and answers for its end, whatever happens to the worker. */

import { TIMER_MAX_MS, within } from "../base/deadline.js";
import { callerOf } from "../base/location.js";
import { type Counters, count, type TestReport, zeroCounters } from "../events/events.js";
import type { Death } from "../process/line-process.js";
import { WORDS_OF_KILL, wordsOfDeath, wordsOfUnkillable } from "./ending.js";
import type { RunRequest } from "./protocol.js";
import type { Worker } from "./worker.js";

/** LTP re-arms its alarm this often before it gives up on a process that SIGKILL does not end. */
const KILL_ATTEMPTS = 11;
const KILL_WAIT_SECONDS = 5;

/** How the testcase ended. */
export interface Ending {
  counters: Counters;
  summary: boolean;
  /** Whether the worker still answers. */
  alive: boolean;
  interrupted: boolean;
  /** Whether its time limit ended it. */
  timedOut: boolean;
  /** The worker's peak memory meanwhile; absent where it did not live to tell. */
  peakBytes?: number | undefined;
  /** A temporary directory that the worker left; a fresh worker removes it. */
  leftover?: string;
}

/**
 * @param report receives every result line, raw text, detail and progress, in order
 * @param signal aborting it kills the testcase, as SIGINT does in LTP
 * @param aroundSeconds how long what is before and behind the testcase's own time limit may take, each
 */
export async function supervise(
  worker: Worker,
  request: Omit<RunRequest, "type">,
  report: (event: TestReport) => void,
  signal: AbortSignal,
  aroundSeconds: number,
): Promise<Ending> {
  const counters = zeroCounters();
  let directory: string | undefined;
  let summary = true;
  let peakBytes: number | undefined;
  let timer: NodeJS.Timeout | undefined;
  /** What the worker is at while no time limit of the testcase's own holds. */
  let around: string | undefined = "before it began";

  const say = (result: "TINFO" | "TBROK", text: string) => {
    count(counters, result);
    report({ type: "line", result, ...callerOf(say), text });
  };

  type Cause = { how: "done" } | ({ how: "died" } & Death) | { how: "timeout" } | { how: "interrupted" };
  let interrupt = () => {};
  let decided = false;
  const cause = await new Promise<Cause>((resolve) => {
    interrupt = () => resolve({ how: "interrupted" });
    if (signal.aborted) interrupt();
    signal.addEventListener("abort", interrupt, { once: true });
    void worker.death.then((death) => resolve({ how: "died", ...death }));
    const arm = (seconds: number | undefined) => {
      clearTimeout(timer);
      // A testcase that is being ended may still say it: nothing would stop that timer, and the run would wait for it.
      if (seconds === undefined || decided) return;
      timer = setTimeout(() => resolve({ how: "timeout" }), Math.min(seconds * 1000, TIMER_MAX_MS));
    };
    arm(aroundSeconds);
    worker.send(
      { type: "run", ...request },
      {
        stray: (text) => report({ type: "raw", text }),
        garbled: (text) => say("TBROK", text),
        trace: (text) => report({ type: "trace", text }),
        message: (message) => {
          switch (message.type) {
            case "line":
              count(counters, message.result);
              report(message);
              break;
            case "raw":
            case "progress":
            case "legacy":
            case "permit":
              report(message);
              break;
            case "data":
              report({ type: "data", name: message.name, value: message.value });
              break;
            case "directory":
              directory = message.path;
              if (directory !== undefined) report({ type: "place", directory, pid: worker.pid });
              break;
            case "deadline":
              around = message.over ? "while its directory was removed" : undefined;
              arm(message.seconds);
              break;
            case "done":
              ({ summary, peakBytes } = message);
              resolve({ how: "done" });
              break;
            case "ready":
            case "removed":
              break;
          }
        },
      },
    );
  });
  decided = true;
  clearTimeout(timer);
  signal.removeEventListener("abort", interrupt);

  let killed = true;
  switch (cause.how) {
    case "done":
      break;
    case "died":
      say("TBROK", wordsOfDeath(cause));
      break;
    case "timeout":
    case "interrupted":
      report({
        type: "raw",
        text: cause.how === "timeout" ? "Test timeouted, sending SIGKILL!" : "Sending SIGKILL to test process...",
      });
      if (cause.how === "timeout" && around !== undefined) {
        // Nothing of the testcase's own work has hung: where in the kernel it is says more than the verdict.
        report({ type: "raw", text: `It hung ${around}:` });
        for (const text of worker.kernelStacks()) report({ type: "raw", text });
      }
      killed = await killForSure(worker);
      if (killed) for (const [result, text] of WORDS_OF_KILL) say(result, text);
      break;
  }
  const alive = cause.how === "done";
  if (!killed) {
    for (const text of wordsOfUnkillable(worker.kernelStacks())) report({ type: "raw", text });
    counters.failed += 1;
    summary = false;
  }
  return {
    counters,
    summary,
    alive,
    // Whoever kills all processes of a group may hit the worker before this one.
    interrupted: cause.how === "interrupted" || (cause.how === "died" && signal.aborted),
    timedOut: cause.how === "timeout",
    peakBytes,
    // What can't be killed still uses its directory.
    ...(!alive && killed && directory !== undefined && { leftover: directory }),
  };
}

/** Ends a worker that is at work; whether it is gone. */
export async function stopForSure(worker: Worker): Promise<boolean> {
  return worker.dead || killForSure(worker);
}

/** Ends an idle worker, which may hang in the kernel as it goes; whether it is gone. */
export async function endForSure(worker: Worker): Promise<boolean> {
  return (await inTime(worker.close(), worker)) || killForSure(worker);
}

/** Whether the worker is gone after LTP's number of attempts. */
async function killForSure(worker: Worker): Promise<boolean> {
  for (let attempt = 0; attempt < KILL_ATTEMPTS; attempt += 1) {
    worker.kill();
    if (await inTime(worker.death, worker)) return true;
  }
  return false;
}

/** Waits for what ends a worker, but not forever; whether it is dead. */
async function inTime(end: Promise<unknown>, worker: Worker): Promise<boolean> {
  await within(end, KILL_WAIT_SECONDS);
  return worker.dead;
}

/**
 * Lets a fresh worker remove what a dead one left.
 *
 * @returns LTP's message when that fails; `hung` when the worker has not come to an end with it in time
 */
export function removeLeftover(
  worker: Worker,
  path: string,
  limitSeconds: number,
): Promise<{ error?: string | undefined; hung: boolean; stacks: string[] }> {
  const failed = (why: string) => `tst_rmdir: rmobj(${path}) failed: ${why}`;
  return new Promise((resolve) => {
    const done = (error: string | undefined, stacks?: string[]) => {
      clearTimeout(timer);
      resolve({ error, hung: stacks !== undefined, stacks: stacks ?? [] });
    };
    const timer = setTimeout(() => {
      done(failed(`it was not done within ${limitSeconds} s`), worker.kernelStacks());
    }, limitSeconds * 1000);
    void worker.death.then(() => done(failed("the process that removed it died")));
    worker.send(
      { type: "remove", path },
      {
        stray: () => {},
        message: (message) => {
          if (message.type === "removed") done(message.error);
        },
        garbled: (text) => done(failed(text)),
      },
    );
  });
}
