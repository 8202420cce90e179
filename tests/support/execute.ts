/** A testcase run in the tests' own process, so that what it calls can be tampered with. */
import type { ResultLine } from "../../ts/events/events.js";
import { execute } from "../../ts/testcase/execute.js";
import type { Testcase } from "../../ts/testcase/testcase.js";

export interface Executed {
  lines: ResultLine[];
  /** `TYPE: text` of each line. */
  texts: string[];
  /** The types in order, TINFO left out. */
  results: string[];
  /** Rules whose kernel messages the testcase explains. */
  permitted: string[];
}

/** Runs it below `parent`; `mounts` stands for a filesystem of the run's own. */
export async function executed(testcase: unknown, parent: string, argv: string[], mounts?: []): Promise<Executed> {
  const lines: ResultLine[] = [];
  const permitted: string[] = [];
  await execute(
    testcase as Testcase,
    { argv, parent, mounts, env: { ...process.env } },
    {
      line: (line) => lines.push(line),
      permit: (rule) => permitted.push(rule),
      ...{ raw() {}, data() {}, progress() {}, directory() {}, deadline() {} },
    },
  );
  return {
    lines,
    permitted,
    texts: lines.map(({ result, text }) => `${result}: ${text}`),
    results: lines.map(({ result }) => result).filter((result) => result !== "TINFO"),
  };
}
