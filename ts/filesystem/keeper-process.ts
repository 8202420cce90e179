/** The controller's handle of one keeper process: nobody waits for its answer for ever, whatever the kernel does to it. */

import { within } from "../base/deadline.js";
import { jsonLine } from "../base/lines.js";
import { programPath } from "../base/package.js";
import { LineProcess } from "../process/line-process.js";
import type { FromKeeper, ToKeeper } from "./keeper-protocol.js";

const KEEPER_MAIN = programPath("keeper");

/** A keeper that could not do what was asked. */
export class KeeperError extends Error {
  override name = "KeeperError";
}

/** One that did not answer in time: the kernel hangs, or a program that it runs. */
export class KeeperHung extends KeeperError {
  constructor(
    message: string,
    /** Where in the kernel it and its programs were. */
    readonly stacks: readonly string[],
  ) {
    super(message);
  }
}

/** How long to wait for one answer. */
export interface Patience {
  seconds: number;
  /** Aborting it ends the waiting. */
  signal?: AbortSignal | undefined;
  /** How much longer to wait for what should end in good order when the signal is aborted; not at all by default. */
  graceSeconds?: number;
}

/** The other end of `keeper-main.ts`. */
export class KeeperProcess {
  private readonly process: LineProcess;
  private answered: ((line: string) => void) | undefined;
  /** Why nothing more is asked of it. */
  private lost: KeeperError | undefined;
  /** What it said on standard error: why it died. */
  words = "";

  constructor() {
    this.process = new LineProcess(
      ["unshare", "--mount", "--propagation", "private", "--", process.execPath, KEEPER_MAIN],
      process.env,
    );
    this.process.onOutput((line) => {
      this.words = `${this.words} ${line}`.trim().slice(0, 2000);
    });
    this.process.onAnswer((line) => this.answered?.(line));
  }

  get pid(): number {
    return this.process.pid;
  }

  /** Killed and not waited for: it may still be there. */
  get givenUp(): boolean {
    return this.lost !== undefined;
  }

  /** Whether it is gone, or given up. */
  get dead(): boolean {
    return this.process.dead || this.givenUp;
  }

  get death(): Promise<void> {
    return this.process.death.then(() => {});
  }

  /**
   * One request at a time. A keeper that has not answered as it should is killed, and nothing more can be asked of it.
   *
   * @throws KeeperHung when no answer comes in time
   * @throws KeeperError when the keeper is dead, its answer can't be read, or waiting was aborted
   */
  async ask(request: ToKeeper, patience: Patience): Promise<FromKeeper> {
    if (this.lost) throw this.lost;
    // They load while the answer is waited for.
    const checks = import("./keeper-protocol-check.js");
    const answer = new Promise<string>((resolve, reject) => {
      this.answered = resolve;
      void this.process.death.then(({ code, signal }) => {
        const how = signal ?? (code === null ? "could not be started (is unshare installed?)" : `status ${code}`);
        reject(new KeeperError(`The keeper of the filesystem ended: ${how}. ${this.words}`.trim()));
      });
    });
    this.process.send(jsonLine(request));
    const line = await this.inTime(answer, request.type, patience);
    const message = (await checks).decodeFromKeeper(line);
    if (message) return message;
    throw this.giveUp(new KeeperError(`not a message of the keeper protocol: ${JSON.stringify(line.slice(0, 200))}`));
  }

  /**
   * Ends it, and with it the filesystem.
   *
   * @throws KeeperHung when it has not ended in time; it is killed then
   * @throws KeeperError when waiting was aborted
   */
  async close(patience: Patience): Promise<void> {
    if (this.lost) return;
    await this.inTime(this.process.close(), "release", patience);
  }

  kill(): void {
    this.process.kill();
  }

  private async inTime<T>(promise: Promise<T>, what: string, patience: Patience): Promise<T> {
    const { seconds, signal, graceSeconds } = patience;
    const outcome = await within(promise, seconds, signal, graceSeconds);
    if (outcome === "aborted") throw this.giveUp(new KeeperError(`interrupted during '${what}'`));
    if (outcome === "late") {
      const text = `The keeper of the filesystem did not answer '${what}' within ${seconds} s, and is given up`;
      throw this.giveUp(new KeeperHung(text, this.process.kernelStacks()));
    }
    return outcome.value;
  }

  /** Killed, and no more waited for: what hangs in the kernel may never die. */
  private giveUp(error: KeeperError): KeeperError {
    this.lost = error;
    this.process.kill();
    this.process.abandon();
    return error;
  }
}
