/** Runs one testcase in this process: preamble, setup, iterations, cleanup, in LTP's order and with its words. */
import { statfsSync, statSync } from "node:fs";
import { version as kernelVersion, machine, release } from "node:os";
import { limits as kernelLimits } from "#native";
import { callerOf } from "../base/location.js";
import { version } from "../base/package.js";
import { BadFactor, formatDuration, surroundingSeconds, type Timing, timing } from "../base/timing.js";
import type { ResultType } from "../events/events.js";
import { kernelConfig } from "../linux/kconfig.js";
import { filesystemName, isServed } from "../linux/magic.js";
import { type Mount, remountAll } from "../linux/mounts.js";
import { absence } from "./engines.js";
import { helpText } from "./help.js";
import { type CommandLine, type Options, optionName, parseCommandLine } from "./options.js";
import { Break, type Sink, Test, type Testcase } from "./testcase.js";
import { makeTmpdir, placeFile, removeTmpdir, TmpdirError } from "./tmpdir.js";

/** What the process that watches this one must know beside the results. */
export interface Watcher extends Sink {
  /** The directory that must be removed if this process dies; undefined once it is gone. */
  directory(path: string | undefined): void;
  /** The old library's lines are wanted, under this name. */
  legacy?(id: string): void;
  /** The clock starts anew; undefined is no limit. `over`: for what comes behind the testcase. */
  deadline(seconds: number | undefined, over?: boolean): void;
}

export interface Execution {
  argv: readonly string[];
  /** Where the temporary directory goes; `TMPDIR` or /tmp when absent. */
  parent?: string | undefined;
  /** What the parent is on, when the testcase may unmount it and mount it again. */
  mounts?: readonly Mount[] | undefined;
  /** Option texts for what argv leaves out. */
  defaults?: Readonly<Record<string, string>> | undefined;
  env: NodeJS.ProcessEnv;
}

/** Runs it to its end; all that can go wrong becomes a result. Returns whether LTP would print a Summary. */
export async function execute(testcase: Testcase, how: Execution, watcher: Watcher): Promise<{ summary: boolean }> {
  const { env } = how;
  // What this function itself reports as TBROK or TCONF is the testcase's end.
  const say = (result: ResultType, text: string) => {
    const ends = result === "TBROK" || result === "TCONF";
    watcher.line({ result, ...callerOf(say), text, ...(ends && { ends }) });
  };
  const { name, options, runtimeSeconds, legacyId, operands } = testcase;
  const hasLegacy = legacyId !== undefined;
  const line = parseCommandLine(name, how.argv, options, runtimeSeconds > 0, how.defaults, hasLegacy, operands);
  if (line.legacy && legacyId !== undefined) watcher.legacy?.(legacyId);
  const debug = debugLevel(env, line.debug, (text) => say("TWARN", text));

  for (const text of line.getoptErrors) watcher.raw(text);
  if (line.getoptErrors.length > 0 || line.help) watcher.raw(helpText(testcase));
  if (line.error === undefined && line.help) return { summary: false };
  if (line.error === undefined && line.version) {
    watcher.raw(`aiodio-ltp version: ${version}`);
    return { summary: false };
  }
  for (const option of line.repeated) say("TWARN", `Option ${optionName(option)} passed multiple times`);
  if (line.error !== undefined) {
    say("TBROK", line.error);
    return { summary: true };
  }
  if (debug > 0) say("TINFO", `Enabling debug info (level ${debug})`);
  if (testcase.needs.root && process.getuid?.() !== 0) {
    say("TCONF", "Test needs to be run as root");
    return { summary: true };
  }

  let directory = "";
  let filesystem = "";
  const start = process.cwd();
  const path = env.PATH;
  try {
    if (testcase.needs.directory) {
      directory = makeTmpdir(how.parent ?? (env.TMPDIR || "/tmp"), testcase.name);
      watcher.directory(directory);
      process.chdir(directory);
      env.PATH = `${path}:${start}`;
      filesystem = filesystemName(statfsSync(directory).type);
      say("TINFO", `Using ${directory} as tmpdir (${filesystem} filesystem)`);
      if (isServed(filesystem, statSync(directory, { bigint: true }).dev)) {
        say(
          "TINFO",
          `${filesystem} has no block device of its own: what O_DIRECT reads is as far down as anything here looks, and may be a server's memory`,
        );
      }
    }
    const limits = preamble(testcase, line.seconds, env, say);
    const lacking = absence(line.values.engine, kernelLimits());
    if (testcase.skipFilesystems?.includes(filesystem)) {
      say("TCONF", `${filesystem} is not supported by the test`);
    } else if (line.valueError !== undefined) {
      say("TBROK", line.valueError);
    } else if (lacking !== undefined) {
      say("TCONF", lacking);
    } else {
      const { mounts } = how;
      const remount = mounts && (() => remountAll(mounts));
      const test = new Test(line.values, directory, filesystem, debug, watcher, remount);
      test.operands = line.operands.map((word) => placeFile(directory, word));
      await runTestcase(testcase, line, limits, test, watcher);
    }
  } catch (error) {
    if (!(error instanceof Break)) {
      const known = error instanceof TmpdirError || error instanceof BadFactor;
      say("TBROK", known ? error.message : `Unexpected error: ${(error as Error)?.stack ?? error}`);
    }
  }
  watcher.deadline(surroundingSeconds(env), true);
  if (directory !== "") {
    process.chdir(start);
    env.PATH = path;
    try {
      removeTmpdir(directory);
    } catch (error) {
      say("TWARN", (error as Error).message);
    }
    watcher.directory(undefined);
  }
  return { summary: true };
}

function debugLevel(env: NodeJS.ProcessEnv, option: number, warn: (text: string) => void): number {
  const text = env.LTP_DEBUG;
  if (text === undefined) return option;
  if (text === "1" || text === "y") return 1;
  if (text === "2") return 2;
  warn(`Invalid LTP_DEBUG value: '${text}'`);
  return option;
}

/** The lines that tell what is being run on, and the timing that follows from it. */
function preamble(
  testcase: Testcase,
  seconds: number | undefined,
  env: NodeJS.ProcessEnv,
  say: (result: ResultType, text: string) => void,
): Timing {
  say("TINFO", `aiodio-ltp version: ${version}`);
  say("TINFO", `Tested kernel: ${release()} ${kernelVersion()} ${machine()}`);
  const config = kernelConfig(env);
  if (config.warning) say("TWARN", config.warning);
  say("TINFO", config.path ? `Parsing kernel config '${config.path}'` : "Couldn't locate kernel config!");
  if (config.slowOption) {
    say("TINFO", `${config.slowOption} kernel option detected which might slow the execution`);
  }
  const own = { timeout: testcase.timeoutSeconds, runtime: testcase.runtimeSeconds };
  const limits = timing(own, config.slowOption !== undefined, env);
  if (seconds !== undefined && testcase.runtimeSeconds > 0) {
    // -I replaces the runtime as it stands after LTP_RUNTIME_MUL.
    if (limits.timeoutSeconds !== undefined) limits.timeoutSeconds += seconds - limits.runtimeSeconds;
    limits.runtimeSeconds = seconds;
  }
  say(
    "TINFO",
    limits.timeoutSeconds === undefined
      ? "Test timeout is not limited"
      : `Overall timeout per run is ${formatDuration(limits.timeoutSeconds)}`,
  );
  return limits;
}

async function runTestcase(
  testcase: Testcase,
  line: CommandLine<Options>,
  limits: Timing,
  test: Test,
  watcher: Watcher,
): Promise<void> {
  watcher.deadline(limits.timeoutSeconds);
  test.runtimeSeconds = limits.runtimeSeconds;
  const state = await testcase.setup(test);
  const repeatUntil =
    line.seconds !== undefined && testcase.runtimeSeconds === 0 ? performance.now() + line.seconds * 1000 : undefined;
  while (repeatUntil === undefined ? test.iteration < line.iterations : performance.now() < repeatUntil) {
    test.iteration += 1;
    test.results = 0;
    watcher.deadline(limits.timeoutSeconds);
    await testcase.run(test, state);
    if (test.results === 0) test.broken("Test haven't reported results!");
  }
}
