/** The reporters that a run is shown by. */
import type { Reporter } from "../events/events.js";
import type { Results } from "../report/results.js";
import type { Flags } from "./flags.js";
import { writeOutput } from "./output.js";
import type { System } from "./system.js";

/** The chosen reporter, and the report file where one is wanted. Only what is used is loaded. */
export async function makeReporters(
  { reporter }: Flags,
  output: string | undefined,
  results: Results,
  { terminal, env }: System,
  journal: { path: string; kept: boolean } | undefined,
): Promise<Reporter[]> {
  const reporters: Reporter[] = [];
  switch (reporter) {
    case "progress": {
      const { ProgressReporter } = await import("../report/progress.js");
      reporters.push(new ProgressReporter({ terminal, results, journal }));
      break;
    }
    case "quiet": {
      const { QuietReporter } = await import("../report/quiet.js");
      reporters.push(new QuietReporter(terminal, results));
      break;
    }
    case "ltp": {
      const [{ LtpReporter }, { ltpStyle }] = await Promise.all([
        import("../report/ltp-reporter.js"),
        import("../report/ltp.js"),
      ]);
      const write = (text: string) => terminal.out(text);
      reporters.push(new LtpReporter({ style: ltpStyle(env, terminal.tty), results, write }));
      break;
    }
    case "json":
      break;
  }
  if (reporter === "json" || output !== undefined) {
    const { JsonReporter } = await import("../report/json.js");
    const write =
      output === undefined ? (text: string) => terminal.out(text) : (text: string) => writeOutput(output, text);
    reporters.push(new JsonReporter(results, write));
  }
  return reporters;
}
