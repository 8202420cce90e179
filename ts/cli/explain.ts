/** `aiodio-ltp explain [JOURNAL [ID]]`: what went wrong, from the journal and the flight records beside it, long after. */
import { resolve } from "node:path";
import type { RecordAnswer } from "#native";
import { UsageError } from "../base/errors.js";
import { didYouMean } from "../base/suggest.js";
import type { KernelFinding, PlannedRun, RunEvent } from "../events/events.js";
import { readJournal } from "../report/journal.js";
import { formatLogLine, PLAIN } from "../report/ltp.js";
import { explanation, Results, type TestResult } from "../report/results.js";
import { formatRepeat, formatTest } from "../report/summary.js";
import { flightLines } from "../run/flight.js";
import type { Flags } from "./flags.js";
import { latestJournal } from "./kept-runs.js";
import { recordLeftBehind } from "./left-behind.js";
import { checkOutput, writeOutput } from "./output.js";
import type { System } from "./system.js";

/** Operations shown of a testcase. */
const OPERATIONS_SHOWN = 40;

/** What the journal tells of one testcase beside its result lines. */
interface Story {
  flight?: RecordAnswer;
  kernel: KernelFinding[];
  ended?: true;
  /** What came before it was begun anew, because the run was killed meanwhile. */
  killed: Story[];
}

/** @throws UsageError there is no such journal or testcase, or the trace can't be written */
export async function explain(flags: Flags, operands: readonly string[], system: System): Promise<number> {
  const [name, wanted, ...more] = operands;
  if (more.length > 0) {
    throw new UsageError("explain takes a journal and, if you like, the ID of one testcase: explain [JOURNAL [ID]]");
  }
  const path = name === undefined ? latestJournal(system.env) : resolve(system.cwd, name);
  const trace =
    flags.perfetto === undefined ? undefined : checkOutput("--perfetto", resolve(system.cwd, flags.perfetto));
  const results = new Results(true);
  const stories = new Map<string, Story>();
  const tracer = trace === undefined ? undefined : await tracerTo(trace, results);
  const isMeant = ({ run }: TestResult) => wanted === undefined || isNamed(run, wanted);
  const { start } = await readJournal(path, (event) => {
    results.add(event);
    tell(stories, event);
    if (!("key" in event) || event.key === undefined || isMeant(results.of(event.key))) tracer?.event(event);
  });
  const tests = start.plan.map(({ key }) => results.of(key)).filter(({ run }) => stories.has(run.key));
  const storyOf = ({ run }: TestResult) => stories.get(run.key) ?? { kernel: [], killed: [] };
  const chosen =
    wanted === undefined
      ? tests.filter((test) => wentWrong(test) || storyOf(test).killed.length > 0)
      : pick(tests, wanted);
  for (const test of chosen) {
    const story = storyOf(test);
    system.terminal.out(`${(await chapter(test, story, results, path)).join("\n")}\n\n`);
  }
  if (tracer) {
    tracer.end();
    system.terminal.err(`aiodio-ltp: ${trace} is a trace for ui.perfetto.dev\n`);
  }
  if (chosen.length === 0) {
    system.terminal.out(`Nothing went wrong in ${tests.length} testcases: name one to be told of it.\n`);
  }
  return 0;
}

/** Who makes a trace of the events that it is given. */
async function tracerTo(file: string, results: Results) {
  const { PerfettoReporter } = await import("../report/perfetto.js");
  return new PerfettoReporter(results, (text) => writeOutput(file, text));
}

function tell(stories: Map<string, Story>, event: RunEvent): void {
  if (event.type === "test-start") {
    const before = stories.get(event.key);
    const killed = before && !before.ended ? [...before.killed, before] : (before?.killed ?? []);
    stories.set(event.key, { kernel: [], killed });
  }
  if (!("key" in event) || event.key === undefined) return;
  const story = stories.get(event.key);
  if (!story) return;
  if (event.type === "data" && event.name === "flight") story.flight = event.value as RecordAnswer;
  if (event.type === "kernel") story.kernel.push(event.finding);
  if (event.type === "test-end") story.ended = true;
}

/** Failed, or never ended: the run was killed while it was under way. */
function wentWrong({ end }: TestResult): boolean {
  return end === undefined || (end.verdict !== "TPASS" && end.verdict !== "TCONF");
}

const isNamed = ({ key, id }: PlannedRun, name: string) => key === name || id === name;

function pick(tests: readonly TestResult[], wanted: string): TestResult[] {
  const found = tests.filter(({ run }) => isNamed(run, wanted));
  if (found.length > 0) return found;
  const known = tests.flatMap(({ run }) => [run.id, run.key]);
  throw new UsageError(`the journal has no testcase ${wanted} that was begun${didYouMean(wanted, known)}`);
}

async function chapter(test: TestResult, story: Story, results: Results, journal: string): Promise<string[]> {
  const { run, log, end, worker } = test;
  const lines = [
    end ? formatTest({ run, log, end }, results, false).trimEnd() : `${run.key} did not end: ${run.command}`,
  ];
  const shown = end && !wentWrong(test) ? log : explanation(log);
  lines.push(...shown.map((line) => `  ${formatLogLine(line, PLAIN).trimEnd()}`));
  if (wentWrong(test))
    lines.push(...[formatRepeat(test, results)].filter(Boolean).map((line) => `  ${line.trimEnd()}`));
  const flight = story.flight ?? (end || worker === undefined ? undefined : await recordLeftBehind(journal, worker));
  lines.push(...recorded(flight, story.kernel, end === undefined));
  for (const before of story.killed) {
    lines.push("  begun before, and killed with the run:", ...recorded(before.flight, before.kernel, true));
  }
  return lines;
}

/** What was done, and what the kernel said. `died`: the testcase did not come to its end. */
function recorded(flight: RecordAnswer | undefined, kernel: readonly KernelFinding[], died: boolean): string[] {
  if (!flight || flight.error) return kernel.map(({ seconds, text }) => `  kernel [${seconds.toFixed(6)}] ${text}`);
  return [...flightLines(flight, died), ...operationLines(flight, kernel)].map((text) => `  ${text}`);
}

/** The last operations, with what the kernel said between them in its place. */
function operationLines({ operations, total, lost }: RecordAnswer, kernel: readonly KernelFinding[]): string[] {
  const last = operations.slice(-OPERATIONS_SHOWN);
  const overwritten = lost > 0 ? `, of which the record has lost ${lost}` : "";
  const lines = [`operations: the last ${last.length} of ${total}${overwritten}`];
  const said = [...kernel].sort((a, b) => a.seconds - b.seconds);
  const hear = (before: number) => {
    while (said[0] !== undefined && said[0].seconds <= before) {
      const [{ seconds, text }] = said.splice(0, 1) as [KernelFinding];
      lines.push(...text.split("\n").map((line) => `  kernel [${seconds.toFixed(6)}] ${line}`));
    }
  };
  for (const { line, submittedSeconds } of last) {
    hear(submittedSeconds);
    lines.push(`  ${line}`);
  }
  hear(Number.POSITIVE_INFINITY);
  return lines;
}
