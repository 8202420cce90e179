/** What one testcase writes that runs as a command of its own: LTP's output, or with `--legacy-output` its old library's. */
import { type Counters, exitStatus, type TestReport } from "../events/events.js";
import { LegacyLines, legacyExitStatus } from "./legacy.js";
import { formatLogLine, formatSummary, ltpStyle } from "./ltp.js";

export class ProgramOutput {
  private readonly style = ltpStyle(process.env, process.stderr.isTTY);
  private legacy: LegacyLines | undefined;

  constructor() {
    // The reader of the output may go away (`| head`); the testcase still ends and cleans up.
    for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
  }

  show(event: TestReport): void {
    if (event.type === "legacy") {
      this.legacy = new LegacyLines(event.id, ltpStyle(process.env, process.stdout.isTTY).colour);
    } else if (event.type === "trace") process.stderr.write(`${event.text}\n`);
    else if (event.type === "line" && this.legacy) process.stdout.write(this.legacy.format(event));
    else if (event.type === "line" || event.type === "raw") process.stderr.write(formatLogLine(event, this.style));
  }

  /** Writes LTP's Summary where it has one, and returns the command's exit status. */
  end(counters: Counters, summary: boolean): number {
    if (this.legacy) return legacyExitStatus(counters);
    if (summary) process.stderr.write(formatSummary(counters));
    return exitStatus(counters);
  }
}
