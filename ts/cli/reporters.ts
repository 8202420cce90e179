/** The reporters that a run is shown by. Only what is used is loaded. */
import { appendFileSync, openSync } from "node:fs";
import { resolve } from "node:path";
import { UsageError } from "../base/errors.js";
import { writeAll } from "../base/lines.js";
import type { Reporter } from "../events/events.js";
import { DocumentReporter, type Format } from "../report/document.js";
import type { Results } from "../report/results.js";
import { type Flags, LIVE, type WantedReporter } from "./flags.js";
import { checkOutput, writeOutput } from "./output.js";
import type { System } from "./system.js";

/** Reports that are written when the run is over. */
const DOCUMENTS: Partial<Record<WantedReporter["name"], () => Promise<Format>>> = {
  json: async () => (await import("../report/json.js")).kirkReport,
  junit: async () => (await import("../report/junit.js")).junitReport,
  tap: async () => (await import("../report/tap.js")).tapReport,
  markdown: async () => (await import("../report/markdown.js")).markdownReport,
  github: async () => (await import("../report/github.js")).githubReport,
};

/**
 * What is wanted, with the paths of its files; `--output FILE` is `--reporter json=FILE`. On the terminal is `progress` where nothing
 * else was wanted there. Told before the run, not after hours of it.
 *
 * @throws UsageError a file can't be written, or two want one place
 */
export function wantedReporters({ reporters, output }: Flags, cwd: string): WantedReporter[] {
  const files = reporters.map(({ name, file }) => ({ name, ...(file !== undefined && { file: resolve(cwd, file) }) }));
  if (output !== undefined) {
    const json = files.findIndex(({ name, file }) => name === "json" && file === undefined);
    files.splice(Math.max(json, 0), json < 0 ? 0 : 1, { name: "json", file: resolve(cwd, output) });
    // As it has always been: nothing on the terminal then.
    if (json >= 0) return checked(files, resolve(cwd, output));
  }
  // Annotations are made to stand between other lines.
  const shown = files.filter(({ name, file }) => file === undefined && name !== "github");
  const [first, second] = shown;
  if (first && second) {
    const remedy = LIVE.includes(second.name) ? "one of them only" : `${second.name}=FILE`;
    throw new UsageError(`--reporter: ${first.name} and ${second.name} both want standard output: give ${remedy}`);
  }
  return checked(first ? files : [{ name: "progress" }, ...files], output && resolve(cwd, output));
}

/** @param output the file of `--output` */
function checked(wanted: WantedReporter[], output: string | undefined): WantedReporter[] {
  const taken = new Map<string, string>();
  for (const { name, file } of wanted) {
    if (file === undefined) continue;
    const other = taken.get(file);
    if (other !== undefined) throw new UsageError(`--reporter: ${other} and ${name} both want ${file}: name another`);
    taken.set(file, name);
    checkOutput(file === output ? "--output" : `--reporter ${name}`, file);
  }
  return wanted;
}

/** Whether one of them shows the lines of what passed too. */
export const keepsLogs = (wanted: readonly WantedReporter[]) => wanted.some(({ name }) => name === "json");

/** What people are shown beside verdicts. */
export interface Shown {
  journal?: { path: string; kept: boolean } | undefined;
  durations: number;
}

export async function makeReporters(
  wanted: readonly WantedReporter[],
  results: Results,
  system: Pick<System, "terminal" | "env">,
  shown: Shown,
): Promise<Reporter[]> {
  return Promise.all(wanted.map((one) => makeReporter(one, results, system, shown)));
}

async function makeReporter(
  { name, file }: WantedReporter,
  results: Results,
  { terminal, env }: Pick<System, "terminal" | "env">,
  shown: Shown,
): Promise<Reporter> {
  const document = await DOCUMENTS[name]?.();
  if (document) {
    const write = documentWriter(file, terminal);
    const summary = name === "github" ? await jobSummary(results, env) : () => {};
    return new DocumentReporter(results, document, (text) => {
      write(text);
      summary();
    });
  }
  switch (name) {
    case "quiet": {
      const { QuietReporter } = await import("../report/quiet.js");
      return new QuietReporter(terminal, results);
    }
    case "ltp": {
      const [{ LtpReporter }, { ltpStyle }] = await Promise.all([
        import("../report/ltp-reporter.js"),
        import("../report/ltp.js"),
      ]);
      const style = ltpStyle(env, file === undefined && terminal.tty);
      return new LtpReporter({ style, results, write: lineWriter(file, terminal) });
    }
    case "html": {
      const { HtmlReporter } = await import("../report/html.js");
      return new HtmlReporter(results, documentWriter(file, terminal));
    }
    case "perfetto": {
      const { PerfettoReporter } = await import("../report/perfetto.js");
      return new PerfettoReporter(results, documentWriter(file, terminal));
    }
    default: {
      const { ProgressReporter } = await import("../report/progress.js");
      return new ProgressReporter({ terminal, results, ...shown });
    }
  }
}

/** Where a report goes when the run is over. */
export function documentWriter(file: string | undefined, terminal: System["terminal"]): (text: string) => void {
  return file === undefined ? (text) => terminal.out(text) : (text) => writeOutput(file, text);
}

/** Where lines go as they come. */
function lineWriter(file: string | undefined, terminal: System["terminal"]): (text: string) => void {
  if (file === undefined) return (text) => terminal.out(text);
  const fd = openSync(file, "w");
  return (text) => writeAll(fd, text);
}

/** What puts the report on the page of GitHub's job, where this is one. */
async function jobSummary(results: Results, { GITHUB_STEP_SUMMARY: path }: NodeJS.ProcessEnv): Promise<() => void> {
  if (!path) return () => {};
  const { markdownReport } = await import("../report/markdown.js");
  return () => appendFileSync(path, markdownReport(results));
}
