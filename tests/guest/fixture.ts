/** A machine that is played by the test, in the place of an emulator or ssh, and what its agent says. */
import { Duplex } from "node:stream";
import type { MachineFacts, PlannedRun } from "../../ts/events/events.js";
import type { FromAgent, ToAgent } from "../../ts/guest/agent-protocol.js";
import { Console } from "../../ts/guest/console.js";
import type { GuestLimits, GuestMachine } from "../../ts/guest/guest.js";
import { machineFacts } from "../../ts/linux/machine.js";

export const FACTS: MachineFacts = { ...machineFacts(), kernel: "6.1.0", machine: "ppc64le", pageBytes: 65_536 };
export const READY: FromAgent = { type: "ready", version: "0.1.0", machine: FACTS, calibrationMs: 80 };
/** Only what must not be waited for in a test is short. */
export const LIMITS: GuestLimits = { boot: 60_000, silence: 60_000, interrupt: 60_000, gone: 60_000 };

/** A machine whose agent does what `agent` does with each request. */
export class FakeMachine implements GuestMachine {
  readonly kind = "guest";
  readonly console = new Console();
  readonly words = "";
  killed = false;
  abandoned = false;
  /** Whether SIGKILL ends it. */
  mortal = true;
  readonly requests: ToAgent[] = [];
  readonly port: Duplex;
  readonly end: Promise<{ code: number | null; signal: string | null }>;
  die!: (end: { code: number | null; signal: string | null }) => void;

  constructor(agent: (request: ToAgent, machine: FakeMachine) => void = () => {}) {
    const take = (text: string) => {
      const request: ToAgent = JSON.parse(text);
      this.requests.push(request);
      agent(request, this);
    };
    this.port = new Duplex({
      read() {},
      write(chunk, _encoding, done) {
        take(chunk.toString());
        done();
      },
    });
    this.end = new Promise((resolve) => {
      this.die = resolve;
    });
  }

  say(...messages: FromAgent[]): void {
    for (const message of messages) this.port.push(`${JSON.stringify(message)}\n`);
  }

  /** As an emulator whose kernel panics. */
  panic(): void {
    this.console.push(Buffer.from("[ 1.0] Oops: bad area [#1]\n[ 1.1] Kernel panic - not syncing: Fatal exception\n"));
    this.die({ code: 0, signal: null });
  }

  abandon(): void {
    this.abandoned = true;
  }

  kill(): void {
    this.killed = true;
    if (this.mortal) this.die({ code: null, signal: "SIGKILL" });
  }
}

export const run = (id: string, filesystem = "btrfs", guest = "g"): PlannedRun => ({
  ...{ key: `${guest}/${filesystem}/s:${id}`, suite: "s", id, iteration: 1, guest, filesystem },
  ...{ program: "aiocp", argv: [], command: "aiocp" },
});

export function startOf({ key }: PlannedRun): FromAgent {
  return { type: "event", event: { type: "test-start", time: "", key, worker: 1 } };
}

export function endOf({ key }: PlannedRun, verdict: "TPASS" | "TFAIL" = "TPASS"): FromAgent {
  const counters = { passed: 0, failed: 0, broken: 0, skipped: 0, warnings: 0 };
  const exit = verdict === "TPASS" ? 0 : 1;
  const end = { verdict, exit, counters, durationSeconds: 1, summary: true };
  return { type: "event", event: { type: "test-end", time: "", key, ...end } };
}

/** A machine whose agent is there at once. */
export function ready(handle?: ConstructorParameters<typeof FakeMachine>[0]): FakeMachine {
  const machine = new FakeMachine(handle);
  machine.say(READY);
  return machine;
}
