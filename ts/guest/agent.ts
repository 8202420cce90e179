/**
 * The agent: the process that runs planned runs on another machine, with the scheduler, the keepers and the workers that
 * run them here. `agent-protocol.ts` says what it is told and what it tells.
 */
import { createReadStream } from "node:fs";
import { jsonLine, LineSplitter, writeAll } from "../base/lines.js";
import { version } from "../base/package.js";
import { isTrouble, type PlannedRun } from "../events/events.js";
import { openKernelLog } from "../kernel/kmsg.js";
import { openKernelWatch } from "../kernel/watch.js";
import { machineFacts } from "../linux/machine.js";
import { shieldFromOom } from "../process/oom.js";
import { type RunOptions, runPlan } from "../run/scheduler.js";
import { type AgentRun, ALIVE_MS, calibrate, decodeToAgent, type FromAgent } from "./agent-protocol.js";

const KMSG = "/dev/kmsg";

/** A part of a request, and what on this machine it runs on. */
export interface Part extends Pick<RunOptions, "directory" | "devices" | "storage"> {
  plan: readonly PlannedRun[];
}

/**
 * Serves the controller until its stream ends, and ends this process then: its workers and keepers end with it.
 *
 * @param inputFd,outputFd the byte stream; nothing else may write to it
 * @param place says on what a request's runs run; what it throws is the request's end
 */
export function serve(inputFd: number, outputFd: number, place: (request: AgentRun) => Promise<Part[]> | Part[]): void {
  const send = (message: FromAgent): void => {
    try {
      writeAll(outputFd, jsonLine(message));
    } catch (error) {
      // Nobody listens any more. exit() would wait for the thread that reads the other direction.
      if ((error as NodeJS.ErrnoException).code === "EPIPE") process.kill(process.pid, "SIGKILL");
      throw error;
    }
  };
  shieldFromOom();
  const kernel = openKernelWatch();
  const log = openKernelLog(KMSG);
  let abort = new AbortController();

  const run = async (request: AgentRun, signal: AbortSignal): Promise<void> => {
    const { bail, defaults, timeoutMul, trace, env } = request;
    Object.assign(process.env, env);
    let troubled = false;
    for (const { plan, ...where } of await place(request)) {
      if (signal.aborted) break;
      const marker = (id: string) => void log.mark(`aiodio-ltp: Starting ${id}`);
      const options = { ...where, workers: 1, defaults, timeoutMul, trace, kernel, marker, replaceable: true, signal };
      await runPlan(plan, { ...options, ...(bail && { bail: () => troubled }) }, (event) => {
        troubled ||= isTrouble(event);
        send({ type: "event", event });
      });
    }
  };

  let work: Promise<void> = Promise.resolve();
  /** Its `ended` comes after that of what is under way. */
  const queue = (job: () => Promise<void>): void => {
    work = work.then(async () => {
      const error = await job().then(
        () => undefined,
        (failure: Error) => failure.message,
      );
      send({ type: "ended", error });
    });
  };
  const take = (line: string): void => {
    try {
      const message = decodeToAgent(line);
      if (message.type === "interrupt") {
        abort.abort();
        return;
      }
      // Here and not when it begins: an interrupt may come with it.
      abort = new AbortController();
      const { signal } = abort;
      queue(() => run(message, signal));
    } catch (error) {
      queue(() => Promise.reject(error));
    }
  };

  const splitter = new LineSplitter();
  createReadStream("", { fd: inputFd, autoClose: false })
    .on("data", (bytes) => {
      for (const line of splitter.push(bytes as Buffer)) take(line);
    })
    // The controller is gone, or the stream is: nobody is left to work for.
    .on("end", () => process.exit(0))
    .on("error", () => process.exit(1));

  setInterval(() => send({ type: "alive" }), ALIVE_MS);
  send({ type: "ready", version, machine: machineFacts(), calibrationMs: calibrate(), note: kernel.note });
}
