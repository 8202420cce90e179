/** Runs other programs to their end, in English; they die with this process. */
import { spawn } from "node:child_process";
import { TIMER_MAX_MS } from "../base/deadline.js";
import { UsageError } from "../base/errors.js";
import { surroundingSeconds } from "../base/timing.js";
import { processStacks } from "../linux/stacks.js";
import { unshielded } from "./oom.js";
import { findTool, missingTool } from "./tools.js";

/** Bytes of a program's words that are kept; the beginning and the end say most. */
const OUTPUT_BYTES_MAX = 16_384;

export interface ToolResult {
  /** Undefined when it was killed or could not be started. */
  exit: number | undefined;
  /** Standard output and standard error as they came, shortened in the middle. */
  output: string;
  seconds: number;
  /** That it was not done in time, and where in the kernel it was then. */
  hung?: string;
}

/**
 * Runs a program in English. It is killed when this process dies, so that it holds no device any longer, and when it is
 * not done within `limitSeconds`: then nobody waits for it any more, since it may hang in the kernel.
 */
export function runTool(
  name: string,
  args: readonly string[],
  limitSeconds = surroundingSeconds(process.env),
): Promise<ToolResult> {
  const started = performance.now();
  const killer = findTool("setpriv") === undefined ? [] : ["setpriv", "--pdeathsig", "KILL", "--"];
  const [command = name, ...rest] = [...killer, name, ...args];
  return new Promise((resolve) => {
    const env = { ...process.env, LC_ALL: "C" };
    const child = unshielded(() => spawn(command, rest, { env, stdio: ["ignore", "pipe", "pipe"], cwd: "/" }));
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        output = shortened(output + text);
      });
    }
    const end = (exit: number | undefined, words: string, hung?: string) => {
      clearTimeout(timer);
      const seconds = (performance.now() - started) / 1000;
      resolve({ exit, output: words.trim(), seconds, ...(hung !== undefined && { hung }) });
    };
    const timer = setTimeout(
      () => {
        const stacks = processStacks(child.pid ?? 0);
        child.kill("SIGKILL");
        child.unref();
        for (const stream of [child.stdout, child.stderr]) stream.destroy();
        end(undefined, output, [`not done within ${limitSeconds} s, and killed:`, ...stacks].join("\n"));
      },
      Math.min(limitSeconds * 1000, TIMER_MAX_MS),
    );
    child.on("error", (error) => end(undefined, error.message));
    child.on("close", (code, signal) => end(code ?? undefined, signal ? `${output}\nkilled by ${signal}` : output));
  });
}

const CUT = "\n[…]\n";

/** The first and the last half of what is too long. */
function shortened(text: string): string {
  if (text.length <= OUTPUT_BYTES_MAX) return text;
  const half = OUTPUT_BYTES_MAX / 2;
  return text.slice(0, half - CUT.length) + CUT + text.slice(-half);
}

/** Lines of a failed program's complaint that are kept. */
const COMPLAINT_LINES = 3;
/** Descriptor on which a program may tell how far it is. */
export const STATUS_FD = 3;
/**
 * Characters that are read of a command. execa escapes all of them for its own error messages, and a hundred million control
 * characters are more than V8's regular expressions hold: the process dies of it.
 */
const COMMAND_OUTPUT_MAX = 16 * 2 ** 20;
/** Seconds. No download and no build is meant to take longer; what hangs may hold a lock that others wait for. */
const COMMAND_SECONDS = 4 * 60 * 60;

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
 * Runs a program and returns its standard output.
 *
 * @throws UsageError when it is not installed
 * @throws CommandError when it fails, or is not done within {@link COMMAND_SECONDS}, and is killed
 */
export async function runCommand(
  [program, ...args]: readonly [string, ...string[]],
  { cwd, env = process.env, status }: CommandOptions = {},
): Promise<string> {
  if (findTool(program) === undefined) throw new UsageError(missingTool(program));
  const [command, ...rest] = dyingWithUs([program, ...args]);
  const { execa } = await import("execa");
  const tell = function* (line: unknown) {
    status?.(String(line));
    yield* [];
  };
  const result = await execa(command, rest, {
    ...(cwd !== undefined && { cwd }),
    ...{
      env: { ...env, LC_ALL: "C" },
      extendEnv: false,
      reject: false,
      stripFinalNewline: false,
      maxBuffer: COMMAND_OUTPUT_MAX,
    },
    stdio: ["ignore", "pipe", "pipe", status ? tell : "ignore"],
    ...{ timeout: COMMAND_SECONDS * 1000, killSignal: "SIGKILL" },
  });
  const { exitCode, signal, timedOut, isMaxBuffer, stdout, stderr } = result;
  if (exitCode === 0) return stdout;
  const lines = stderr.split("\n").map((line) => line.trim());
  const complaint = lines.filter(Boolean).slice(-COMPLAINT_LINES).join(" / ");
  if (timedOut) throw new CommandError(program, `not done within ${COMMAND_SECONDS / 3600} hours`);
  if (isMaxBuffer) throw new CommandError(program, "it wrote more than is read of a program");
  if (exitCode === undefined && signal === undefined) throw result;
  throw new CommandError(
    program,
    complaint || (signal === undefined ? `exit status ${exitCode}` : `killed by ${signal}`),
  );
}
