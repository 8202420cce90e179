/** One running guest, or a host that has been reached, with its agent: boots it, runs testcases in it, and says what became of it when it is gone. */

import { within } from "../base/deadline.js";
import { jsonLine, LineSplitter } from "../base/lines.js";
import { version } from "../base/package.js";
import type { MachineFacts, PlannedRun, RunEvent } from "../events/events.js";
import { ProtocolError } from "../run/protocol-check.js";
import { type AgentRun, ALIVE_MS, decodeFromAgent, type FromAgent, type ToAgent } from "./agent-protocol.js";
import type { Console } from "./console.js";

/** A guest that could not be brought up; the message is one sentence. */
export class BootError extends Error {
  constructor(
    message: string,
    /** The console's words about it. */
    readonly words: readonly string[],
  ) {
    super(message);
  }
}

/** What a guest is seen as from here: the emulator, ssh, or whatever takes their place in a test. */
export interface GuestMachine {
  /** For messages. */
  readonly kind: "guest" | "host";
  readonly console: Pick<Console, "panic" | "stage" | "describe" | "explanation">;
  /** Settles when the machine is gone and its console has been read to the end. */
  readonly end: Promise<{ code: number | null; signal: string | null }>;
  readonly port: NodeJS.ReadWriteStream;
  /** What the emulator or ssh complained of. */
  readonly words: string;
  kill(): void;
  /** Lets this process end before it does. */
  abandon(): void;
}

/** How the runs that were handed to a guest ended. */
export type GuestEnding =
  | { how: "ended"; error?: string | undefined }
  /** `text`: one sentence; `words`: the oops, or the console's last lines. */
  | { how: "lost"; text: string; words: readonly string[] };

/** Time limits of a guest, in milliseconds. */
export interface GuestLimits {
  /** From the start to the agent's first word. */
  boot: number;
  /** Without any sign of life from the agent: many times {@link ALIVE_MS}, because the host may be busy. */
  silence: number;
  /** From the request to interrupt to the end of what runs. */
  interrupt: number;
  /** From SIGKILL to the end: what hangs in this machine's own kernel may never end. */
  gone: number;
}

export const LIMITS: GuestLimits = { boot: 300_000, silence: 24 * ALIVE_MS, interrupt: 20_000, gone: 30_000 };

/** A panic's machine resets itself at once; what hangs in one is given this long. */
const LAST_WORDS_MS = 5_000;

export class Guest {
  /** What the agent has told of the machine. */
  facts!: MachineFacts;
  calibrationMs = 0;
  bootSeconds = 0;
  /** Why the guest's kernel log can't be read. */
  note: string | undefined;
  /** Input that was no message, shortened; a guest that damages its memory may write anything. */
  garbage = 0;
  private listener: (message: FromAgent) => void = () => {};
  private lost = false;

  private constructor(
    private readonly machine: GuestMachine,
    private readonly limits: GuestLimits,
  ) {
    const splitter = new LineSplitter();
    machine.port.on("data", (bytes: Buffer) => {
      for (const line of splitter.push(bytes)) this.take(line);
    });
    // A machine that is gone is seen by its end.
    machine.port.on("error", () => {});
    void machine.end.then(() => {
      this.lost = true;
    });
  }

  private take(line: string): void {
    try {
      this.listener(decodeFromAgent(line));
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.garbage += 1;
    }
  }

  /**
   * Waits until the agent is there.
   *
   * @throws BootError
   */
  static async boot(machine: GuestMachine, signal: AbortSignal, limits: GuestLimits = LIMITS): Promise<Guest> {
    const started = performance.now();
    const guest = new Guest(machine, limits);
    const ready = new Promise<FromAgent>((resolve) => {
      guest.listener = resolve;
    });
    const outcome = await guest.waitFor(ready, limits.boot, signal);
    if (typeof outcome !== "string" && outcome.type === "ready") {
      guest.facts = outcome.machine;
      guest.calibrationMs = outcome.calibrationMs;
      guest.note = outcome.note;
      guest.bootSeconds = (performance.now() - started) / 1000;
      return guest;
    }
    await guest.stop();
    if (typeof outcome !== "string" && outcome.type === "stranger") {
      throw new BootError(`it has aiodio-ltp ${outcome.version}, and this is ${version}: install the same on both`, []);
    }
    const { kind, console, words } = machine;
    const what = console.describe();
    if (outcome === "late") {
      throw new BootError(`it did not come up within ${limits.boot / 1000} s: ${what}`, console.explanation());
    }
    if (outcome === "aborted") throw new BootError("interrupted while it came up", []);
    const complaint = words.trim().split("\n").at(-1) ?? "";
    const emulator = console.stage === "firmware" && complaint !== "" ? complaint : what;
    const ended = kind === "host" ? emulator : `it ended while it came up: ${emulator}`;
    throw new BootError(ended, console.explanation());
  }

  private async waitFor<T>(
    promise: Promise<T>,
    limitMs: number,
    signal?: AbortSignal,
  ): Promise<T | "late" | "gone" | "aborted"> {
    const gone = this.machine.end.then(() => "gone" as const);
    const outcome = await within(Promise.race([promise, gone]), limitMs / 1000, signal);
    return typeof outcome === "string" ? outcome : outcome.value;
  }

  private send(message: ToAgent): void {
    this.machine.port.write(jsonLine(message));
  }

  /** Runs testcases in it; `emit` receives their events. Never throws for what the guest does. */
  async run(
    request: Omit<AgentRun, "type">,
    emit: (event: RunEvent) => void,
    signal: AbortSignal,
  ): Promise<GuestEnding> {
    if (this.lost) return this.ending("gone");
    let timer: NodeJS.Timeout | undefined;
    let interrupt = () => {};
    try {
      const outcome = await new Promise<FromAgent | "silent" | "gone">((resolve, reject) => {
        const wait = (ms: number) => {
          clearTimeout(timer);
          timer = setTimeout(() => resolve("silent"), ms);
        };
        this.listener = (message) => {
          // A run that is being interrupted gets no more time for its being alive.
          if (!signal.aborted) wait(this.limits.silence);
          if (message.type === "ended") resolve(message);
          if (message.type !== "event") return;
          try {
            emit(message.event);
          } catch (error) {
            reject(error);
          }
        };
        interrupt = () => {
          this.send({ type: "interrupt" });
          wait(this.limits.interrupt);
        };
        void this.machine.end.then(() => resolve("gone"));
        wait(this.limits.silence);
        this.send({ type: "run", ...request });
        if (signal.aborted) interrupt();
        signal.addEventListener("abort", interrupt, { once: true });
      });
      if (typeof outcome === "object")
        return { how: "ended", ...(outcome.type === "ended" && { error: outcome.error }) };
      return await this.ending(outcome);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", interrupt);
      this.listener = () => {};
    }
  }

  private async ending(outcome: "silent" | "gone"): Promise<GuestEnding> {
    const { kind, console } = this.machine;
    // Its kernel may be about to tell why.
    if (outcome === "silent" && console.panic !== undefined) {
      await this.waitFor(new Promise<never>(() => {}), LAST_WORDS_MS);
    }
    const { code, signal } = await this.stop();
    const words = console.explanation();
    if (console.panic !== undefined) return { how: "lost", text: `the ${kind} died: ${console.describe()}`, words };
    if (outcome === "silent") {
      const seconds = Math.round(this.limits.silence / 1000);
      return { how: "lost", text: `the ${kind} hangs: nothing heard from it for ${seconds} s`, words };
    }
    const how = signal === null ? `exit status ${code}` : `killed by ${signal}`;
    // ssh's words are what describe() tells.
    const complaint = kind === "host" ? "" : this.machine.words.trim();
    const why = [how, complaint].filter(Boolean).join(": ");
    return { how: "lost", text: `the ${kind} ended (${why}): ${console.describe()}`, words };
  }

  /** Ends it; its disks are discarded. One that SIGKILL does not end is left behind. */
  async stop(): Promise<{ code: number | null; signal: string | null }> {
    this.machine.kill();
    const end = await within(this.machine.end, this.limits.gone / 1000);
    if (typeof end === "object") return end.value;
    this.machine.abandon();
    return { code: null, signal: "SIGKILL, and not gone" };
  }
}

/** A run that is in a guest. */
export type GuestPlannedRun = PlannedRun & { guest: string };
