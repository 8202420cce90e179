/** Starts other programs, which die with this process, and runs them to their end, in English. */
import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import type { Readable } from "node:stream";
import { within } from "../base/deadline.js";
import { UsageError } from "../base/errors.js";
import { eachLine } from "../base/lines.js";
import { surroundingSeconds } from "../base/timing.js";
import { processStacks } from "../linux/stacks.js";
import { abandonChild } from "./line-process.js";
import { unshielded } from "./oom.js";
import { findTool, missingTool } from "./tools.js";

/**
 * The command line that executes `args` and lets the kernel kill them when this process dies, even by SIGKILL.
 *
 * A parent that has died before the request could be made is noticed by the shell: its own parent is another then. The root of a
 * guest may have no shell.
 */
export function dyingWithUs(args: readonly [string, ...string[]]): [string, ...string[]] {
  if (findTool("setpriv") === undefined) throw new UsageError(missingTool("setpriv"));
  const script = '[ "$PPID" = "$0" ] && exec "$@"';
  const check = findTool("sh") === undefined ? [] : ["sh", "-c", script, String(process.pid)];
  return ["setpriv", "--pdeathsig", "KILL", "--", ...check, ...args];
}

/** Starts a program that this process will speak with while it runs. @throws UsageError when it is not installed */
export function startPeer(args: readonly [string, ...string[]], options: SpawnOptions): ChildProcess {
  if (findTool(args[0]) === undefined) throw new UsageError(missingTool(args[0]));
  const [command, ...rest] = dyingWithUs(args);
  return unshielded(() => spawn(command, rest, options));
}

/** Descriptor on which a program may tell how far it is. */
export const STATUS_FD = 3;
/** Seconds that a killed program is waited for: one that hangs in the kernel may never die. */
const GONE_SECONDS = 1;

interface Settings {
  cwd?: string | undefined;
  env: NodeJS.ProcessEnv;
  /** An open descriptor that it reads. */
  stdin?: number | undefined;
  /** Whether it tells something on {@link STATUS_FD}. */
  status?: boolean;
  seconds: number;
  signal?: AbortSignal | undefined;
}

/** A program that runs. */
interface Started {
  stdout: Readable;
  stderr: Readable;
  stdio: readonly unknown[];
  kill(signal: "SIGKILL"): boolean;
}

/** How a program ended; `stacks`: that it was not done in time, and where in the kernel it was then. */
type Ended = { exit: number | undefined; signal?: string | undefined } | { stacks: string[] };

/**
 * Runs a program. It is killed when it is not done in time or the signal is aborted.
 *
 * @param listen takes what it says
 * @throws Error when it could not be started, and the signal's reason
 */
async function untilItsEnd(
  [command, ...args]: readonly string[],
  { seconds, signal, stdin, status = false, cwd = "/", env }: Settings,
  listen: (child: Started) => void,
): Promise<Ended> {
  const { execa } = await import("execa");
  signal?.throwIfAborted();
  const child = unshielded(() =>
    execa(command ?? "", args, {
      ...{ cwd, env: { ...env, LC_ALL: "C" }, extendEnv: false, reject: false },
      // Whoever listens has a limit; its own handlers of signals would take the place of this process's.
      ...{ buffer: false, cleanup: false },
      // Its types have few of the numbers that it takes.
      stdio: [(stdin as 0 | undefined) ?? "ignore", "pipe", "pipe", status ? "pipe" : "ignore"],
    }),
  );
  listen(child);
  const waited = await within(child, seconds, signal);
  if (typeof waited !== "string") {
    const { exitCode, signal: killer } = waited.value;
    if (exitCode === undefined && killer === undefined) throw waited.value;
    return { exit: exitCode, signal: killer };
  }
  const stacks = processStacks(child.pid ?? 0);
  child.kill("SIGKILL");
  if (typeof (await within(child, GONE_SECONDS)) === "string") abandonChild(child);
  if (waited === "aborted") throw signal?.reason;
  return { stacks };
}

/** Bytes of a program's words that are kept; the beginning and the end say most. */
const OUTPUT_BYTES_MAX = 16_384;

export interface ToolResult {
  /** Undefined when it was killed or could not be started. */
  exit: number | undefined;
  /** Standard output and standard error as they came, shortened in the middle; why it could not be started. */
  output: string;
  seconds: number;
  /** That it was not done in time, and where in the kernel it was then. */
  hung?: string;
}

export interface ToolOptions extends Partial<Pick<Settings, "env" | "stdin" | "signal">> {
  /** Of its output. */
  bytesMax?: number;
}

/**
 * Runs a program, whatever becomes of it. When it is not done within `limitSeconds` nobody waits for it any more, since it may hang
 * in the kernel.
 *
 * @throws the signal's reason
 */
export async function runTool(
  name: string,
  args: readonly string[],
  limitSeconds = surroundingSeconds(process.env),
  { env = process.env, stdin, signal, bytesMax = OUTPUT_BYTES_MAX }: ToolOptions = {},
): Promise<ToolResult> {
  const started = performance.now();
  const result = (exit: number | undefined, words: string) => {
    return { exit, output: words.trim(), seconds: (performance.now() - started) / 1000 };
  };
  if (findTool(name) === undefined) return result(undefined, missingTool(name));
  // Where nothing lets it die with this process it may outlive it: it comes to an end by itself.
  const argv = findTool("setpriv") === undefined ? [name, ...args] : dyingWithUs([name, ...args]);
  let output = "";
  try {
    const ended = await untilItsEnd(argv, { env, stdin, signal, seconds: limitSeconds }, ({ stdout, stderr }) => {
      for (const stream of [stdout, stderr]) {
        stream.setEncoding("utf8").on("data", (text: string) => {
          output = shortened(output + text, bytesMax);
        });
      }
    });
    if ("stacks" in ended) {
      const hung = [`not done within ${limitSeconds} s, and killed:`, ...ended.stacks].join("\n");
      return { ...result(undefined, output), hung };
    }
    return result(ended.exit, ended.signal === undefined ? output : `${output}\nkilled by ${ended.signal}`);
  } catch (error) {
    signal?.throwIfAborted();
    return result(undefined, (error as Error).message);
  }
}

const CUT = "\n[…]\n";

/** The first and the last half of what is too long. */
function shortened(text: string, max: number): string {
  if (text.length <= max) return text;
  return text.slice(0, max / 2 - CUT.length) + CUT + text.slice(-max / 2);
}

/** Lines of a failed program's complaint that are kept. */
const COMPLAINT_LINES = 3;
/** Bytes that are read of a command. */
const COMMAND_BYTES_MAX = 16 * 2 ** 20;
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

export interface CommandOptions extends Partial<Pick<Settings, "cwd" | "env" | "stdin">> {
  /** Called for each line on {@link STATUS_FD}. */
  status?: (line: string) => void;
  /** Of its standard output. */
  bytesMax?: number;
}

/** Runs a program and returns its standard output, as {@link commandBytes} does. */
export async function runCommand(argv: readonly [string, ...string[]], options?: CommandOptions): Promise<string> {
  return (await commandBytes(argv, options)).toString();
}

/**
 * Runs a program and returns its standard output.
 *
 * @throws UsageError when it is not installed
 * @throws CommandError when it fails, says too much, or is not done within {@link COMMAND_SECONDS}, and is killed
 */
export async function commandBytes(
  argv: readonly [string, ...string[]],
  { cwd = process.cwd(), env = process.env, stdin, status, bytesMax = COMMAND_BYTES_MAX }: CommandOptions = {},
): Promise<Buffer> {
  const [program] = argv;
  if (findTool(program) === undefined) throw new UsageError(missingTool(program));
  const chunks: Buffer[] = [];
  let bytes = 0;
  let words = "";
  const settings = { cwd, env, stdin, status: status !== undefined, seconds: COMMAND_SECONDS };
  const ended = await untilItsEnd(dyingWithUs(argv), settings, (child) => {
    child.stdout.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= bytesMax) chunks.push(chunk);
      else child.kill("SIGKILL");
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      words = (words + text).slice(-OUTPUT_BYTES_MAX);
    });
    if (status) eachLine(child.stdio[STATUS_FD] as Readable, status);
  });
  if ("stacks" in ended) throw new CommandError(program, `not done within ${COMMAND_SECONDS / 3600} hours`);
  if (bytes > bytesMax) throw new CommandError(program, "it wrote more than is read of a program");
  const { exit, signal } = ended;
  if (exit === 0) return Buffer.concat(chunks);
  const complaint = words.split("\n").flatMap((line) => line.trim() || []);
  const end = signal === undefined ? `exit status ${exit}` : `killed by ${signal}`;
  throw new CommandError(program, complaint.slice(-COMPLAINT_LINES).join(" / ") || end);
}
