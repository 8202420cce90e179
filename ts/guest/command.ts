/** Runs other programs to their end; they die with this process. */
import { spawn } from "node:child_process";
import { UsageError } from "../base/errors.js";
import { LineSplitter } from "../base/lines.js";
import { findTool, missingTool } from "../process/tools.js";

/** Lines of a failed program's complaint that are kept. */
const COMPLAINT_LINES = 3;
/** Descriptor on which a program may tell how far it is. */
export const STATUS_FD = 3;

/**
 * A program that ended with a status other than 0; `words` are the last lines of its standard error. An ordinary cause, such as a full
 * disk, which they name: no stack is to be shown.
 */
export class CommandError extends UsageError {
  override name = "CommandError";
  constructor(
    command: string,
    readonly words: string,
  ) {
    super(`${command} failed (${words}): mend that, and try again`);
  }
}

export interface CommandOptions {
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** Called for each line on {@link STATUS_FD}. */
  status?: (line: string) => void;
}

/**
 * The command line that executes `args` and lets the kernel kill them when this process dies, even by SIGKILL.
 *
 * A parent that has died before the request could be made is noticed by the shell: its own parent is another then.
 */
export function dyingWithUs([program, ...args]: readonly [string, ...string[]]): [string, ...string[]] {
  if (findTool("setpriv") === undefined) throw new UsageError(missingTool("setpriv"));
  const script = '[ "$PPID" = "$0" ] && exec "$@"';
  return ["setpriv", "--pdeathsig", "KILL", "--", "sh", "-c", script, String(process.pid), program, ...args];
}

/**
 * Runs a program in English and returns its standard output.
 *
 * @throws UsageError when it is not installed
 * @throws CommandError
 */
export function runCommand(
  [program, ...args]: readonly [string, ...string[]],
  { cwd, env = process.env, status }: CommandOptions = {},
): Promise<string> {
  if (findTool(program) === undefined) throw new UsageError(missingTool(program));
  const [command, ...rest] = dyingWithUs([program, ...args]);
  return new Promise((resolve, reject) => {
    const child = spawn(command, rest, {
      cwd,
      env: { ...env, LC_ALL: "C" },
      stdio: ["ignore", "pipe", "pipe", status ? "pipe" : "ignore"],
    });
    const out: Buffer[] = [];
    let complaint: string[] = [];
    const lines = new LineSplitter();
    const keep = (more: string[]) => {
      complaint = [...complaint, ...more.map((line) => line.trim()).filter(Boolean)].slice(-COMPLAINT_LINES);
    };
    child.stdout?.on("data", (bytes: Buffer) => out.push(bytes));
    child.stderr?.on("data", (bytes: Buffer) => keep(lines.push(bytes)));
    if (status) {
      const splitter = new LineSplitter();
      child.stdio[STATUS_FD]?.on("data", (bytes: Buffer) => {
        for (const line of splitter.push(bytes)) status(line);
      });
    }
    child.on("error", reject);
    child.on("close", (code, signal) => {
      keep([lines.end()]);
      const how = signal === null ? `exit status ${code}` : `killed by ${signal}`;
      if (code === 0) resolve(Buffer.concat(out).toString());
      else reject(new CommandError(program, complaint.join(" / ") || how));
    });
  });
}
