/**
 * The one event stream of a run: what the journal stores, one JSON object a line, and what every reporter reads.
 *
 * Events flow one way: workers say what happens, the scheduler adds when and to which run it belongs, and reporters
 * read. Nothing reads a reporter.
 */

/** LTP's result types, with the bit each sets in an exit status (behaviour of LTP's `tst_res_flags.h`). */
export const RESULT_BITS = {
  TPASS: 0,
  TFAIL: 1,
  TBROK: 2,
  TWARN: 4,
  TDEBUG: 8,
  TINFO: 16,
  TCONF: 32,
} as const;

export type ResultType = keyof typeof RESULT_BITS;

/** The types that are counted, and so can be a verdict. */
export type Verdict = "TPASS" | "TFAIL" | "TBROK" | "TWARN" | "TCONF";

/** LTP's five counters, under the names its Summary block prints. */
export interface Counters {
  passed: number;
  failed: number;
  broken: number;
  skipped: number;
  warnings: number;
}

/** One result line: `file:line: TYPE: text`. */
export interface ResultLine {
  result: ResultType;
  file: string;
  line: number;
  text: string;
  /** The testcase ends with it (LTP's "brk"): nothing else is going to be tested. */
  ends?: boolean | undefined;
}

/** One planned execution of one runtest line. */
export interface PlannedRun {
  /** Unique in a run: `suite:ID`, with `#2`, `#3`… from the second iteration on. */
  key: string;
  /** Base name of the runtest file, for example `ltp-aiodio.part1`. */
  suite: string;
  /** The line's ID, unique only inside its file. */
  id: string;
  /** 1-based. */
  iteration: number;
  /** The guest or host that it runs on, as `--guest` or `--host` names it; absent on this machine itself. */
  guest?: string;
  /** The provisioned filesystem that it runs on, as `--filesystems` names it; absent when it runs in a directory. */
  filesystem?: string;
  /** Name of the testcase, for example `aiocp`. */
  program: string;
  argv: string[];
  /** The command as the runtest file has it. */
  command: string;
}

/** What a line is called in all its iterations: its key without the number of one. */
export const lineOf = ({ key }: Pick<PlannedRun, "key">): string => key.replace(/#\d+$/, "");

/** Facts of the machine, taken once a run. */
export interface MachineFacts {
  /** `uname -r`. */
  kernel: string;
  /** `uname -v`. */
  kernelVersion: string;
  /** `uname -m`. */
  machine: string;
  pageBytes: number;
  node: string;
  /** `ID` and `VERSION_ID` of os-release. */
  distribution: string;
  distributionVersion: string;
  /** The kernel's command line. */
  cmdline: string;
  cpu: string;
  /** As /proc/meminfo has them, for example `8145632 kB`. */
  memory: string;
  swap: string;
}

/** Levels of the kernel log, by their numbers (syslog(2)). */
export const LEVELS = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"] as const;

export type Level = (typeof LEVELS)[number] | "unknown";

/**
 * What a message of the kernel is about:
 * - `corruption`: what is read or written can no longer be trusted: data, metadata, or the kernel's own memory
 * - `device`: the device below failed; the filesystem is not to blame
 * - `warning`: something is wrong, but it says nothing about data yet
 * - `info`: good to know
 */
export type RuleClass = "corruption" | "device" | "warning" | "info";

/** One message of the kernel, or of `kernel/watch.ts` about the kernel. */
export interface KernelFinding {
  /** Wall clock, ISO 8601. */
  time: string;
  /** The kernel's own stamp; -1 where there is none. */
  seconds: number;
  level: Level;
  /** One line, or several that belong together. */
  text: string;
  /** Name of the rule; absent for a message that no rule knows. */
  rule?: string;
  class?: RuleClass;
  verdict?: "TFAIL";
  /** Why the testcase's own doings explain the message, so that it asks for no verdict; half a sentence. */
  permitted?: string;
  /** Two sentences. */
  explanation?: string;
  link?: string;
  /** True when other testcases ran meanwhile and the message does not tell which of them it is about. */
  shared: boolean;
  /** True when it names a device or a file of none of the running testcases: it asks for no verdict. */
  elsewhere?: true;
}

/** What one program said. */
export interface CheckReport {
  /** The command line. */
  checker: string;
  /** `failed`: it could not be run, or could not finish, so it proves nothing. */
  verdict: "clean" | "corrupt" | "failed";
  /** Undefined when it was killed or could not be started. */
  exit?: number;
  /** Its words, at most 16 KiB. */
  output: string;
}

export interface CheckResult {
  /** No program complained, and all that exist for this filesystem ran. */
  clean: boolean;
  /** Empty where the filesystem has no checker; `note` says so. */
  reports: CheckReport[];
  note?: string;
  /** Why the filesystem could not be mounted again after the check; it stays unmounted then. */
  unmountable?: string;
  /** Why nothing could be checked at all: the filesystem is held, or its keeper has died. */
  unchecked?: string;
  seconds: number;
}

export type RunEvent =
  | {
      type: "run-start";
      /** ISO 8601, wall clock. */
      time: string;
      /** `CLOCK_MONOTONIC` at that time, which the kernel's stamps follow. */
      monotonicSeconds?: number;
      version: string;
      directory: string;
      workers: number;
      /** Engine asked for with `--engine`; absent when each testcase takes its own. */
      engine?: string;
      /** `--verify`; absent when each testcase takes its own. */
      verify?: string;
      /** Size of each filesystem that is made for the run; absent where none is, or on devices of their own size. */
      sizeBytes?: number;
      /** Devices that are formatted for it, by path. */
      devices?: string[];
      /** Seed of `--shuffle`; absent when the order is the files'. */
      shuffleSeed?: string;
      machine: MachineFacts;
      plan: PlannedRun[];
      /**
       * What makes the command that runs one of them again (`repeat.ts`): the options that matter, the files by their names
       * in keys, and what the machines are that it runs on, where not on this one.
       */
      repeat?: { options: string[]; files: Record<string, string>; machines?: "--guest" | "--host" };
      /** Which part of the whole plan it is, `K/N`; the plan is the part's. */
      shard?: string;
      /** What must pass (`--require`), by key; "all" with `--forbid-conf`. */
      required?: string[] | "all";
      /** What of the plan known issues or a skip list want not to be run; what has run in an earlier part is not in it. */
      skipped?: { reason: string; keys: string[] }[];
    }
  | { type: "test-start"; time: string; key: string; worker: number }
  | ({ type: "line"; key: string } & ResultLine)
  /** A line that has no file and no type: help texts, `Test timeouted, sending SIGKILL!`, stray output of native code. */
  | { type: "raw"; key: string; text: string }
  /** How far a long testcase is; shown live, never stored. */
  | { type: "progress"; key: string; done: number; total: number; unit: string }
  /** A guest is up, or a host has been reached: the testcases of this worker run in it from here on. */
  | {
      type: "guest";
      time: string;
      guest: string;
      worker: number;
      machine: MachineFacts;
      /** Absent for a host, which is no guest of this machine. */
      accelerator?: "kvm" | "tcg" | undefined;
      /** From the start of the emulator, or of ssh, to the agent's first word. */
      bootSeconds: number;
      /** How much longer time limits are there than here, by calibration. */
      timeoutMul: number;
    }
  /** An operation that has completed, in strace's way (`--trace`); shown live, never stored: the flight record has it. */
  | { type: "trace"; key: string; text: string }
  /** A worker has a filesystem of its own from here on. */
  | {
      type: "filesystem";
      time: string;
      filesystem: string;
      worker: number;
      /** Absent for tmpfs. */
      device?: string;
      /** `type` and options of each mount, lowest first. */
      mounts: string[];
      /** Free space that was filled with stale stamps. */
      dirtiedBytes: number;
      /** Why it is not quite what was asked for. */
      note?: string;
    }
  /** A filesystem that this machine cannot provide: these planned runs are TCONF. `again`: another worker said so. */
  | { type: "unavailable"; filesystem: string; reason: string; keys: string[]; again?: boolean }
  /**
   * What a filesystem's own checker said. The suspects are all that ran since it last was clean: TFAIL when it is
   * damaged, TWARN when that could not be found out.
   */
  | { type: "check"; time: string; filesystem: string; worker: number; suspects: string[]; result: CheckResult }
  /**
   * What passed on a filesystem that was gone, or the run over, before its checker could look at it: TWARN, and run
   * again by `--resume`.
   */
  | { type: "unchecked"; time: string; filesystem: string; suspects: string[] }
  /** A message of the kernel; without a key it came while no testcase ran. */
  | { type: "kernel"; key?: string; finding: KernelFinding }
  /**
   * A known issue explains why this testcase, which has ended, did not pass: an expected failure, and no pass. It holds
   * until the next `run-start`: a run that is resumed judges all its results by the known issues of that time.
   */
  | { type: "known-issue"; key: string; text: string }
  /** Known issues that nothing in this run has needed: candidates for removal. */
  | { type: "stale-issues"; issues: string[] }
  /** Machine-readable details that stand behind the result lines. */
  | { type: "data"; key: string; name: string; value: unknown }
  | {
      type: "test-end";
      time: string;
      key: string;
      verdict: Verdict;
      /** LTP's exit status of the testcase. */
      exit: number;
      counters: Counters;
      durationSeconds: number;
      /** False where LTP prints no Summary block (`-h`, `-V`, unkillable processes). */
      summary: boolean;
      /** The worker's peak memory while it ran; absent where it did not live to tell. */
      peakBytes?: number | undefined;
      /** True where the run was interrupted before the testcase could end: `--resume` runs it again. */
      interrupted?: boolean;
      /** True where it came to no end of its own: killed at its time limit, or its machine died. */
      unended?: boolean | undefined;
      /** True where it was not even begun, since its machine or filesystem was not there: `--resume` runs it again. */
      unbegun?: boolean | undefined;
    }
  | {
      type: "run-end";
      time: string;
      counters: Record<Verdict, number>;
      notRun: number;
      interrupted: boolean;
      /** The runner's own peak memory. */
      peakBytes?: number | undefined;
    };

export type RunStart = Extract<RunEvent, { type: "run-start" }>;
export type RunEnd = Extract<RunEvent, { type: "run-end" }>;
export type TestEnd = Extract<RunEvent, { type: "test-end" }>;
export type Check = Extract<RunEvent, { type: "check" }>;

type Detail = Extract<RunEvent, { type: "line" | "raw" | "data" | "progress" | "trace" }>;
type WithoutKey<E> = E extends unknown ? Omit<E, "key"> : never;
/** What the testcase reports, before it is known which run it belongs to. */
export type TestReport =
  | WithoutKey<Detail>
  /** Where it works, and in which process: what the kernel's messages may name. */
  | { type: "place"; directory: string; pid: number }
  /** `--legacy-output`: the old library's lines are wanted, under this name; comes before any line. */
  | { type: "legacy"; id: string }
  /** A kernel message of this rule (`kernel/rules.ts`) is explained by what the testcase does. */
  | { type: "permit"; rule: string; because: string };

/** A consumer of events. `end` is called once, after `run-end` or when the run could not go on. */
export interface Reporter {
  event(event: RunEvent): void;
  /** A message of the runner itself, for a reporter that draws on the terminal; others leave it to standard error. */
  note?(text: string): void;
  end?(): void;
}

/** Whether the filesystem is at fault. A checker that could not do its work proves nothing, neither good nor bad. */
export function isDamaged({ reports, unmountable }: CheckResult): boolean {
  return unmountable !== undefined || reports.some(({ verdict }) => verdict === "corrupt");
}

/** Whether this event takes away from a run that all is well, before any known issue is asked. */
export function isTrouble(event: RunEvent): boolean {
  if (event.type === "check") return !event.result.clean;
  return event.type === "test-end" && event.exit !== 0 && event.verdict !== "TCONF";
}

export function zeroCounters(): Counters {
  return { passed: 0, failed: 0, broken: 0, skipped: 0, warnings: 0 };
}

const COUNTED: Partial<Record<ResultType, keyof Counters>> = {
  TPASS: "passed",
  TFAIL: "failed",
  TBROK: "broken",
  TCONF: "skipped",
  TWARN: "warnings",
};

/** Adds one result to the counters; TINFO and TDEBUG are not counted. */
export function count(counters: Counters, result: ResultType): void {
  const name = COUNTED[result];
  if (name) counters[name] += 1;
}

/** LTP's exit status: a bit for each kind of trouble; TCONF shows only when nothing passed. */
export function exitStatus(counters: Counters): number {
  let status = 0;
  if (counters.failed > 0) status |= RESULT_BITS.TFAIL;
  if (counters.broken > 0) status |= RESULT_BITS.TBROK;
  if (counters.warnings > 0) status |= RESULT_BITS.TWARN;
  if (counters.skipped > 0 && counters.passed === 0) status |= RESULT_BITS.TCONF;
  return status;
}

/** The one word for a testcase: the worst that it reported, as openQA orders them. */
export function verdictOf(counters: Counters): Verdict {
  if (counters.broken > 0) return "TBROK";
  if (counters.failed > 0) return "TFAIL";
  if (counters.warnings > 0) return "TWARN";
  // Also where nothing was reported at all (`-i 0`, `-h`): what was not tested has not passed.
  return counters.passed > 0 ? "TPASS" : "TCONF";
}
