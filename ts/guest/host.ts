/** Another machine, with this package installed: its agent is at the other end of ssh's standard streams. */
import type { ChildProcess } from "node:child_process";
import { Duplex, type Readable, type Writable } from "node:stream";
import { version } from "../base/package.js";
import { abandonChild, deathOf } from "../process/line-process.js";
import { startPeer } from "../process/run.js";
import type { GuestMachine } from "./guest.js";

const OPTIONS = [
  // Nobody is there to type a password.
  ...["-T", "-o", "BatchMode=yes"],
  ...["-o", "ConnectTimeout=30"],
  // A connection that is dead is noticed after two minutes.
  ...["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=8"],
];
/** ssh's own exit status for its own errors (ssh(1)), and the shell's for a command that it does not find. */
const STATUS = { ssh: 255, notFound: 127 } as const;
const WORDS_KEPT = 2000;
const LINES_SHOWN = 10;

/**
 * One connection. When it or this process ends, however, the agent's stream ends, and the agent with all its own.
 */
export class HostMachine implements GuestMachine {
  readonly kind = "host";
  readonly end: GuestMachine["end"];
  readonly port: Duplex;
  /** ssh's and the other side's standard error. */
  words = "";
  private readonly child: ChildProcess;
  private status: number | null = null;

  /** @throws UsageError when there is no ssh here */
  constructor(destination: string) {
    // A session of its own: Ctrl-C is for the controller.
    this.child = startPeer(["ssh", ...OPTIONS, "--", destination, "aiodio-ltp", "agent"], { detached: true });
    const { stdin, stdout, stderr } = this.child as { stdin: Writable; stdout: Readable; stderr: Readable };
    // Its end is what tells that it is gone.
    stdin.on("error", () => {});
    this.port = Duplex.from({ writable: stdin, readable: stdout });
    stderr.setEncoding("utf8").on("data", (text: string) => {
      this.words = `${this.words}${text}`.slice(-WORDS_KEPT);
    });
    this.end = deathOf(this.child);
    void this.end.then(({ code }) => {
      this.status = code;
    });
  }

  /** What takes the place of a guest's console. */
  readonly console = {
    panic: undefined,
    stage: "agent" as const,
    describe: () => this.describe(),
    explanation: () => this.lines().slice(-LINES_SHOWN),
  };

  private lines(): string[] {
    return this.words.split(/\r?\n/).filter((line) => line.trim() !== "");
  }

  private describe(): string {
    const last = this.lines()
      .at(-1)
      ?.replace(/^aiodio-ltp: /, "");
    switch (this.status) {
      case STATUS.notFound:
        return `aiodio-ltp is not on the PATH of a login there: npm install --global aiodio-ltp@${version} on it`;
      case STATUS.ssh:
        return `ssh cannot reach it, or lost it: ${last ?? "it does not say why"}`;
      default:
        return last ?? "the connection ended";
    }
  }

  kill(): void {
    // The agent's stream ends even where ssh has left somebody behind who holds it open.
    this.child.stdin?.destroy();
    this.child.kill("SIGKILL");
  }

  abandon(): void {
    abandonChild(this.child);
  }
}
