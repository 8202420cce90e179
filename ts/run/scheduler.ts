/** Spreads planned runs over warm workers and tells what happens as events. */

import { statfsSync } from "node:fs";
import { UsageError } from "../base/errors.js";
import { callerOf } from "../base/location.js";
import { surroundingSeconds } from "../base/timing.js";
import type { CheckResult } from "../events/events.js";
import {
  count,
  exitStatus,
  isDamaged,
  type PlannedRun,
  type RunEvent,
  verdictOf,
  zeroCounters,
} from "../events/events.js";
import { type ClaimedDevice, changedDevice } from "../filesystem/device.js";
import { KeeperError, KeeperHung } from "../filesystem/keeper-process.js";
import { Filesystem, type ProvisionOptions, Unavailable } from "../filesystem/provision.js";
import type { Variant } from "../filesystem/variants.js";
import { judge } from "../kernel/judge.js";
import type { KernelWatch } from "../kernel/watch.js";
import { devicesOf } from "../linux/devices.js";
import { filesystemName } from "../linux/magic.js";
import { flightPath } from "./flight.js";
import { Slot } from "./slot.js";

/** Filesystems that the run makes for itself. */
export interface Storage {
  /** By the names that the plan uses. */
  variants: ReadonlyMap<string, Variant>;
  provision: ProvisionOptions;
  /** Real devices to format instead of loop devices, one for each worker. */
  devices: readonly ClaimedDevice[];
  /** Have each filesystem checked after every testcase, not only when the last one on it has run. */
  checkEach: boolean;
}

/** What runs a plan: this scheduler, or one that has others do it. */
export type RunPlan = typeof runPlan;

export interface RunOptions {
  /** Absolute; temporary directories go below it, but for runs on filesystems of their own. */
  directory: string;
  /** Devices that the directory is on, as the kernel's messages name them: empty where there are none, absent where unknown. */
  devices?: readonly string[] | undefined;
  /** Testcases at once, at least 1. */
  workers: number;
  /** Asked before each testcase is begun, once all events of what has ended are emitted: true begins nothing more. */
  bail?: (() => boolean) | undefined;
  /** Option texts for the testcases that have the option and whose command does not give it. */
  defaults?: Record<string, string>;
  /** LTP_TIMEOUT_MUL for the testcases. */
  timeoutMul?: number;
  storage?: Storage;
  /** The journal, absolute, beside which workers record what they do; absent: into files without a name. */
  journal?: string;
  /** Report each operation when it completes. */
  trace?: boolean;
  /** Called with the ID before each testcase: the mark in the kernel log. */
  marker: (id: string) => void;
  /** What the kernel says meanwhile. */
  kernel?: KernelWatch;
  /** Whether another machine can take what is left: a kernel that hangs on making a filesystem ends the run then. */
  replaceable?: boolean;
  /** Aborting it kills what runs and starts nothing more. */
  signal: AbortSignal;
}

type Emit = (event: RunEvent) => void;

/** The kernel's log is a ring: during long testcases it is read this often, so that nothing is overwritten unread. */
const KERNEL_POLL_MS = 1_000;

/** Runs the plan; emits test-start to test-end for each run. */
export async function runPlan(
  plan: readonly PlannedRun[],
  options: RunOptions,
  emit: Emit,
): Promise<{ interrupted: boolean }> {
  const { signal, timeoutMul, kernel } = options;
  const env = timeoutMul === undefined ? process.env : { ...process.env, LTP_TIMEOUT_MUL: String(timeoutMul) };
  const queue = new Queue(plan, options.bail);
  const between = () => {
    for (const finding of kernel?.between() ?? []) emit({ type: "kernel", finding });
  };
  // Between testcases there is nothing to wait for, so the timer must not keep the process alive.
  const timer = kernel && setInterval(() => kernel.poll(), KERNEL_POLL_MS).unref();
  try {
    between();
    const count = Math.min(options.workers, plan.length);
    const places = Array.from({ length: count }, (_, index) => new WorkerPlace(index + 1, env, options, queue, emit));
    // All of them end in good order before the first one's trouble is passed on.
    const ends = await Promise.allSettled(places.map((place) => place.run()));
    between();
    for (const end of ends) if (end.status === "rejected") throw end.reason;
  } finally {
    clearInterval(timer);
  }
  return { interrupted: signal.aborted };
}

/** The runs that nobody has begun yet. */
class Queue {
  private next = 0;
  private readonly dropped = new Set<string>();
  closed = false;
  /** Whether a testcase was. */
  begun = false;

  constructor(
    private readonly plan: readonly PlannedRun[],
    private readonly bail?: () => boolean,
  ) {}

  /** Nothing more is begun, which what has just been found may be the reason for. */
  get over(): boolean {
    this.closed ||= this.bail?.() ?? false;
    return this.closed;
  }

  take(): PlannedRun | undefined {
    while (!this.over && this.next < this.plan.length) {
      const run = this.plan[this.next++];
      if (run && !(run.filesystem !== undefined && this.dropped.has(run.filesystem))) return run;
    }
    return undefined;
  }

  /** Gives up all that is left on a filesystem; returns the keys, of which `first` is one. `again`: not the first time. */
  drop(filesystem: string, first: PlannedRun): { keys: string[]; again?: true } {
    if (this.dropped.has(filesystem)) return { keys: [first.key], again: true };
    this.dropped.add(filesystem);
    const rest = this.plan.slice(this.next).filter((run) => run.filesystem === filesystem);
    return { keys: [first, ...rest].map(({ key }) => key) };
  }
}

/** One worker's place, and the filesystem that it has at the moment. */
class WorkerPlace {
  private readonly slot: Slot;
  private filesystem: Filesystem | undefined;
  private name: string | undefined;
  /** What has run on the filesystem since it was last found clean. */
  private suspects: string[] = [];
  /** Found damaged and told: it needs no further check, which would blame what runs next. */
  private spoiled = false;
  /** Something hung or went wrong on it: what runs next gets a new one, or it would meet the same (a btrfs that is read-only now). */
  private unfit = false;
  /** For each answer of a keeper. */
  private readonly limitSeconds: number;

  constructor(
    private readonly number: number,
    env: NodeJS.ProcessEnv,
    private readonly options: RunOptions,
    private readonly queue: Queue,
    private readonly emit: Emit,
  ) {
    this.limitSeconds = surroundingSeconds(env);
    const { journal, trace = false } = options;
    this.slot = new Slot(env, [], { flight: journal === undefined ? journal : flightPath(journal, number), trace });
  }

  async run(): Promise<void> {
    const { signal } = this.options;
    try {
      for (let run = this.queue.take(); run && !signal.aborted; run = this.queue.take()) {
        if (await this.moveTo(run)) await this.runOne(run);
      }
      await this.leave();
    } catch (error) {
      this.queue.closed = true;
      throw error;
    } finally {
      await this.slot.close();
      // Reached with a filesystem only when something threw: its own message matters, not this one's.
      await this.filesystem?.release().catch(() => {});
    }
  }

  /** Brings the worker to the filesystem that the run needs; false when the run is not to be run, or broken. */
  private async moveTo(run: PlannedRun): Promise<boolean> {
    const { storage } = this.options;
    const fit = !this.unfit && !this.filesystem?.dead;
    if (!storage || (run.filesystem === this.name && fit)) return true;
    await this.leave();
    // What the check of the filesystem before this one has found may end the run, and so may an interruption meanwhile.
    if (this.queue.over || this.options.signal.aborted) return false;
    const name = run.filesystem ?? "";
    const variant = storage.variants.get(name);
    if (!variant) throw new Error(`the plan names the filesystem ${name}, which nobody asked for`);
    const device = storage.devices[this.number - 1];
    const changed = device && changedDevice(device);
    if (changed !== undefined) {
      this.breakRun(run, new KeeperError(changed));
      return false;
    }
    const { signal } = this.options;
    const own = { limitSeconds: this.limitSeconds, signal, ...(device && { device: device.path }) };
    const options = { ...storage.provision, ...own };
    const made = await Filesystem.provision(variant, options).catch((error: unknown) => {
      // What could be had at the start, and can't be now, is no fault of the user's: a kernel that hangs holds on to it.
      if (error instanceof KeeperError || (error instanceof UsageError && this.queue.begun)) return error;
      throw error;
    });
    if (made instanceof Error) {
      // Whoever ends the run may hit its keepers before this process.
      if (!signal.aborted) this.breakRun(run, made);
      if (this.options.replaceable && !signal.aborted && isStuck(made)) throw made;
      return false;
    }
    if (made instanceof Unavailable) {
      const dropped = this.queue.drop(name, run);
      this.emit({ type: "unavailable", filesystem: name, reason: made.reason, ...dropped });
      return false;
    }
    this.filesystem = made;
    this.name = name;
    await this.slot.move(made.enter);
    this.emit({
      type: "filesystem",
      time: new Date().toISOString(),
      filesystem: name,
      worker: this.number,
      ...(made.device !== undefined && { device: made.device }),
      mounts: (made.mounts ?? []).map(({ type, options }) => `${type} ${options}`.trim()),
      dirtiedBytes: made.dirtiedBytes,
      ...notDirect(made, options),
    });
    return true;
  }

  /** A run whose filesystem could not be made although this machine has it. */
  private breakRun({ key }: PlannedRun, error: Error): void {
    this.queue.begun = true;
    const counters = zeroCounters();
    count(counters, "TBROK");
    const time = new Date().toISOString();
    // Where a program has hung follows in further lines.
    const [text = "", ...more] = error.message.split("\n");
    this.emit({ type: "test-start", time, key, worker: this.number });
    this.emit({ type: "line", key, result: "TBROK", ...callerOf(this.breakRun), text });
    for (const words of [...more, ...stacksOf(error)]) this.emit({ type: "raw", key, text: words });
    const end = {
      verdict: verdictOf(counters),
      exit: exitStatus(counters),
      counters,
      durationSeconds: 0,
      summary: true,
      unbegun: true,
    };
    this.emit({ type: "test-end", time, key, ...end });
  }

  /** Has the filesystem checked and gives it back. */
  private async leave(): Promise<void> {
    const { filesystem, suspects } = this;
    if (!filesystem) return;
    const { signal } = this.options;
    await this.slot.move([]);
    // After an interruption too: what has passed is worth as much as the filesystem that it left.
    if (!this.spoiled) await this.check(filesystem);
    this.filesystem = undefined;
    this.name = undefined;
    this.spoiled = false;
    this.unfit = false;
    await filesystem.release().catch((error: unknown) => {
      if (!(error instanceof KeeperError)) throw error;
      // What can't be unmounted may not be what was found clean. Held by a worker that can't be killed it has been told.
      if (error instanceof KeeperHung && !signal.aborted) this.tell(filesystem, uncheckable(error), suspects);
    });
  }

  /** What the checker says; undefined where it was given up for an interruption's sake, so that nobody has checked. */
  private async lookAt(filesystem: Filesystem): Promise<CheckResult | undefined> {
    const result = await checked(filesystem);
    return this.options.signal.aborted && result.unchecked !== undefined ? undefined : result;
  }

  private async check(filesystem: Filesystem): Promise<void> {
    const result = await this.lookAt(filesystem);
    if (!result) return;
    this.tell(filesystem, result, result.clean ? [] : this.suspects);
    this.suspects = [];
  }

  private tell({ variant }: Filesystem, result: CheckResult, suspects: string[]): void {
    const time = new Date().toISOString();
    this.emit({ type: "check", time, filesystem: variant.name, worker: this.number, suspects, result });
  }

  private async runOne(run: PlannedRun): Promise<void> {
    const { key, id, program, argv } = run;
    const { options, emit, filesystem } = this;
    const { kernel } = options;
    const own = filesystem && (filesystem.device === undefined ? [] : devicesOf(filesystem.device));
    const devices = own ?? options.devices;
    this.queue.begun = true;
    options.marker(id);
    kernel?.begin(key, devices && { devices });
    const permitted = new Map<string, string>();
    const started = performance.now();
    emit({ type: "test-start", time: new Date().toISOString(), key, worker: this.number });
    const { interrupted, hung, ...outcome } = await this.slot.run(
      {
        program,
        argv,
        parent: filesystem?.directory ?? options.directory,
        mounts: filesystem?.mounts,
        defaults: options.defaults,
      },
      (report) => {
        if (report.type === "place") kernel?.tell(key, { directories: [report.directory], pids: [report.pid] });
        else if (report.type === "permit") permitted.set(report.rule, report.because);
        // The form of a run's output is the reporters' business.
        else if (report.type !== "legacy") emit({ ...report, key });
      },
      options.signal,
    );
    const fail = (text: string, result: "TFAIL" | "TWARN" = "TFAIL") => {
      count(outcome.counters, result);
      emit({ type: "line", key, result, ...callerOf(fail), text });
    };
    const note = (text: string) => emit({ type: "line", key, result: "TINFO", ...callerOf(note), text });
    const before = outcome.counters.failed;
    this.hearKernel(key, permitted, fail, note);
    // A kernel that has damaged something may have damaged the worker.
    if (outcome.counters.failed > before) await this.slot.move(filesystem?.enter ?? []);
    if (filesystem) this.suspects.push(key);
    if (filesystem && options.storage?.checkEach && !interrupted) await this.checkAfter(filesystem, fail, note);
    const ended = { ...outcome, verdict: verdictOf(outcome.counters), exit: exitStatus(outcome.counters) };
    this.unfit ||= hung || (ended.verdict !== "TPASS" && ended.verdict !== "TCONF");
    emit({
      type: "test-end",
      time: new Date().toISOString(),
      key,
      ...ended,
      durationSeconds: (performance.now() - started) / 1000,
      ...(interrupted && { interrupted }),
    });
  }

  /** What the kernel said while the testcase ran: all of it as events, what a rule knows as result lines too. */
  private hearKernel(
    key: string,
    permitted: ReadonlyMap<string, string>,
    fail: (text: string) => void,
    note: (text: string) => void,
  ): void {
    for (const { finding, lines } of judge(this.options.kernel?.end(key) ?? [], permitted)) {
      this.emit({ type: "kernel", key, finding });
      for (const { result, text } of lines) result === "TFAIL" ? fail(text) : note(text);
    }
  }

  /** Has the filesystem checked while there is only one testcase that can have damaged it. */
  private async checkAfter(
    filesystem: Filesystem,
    fail: (text: string, result?: "TWARN") => void,
    note: (text: string) => void,
  ): Promise<void> {
    const result = await this.lookAt(filesystem);
    if (!result) return;
    // What it does not find clean is the testcase's own affair, and stands in its lines.
    if (result.clean) this.tell(filesystem, result, []);
    else {
      const { name } = filesystem.variant;
      if (isDamaged(result)) fail(`${name} is damaged`);
      else fail(`${name} could not be checked`, "TWARN");
      this.spoiled = true;
      for (const { checker, verdict, output } of result.reports) {
        if (verdict === "clean") continue;
        note(`${checker}:`);
        for (const line of output.trim().split("\n")) note(`  ${line}`);
      }
      for (const text of [result.unmountable, result.unchecked]) if (text !== undefined) note(text);
    }
    this.suspects = [];
  }
}

/**
 * Where direct I/O is accepted and goes through the page cache all the same, so that the loop device's own flag says nothing: memory,
 * and btrfs for files with checksums (968f19c5b1b7, Linux 6.15).
 */
const NEVER_DIRECT: Readonly<Record<string, string>> = {
  tmpfs: "which is memory",
  ramfs: "which is memory",
  btrfs: "which takes files with checksums through it",
};

/** `--loop-direct-io` is a wish: the filesystem below must let the loop driver go past its page cache. */
function notDirect(made: Filesystem, { directIo, backing }: ProvisionOptions): { note?: string } {
  if (!directIo || made.backing === undefined) return {};
  const below = filesystemName(statfsSync(backing).type);
  const why = NEVER_DIRECT[below] ?? (made.directIo ? undefined : "where the kernel does not let it go past");
  if (why === undefined) return {};
  const what = "the loop device goes through the page cache in spite of --loop-direct-io";
  return { note: `${what}: ${backing} is on ${below}, ${why} (name another filesystem by --backing)` };
}

/** What the checker says. A filesystem that can't even be unmounted and mounted for it is not known to be clean. */
async function checked(filesystem: Filesystem): Promise<CheckResult> {
  try {
    return await filesystem.check();
  } catch (error) {
    if (!(error instanceof KeeperError)) throw error;
    return uncheckable(error);
  }
}

function uncheckable(error: KeeperError): CheckResult {
  const output = stacksOf(error).join("\n");
  const reports: CheckResult["reports"] = output === "" ? [] : [{ checker: "its keeper", verdict: "failed", output }];
  return { clean: false, reports, unchecked: error.message, seconds: 0 };
}

/** What hangs, or is held by what hangs, will be so for the next testcase, too. */
function isStuck(error: Error): boolean {
  return error instanceof KeeperHung || error instanceof UsageError;
}

function stacksOf(error: Error): readonly string[] {
  return error instanceof KeeperHung ? error.stacks : [];
}
