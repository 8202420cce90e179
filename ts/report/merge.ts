/** The journals of parts of one run as the journal of the whole. */
import { closeSync, openSync, renameSync, rmSync } from "node:fs";
import { reasonOf, UsageError } from "../base/errors.js";
import { jsonLine, writeAll } from "../base/lines.js";
import type { RunEnd, RunEvent, RunStart } from "../events/events.js";
import { readJournal } from "./journal.js";
import { noVerdicts, Results } from "./results.js";

/** What is known of one journal before its events are taken. */
interface Part {
  path: string;
  start: RunStart;
  /** How often each run was begun: what came before it was begun anew is left out. */
  begun: Map<string, number>;
  runStarts: number;
  end: RunEnd | undefined;
  results: Results;
}

async function look(path: string): Promise<Part> {
  const begun = new Map<string, number>();
  const results = new Results();
  let start: RunStart | undefined;
  let runStarts = 0;
  await readJournal(path, (event) => {
    results.add(event);
    if (event.type === "test-start") begun.set(event.key, (begun.get(event.key) ?? 0) + 1);
    if (event.type !== "run-start") return;
    start = event;
    runStarts += 1;
  });
  // readJournal refuses a journal without one.
  return { path, start: start as RunStart, begun, runStarts, end: results.end, results };
}

/** @throws UsageError unless these are parts of one run, each run in one of them */
function checkParts(parts: readonly Part[]): void {
  const [first] = parts;
  const owners = new Map<string, string>();
  for (const { path, start } of parts) {
    for (const { key } of start.plan) {
      const other = owners.get(key);
      if (other !== undefined) throw new UsageError(`merge: ${key} is in ${other} and in ${path}: drop one of them`);
      owners.set(key, path);
    }
    const of = (what: string, one: string | undefined, here: string | undefined) => {
      if (one === here) return;
      throw new UsageError(
        `merge: ${first?.path} and ${path} are of runs with different ${what} (${one ?? "none"}, ${here ?? "none"}), which \`compare\` is for`,
      );
    };
    of("kernels", first?.start.machine.kernel, start.machine.kernel);
    of("versions of this package", first?.start.version, start.version);
    of("numbers of parts", first?.start.shard?.split("/")[1], start.shard?.split("/")[1]);
  }
  const wanted = Number(first?.start.shard?.split("/")[1] ?? 0);
  const there = new Set(parts.map(({ start }) => Number(start.shard?.split("/")[0])));
  const missing = Array.from({ length: wanted }, (_, index) => index + 1).filter((index) => !there.has(index));
  if (missing.length > 0) throw new UsageError(`merge: ${missing.join(", ")} of ${wanted} parts are missing: add them`);
}

function startOfAll(parts: readonly Part[]): RunStart {
  const starts = parts.map(({ start }) => start);
  const [{ shard: _, ...first }] = starts as [RunStart];
  const required = starts.flatMap(({ required = [], plan }) =>
    required === "all" ? plan.map(({ key }) => key) : required,
  );
  const skipped = starts.flatMap(({ skipped = [] }) => skipped);
  const files = Object.assign({}, ...starts.map(({ repeat }) => repeat?.files ?? {}));
  return {
    ...first,
    workers: starts.reduce((sum, { workers }) => sum + workers, 0),
    plan: starts.flatMap(({ plan }) => plan),
    ...(first.repeat && { repeat: { ...first.repeat, files } }),
    ...(required.length > 0 && { required }),
    ...(skipped.length > 0 && { skipped }),
  };
}

function endOfAll(parts: readonly Part[]): RunEnd {
  const counters = noVerdicts();
  let notRun = 0;
  for (const { results } of parts) {
    const verdicts = results.verdicts();
    for (const verdict of Object.keys(counters) as (keyof typeof counters)[]) counters[verdict] += verdicts[verdict];
    notRun += results.planned - results.endedCount;
  }
  const ends = parts.flatMap(({ end }) => end ?? []);
  const time =
    ends
      .map((end) => end.time)
      .sort()
      .at(-1) ?? new Date().toISOString();
  // A part without an end was killed.
  const interrupted = ends.length < parts.length || ends.some((end) => end.interrupted);
  return { type: "run-end", time, counters, notRun, interrupted };
}

/**
 * Writes one journal of several, event by event; their workers get numbers of their own. The file appears when it is whole.
 *
 * @throws UsageError the journals are no parts of one run, or the file exists or can't be written
 */
export async function mergeJournals(paths: readonly string[], output: string): Promise<void> {
  const parts: Part[] = [];
  for (const path of paths) parts.push(await look(path));
  checkParts(parts);
  const temporary = `${output}.${process.pid}.tmp`;
  let fd: number;
  try {
    // Nobody's file is overwritten: what has this name in the end must not have it now.
    closeSync(openSync(output, "wx"));
    fd = openSync(temporary, "wx");
  } catch (error) {
    const remedy = reasonOf(error) === "EEXIST" ? "it exists: name another" : `${reasonOf(error)}: name another`;
    throw new UsageError(`merge: cannot write ${output} (${remedy})`);
  }
  try {
    const write = (event: RunEvent) => writeAll(fd, jsonLine(event));
    write(startOfAll(parts));
    let workers = 0;
    for (const part of parts) workers += await take(part, workers, write);
    write(endOfAll(parts));
    renameSync(temporary, output);
  } catch (error) {
    for (const path of [temporary, output]) rmSync(path, { force: true });
    throw error;
  } finally {
    closeSync(fd);
  }
}

/** Hands on what of a journal still holds, with the workers' numbers raised; returns how many numbers it takes. */
async function take(part: Part, first: number, write: (event: RunEvent) => void): Promise<number> {
  const begun = new Map<string, number>();
  let runStarts = 0;
  let workers = 0;
  const holds = (key: string) => (begun.get(key) ?? 0) === (part.begun.get(key) ?? 0);
  await readJournal(part.path, (event) => {
    if (event.type === "run-start") runStarts += 1;
    if (event.type === "test-start") begun.set(event.key, (begun.get(event.key) ?? 0) + 1);
    if (event.type === "run-start" || event.type === "run-end") return;
    // What known issues explain is said anew by each part of a run that was resumed.
    if ((event.type === "known-issue" || event.type === "stale-issues") && runStarts < part.runStarts) return;
    if ("key" in event && event.key !== undefined && !holds(event.key)) return;
    if (!("worker" in event)) {
      if (event.type === "unavailable") write({ ...event, keys: event.keys.filter(holds) });
      else if (event.type === "unchecked") write({ ...event, suspects: event.suspects.filter(holds) });
      else write(event);
      return;
    }
    workers = Math.max(workers, event.worker + 1);
    const moved = { ...event, worker: first + event.worker };
    write(moved.type === "check" ? { ...moved, suspects: moved.suspects.filter(holds) } : moved);
  });
  return workers;
}
