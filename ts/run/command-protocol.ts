/**
 * What the process of a testcase that is a command of its own tells `aiodio-exec`, in lines: `deadline SECONDS|none [what else is
 * under way]`, `state JSON`, `done STATUS`. The state is for the process that comes after it, should it not live to say `done`.
 */
import { writeAll } from "../base/lines.js";
import { type Counters, zeroCounters } from "../events/events.js";

/** What has become known of the testcase. */
export interface CommandState {
  counters: Counters;
  /** The old library's lines are wanted, under this name. */
  legacy?: string;
  /** Its temporary directory, while there is one. */
  directory?: string | undefined;
  /** The rules about the kernel's messages that it explains, and why. */
  permitted: Record<string, string>;
  /** The kernel's taint before it began, in decimal; absent where it can't be read. */
  taint?: string;
}

export function freshState(): CommandState {
  return { counters: zeroCounters(), permitted: {} };
}

/** The way to `aiodio-exec`, by the descriptor that it gave. */
export class Teller {
  constructor(
    private readonly fd: number,
    /** Called when nobody listens any more. */
    private readonly alone: () => never,
  ) {}

  /** The clock starts anew; undefined is no limit. */
  deadline(seconds: number | undefined, around?: string): void {
    this.tell(`deadline ${seconds ?? "none"}${around === undefined ? "" : ` ${around}`}`);
  }

  state(state: CommandState): void {
    this.tell(`state ${JSON.stringify(state)}`);
  }

  done(status: number): void {
    this.tell(`done ${status}`);
  }

  private tell(line: string): void {
    try {
      writeAll(this.fd, `${line}\n`);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EPIPE") this.alone();
      throw error;
    }
  }
}
