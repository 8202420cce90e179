/** Runs the filesystems' own programs: mkfs, checkers. */
import { spawn } from "node:child_process";
import { TIMER_MAX_MS } from "../base/deadline.js";
import { surroundingSeconds } from "../base/timing.js";
import { processStacks } from "../linux/stacks.js";
import { unshielded } from "./oom.js";
import { findTool } from "./tools.js";

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
