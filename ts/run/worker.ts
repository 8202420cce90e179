/** The controller's handle of one local worker process: start it, talk to it, end it. */
import { programPath } from "../base/package.js";
import { type Death, LineProcess } from "../process/line-process.js";
import { encode, FLIGHT_FD, type ToWorker, TRACE_FD } from "./protocol.js";
import type { FromWorker } from "./protocol-check.js";

const WORKER_MAIN = programPath("worker");

/** What a worker says while one request is under way. */
export interface Listener {
  message(message: FromWorker): void;
  /** Something beside the protocol: output of native code. */
  stray(text: string): void;
  /** A message that can't be read: a result may be lost with it. */
  garbled?(text: string): void;
  /** An operation that has completed, where they are traced. */
  trace?(text: string): void;
}

/** What a worker records its operations into. */
export interface Recording {
  /** Descriptor of the flight record's file; absent: memory of the worker's own. */
  fd?: number | undefined;
  /** Whether each operation is told when it completes. */
  trace: boolean;
}

export class Worker {
  private readonly process: LineProcess;
  private listener: Listener | undefined;

  /**
   * Starts the process; requests may be sent at once, it reads them when it is up.
   *
   * @param prefix a command that executes the rest of its arguments in its own place, such as `Filesystem.enter`
   */
  constructor(
    env: NodeJS.ProcessEnv = process.env,
    prefix: readonly string[] = [],
    private readonly recording: Recording = { trace: false },
  ) {
    // A prefix may enter a mount namespace, and with it the root directory.
    const [program = process.execPath, ...args] = [...prefix, process.execPath, WORKER_MAIN, process.cwd()];
    const { fd, trace } = recording;
    this.process = new LineProcess([program, ...args], env, [fd ?? "ignore", trace ? "pipe" : "ignore"]);
    if (trace) this.process.onPipe(TRACE_FD, (line) => this.listener?.trace?.(line));
    // The checks take as long to load as a worker takes to start: let them load meanwhile. The stream keeps what comes.
    void import("./protocol-check.js").then(({ decodeFromWorker }) => {
      this.process.onAnswer((line) => {
        try {
          this.listener?.message(decodeFromWorker(line));
        } catch (error) {
          this.listener?.garbled?.((error as Error).message);
        }
      });
    });
    this.process.onOutput((line) => this.listener?.stray(line));
  }

  get pid(): number {
    return this.process.pid;
  }

  /** Settles when the process is gone and all that it wrote has been delivered. */
  get death(): Promise<Death> {
    return this.process.death;
  }

  get dead(): boolean {
    return this.process.dead;
  }

  /** Sends a request; everything the worker says from now on goes to `listener`. */
  send(request: ToWorker, listener: Listener): void {
    this.listener = listener;
    const { fd, trace } = this.recording;
    const record = { ...(fd !== undefined && { fd: FLIGHT_FD }), ...(trace && { traceFd: TRACE_FD }) };
    this.process.send(encode(request.type === "run" ? { ...request, record } : request));
  }

  /** SIGKILL to the worker and all its children. */
  kill(): void {
    this.process.kill();
  }

  /** Ends an idle worker by ending its stream. */
  close(): Promise<void> {
    return this.process.close();
  }

  /** Stops listening to it, and lets this process end before it does. */
  abandon(): void {
    this.process.abandon();
  }

  /** Where in the kernel its threads and children are: what to look at when it can't be killed. */
  kernelStacks(): string[] {
    return this.process.kernelStacks();
  }
}
