/**
 * A testcase as a command of its own (`aiocp -b 4k`): one worker, LTP's output on standard error, LTP's exit status; with
 * `--legacy-output` those of LTP's old library, on standard output.
 */

import { callerOf } from "../base/location.js";
import { count, exitStatus, type ResultType } from "../events/events.js";
import { onInterrupt } from "../process/interruption.js";
import { shieldFromOom } from "../process/oom.js";
import { LegacyLines, legacyExitStatus } from "../report/legacy.js";
import { formatLogLine, formatSummary, ltpStyle } from "../report/ltp.js";
import { Slot } from "./slot.js";
import type { Report } from "./supervise.js";

/** What a shell says of a command that SIGINT has ended. */
const INTERRUPTED = 130;
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
    again: () => process.exit(INTERRUPTED),
  });
  // The reader of the output may go away (`| head`); the testcase still ends and cleans up.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
  const style = ltpStyle(process.env, process.stderr.isTTY);
  let legacy: LegacyLines | undefined;
  const show = (event: Report) => {
    if (event.type === "legacy") {
      legacy = new LegacyLines(event.id, ltpStyle(process.env, process.stdout.isTTY).colour);
    } else if (event.type === "trace") process.stderr.write(`${event.text}\n`);
    else if (event.type === "line" && legacy) process.stdout.write(legacy.format(event));
    else if (event.type === "line" || event.type === "raw") process.stderr.write(formatLogLine(event, style));
  };
  // The worker takes longer to start than going to the log's end.
  const { KernelWindow } = await import("./kernel-window.js");
  const kernel = new KernelWindow();
  const timer = setInterval(() => kernel.poll(), KERNEL_POLL_MS).unref();
  const { counters, summary } = await slot.run(
    { program, argv: argv.filter((word) => word !== "--trace") },
    (event) => {
      kernel.hear(event);
      show(event);
    },
    interruption.signal,
  );
  clearInterval(timer);
  const say = ({ result, text }: { result: ResultType; text: string }) => {
    count(counters, result);
    show({ type: "line", result, ...callerOf(say), text });
  };
  for (const line of await kernel.end()) say(line);
  kernel.close();
  if (summary && !legacy) process.stderr.write(formatSummary(counters));
  await slot.close();
  return legacy ? legacyExitStatus(counters) : exitStatus(counters);
}
