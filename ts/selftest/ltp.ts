/** LTP's C programs under the same faults: what they notice, for comparison. */
import { join } from "node:path";
import { RESULT_BITS, type Verdict } from "../events/events.js";
import type { Faultfs } from "../filesystem/faultfs.js";
import { runTool } from "../process/run.js";
import { isExecutable } from "../process/tools.js";
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
const PATIENCE_SECONDS = 120;
/** What a program says is kept as far as this: under an error at each transfer some say hundreds of megabytes. */
const OUTPUT_BYTES_MAX = 1 << 18;
/**
 * Whatever a program starts ends with it, in process groups of its own too: they are the children of a first process that is
 * killed with the one that waits for it.
 */
const TOGETHER = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", '"$@"; exit $?', "sh"];

/** Its program, undefined where there is none. */
export function ltpProgram(directory: string, program: string): string | undefined {
  return PLACES.map((place) => join(directory, place, program)).find(isExecutable);
}

/** The subject as LTP has it; undefined where it is about something that LTP has not. */
export function ltpSubject(subject: Subject): Subject | undefined {
  const argv = subject.argv.filter((word, index, all) => !OURS.includes(word) && !OURS.includes(all[index - 1] ?? ""));
  return argv.some((word) => word.startsWith("--")) ? undefined : { ...subject, argv };
}

/** What LTP's exit status says: its bits, the worst first. */
export function verdictOfExit(exit: number | undefined): Verdict {
  if (exit === undefined || (exit & RESULT_BITS.TBROK) !== 0) return "TBROK";
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
      // The result lines are read, so they have no colours.
      const settings = { env: { ...env, TMPDIR: faultfs.directory, LTP_COLORIZE_OUTPUT: "0" }, signal };
      const { exit, output } = await runTool(enter, words, PATIENCE_SECONDS, {
        ...settings,
        bytesMax: OUTPUT_BYTES_MAX,
      });
      return { verdict: verdictOfExit(exit), lines: output.split("\n") };
    },
    close: async () => {},
  };
}
