/** Spreads planned runs over guests or hosts, as `run/scheduler.ts` spreads them over workers, with the same events. */

import { callerOf } from "../base/location.js";
import {
  count,
  exitStatus,
  isTrouble,
  type PlannedRun,
  type RunEvent,
  verdictOf,
  zeroCounters,
} from "../events/events.js";
import { type AgentRun, misplaced } from "./agent-protocol.js";
import { BootError, Guest, type GuestMachine, LIMITS } from "./guest.js";

export interface GuestRunOptions {
  /** Guests at once. */
  workers: number;
  /** Asked when a guest has stopped at a testcase that did not pass, or was lost: true begins nothing more. */
  bail?: (() => boolean) | undefined;
  /** What is the same in every request. */
  request: Omit<AgentRun, "type" | "plan" | "bail" | "timeoutMul">;
  /** The user's own factor for time limits. */
  timeoutMul: number;
  /** How long the calibration takes on this machine, in milliseconds. */
  calibrationMs: number;
  /** Starts a guest, or reaches a host. */
  start: (guest: string) => { machine: GuestMachine; accelerator?: "kvm" | "tcg" };
  tell: (text: string) => void;
  signal: AbortSignal;
  limits?: typeof LIMITS;
}

type Emit = (event: RunEvent) => void;

/** Time limits are never stretched further: what takes longer hangs. */
const TIMEOUT_MUL_MAX = 100;

/** Runs the plan in its guests; emits test-start to test-end for each run. */
export async function runInGuests(
  plan: readonly PlannedRun[],
  options: GuestRunOptions,
  emit: Emit,
): Promise<{ interrupted: boolean }> {
  const queue = portions(plan, options.workers);
  const places = Math.min(options.workers, queue.length);
  const seen = { begun: false };
  const ends = await Promise.allSettled(
    Array.from({ length: places }, (_, index) => new GuestPlace(index + 1, options, queue, emit, seen).run()),
  );
  for (const end of ends) if (end.status === "rejected") throw end.reason;
  return { interrupted: options.signal.aborted };
}

/** Neighbours that share guest and filesystem, in as many portions as there are workers. */
export function portions(plan: readonly PlannedRun[], workers: number): PlannedRun[][] {
  const groups: PlannedRun[][] = [];
  for (const run of plan) {
    const last = groups.at(-1);
    const before = last?.[0];
    if (last && before?.guest === run.guest && before?.filesystem === run.filesystem) last.push(run);
    else groups.push([run]);
  }
  return groups.flatMap((group) => {
    const size = Math.ceil(group.length / workers);
    return Array.from({ length: Math.ceil(group.length / size) }, (_, index) =>
      group.slice(index * size, (index + 1) * size),
    );
  });
}

interface Booted {
  running: Guest;
  timeoutMul: number;
  /** Whether a testcase was, in it. */
  begun: boolean;
  /** It has said what it has no business to say, which has been told. */
  distrusted?: boolean;
}

/** One guest at a time. */
class GuestPlace {
  private guest: (Booted & { name: string }) | undefined;
  /** Guests that do not come up: nothing more is tried in them. */
  private readonly broken = new Map<string, string>();

  constructor(
    private readonly number: number,
    private readonly options: GuestRunOptions,
    private readonly queue: PlannedRun[][],
    private readonly emit: Emit,
    /** Of all places. */
    private readonly seen: { begun: boolean },
  ) {}

  async run(): Promise<void> {
    try {
      for (let portion = this.queue.shift(); portion; portion = this.queue.shift()) {
        let rest: readonly PlannedRun[] = portion;
        while (rest.length > 0 && !this.options.signal.aborted) rest = await this.some(rest);
        if (this.options.signal.aborted) break;
      }
    } catch (error) {
      this.queue.length = 0;
      throw error;
    } finally {
      await this.guest?.running.stop();
    }
  }

  /** Runs as many as one guest can; returns what is left. */
  private async some(runs: readonly PlannedRun[]): Promise<readonly PlannedRun[]> {
    const [first] = runs;
    const name = first?.guest ?? "";
    const guest = await this.bring(name);
    if (typeof guest === "string") {
      for (const run of runs) this.breakRun(run, { text: guest, words: [] });
      return [];
    }
    const { request, bail, signal } = this.options;
    const done = new Set<string>();
    const keys = new Set(runs.map(({ key }) => key));
    let running: { key: string; startedMs: number } | undefined;
    let troubled = false;
    /** On the filesystem that they share, since its checker was heard of. */
    let unchecked: string[] = [];
    const ending = await guest.running.run(
      { ...request, plan: runs, bail: bail !== undefined, timeoutMul: guest.timeoutMul },
      (event) => {
        // A message that another run's words got into is as good as garbage.
        const wrong = misplaced(event, keys, done);
        if (wrong !== undefined) {
          if (!guest.distrusted)
            this.options.tell(`${name}: its agent has sent ${wrong}: dropped, as the like will be`);
          guest.distrusted = true;
          return;
        }
        if (event.type === "test-start") {
          running = { key: event.key, startedMs: performance.now() };
          guest.begun = true;
          this.seen.begun = true;
        }
        if (event.type === "unavailable") for (const key of event.keys) done.add(key);
        if (event.type === "test-end") {
          // Its begin has been lost on the way: whoever counts what was begun must not miss it.
          if (running?.key !== event.key) {
            this.emit({ type: "test-start", time: event.time, key: event.key, worker: this.number });
          }
          running = undefined;
          done.add(event.key);
          if (first?.filesystem !== undefined) unchecked.push(event.key);
        }
        if (event.type === "check") unchecked = [];
        troubled ||= isTrouble(event);
        this.emit(placed(event, name, this.number));
      },
      signal,
    );
    // The agent gives its filesystem back before it says that it has ended: there is no other check to come.
    if (unchecked.length > 0) {
      const filesystem = `${name} ${first?.filesystem}`;
      this.emit({ type: "unchecked", time: new Date().toISOString(), filesystem, suspects: unchecked });
    }
    const left = runs.filter(({ key }) => !done.has(key));
    if (ending.how === "lost") {
      this.guest = undefined;
      const victim = left.find(({ key }) => key === running?.key) ?? left[0];
      if (victim && !signal.aborted) {
        // It may have died between two testcases: then the next one is what could not run.
        this.breakRun(victim, ending, running?.startedMs);
        troubled = true;
      }
      if (this.stops(troubled)) return [];
      return left.filter((run) => run !== victim);
    }
    if (ending.error !== undefined && !signal.aborted) {
      const victim = left.find(({ key }) => key === running?.key);
      const text = `${name} could not go on: ${ending.error}`;
      if (victim) {
        this.breakRun(victim, { text, words: [] }, running?.startedMs);
        troubled = true;
      }
      const unable = await this.replace(text);
      if (unable) for (const run of left) this.breakRun(run, { text, words: [] });
      return unable || this.stops(troubled) ? [] : left.filter((run) => run !== victim);
    }
    if (this.stops(troubled)) return [];
    // The guest knows nothing of known issues: what it has stopped at may be one.
    if (bail && troubled) return left;
    if (left.length > 0 && !signal.aborted) throw new Error(`${name} left out ${left.length} testcases`);
    return [];
  }

  /**
   * A guest that could not go on gives way to another one, since its kernel may hang.
   *
   * @returns whether it was new, and nothing was begun in it: the next would be no better
   * @throws Error where nothing was begun anywhere: it is how the run was asked for
   */
  private async replace(text: string): Promise<boolean> {
    const { guest, seen, options } = this;
    this.guest = undefined;
    await guest?.running.stop();
    if (!seen.begun) throw new Error(text);
    options.tell(text);
    return !guest?.begun;
  }

  /** Begins nothing more where that is wanted after this trouble. */
  private stops(troubled: boolean): boolean {
    const stops = troubled && (this.options.bail?.() ?? false);
    if (stops) this.queue.length = 0;
    return stops;
  }

  /** The guest of this name, booted when it is not the one that runs; a sentence when it does not come up. */
  private async bring(name: string): Promise<Booted | string> {
    if (this.guest?.name === name) return this.guest;
    await this.guest?.running.stop();
    this.guest = undefined;
    const known = this.broken.get(name);
    if (known !== undefined) return known;
    const { start, tell, signal, calibrationMs, limits = LIMITS } = this.options;
    const { machine, accelerator } = start(name);
    try {
      const running = await Guest.boot(machine, signal, limits);
      const slower = Math.min(Math.max(running.calibrationMs / calibrationMs, 1), TIMEOUT_MUL_MAX);
      const timeoutMul = Math.round(slower * this.options.timeoutMul * 10) / 10;
      this.guest = { name, running, timeoutMul, begun: false };
      this.emit({
        type: "guest",
        time: new Date().toISOString(),
        ...{ guest: name, worker: this.number, machine: running.facts, accelerator },
        ...{ bootSeconds: running.bootSeconds, timeoutMul },
      });
      if (running.note !== undefined) tell(`${name}: ${running.note}`);
      return this.guest;
    } catch (error) {
      if (!(error instanceof BootError)) throw error;
      const text = `${name} is not there: ${error.message}`;
      if (signal.aborted) return text;
      this.broken.set(name, text);
      for (const line of [`${name}: ${error.message}`, ...error.words.map((word) => `    ${word}`)]) tell(line);
      return text;
    }
  }

  /** A run that its guest could not bring to an end: TBROK. `startedMs`: when it began, where it did. */
  private breakRun({ key }: PlannedRun, why: { text: string; words: readonly string[] }, startedMs?: number): void {
    if (this.options.signal.aborted) return;
    const { emit } = this;
    const time = new Date().toISOString();
    const counters = zeroCounters();
    count(counters, "TBROK");
    if (startedMs === undefined) emit({ type: "test-start", time, key, worker: this.number });
    emit({ type: "line", key, result: "TBROK", ...callerOf(this.breakRun), text: why.text });
    for (const word of why.words) emit({ type: "raw", key, text: word });
    const durationSeconds = startedMs === undefined ? 0 : (performance.now() - startedMs) / 1000;
    const end = { verdict: verdictOf(counters), exit: exitStatus(counters), counters, durationSeconds, summary: true };
    // One that had begun took its machine with it, or was taken with it.
    emit({ type: "test-end", time, key, ...end, ...(startedMs === undefined ? { unbegun: true } : { unended: true }) });
  }
}

/** An event of an agent, which knows neither its guest's name nor that there are others. */
function placed(event: RunEvent, guest: string, worker: number): RunEvent {
  switch (event.type) {
    case "test-start":
      return { ...event, worker };
    case "filesystem":
    case "check":
      return { ...event, worker, filesystem: `${guest} ${event.filesystem}` };
    case "unavailable":
      return { ...event, filesystem: `${guest} ${event.filesystem}` };
    default:
      return event;
  }
}
