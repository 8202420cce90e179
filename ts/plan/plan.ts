/** From runtest files to the planned runs: filters, iterations, order, keys. */

import { firstOf, UsageError } from "../base/errors.js";
import { didYouMean } from "../base/suggest.js";
import type { PlannedRun } from "../events/events.js";
import type { RuntestFile } from "./resolve.js";
import type { RuntestLine } from "./runtest.js";
import { shuffled } from "./shuffle.js";

/** What the user asked for. */
export interface PlanRequest {
  /** Regular expressions; a line stays when one of them matches its ID or its command. None: all lines stay. */
  select?: readonly string[];
  /** Regular expressions; a line goes when one of them matches its ID or its command. */
  skip?: readonly string[];
  /** How often the whole selection runs; 1 when absent. */
  iterate?: number;
  /** How often each line runs each time, in a row; 1 when absent. */
  repeat?: number;
  /** Names of the guests that the whole selection runs in, one after the other. */
  guests?: readonly string[];
  /** Names of the filesystems that the whole selection runs on, one after the other. */
  filesystems?: readonly string[];
  /** Order by this seed instead of the files' order; filesystems stay together. */
  shuffleSeed?: string;
}

/** More than this is a slip; it would also not fit into memory as a plan. */
const RUNS_MAX = 1_000_000;
/** LTP's other runtest files name hundreds of programs that are none of ours. */
const UNKNOWN_SHOWN = 8;

function patterns(option: string, sources: readonly string[]): RegExp[] {
  return sources.map((source) => {
    if (source === "") throw new UsageError(`${option}: the pattern is empty: give a regular expression, e.g. ^AD00`);
    try {
      return new RegExp(source);
    } catch (error) {
      const reason = (error as Error).message.replace(/^.*: /, "").toLowerCase();
      throw new UsageError(`${option}: "${source}" is no regular expression (${reason}): correct it`);
    }
  });
}

function hit(list: readonly RegExp[], { id, command }: Pick<RuntestLine, "id" | "command">): boolean {
  return list.some((re) => re.test(id) || re.test(command));
}

/** The keys of the runs that these patterns mean. @throws UsageError where one of them means none */
export function requiredKeys(plan: readonly PlannedRun[], sources: readonly string[]): Set<string> {
  const required = patterns("--require", sources);
  for (const [index, one] of required.entries()) {
    if (plan.some((run) => hit([one], run))) continue;
    throw new UsageError(`--require ${sources[index]} means none of the ${plan.length} testcases: correct it`);
  }
  return new Set(plan.filter((run) => hit(required, run)).map(({ key }) => key));
}

/** Keeps the lines that `select` and `skip` leave of each file. */
export function filterLines(
  files: readonly RuntestFile[],
  { select = [], skip = [] }: Pick<PlanRequest, "select" | "skip">,
): RuntestFile[] {
  const selected = patterns("--select", select);
  const skipped = patterns("--skip", skip);
  const keep = (line: RuntestLine) => (selected.length === 0 || hit(selected, line)) && !hit(skipped, line);
  const kept = files.map((file) => ({ ...file, lines: file.lines.filter(keep) }));
  if (files.length > 0 && kept.every((file) => file.lines.length === 0)) {
    const count = files.reduce((sum, file) => sum + file.lines.length, 0);
    throw new UsageError(
      `--select and --skip leave none of the ${count} lines: loosen them (\`aiodio-ltp list FILE\` shows the lines)`,
    );
  }
  return kept;
}

/** Makes the plan. `programs` are the testcases that exist; a line that needs another is a {@link UsageError}. */
export function makePlan(
  files: readonly RuntestFile[],
  request: PlanRequest,
  programs: Iterable<string>,
): PlannedRun[] {
  const kept = filterLines(files, request);
  checkPrograms(kept, new Set(programs));
  const { iterate = 1, repeat = 1 } = request;
  const filesystems = request.filesystems ?? [undefined];
  const places = (request.guests ?? [undefined]).flatMap((guest) => filesystems.map((name) => ({ guest, name })));
  const count = places.length * iterate * repeat * kept.reduce((sum, file) => sum + file.lines.length, 0);
  if (count > RUNS_MAX) {
    const times = [...(iterate > 1 ? [`--iterate ${iterate}`] : []), ...(repeat > 1 ? [`--repeat ${repeat}`] : [])];
    throw new UsageError(
      `${times.join(" and ") || "that"} makes ${count} runs, ${RUNS_MAX} is the limit: ask for fewer`,
    );
  }
  const names = uniqueNames(kept.map((file) => file.suite));
  const onEach = places.map(({ guest, name }) => {
    const runs = planOnce(kept, names, { iterate, repeat }, guest, name);
    return request.shuffleSeed === undefined ? runs : shuffled(runs, request.shuffleSeed);
  });
  return onEach.flat();
}

function planOnce(
  kept: readonly RuntestFile[],
  names: readonly string[],
  { iterate, repeat }: { iterate: number; repeat: number },
  guest: string | undefined,
  filesystem: string | undefined,
): PlannedRun[] {
  const runs: PlannedRun[] = [];
  const where = [guest, filesystem].map((name) => (name === undefined ? "" : `${name}/`)).join("");
  for (let round = 0; round < iterate; round++) {
    for (const [index, { suite, lines }] of kept.entries()) {
      for (const { id, argv, command } of lines) {
        for (let time = 1; time <= repeat; time++) {
          const iteration = round * repeat + time;
          const key = `${where}${names[index]}:${id}${iteration > 1 ? `#${iteration}` : ""}`;
          const [program, ...rest] = argv;
          runs.push({
            ...{ key, suite, id, iteration, program, argv: rest, command },
            ...(guest !== undefined && { guest }),
            ...(filesystem !== undefined && { filesystem }),
          });
        }
      }
    }
  }
  return runs;
}

/** How each file is found again, by its name in the keys of the plan. */
export function filesByName(files: readonly RuntestFile[]): Record<string, string> {
  const names = uniqueNames(files.map(({ suite }) => suite));
  return Object.fromEntries(
    files.flatMap(({ again }, index) => (again === undefined ? [] : [[names[index] ?? "", again]])),
  );
}

/** Files may share a base name, or be given twice: the later ones are told apart as `name@2`, `name@3`… */
function uniqueNames(names: readonly string[]): string[] {
  const taken = new Set<string>();
  return names.map((name) => {
    let unique = name;
    for (let copy = 2; taken.has(unique) || (unique !== name && names.includes(unique)); copy++) {
      unique = `${name}@${copy}`;
    }
    taken.add(unique);
    return unique;
  });
}

function checkPrograms(files: readonly RuntestFile[], programs: ReadonlySet<string>): void {
  const places = new Map<string, string[]>();
  for (const { path, lines } of files) {
    for (const { number, argv } of lines) {
      if (programs.has(argv[0])) continue;
      const list = places.get(argv[0]) ?? [];
      list.push(`${path}:${number}`);
      places.set(argv[0], list);
    }
  }
  if (places.size === 0) return;
  const unknown = [...places].map(([program, where]) => {
    const more = where.length > 3 ? ` and ${where.length - 3} more lines` : "";
    return `"${program}"${didYouMean(program, programs)} at ${where.slice(0, 3).join(", ")}${more}`;
  });
  throw new UsageError(
    `unknown program ${firstOf(unknown, UNKNOWN_SHOWN, "programs").join("; ")}: this version has ${[...programs].sort().join(", ")}; ` +
      "correct the lines or leave them out with --skip",
  );
}
