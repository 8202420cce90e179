/**
 * A trace that ui.perfetto.dev and Chrome open (the Trace Event Format, as JSON): the testcases of each worker, the operations that the
 * flight record has of those that went wrong, and what the kernel said, all on the kernel's clock, as ftrace has it.
 */
import type { RecordAnswer, RecordedOperation } from "#native";
import type { KernelFinding, Reporter, RunEvent } from "../events/events.js";
import { operationsIn, type Results } from "./results.js";

/** Tracks of a worker: its testcases, and behind them so many lanes of operations that overlap in time. */
const LANES_MAX = 1000;

/** One entry of the trace; times in microseconds. */
interface Entry {
  ph: "X" | "i" | "M";
  name: string;
  pid: number;
  tid?: number;
  ts?: number;
  dur?: number;
  s?: "g" | "p" | "t";
  args?: object;
}

/** A testcase while it runs. */
interface Begun {
  wallMs: number;
  worker: number;
}

const micros = (seconds: number) => Math.round(seconds * 1e6 * 1000) / 1000;

export class PerfettoReporter implements Reporter {
  readonly #entries: Entry[] = [];
  /** Processes of the trace, by guest; "" is this machine. */
  readonly #machines = new Map<string, number>();
  readonly #named = new Set<string>();
  readonly #begun = new Map<string, Begun>();
  /** The kernel's clock minus the wall clock, in seconds; of this machine, as each part of a run has it. */
  #ahead: number | undefined;

  constructor(
    private readonly results: Results,
    private readonly write: (text: string) => void,
  ) {}

  event(event: RunEvent): void {
    switch (event.type) {
      case "run-start":
        this.#ahead =
          event.monotonicSeconds === undefined ? undefined : event.monotonicSeconds - Date.parse(event.time) / 1000;
        break;
      case "test-start":
        this.#begun.set(event.key, { wallMs: Date.parse(event.time), worker: event.worker });
        break;
      case "data":
        if (event.name === "flight") this.#operations(event.key, event.value as Partial<RecordAnswer>);
        break;
      case "kernel":
        this.#kernel(event.finding, event.key === undefined ? "" : (this.results.of(event.key).run.guest ?? ""));
        break;
      case "test-end": {
        const begun = this.#begun.get(event.key);
        if (begun) this.#testcase(event.key, begun, event.verdict, event.durationSeconds);
        this.#begun.delete(event.key);
        break;
      }
    }
  }

  end(): void {
    this.write(`${JSON.stringify({ displayTimeUnit: "ns", traceEvents: this.#entries })}\n`);
  }

  /** Of a machine whose wall clock is not known to us, a testcase has no place. */
  #testcase(key: string, { wallMs, worker }: Begun, verdict: string, durationSeconds: number): void {
    const { run, seed } = this.results.of(key);
    if (run.guest !== undefined || this.#ahead === undefined) return;
    this.#entries.push({
      ...{ ph: "X", name: `${run.id} ${verdict}`, pid: this.#machine(""), tid: this.#track("", worker, 0) },
      ...{ ts: micros(wallMs / 1000 + this.#ahead), dur: micros(durationSeconds) },
      args: { key, command: run.command, ...(seed !== undefined && { seed }) },
    });
  }

  #operations(key: string, record: Partial<RecordAnswer>): void {
    if (!Array.isArray(record.operations)) return;
    const { run, worker = 0 } = this.results.of(key);
    const machine = run.guest ?? "";
    const all = operationsIn(record).sort((a, b) => a.submittedSeconds - b.submittedSeconds);
    const last = Math.max(...all.map(({ submittedSeconds, completedSeconds }) => completedSeconds ?? submittedSeconds));
    /** When each lane is free again. */
    const lanes: number[] = [];
    for (const operation of all) {
      const end = operation.completedSeconds ?? last;
      let lane = lanes.findIndex((free) => free <= operation.submittedSeconds);
      if (lane < 0) lane = Math.min(lanes.length, LANES_MAX - 2);
      lanes[lane] = end;
      this.#entries.push({
        ...{ ph: "X", name: callOf(operation), pid: this.#machine(machine) },
        ...{ tid: this.#track(machine, worker, lane + 1), ts: micros(operation.submittedSeconds) },
        dur: micros(Math.max(0, end - operation.submittedSeconds)),
        args: { testcase: key, ...operation, ...(operation.completedSeconds === undefined && { inFlight: true }) },
      });
    }
  }

  #kernel({ seconds, text, rule, level, verdict }: KernelFinding, machine: string): void {
    // What is about the kernel, and not the kernel's, has no stamp.
    if (seconds < 0) return;
    const [name = ""] = text.split("\n", 1);
    this.#entries.push({
      ...{ ph: "i", s: "p", name: `kernel: ${name}`, pid: this.#machine(machine), tid: 0, ts: micros(seconds) },
      args: { text, level, ...(rule !== undefined && { rule }), ...(verdict !== undefined && { verdict }) },
    });
  }

  #machine(name: string): number {
    let pid = this.#machines.get(name);
    if (pid === undefined) {
      pid = this.#machines.size + 1;
      this.#machines.set(name, pid);
      const args = { name: name === "" ? "aiodio-ltp" : `aiodio-ltp in ${name}` };
      this.#entries.push({ ph: "M", name: "process_name", pid, args });
    }
    return pid;
  }

  /** The number of a track, which is named when it is used first. */
  #track(machine: string, worker: number, lane: number): number {
    const pid = this.#machine(machine);
    const tid = worker * LANES_MAX + lane;
    const key = `${pid}/${tid}`;
    if (!this.#named.has(key)) {
      this.#named.add(key);
      const name = lane === 0 ? `worker ${worker}: testcases` : `worker ${worker}: operations`;
      this.#entries.push({ ph: "M", name: "thread_name", pid, tid, args: { name } });
      this.#entries.push({ ph: "M", name: "thread_sort_index", pid, tid, args: { sort_index: tid } });
    }
    return tid;
  }
}

/** `pwrite(dst.bin, 0x1000, 4096)` of a line in strace's way. */
function callOf({ line, file }: RecordedOperation): string {
  return /\w+\(.*?\)/.exec(line)?.[0] ?? file;
}
