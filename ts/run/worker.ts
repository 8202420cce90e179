/** The controller's handle of one local worker process: start it, talk to it, end it. */
import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { encode, LineSplitter, type ToWorker } from "./protocol.js";
import type { FromWorker } from "./protocol-check.js";

const WORKER_MAIN = fileURLToPath(new URL("./worker-main.js", import.meta.url));

/** How a worker process ended. */
export interface Death {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** What a worker says while one request is under way. */
export interface Listener {
  message(message: FromWorker): void;
  /** Something that is no message: output of native code, or a broken protocol. */
  stray(text: string): void;
}

export class Worker {
  readonly pid: number;
  /** Settles when the process is gone and all that it wrote has been delivered. */
  readonly death: Promise<Death>;
  dead = false;
  private readonly child: ChildProcess;
  private readonly requests: Writable;
  private listener: Listener | undefined;

  /** Starts the process; requests may be sent at once, it reads them when it is up. */
  constructor(env: NodeJS.ProcessEnv = process.env) {
    // A session of its own: Ctrl-C reaches the controller only, and one signal ends it with all its children.
    const child = spawn(process.execPath, [WORKER_MAIN], {
      env,
      detached: true,
      stdio: ["ignore", "pipe", "pipe", "pipe", "pipe"],
    });
    this.child = child;
    this.pid = child.pid ?? -1;
    this.requests = child.stdio[3] as Writable;
    // EPIPE: the worker died first, which `death` tells.
    this.requests.on("error", () => {});
    this.death = new Promise((resolve) => {
      child.on("error", () => resolve({ code: null, signal: null }));
      child.on("close", (code, signal) => resolve({ code, signal }));
    });
    void this.death.then(() => {
      this.dead = true;
    });
    // The checks take as long to load as a worker takes to start: let them load meanwhile. The stream keeps what comes.
    void import("./protocol-check.js").then(({ decodeFromWorker }) => {
      this.deliver(child.stdio[4] as Readable, (line) => this.listener?.message(decodeFromWorker(line)));
    });
    for (const stream of [child.stdout, child.stderr]) {
      if (stream) this.deliver(stream, (line) => this.listener?.stray(line));
    }
  }

  private deliver(stream: Readable, line: (text: string) => void): void {
    const splitter = new LineSplitter();
    const each = (text: string) => {
      try {
        line(text);
      } catch (error) {
        this.listener?.stray((error as Error).message);
      }
    };
    stream.on("data", (bytes: Buffer) => splitter.push(bytes).forEach(each));
    stream.on("end", () => {
      const rest = splitter.end();
      if (rest !== "") each(rest);
    });
    stream.on("error", () => {});
  }

  /** Sends a request; everything the worker says from now on goes to `listener`. */
  send(request: ToWorker, listener: Listener): void {
    this.listener = listener;
    this.requests.write(encode(request));
  }

  /** SIGKILL to the worker and all its children. */
  kill(): void {
    if (this.dead || this.pid <= 0) return;
    try {
      process.kill(-this.pid, "SIGKILL");
    } catch {}
  }

  /** Ends an idle worker by ending its stream. */
  async close(): Promise<void> {
    this.requests.end();
    await this.death;
  }

  /** Where in the kernel its threads are: what to look at when it can't be killed. */
  kernelStacks(): string[] {
    const lines: string[] = [];
    const read = (path: string) => {
      try {
        return readFileSync(path, "utf8").trim();
      } catch (error) {
        return `(${(error as NodeJS.ErrnoException).code})`;
      }
    };
    let threads: string[] = [];
    try {
      threads = readdirSync(`/proc/${this.pid}/task`);
    } catch {}
    for (const thread of threads) {
      const base = `/proc/${this.pid}/task/${thread}`;
      const state = /^State:\s*(.*)$/m.exec(read(`${base}/status`))?.[1] ?? "unknown";
      lines.push(`thread ${thread} (${state}) waits in ${read(`${base}/wchan`)}`);
      lines.push(
        ...read(`${base}/stack`)
          .split("\n")
          .map((frame) => `  ${frame}`),
      );
    }
    return lines;
  }
}
