/** The package's commands as child processes, as a user's shell starts them. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { execa } from "execa";
import { expect } from "vitest";
import { execPath, root } from "../../ts/base/package.js";

/** The environment of a user who has set nothing of LTP's but where the tests' temporary directories go. */
export function plainEnvironment(extra: Record<string, string> = {}): Record<string, string> {
  const kept = Object.entries(process.env).filter(
    ([name, value]) =>
      value !== undefined && !/^(LTP_|KCONFIG_|FORCE_COLOR$|NO_COLOR$|VITEST|NODE_(?!V8_COVERAGE))/.test(name),
  );
  return { ...(Object.fromEntries(kept) as Record<string, string>), ...extra };
}

const settings = { extendEnv: false, reject: false, all: true, stripFinalNewline: false } as const;

/** `aiodio-ltp`, or a testcase as a command, as `aiodio-ltp exec` and the trees for kirk start it. */
export function commandLine(name: string, argv: readonly string[] = []): [string, ...string[]] {
  if (name === "aiodio-ltp") return [process.execPath, join(root, "bin", "aiodio-ltp.js"), ...argv];
  return [execPath(), process.execPath, root, name, ...argv];
}

/** Starts a command; the result never rejects. */
export function command(name: string, argv: string[], env: Record<string, string> = {}) {
  const [program, ...words] = commandLine(name, argv);
  return execa(program, words, {
    ...settings,
    env: plainEnvironment(env),
  });
}

/**
 * The same under strace, whose `inject` expressions tamper with the worker's system calls. strace counts calls (`when=`)
 * by thread, so the worker gets one thread for all its workloads. Other calls than those are not slowed down.
 */
export function commandUnderStrace(
  injections: string[],
  name: string,
  argv: string[],
  env: Record<string, string> = {},
) {
  const inject = injections.flatMap((expression) => ["-e", `inject=${expression}`]);
  const trace = ["-e", `trace=${[...new Set(injections.map((expression) => expression.split(":")[0]))].join(",")}`];
  const words = [...trace, ...inject, ...commandLine(name, argv)];
  return execa("strace", ["-f", "--seccomp-bpf", "-q", "-o", "/dev/null", ...words], {
    ...settings,
    env: plainEnvironment({ ...env, UV_THREADPOOL_SIZE: "1" }),
  });
}

/** Resolves when the process has printed something that matches. */
export function printed({ all }: { all?: Readable | undefined }, pattern: RegExp): Promise<void> {
  return new Promise((resolve, reject) => {
    let text = "";
    if (!all) throw new Error("started without `all`: nothing to read");
    all.on("data", (bytes) => {
      text += bytes;
      if (pattern.test(text)) resolve();
    });
    all.on("end", () => reject(new Error(`never printed ${pattern}:\n${text}`)));
  });
}

/** The process IDs of a process's children. */
export function childrenOf(pid: number | undefined): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number);
}

/** Longer than any machine takes; what has not come by then is a failure, and says what it waits for. */
const PATIENCE = { timeout: 60_000, interval: 10 };

/** Resolves when the directory is empty; for what happens after the last process that could tell is gone. */
export async function emptied(directory: string): Promise<void> {
  await expect.poll(() => readdirSync(directory), PATIENCE).toEqual([]);
}

/** Resolves when the process is gone, or dead and not yet reaped by whoever took it over. */
export async function goneOf(pid: number): Promise<void> {
  const state = () => {
    try {
      return /^State:\s+(\w)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    } catch {
      return undefined;
    }
  };
  await expect.poll(state, { ...PATIENCE, message: `the state of process ${pid}` }).toBeOneOf([undefined, "Z", "X"]);
}

/** LTP's Summary block as numbers. */
export function summaryOf(output: string): Record<string, number> | undefined {
  const block = /\nSummary:\n((?:\w+ +\d+\n){5})/.exec(output)?.[1];
  if (block === undefined) return undefined;
  return Object.fromEntries([...block.matchAll(/^(\w+) +(\d+)$/gm)].map(([, name, value]) => [name, Number(value)]));
}
