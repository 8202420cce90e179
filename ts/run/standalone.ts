/** A testcase as a command of its own (`aiocp -b 4k`): one worker, LTP's output on standard error, LTP's exit status. */
import { formatLogLine, formatSummary, ltpStyle } from "../report/ltp.js";
import { Slot } from "./slot.js";

/** Runs `program` with its arguments and returns its exit status. */
export async function runStandalone(program: string, argv: string[]): Promise<number> {
  const slot = new Slot(process.env);
  const interruption = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => interruption.abort());
  // The reader of the output may go away (`| head`); the testcase still ends and cleans up.
  process.stderr.on("error", () => {});
  const style = ltpStyle(process.env, process.stderr.isTTY);
  const outcome = await slot.run(
    { program, argv },
    (event) => {
      if (event.type === "line" || event.type === "raw") process.stderr.write(formatLogLine(event, style));
    },
    interruption.signal,
  );
  if (outcome.summary) process.stderr.write(formatSummary(outcome.counters));
  await slot.close();
  return outcome.exit;
}
