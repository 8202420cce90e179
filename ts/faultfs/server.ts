/** A fault filesystem's server process, as its keeper sees it. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { type FaultReport, faultsFired, setFaultRules } from "#native";
import { programPath } from "../base/package.js";
import { MountError } from "../linux/mounts.js";
import { unshielded } from "../process/oom.js";
import type { ServerStart } from "./server-protocol.js";

const SERVER_MAIN = programPath("server");

export class FaultfsServer {
  /** Settles when the process is gone, and with it all that was stored. */
  readonly death: Promise<void>;

  private constructor(
    private readonly child: ChildProcess,
    private readonly control: string,
  ) {
    this.death = new Promise((resolve) => child.on("exit", () => resolve()));
  }

  /**
   * Starts the process. It is in a mount namespace of its own: the last that leaves one unmounts what is there and waits
   * for the server, which could not die if that were itself.
   *
   * @throws Error why it can't
   */
  static async start(start: ServerStart): Promise<FaultfsServer> {
    const outside = ["--mount", "--propagation", "private", "--"];
    const argv = [...outside, process.execPath, SERVER_MAIN, JSON.stringify(start)];
    const child = unshielded(() => spawn("unshare", argv, { cwd: "/", stdio: ["pipe", "pipe", "pipe"] }));
    let words = "";
    child.stderr.on("data", (bytes) => {
      words = `${words}${bytes}`.slice(0, 2000);
    });
    // Its last words come before the streams' end, and its first one before that.
    const ended = once(child, "close").then(() => {
      throw new Error(`The fault filesystem's server ended: ${words.trim() || "nobody knows why"}`);
    });
    await Promise.race([once(child.stdout, "data"), ended]);
    ended.catch(() => {});
    return new FaultfsServer(child, start.control);
  }

  /** @throws MountError */
  setRules(rules: readonly string[]): void {
    const failure = setFaultRules(this.control, [...rules]);
    if (failure) throw new MountError(failure);
  }

  /** @throws MountError */
  fired(): FaultReport {
    const report = faultsFired(this.control);
    if (report.error) throw new MountError(report.error);
    return report;
  }

  /** The process's ID. */
  get pid(): number {
    return this.child.pid ?? -1;
  }
}
