/** A child process that takes lines on its descriptor 3 and answers in lines on its descriptor 4. */
import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { eachLine } from "../base/lines.js";
import { sessionStacks } from "../linux/stacks.js";
import { unshielded } from "./oom.js";

/** Stops listening to a process, and lets this one end before it does. */
export function abandonChild(
  child: Pick<ChildProcess, "unref"> & { stdio: readonly ({ destroy(): unknown } | null | undefined)[] },
): void {
  child.unref();
  for (const stream of child.stdio) stream?.destroy();
}

/** How a process ended. */
export interface Death {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** Settles when the process is gone, or could not be started, and all that it wrote has been delivered. */
export function deathOf(child: ChildProcess): Promise<Death> {
  return new Promise((resolve) => {
    child.on("error", () => resolve({ code: null, signal: null }));
    child.on("close", (code, signal) => resolve({ code, signal }));
  });
}

export class LineProcess {
  readonly pid: number;
  /** Settles when the process is gone and all that it wrote has been delivered. */
  readonly death: Promise<Death>;
  dead = false;
  private readonly child: ChildProcess;
  private readonly requests: Writable;

  /**
   * Starts the process; lines may be sent at once, it reads them when it is up.
   *
   * @param more what its descriptors from 5 on are: an open one of ours, or a pipe that it writes lines to
   */
  constructor(
    [program, ...args]: readonly [string, ...string[]],
    env: NodeJS.ProcessEnv,
    more: readonly (number | "pipe" | "ignore")[] = [],
  ) {
    // A session of its own: Ctrl-C reaches the controller only, and one signal ends it with all its children.
    const stdio = ["ignore", "pipe", "pipe", "pipe", "pipe", ...more] satisfies StdioOptions;
    const child = unshielded(() => spawn(program, args, { env, detached: true, stdio }));
    this.child = child;
    this.pid = child.pid ?? -1;
    this.requests = child.stdio[3] as Writable;
    // EPIPE: the process died first, which `death` tells.
    this.requests.on("error", () => {});
    this.death = deathOf(child);
    void this.death.then(() => {
      this.dead = true;
    });
  }

  /** Calls `line` for each answer. */
  onAnswer(line: (text: string) => void): void {
    this.deliver(this.child.stdio[4] as Readable, line);
  }

  /** Calls `line` for each line that it writes to a further pipe. */
  onPipe(descriptor: number, line: (text: string) => void): void {
    this.deliver(this.child.stdio[descriptor as 3] as Readable, line);
  }

  /** Calls `line` for each line on standard output or standard error. */
  onOutput(line: (text: string) => void): void {
    for (const stream of [this.child.stdout, this.child.stderr]) {
      if (stream) this.deliver(stream, line);
    }
  }

  private deliver(stream: Readable, line: (text: string) => void): void {
    eachLine(stream, line);
    stream.on("error", () => {});
  }

  /** Sends text that ends with a newline. */
  send(text: string): void {
    this.requests.write(text);
  }

  /** SIGKILL to the process and all its children. */
  kill(): void {
    if (this.dead || this.pid <= 0) return;
    try {
      process.kill(-this.pid, "SIGKILL");
    } catch {}
  }

  /** Where in the kernel it and its children are: what to look at when it does not answer. */
  kernelStacks(): string[] {
    return sessionStacks(this.pid);
  }

  /** Stops listening to it, and lets this process end before it does. */
  abandon(): void {
    abandonChild(this.child);
  }

  /** Ends an idle process by ending its stream. */
  async close(): Promise<void> {
    this.requests.end();
    await this.death;
  }
}
