/**
 * A testcase as a command of its own (`aiocp -b 4k`): one worker, LTP's output on standard error, LTP's exit status; with
 * `--legacy-output` those of LTP's old library, on standard output.
 */
import { LegacyLines, legacyExitStatus } from "../report/legacy.js";
import { formatLogLine, formatSummary, ltpStyle } from "../report/ltp.js";
import { onInterrupt } from "./interruption.js";
import { shieldFromOom } from "./oom.js";
import { Slot } from "./slot.js";

/** What a shell says of a command that SIGINT has ended. */
const INTERRUPTED = 130;

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
  const outcome = await slot.run(
    { program, argv: argv.filter((word) => word !== "--trace") },
    (event) => {
      if (event.type === "legacy") {
        legacy = new LegacyLines(event.id, ltpStyle(process.env, process.stdout.isTTY).colour);
      } else if (event.type === "trace") process.stderr.write(`${event.text}\n`);
      else if (event.type === "line" && legacy) process.stdout.write(legacy.format(event));
      else if (event.type === "line" || event.type === "raw") process.stderr.write(formatLogLine(event, style));
    },
    interruption.signal,
  );
  if (outcome.summary && !legacy) process.stderr.write(formatSummary(outcome.counters));
  await slot.close();
  return legacy ? legacyExitStatus(outcome.counters) : outcome.exit;
}
