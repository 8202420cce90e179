/** `aiodio-ltp FILE...`: plan, run, report. */
import { realpathSync } from "node:fs";
import { resolve } from "node:path";
import { UsageError } from "../base/errors.js";
import { EXIT } from "../base/exit.js";
import { version } from "../base/package.js";
import type { PlannedRun, RunEvent, RunStart } from "../events/events.js";
import { DEFAULT_SIZE_BYTES } from "../filesystem/provision.js";
import type { Variant } from "../filesystem/variants.js";
import { openKernelLog } from "../kernel/kmsg.js";
import { environmentOf, issueText, type KnownFacts, type KnownIssues } from "../kernel/known-issues.js";
import { skipReason } from "../kernel/skip-list.js";
import { knownDevicesBehind } from "../linux/devices.js";
import { machineFacts } from "../linux/machine.js";
import { peakBytes } from "../linux/memory.js";
import { filesByName, makePlan, requiredKeys } from "../plan/plan.js";
import { lineAlone, loadRuntests, packagedRuntests } from "../plan/resolve.js";
import { type Shard, shardOf } from "../plan/shard.js";
import { randomSeed } from "../plan/shuffle.js";
import { onInterrupt } from "../process/interruption.js";
import { linesOf, median } from "../report/compare.js";
import { type History, Journal, readResults } from "../report/journal.js";
import { Results } from "../report/results.js";
import { checkResumable } from "../report/resume.js";
import { formatSkipped } from "../report/summary.js";
import { programs } from "../testcase/registry.js";
import { checkDirectory, chosenDirectory } from "./directory.js";
import { EventPath } from "./event-path.js";
import { COMMANDS, type Flags, type WantedReporter } from "./flags.js";
import { type Elsewhere, elsewhereOf } from "./guests.js";
import { keepRun, latestJournal } from "./kept-runs.js";
import { dropLeftBehind, recordLeftBehind } from "./left-behind.js";
import { loadKnownIssues, loadSkipList, skippedOf } from "./lists.js";
import { repeatOf } from "./repeat.js";
import { keepsLogs, makeReporters, wantedReporters } from "./reporters.js";
import { refuseBadSettings, storageOf } from "./storage.js";
import type { System } from "./system.js";

export async function run(flags: Flags, wantedLines: WantedLines, system: System): Promise<number> {
  const { cwd } = system;
  checkTogether(flags, wantedLines);
  const wanted = wantedReporters(flags, cwd);
  const results = new Results(keepsLogs(wanted));
  const named = flags.journal === undefined ? undefined : resolve(cwd, flags.journal);
  const journalPath = named ?? (flags.resume ? latestJournal(system.env) : undefined);
  const resumed =
    journalPath !== undefined && flags.resume
      ? await Journal.resume(journalPath, (event) => results.add(event))
      : undefined;
  results.doubtUnchecked();
  try {
    return await runOn({ results, wanted, journalPath, resumed }, flags, wantedLines, system);
  } finally {
    resumed?.journal.close();
  }
}

/** What is to be run. */
export interface WantedLines {
  /** Runtest files, IDs and programs, as the user names them. */
  words: readonly string[];
  /** Or one line, in words. */
  line: readonly string[] | undefined;
}

/** What is known of a run before its plan is. */
interface Ground {
  /** They hold what earlier parts of the run have brought. */
  results: Results;
  wanted: readonly WantedReporter[];
  /** Of the journal that the user wants; absent where the run is only kept. */
  journalPath: string | undefined;
  resumed: { journal: Journal; history: History } | undefined;
}

/** What is to be done, and with what: all that can be wrong with it has been said. */
interface Planned {
  /** The first event of this part. */
  next: RunStart;
  /** All that is wanted, with what earlier parts have done. */
  plan: readonly PlannedRun[];
  /** What is left of it. */
  pending: PlannedRun[];
  workers: number;
  directory: string;
  storage: Awaited<ReturnType<typeof storageOf>>;
  /** Testcases work in a directory of the user's on this machine. */
  own: boolean;
  elsewhere: boolean;
  runPlan: System["runPlan"];
  known: KnownIssues | undefined;
  /** Tells the known issues of a machine, this one or a guest. */
  describe(facts: KnownFacts, guest?: string): void;
}

async function runOn(ground: Ground, flags: Flags, wantedLines: WantedLines, system: System): Promise<number> {
  const planned = await planRun(ground, flags, wantedLines, system);
  return conclude(ground, flags, await execute(ground, planned, flags, system));
}

/** Reads all that the run is made of, and refuses what is wrong with it. */
async function planRun(
  { results, journalPath, resumed }: Ground,
  flags: Flags,
  wantedLines: WantedLines,
  system: System,
): Promise<Planned> {
  const { terminal, cwd } = system;
  const history = resumed?.history;
  const elsewhere = elsewhereOf(flags, cwd);
  const storage = elsewhere ? undefined : await storageOf(flags, cwd, system.env);
  const filesystems = elsewhere?.variants ?? storage?.variants;
  const own = !filesystems && !elsewhere;
  const note = (text: string) => terminal.err(`aiodio-ltp: ${text}\n`);
  const known =
    flags.knownIssues === undefined ? undefined : await loadKnownIssues(resolve(cwd, flags.knownIssues), note);
  const { plan: whole, shuffleSeed, files } = planOf(flags, wantedLines, cwd, history, filesystems, elsewhere);
  const all = flags.shard ? await partOf(whole, flags.shard, flags.timings, cwd) : whole;

  const left = all.some(({ key }) => !results.completed(key));
  const prepared =
    elsewhere && left
      ? await system.prepareElsewhere(elsewhere, flags, { cwd, env: system.env, tell: note })
      : undefined;

  const skipList = flags.skipFile === undefined ? undefined : await loadSkipList(resolve(cwd, flags.skipFile), note);
  const kernels = new Map<string | undefined, string | undefined>();
  const describe = (facts: KnownFacts, guest?: string) => {
    known?.describe(environmentOf(facts, version), guest);
    kernels.set(guest, facts.kernel);
  };
  if (!elsewhere) describe(machineFacts());
  for (const [name, machine] of results.guests) describe(machine, name);
  for (const [name, facts] of prepared?.facts ?? []) describe(facts, name);
  const skipped = skippedOf(all, (run) => {
    const issue = known?.skip(run);
    // What has run already has its verdict.
    if (results.completed(run.key)) return undefined;
    return issue ? issueText(issue) : skipList && skipReason(skipList, run.id, kernels.get(run.guest));
  });
  for (const line of formatSkipped(skipped)) note(line);

  const plan = withoutSkipped(all, skipped, flags);
  const required = flags.forbidConf ? "all" : [...requiredKeys(plan, flags.require)];
  refuseOtherPlaces(plan, elsewhere, filesystems);
  const directory = chosenDirectory(flags.directory, system.env, cwd);

  // A device is one filesystem, and a filesystem one worker's.
  const workers = storage && storage.devices.length > 0 ? storage.devices.length : flags.workers;
  const devices = storage?.devices.map(({ path }) => path) ?? [];
  const repeat = repeatOf(flags, devices, own ? directory : undefined, files);
  const next = runStart(flags, {
    ...{ workers, plan: all, skipped, directory, shuffleSeed, repeat, devices, required },
    made: filesystems !== undefined,
  });
  if (history && results.start && journalPath !== undefined) {
    const kernels = [...results.guests].map(([name, { kernel: before }]) => ({
      ...{ name, before, now: prepared?.facts.get(name)?.kernel },
    }));
    const parts = { first: history.start, last: results.start, next, kernels };
    checkResumable(journalPath, parts, flags.resume === "force");
  }
  const pending = plan.filter(({ key }) => !results.completed(key));
  if (pending.length > 0 && own) checkDirectory(directory, Math.min(workers, pending.length));
  if (pending.length > 0 && storage) await refuseBadSettings(storage);
  const runPlan = prepared?.runPlan ?? system.runPlan;
  const here = { elsewhere: elsewhere !== undefined, own, runPlan };
  return { next, plan, pending, workers, directory, storage, known, describe, ...here };
}

/** What lists leave of the plan. @throws UsageError when that is nothing */
function withoutSkipped(
  all: readonly PlannedRun[],
  skipped: NonNullable<RunStart["skipped"]>,
  { knownIssues, skipFile }: Flags,
): PlannedRun[] {
  const unwanted = new Set(skipped.flatMap(({ keys }) => keys));
  const plan = all.filter(({ key }) => !unwanted.has(key));
  if (plan.length > 0) return plan;
  const files = [
    ...(knownIssues === undefined ? [] : [`--known-issues: ${knownIssues}`]),
    ...(skipFile === undefined ? [] : [`--skip-file: ${skipFile}`]),
  ];
  throw new UsageError(`${files.join(" and ")} ${files.length > 1 ? "want" : "wants"} all testcases skipped`);
}

/** A plan out of a journal names the machines and filesystems of that run, which may not be those of this one. @throws UsageError */
function refuseOtherPlaces(
  plan: readonly PlannedRun[],
  elsewhere: Elsewhere | undefined,
  filesystems: ReadonlyMap<string, Variant> | undefined,
): void {
  for (const { guest, filesystem } of plan) {
    if (guest !== undefined && !elsewhere?.names.includes(guest)) {
      throw new UsageError(`the journal's run was on other machines: add --guest or --host ${guest}`);
    }
    if (filesystem === undefined || filesystems?.has(filesystem)) continue;
    throw new UsageError(`the journal's run was on filesystems of its own: add --filesystems with ${filesystem} in it`);
  }
}

/** How the run has gone. */
interface Executed {
  failure: { error: unknown } | undefined;
  interrupted: boolean;
  aborted: boolean;
}

/** Opens what the events go to, runs what is left of the plan, and tells the end. */
async function execute(
  { results, wanted, journalPath, resumed }: Ground,
  planned: Planned,
  flags: Flags,
  system: System,
): Promise<Executed> {
  const { terminal } = system;
  const { next, pending, elsewhere, storage } = planned;
  let journal = resumed?.journal ?? (journalPath === undefined ? undefined : await Journal.create(journalPath));
  const kept = journalPath === undefined && !flags.noJournal;
  if (kept) {
    journal = await keepRun(system.env, new Date()).catch((error: Error) => {
      terminal.err(`aiodio-ltp: ${error.message}\n`);
      return undefined;
    });
  }
  const reporters = await makeReporters(wanted, results, system, {
    journal: journal && { path: journal.path, kept },
    durations: flags.durations,
  });
  const events = new EventPath(journal, kept, results, reporters, terminal, planned);
  const { abort, emit } = events;
  const kernelLog = openKernelLog(system.kernelLog);
  // Another machine's testcases are not what this machine's kernel speaks of.
  const kernel = elsewhere ? undefined : system.watchKernel();
  let interrupted = false;
  const ignoreSignals = onInterrupt(system.signals, system.nowMs, {
    first: () => {
      interrupted = true;
      abort.abort();
      events.tell("aiodio-ltp: interrupted, ending what runs (once more: exit at once)\n");
    },
    again: () => system.exit(EXIT.interrupted),
  });
  // Nobody reads the report any more; with a journal the run still has a purpose.
  let closed = false;
  terminal.onClosed(() => {
    closed = true;
    if (journalPath === undefined) abort.abort();
  });

  try {
    // Before anything is recorded over it.
    const killed = resumed ? await leftBehind(results, resumed.journal.path) : [];
    emit(next);
    for (const { event, worker } of killed) {
      emit(event);
      if (!events.failure && resumed) dropLeftBehind(resumed.journal.path, worker);
    }
    // The file may be another than that of the earlier parts.
    for (const event of events.excuses?.all() ?? []) emit(event);
    if (kernel?.note !== undefined) events.tell(`aiodio-ltp: ${kernel.note}\n`);
    for (const { description } of storage?.devices ?? []) events.tell(`aiodio-ltp: formatting ${description}\n`);
    const earlierTrouble = results.unexpected;
    if (pending.length > 0 && !abort.signal.aborted) {
      const options = {
        ...runOptions(planned, flags, journalPath),
        ...(flags.bail && { bail: () => results.unexpected > earlierTrouble }),
        ...(kernel && { kernel }),
        marker: (id: string) => void kernelLog.mark(`aiodio-ltp: Starting ${id}`),
        signal: abort.signal,
      };
      await planned.runPlan(pending, options, emit);
    }
  } catch (error) {
    events.failure ??= { error };
  }
  try {
    emitEnd(events, results, planned, flags);
    events.end();
  } catch (error) {
    events.failure ??= { error };
  } finally {
    ignoreSignals();
    kernelLog.close();
    kernel?.close();
    events.close();
  }
  const { aborted } = abort.signal;
  return { failure: events.failure, interrupted: interrupted || (closed && aborted), aborted };
}

/** What the scheduler is told of the command line. */
function runOptions({ directory, own, workers, storage }: Planned, flags: Flags, journal: string | undefined) {
  const { engine, verify, seed, timeoutMul, trace } = flags;
  return {
    directory,
    devices: own ? knownDevicesBehind(realpathSync(directory)) : undefined,
    ...{ workers, trace },
    defaults: {
      ...(engine !== undefined && { engine }),
      ...(verify !== undefined && { verify }),
      ...(seed !== undefined && { seed }),
    },
    ...(storage && { storage }),
    ...(journal !== undefined && { journal }),
    ...(timeoutMul !== undefined && { timeoutMul }),
  };
}

/** The last events: what is left of lists and checks, and the sums. */
function emitEnd(events: EventPath, results: Results, planned: Planned, flags: Flags): void {
  // A part of the plan needs a part of the entries only.
  const whole = flags.select.length + flags.skip.length === 0 && !events.abort.signal.aborted;
  const stale = planned.known?.stale(new Set(planned.plan.map(({ suite }) => suite))) ?? [];
  const issues = stale.filter(({ reason }) => whole || reason === "unneeded").map(({ issue }) => issueText(issue));
  if (issues.length > 0) events.emit({ type: "stale-issues", issues });
  const time = new Date().toISOString();
  for (const unchecked of results.takeUnchecked()) events.emit({ type: "unchecked", time, ...unchecked });
  events.emit({
    type: "run-end",
    time,
    counters: results.verdicts(),
    notRun: results.planned - results.endedCount,
    interrupted: events.abort.signal.aborted,
    peakBytes: peakBytes(),
  });
}

/** The exit status. */
function conclude(
  { results, journalPath }: Ground,
  { bail }: Flags,
  { failure, interrupted, aborted }: Executed,
): number {
  if (failure) throw asRunFailure(failure.error, journalPath);
  if (interrupted) return EXIT.interrupted;
  const notRun = results.planned - results.endedCount;
  if (notRun > 0 && !aborted && !bail) {
    throw new Error(`${notRun} testcases were left out, and nothing says why`);
  }
  if (results.unexpected > 0) return EXIT.failed;
  return results.nothingPassed ? EXIT.nothingPassed : EXIT.ok;
}

/** What the workers of a killed part did last, for the journal. */
async function leftBehind(results: Results, journal: string): Promise<{ event: RunEvent; worker: number }[]> {
  const events: { event: RunEvent; worker: number }[] = [];
  for (const { run, worker } of results.underWay()) {
    const value = worker === undefined ? undefined : await recordLeftBehind(journal, worker);
    if (worker === undefined || !value) continue;
    events.push({ event: { type: "data", key: run.key, name: "flight", value }, worker });
  }
  return events;
}

/** Options that make sense only with others. */
function checkTogether(flags: Flags, { words, line }: WantedLines): void {
  if (flags.noJournal && (flags.journal !== undefined || flags.resume)) {
    throw new UsageError("--no-journal keeps nothing: drop it, or --journal and --resume");
  }
  if (flags.timings !== undefined && !flags.shard) {
    throw new UsageError("--timings makes the parts of --shard equal: add --shard K/N, or drop it");
  }
  if (words.length > 0 || line) return;
  if (!flags.resume) {
    throw new UsageError(
      `no runtest file given: name a path, a program, the ID of a line, or one of ${packagedRuntests().join(", ")} (--help shows the rest)`,
    );
  }
  const { select, skip, iterate, repeat, shuffle, shard } = flags;
  const shaping =
    [...select, ...skip].length > 0 || iterate !== 1 || repeat !== 1 || shuffle !== undefined || shard !== undefined;
  if (shaping) {
    throw new UsageError(
      "--resume without FILE takes the plan from the journal: drop -s, -S, -i, --repeat, --shuffle and --shard",
    );
  }
}

function planOf(
  flags: Flags,
  { words, line }: WantedLines,
  cwd: string,
  history: History | undefined,
  filesystems: ReadonlyMap<string, Variant> | undefined,
  elsewhere: Elsewhere | undefined,
): { plan: PlannedRun[]; shuffleSeed?: string | undefined; files: Record<string, string> } {
  if (words.length === 0 && !line && history) {
    const { plan, shuffleSeed, repeat } = history.start;
    return { plan, shuffleSeed, files: repeat?.files ?? {} };
  }
  const commands = COMMANDS.map(({ name }) => name).filter((name) => name !== "run");
  const files = line ? [lineAlone(line)] : loadRuntests(words, cwd, [...programs.keys()], commands);
  // A resumed run keeps its order: a new random seed would make it another plan.
  const shuffleSeed = flags.shuffle?.seed ?? history?.start.shuffleSeed ?? (flags.shuffle && randomSeed());
  const { select, skip, iterate, repeat } = flags;
  const plan = makePlan(
    files,
    {
      ...{ select, skip, iterate, repeat },
      ...(shuffleSeed !== undefined && { shuffleSeed }),
      ...(filesystems && { filesystems: [...filesystems.keys()] }),
      ...(elsewhere && { guests: elsewhere.names }),
    },
    programs.keys(),
  );
  return { plan, shuffleSeed, files: filesByName(files) };
}

/** The part of the plan that `--shard` asks for. @throws UsageError there is none, or no such journal */
async function partOf(
  plan: readonly PlannedRun[],
  shard: Shard,
  timings: string | undefined,
  cwd: string,
): Promise<PlannedRun[]> {
  if (timings === undefined) return shardOf(plan, shard);
  const before = await readResults(resolve(cwd, timings));
  const seconds = [...linesOf(before)].map(([name, line]): [string, number] => [name, median(line.seconds)]);
  return shardOf(plan, shard, new Map(seconds));
}

/** @param made whether filesystems are made for the run */
function runStart(
  { engine, verify, shard, sizeBytes = DEFAULT_SIZE_BYTES }: Flags,
  parts: Pick<RunStart, "workers" | "plan" | "directory" | "repeat"> & {
    shuffleSeed: string | undefined;
    devices: string[];
    skipped: NonNullable<RunStart["skipped"]>;
    required: NonNullable<RunStart["required"]>;
    made: boolean;
  },
): RunStart {
  const { shuffleSeed, made, skipped, devices, required, ...run } = parts;
  return {
    type: "run-start",
    time: new Date().toISOString(),
    monotonicSeconds: Number(process.hrtime.bigint()) / 1e9,
    version,
    ...run,
    ...(shard !== undefined && { shard: `${shard.index}/${shard.of}` }),
    ...(engine !== undefined && { engine }),
    ...(verify !== undefined && { verify }),
    ...(made && (devices.length > 0 ? { devices } : { sizeBytes })),
    ...(shuffleSeed !== undefined && { shuffleSeed }),
    machine: machineFacts(),
    ...(required.length > 0 && { required }),
    ...(skipped.length > 0 && { skipped }),
  };
}

/** A write that failed in the middle of a run: the message names what could not be written. */
function asRunFailure(error: unknown, journal: string | undefined): unknown {
  const syscall = error instanceof Error && (error as NodeJS.ErrnoException).syscall;
  if (error instanceof Error && (syscall === "write" || syscall === "fdatasync") && journal !== undefined) {
    error.message = `writing the journal ${journal} failed (${error.message}): make room and go on with --resume`;
  }
  return error;
}
