/** `--shard K/N`: the part of a plan that one of N runs takes, so that together they are the whole plan. */
import { UsageError } from "../base/errors.js";
import { groupBy } from "../base/group.js";
import { lineOf, type PlannedRun } from "../events/events.js";

/** One of so many parts; both 1-based. */
export interface Shard {
  index: number;
  of: number;
}

/** More parts than this are a slip. */
const SHARDS_MAX = 10_000;

/** @throws UsageError it is not `K/N` with 1 ≤ K ≤ N */
export function parseShard(text: string): Shard {
  const [, index = "0", of = "0"] = /^(\d{1,5})\/(\d{1,5})$/.exec(text) ?? [];
  const shard = { index: Number(index), of: Number(of) };
  if (shard.index < 1 || shard.index > shard.of || shard.of > SHARDS_MAX) {
    throw new UsageError(`--shard: "${text}" is not K/N, the K-th of N parts, for example 2/3`);
  }
  return shard;
}

/**
 * The runs of one part, in the plan's order. A line stays whole, with all its iterations. The parts take about equally long by `seconds`,
 * which tells how long a run of a line took before; what it does not know takes as long as the others of the program, or of all. The
 * same plan and the same times give the same parts.
 *
 * @throws UsageError there are fewer lines than parts
 */
export function shardOf(
  plan: readonly PlannedRun[],
  { index, of }: Shard,
  seconds: ReadonlyMap<string, number> = new Map(),
): PlannedRun[] {
  const lines = groupBy(plan, lineOf);
  if (lines.size < of) {
    throw new UsageError(`--shard ${index}/${of}: there are only ${lines.size} lines: make fewer parts`);
  }
  const known = [...lines].flatMap(([line, [run]]) => {
    const value = seconds.get(line);
    return value === undefined || !run ? [] : [{ program: run.program, value }];
  });
  const all = mean(known) ?? 1;
  const programs = new Map([...groupBy(known, ({ program }) => program)].map(([name, lines]) => [name, mean(lines)]));
  const weighed = [...lines].map(([line, runs]) => ({
    line,
    // Never nothing: a part without lines would be no part.
    weight: runs.length * Math.max(1e-6, seconds.get(line) ?? programs.get(runs[0]?.program ?? "") ?? all),
  }));
  // The longest first, each to the part that has least so far: never more than a third above the best there is (Graham, 1969).
  weighed.sort((a, b) => b.weight - a.weight);
  const sums = Array<number>(of).fill(0);
  const mine = new Set<string>();
  for (const { line, weight } of weighed) {
    const least = sums.indexOf(Math.min(...sums));
    sums[least] = (sums[least] ?? 0) + weight;
    if (least === index - 1) mine.add(line);
  }
  return plan.filter((run) => mine.has(lineOf(run)));
}

function mean(lines: readonly { value: number }[]): number | undefined {
  return lines.length > 0 ? lines.reduce((sum, { value }) => sum + value, 0) / lines.length : undefined;
}
