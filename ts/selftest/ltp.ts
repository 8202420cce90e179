/** LTP's C programs under the same faults: what they notice, for comparison. */
import { accessSync, constants } from "node:fs";
import { join } from "node:path";
import { RESULT_BITS, type Verdict } from "../events/events.js";
import type { Faultfs } from "../filesystem/faultfs.js";
import type { Subject } from "./cases.js";
import type { Runner } from "./selftest.js";

/** Where LTP's programs lie, below where it was installed or built. */
const PLACES = [
  ...["testcases/bin", "bin", "."],
  ...["ltp-aiodio", "aio", "direct_io"].map((name) => `testcases/kernel/io/${name}`),
  "testcases/kernel/fs/fsx-linux",
];
/** Options that LTP's programs do not have, and do what they do without. */
const OURS = ["--verify", "--seed"];
/** LTP's programs have limits of their own, but an old-library program has none, and aio-stress waits for two hours. */
const PATIENCE_MS = 120_000;
/** Characters. What a program says after that is not kept: under an error at each transfer some say hundreds of megabytes. */
const KEPT = 1 << 18;
/**
 * Whatever a program starts ends with it, in process groups of its own too: they are the children of a first process that is
 * killed with the one that waits for it.
 */
const TOGETHER = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", '"$@"; exit $?', "sh"];

/** Its program, undefined where there is none. */
export function ltpProgram(directory: string, program: string): string | undefined {
  return PLACES.map((place) => join(directory, place, program)).find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** The subject as LTP has it; undefined where it is about something that LTP has not. */
export function ltpSubject(subject: Subject): Subject | undefined {
  const argv = subject.argv.filter((word, index, all) => !OURS.includes(word) && !OURS.includes(all[index - 1] ?? ""));
  return argv.some((word) => word.startsWith("--")) ? undefined : { ...subject, argv };
}

/** What LTP's exit status says: its bits, the worst first. */
export function verdictOfExit(exit: number | null): Verdict {
  if (exit === null || (exit & RESULT_BITS.TBROK) !== 0) return "TBROK";
  if ((exit & RESULT_BITS.TFAIL) !== 0) return "TFAIL";
  if ((exit & RESULT_BITS.TWARN) !== 0) return "TWARN";
  return (exit & RESULT_BITS.TCONF) !== 0 ? "TCONF" : "TPASS";
}

export function ltpRunner(faultfs: Faultfs, directory: string, env: NodeJS.ProcessEnv): Runner {
  return {
    async run({ program, argv }, signal) {
      const path = ltpProgram(directory, program);
      if (path === undefined) return { verdict: "TCONF", lines: [] };
      const [enter = "", ...words] = [...faultfs.enter, ...TOGETHER, "env", "-C", faultfs.directory, path, ...argv];
      const { execa } = await import("execa");
      const child = execa(enter, words, {
        // LTP_COLORIZE_OUTPUT: the result lines are read.
        env: { ...env, TMPDIR: faultfs.directory, LTP_COLORIZE_OUTPUT: "0" },
        ...{ extendEnv: false, reject: false, stdin: "ignore", all: true, buffer: false },
        ...{ cancelSignal: signal, timeout: PATIENCE_MS, killSignal: "SIGKILL" },
      });
      let output = "";
      child.all.on("data", (bytes) => {
        if (output.length < KEPT) output += bytes;
      });
      const result = await child;
      // Interrupted, or it could not be started.
      if (result.isCanceled || (result.exitCode === undefined && result.signal === undefined)) throw result;
      return { verdict: verdictOfExit(result.exitCode ?? null), lines: output.trimEnd().split("\n") };
    },
    close: async () => {},
  };
}
