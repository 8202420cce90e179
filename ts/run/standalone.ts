/**
 * A testcase as a command of its own (`aiocp -b 4k`): one worker, LTP's output on standard error, LTP's exit status; with
 * `--legacy-output` those of LTP's old library, on standard output.
 */

import { EXIT } from "../base/exit.js";
import { callerOf } from "../base/location.js";
import { count, type ResultType } from "../events/events.js";
import { onInterrupt } from "../process/interruption.js";
import { shieldFromOom } from "../process/oom.js";
import { ProgramOutput } from "../report/program-output.js";
import { Slot } from "./slot.js";

/** The kernel's log is a ring: it is read this often, so that nothing is overwritten unread. */
const KERNEL_POLL_MS = 1_000;

/** Runs `program` with its arguments and returns its exit status. */
export async function runStandalone(program: string, argv: string[]): Promise<number> {
  const trace = argv.includes("--trace");
  shieldFromOom();
  const slot = new Slot(process.env, [], { trace });
  const interruption = new AbortController();
  onInterrupt(process, () => performance.now(), {
    first: () => interruption.abort(),
    // The worker sees its stream end, and removes its directory if it can.
    again: () => process.exit(EXIT.interrupted),
  });
  const output = new ProgramOutput();
  // The worker takes longer to start than going to the log's end.
  const { KernelWindow } = await import("./kernel-window.js");
  const kernel = new KernelWindow();
  const timer = setInterval(() => kernel.poll(), KERNEL_POLL_MS).unref();
  const { counters, summary } = await slot.run(
    { program, argv: argv.filter((word) => word !== "--trace") },
    (event) => {
      kernel.hear(event);
      output.show(event);
    },
    interruption.signal,
  );
  clearInterval(timer);
  const say = ({ result, text }: { result: ResultType; text: string }) => {
    count(counters, result);
    output.show({ type: "line", result, ...callerOf(say), text });
  };
  for (const line of await kernel.end()) say(line);
  kernel.close();
  const status = output.end(counters, summary);
  await slot.close();
  return status;
}
