/**
 * Keepers and workers that misbehave: in the place of `LineProcess`, so that all of the runner but the processes is real.
 *
 *   vi.mock("../../ts/process/line-process.js", async () => ({
 *     LineProcess: (await import("./fake-processes.js")).FakeProcess,
 *   }));
 *   // Reads files in real time: the fake clock would not wait for it.
 *   vi.mock("../../ts/run/flight.js", async (original) => ({
 *     ...(await original<object>()),
 *     FlightFile: { open: () => undefined },
 *   }));
 *
 * What each process does with each message is asked of `fakes.action`, once a message; without one all goes right.
 */
import { vi } from "vitest";
import type { CheckResult } from "../../ts/events/events.js";
import type { FromKeeper } from "../../ts/filesystem/keeper-protocol.js";
import type { Death } from "../../ts/process/line-process.js";
import type { FromWorker } from "../../ts/run/protocol-check.js";
// Loaded by the runner when a process starts: that must take no time by the fake clock.
import "../../ts/run/protocol-check.js";
import "../../ts/filesystem/keeper-protocol-check.js";

/** Before any clock is faked. */
const { setImmediate: laterForReal } = globalThis;

export type Role = "keeper" | "worker";

/**
 * What a process is asked for. `release` and `close` are the end of its stream. A worker's `run` is asked before anything
 * is said, `made` when it has its directory, `done` when only that word is left. `kill` is SIGKILL.
 */
export const MESSAGES = {
  keeper: ["provision", "remount", "check", "set-faults", "faults-fired", "release", "kill"],
  worker: ["run", "made", "done", "remove", "close", "kill"],
} as const satisfies Record<Role, readonly string[]>;

export type Message = (typeof MESSAGES)[Role][number];

/**
 * `hang`: says nothing more, ever. `die`: as by SIGKILL, with nothing said; `tear`: in the middle of the answer. `garble`:
 * says what nobody can read, and lives on. `error`: answers that it could not be done. The end of a stream has no answer,
 * only an end: by status 1 for `error`. For `kill` all but `hang` is `right`.
 */
export const ACTIONS = ["right", "hang", "die", "tear", "garble", "error"] as const;

export type Action = (typeof ACTIONS)[number];

/** A message to a process: `number` counts the processes of its role, `count` its messages of this kind; both from 1. */
export interface Asked {
  role: Role;
  message: Message;
  number: number;
  count: number;
  /** What a worker runs, and where: the request's first argument and directory. */
  subject?: string | undefined;
  directory?: string | undefined;
}

export const fakes = {
  /** What is done with each message. */
  action: (_asked: Asked): Action => "right",
  /** A checker's answer. */
  checked: { clean: true, reports: [], seconds: 0 } as CheckResult,
  /** Whether a keeper's `error` is the user's. */
  usage: false,
  /** All that were started. */
  processes: [] as FakeProcess[],
  /** All that was asked, as `keeper 1 provision`. */
  asked: [] as string[],
};

/** Forgets all of it. */
export function resetFakes(): void {
  fakes.action = () => "right";
  fakes.checked = { clean: true, reports: [], seconds: 0 };
  fakes.usage = false;
  fakes.processes = [];
  fakes.asked = [];
}

/** The action for one message of one role, of the `number`th process if given; all else goes right. */
export function only(role: Role, message: Message, action: Action, number?: number): typeof fakes.action {
  return (asked) =>
    asked.role === role && asked.message === message && (number === undefined || asked.number === number)
      ? action
      : "right";
}

/** Where the fake filesystem of the keeper with this number is mounted. */
export function fakeDirectory(keeper: number): string {
  return `/fake/${keeper}`;
}

/** The time limit of a fake testcase. */
export const TESTCASE_SECONDS = 60;

/** Answers that all is well. */
const RIGHT: Partial<Record<Message, (keeper: number) => FromKeeper>> = {
  provision: (keeper) => ({
    ...{ type: "provisioned", directory: fakeDirectory(keeper), mounts: [], directIo: false, dirtiedBytes: 0 },
  }),
  remount: () => ({ type: "remounted" }),
  check: () => ({ type: "checked", result: fakes.checked }),
  "set-faults": () => ({ type: "faults-set" }),
  "faults-fired": () => ({ type: "faults-fired", report: { counts: [], fired: [] } }),
};

const line = (result: "TPASS" | "TBROK", text: string): FromWorker => {
  return { type: "line", result, file: "fake.ts", line: 1, text };
};

export class FakeProcess {
  readonly role: Role;
  readonly number: number;
  readonly pid: number;
  readonly death: Promise<Death>;
  dead = false;
  abandoned = false;
  private die: (death: Death) => void = () => {};
  private hear: ((text: string) => void) | undefined;
  /** Before anybody listens, as the stream keeps it. */
  private unheard: string[] = [];
  private hung = false;
  private subject: string | undefined;
  private directory: string | undefined;
  private readonly counts = new Map<Message, number>();

  constructor(argv: readonly string[]) {
    this.role = argv.some((word) => word.endsWith("keeper-main.cjs")) ? "keeper" : "worker";
    this.number = fakes.processes.filter(({ role }) => role === this.role).length + 1;
    fakes.processes.push(this);
    // No process of the machine: whoever asks the kernel about it finds nothing.
    this.pid = 2 ** 30 + fakes.processes.length;
    this.death = new Promise((resolve) => {
      this.die = (death) => {
        this.dead = true;
        resolve(death);
      };
    });
  }

  onAnswer(hear: (text: string) => void): void {
    this.hear = hear;
    for (const text of this.unheard.splice(0)) hear(text);
  }

  onOutput(): void {}
  onPipe(): void {}

  send(text: string): void {
    const request: { type: string; argv?: string[]; parent?: string } = JSON.parse(text);
    this.subject = request.argv?.[0];
    this.directory = request.parent;
    // As a process does: not while it is being asked.
    void Promise.resolve().then(() => this.answer(request.type as Message));
  }

  kill(): void {
    if (!this.dead && this.actionFor("kill") !== "hang") this.end("SIGKILL");
  }

  abandon(): void {
    this.abandoned = true;
  }

  async close(): Promise<void> {
    if (!this.dead) {
      const action = this.hung ? "hang" : this.actionFor(this.role === "keeper" ? "release" : "close");
      if (action === "die" || action === "tear") this.end("SIGKILL");
      else if (action !== "hang") this.die({ code: action === "error" ? 1 : 0, signal: null });
    }
    await this.death;
  }

  kernelStacks(): string[] {
    return [`thread ${this.role} ${this.number} (D (disk sleep)) waits in fake_wait`];
  }

  private actionFor(message: Message): Action {
    const count = (this.counts.get(message) ?? 0) + 1;
    this.counts.set(message, count);
    fakes.asked.push(`${this.role} ${this.number} ${message}`);
    const { role, number, subject, directory } = this;
    return fakes.action({ role, message, number, count, subject, directory });
  }

  private end(signal: NodeJS.Signals): void {
    this.die({ code: null, signal });
  }

  private say(message: FromKeeper | FromWorker): void {
    this.sayText(JSON.stringify(message));
  }

  private sayText(text: string): void {
    if (this.dead || this.abandoned) return;
    if (this.hear) this.hear(text);
    else this.unheard.push(text);
  }

  private answer(message: Message): void {
    if (this.dead || this.hung) return;
    if (this.role === "worker" && message === "run") {
      this.run();
      return;
    }
    const removed = (error?: string): FromWorker => ({ type: "removed", ...(error !== undefined && { error }) });
    const right = () => (message === "remove" ? removed() : (RIGHT[message]?.(this.number) as FromKeeper));
    const error: FromKeeper | FromWorker =
      message === "remove" ? removed("it can't") : { type: "failed", message: `no ${message}`, usage: fakes.usage };
    this.act(message, right, error);
  }

  /** `error`: what is said in the place of `right`, which whoever chooses the action may still change. */
  private act(message: Message, right: () => FromKeeper | FromWorker, error: FromKeeper | FromWorker): Action {
    const action = this.actionFor(message);
    const text = JSON.stringify(right());
    if (action === "right") this.sayText(text);
    if (action === "error") this.say(error);
    if (action === "hang") this.hung = true;
    if (action === "tear" || action === "garble") this.sayText(text.slice(0, text.length / 2));
    if (action === "tear" || action === "die") this.end("SIGKILL");
    return action;
  }

  /** A testcase of one pass. */
  private run(): void {
    const broken = line("TBROK", "it can't");
    const done: FromWorker = { type: "done", summary: true };
    const silent = () => this.dead || this.hung;
    this.act("run", () => ({ type: "directory", path: `${this.directory}/LTP_fake${this.number}` }), broken);
    if (silent()) return;
    this.say({ type: "deadline", seconds: TESTCASE_SECONDS });
    this.act("made", () => line("TPASS", "said"), broken);
    if (silent()) return;
    this.say({ type: "deadline", seconds: 30, over: true });
    this.say({ type: "directory", path: undefined });
    if (this.act("done", () => done, broken) === "error") this.say(done);
  }
}

/** Lets real I/O and what follows from it happen, without any time by the fake clock. */
async function settle(): Promise<void> {
  for (let turns = 0; turns < 5; turns += 1) await new Promise((resolve) => laterForReal(resolve));
}

/**
 * Lets fake time pass until a promise settles.
 *
 * @param limitSeconds by the fake clock: an error when it has not settled by then
 * @returns how many seconds it took
 */
export async function elapse(promise: Promise<unknown>, limitSeconds: number): Promise<number> {
  let over = false;
  const end = () => {
    over = true;
  };
  promise.then(end, end);
  await settle();
  for (let seconds = 0; ; seconds += 1) {
    if (over) return seconds;
    if (seconds > limitSeconds) throw new Error(`not over after ${limitSeconds} s; asked: ${fakes.asked.join(", ")}`);
    await vi.advanceTimersByTimeAsync(1000);
    await settle();
  }
}
