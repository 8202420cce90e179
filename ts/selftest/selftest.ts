/**
 * Proves that the testcases detect corruption: plants each fault under each of them, on a filesystem that lies, and looks
 * whether it is noticed and called by its right name.
 */
import type { Faultfs } from "../faultfs/faultfs.js";
import type { ResultType, Verdict } from "../report/events.js";
import { Slot } from "../run/slot.js";
import type { FaultCase, Subject } from "./cases.js";

/** What became of one fault under one testcase. */
export type Outcome =
  /** Noticed, and called what it is; for a lawful one: lived with. */
  | "right"
  /** Noticed only. */
  | "detected"
  | "missed"
  /** It never happened there, or the testcase cannot run. */
  | "not applicable"
  /** A failure where nothing is wrong. */
  | "false alarm";

export interface Cell {
  outcome: Outcome;
  verdict: Verdict;
  /** How often the fault was applied. */
  fired: number;
  /** The result lines: `TFAIL: text`. */
  lines: readonly string[];
}

/** A program that runs on the filesystem: one of ours, or LTP's. */
export interface Runner {
  run(subject: Subject, signal: AbortSignal): Promise<{ verdict: Verdict; lines: string[] }>;
  close(): Promise<void>;
}

/** What a cell comes to. */
export function judge(
  fault: FaultCase | undefined,
  verdict: Verdict,
  fired: number,
  lines: readonly string[],
): Outcome {
  const failed = verdict !== "TPASS" && verdict !== "TCONF";
  if (!fault) return failed ? "false alarm" : verdict === "TCONF" ? "not applicable" : "right";
  if (fired === 0) return failed ? "false alarm" : "not applicable";
  const named = lines.some((line) => fault.right.test(line));
  if (fault.lawful) return failed ? "false alarm" : "right";
  if (!failed) return "missed";
  return named ? "right" : "detected";
}

/** The testcases' own workers, on the filesystem. */
export function ourRunner(faultfs: Faultfs, env: NodeJS.ProcessEnv): Runner {
  const slot = new Slot(env, faultfs.enter);
  return {
    async run({ program, argv }, signal) {
      const lines: string[] = [];
      const request = { program, argv: [...argv], parent: faultfs.directory, mounts: faultfs.filesystem.mounts };
      const { verdict } = await slot.run(
        request,
        (event) => {
          if (event.type === "line") lines.push(`${event.result satisfies ResultType}: ${event.text}`);
        },
        signal,
      );
      return { verdict, lines };
    },
    close: () => slot.close(),
  };
}

/** For a subject that writes over what it has written. */
const MANY = ":count=200:probability=500";

/** Plants one fault, or none, under one subject. */
export async function plant(
  faultfs: Faultfs,
  runner: Runner,
  fault: FaultCase | undefined,
  subject: Subject,
  signal: AbortSignal,
): Promise<Cell> {
  if (fault?.except?.includes(subject.name))
    return { outcome: "not applicable", verdict: "TCONF", fired: 0, lines: [] };
  const rule = subject.overwrites ? fault?.rule.replace(":count=1", MANY) : fault?.rule;
  await faultfs.setRules(rule === undefined ? [] : [`${rule}:file=${subject.file}`]);
  // Some rules want a mount that knows them; and nothing is in the page cache.
  await faultfs.remount();
  const { verdict, lines } = await runner.run(subject, signal);
  const { counts } = await faultfs.fired();
  const fired = counts.reduce((sum, count) => sum + count, 0);
  await faultfs.setRules([]);
  return { outcome: judge(fault, verdict, fired, lines), verdict, fired, lines };
}

/** The fault that must be noticed before anything else is believed. */
export const CANARY: FaultCase = { name: "canary", rule: "flip-bit", right: /: mutated: / };

/** Whether the faults prove enough: what is wrong with the table, in sentences; none when all is well. */
export function complaints(rows: readonly { fault: FaultCase; cells: readonly Cell[] }[]): string[] {
  const found: string[] = [];
  for (const { fault, cells } of rows) {
    const some = (outcome: Outcome) => cells.some((cell) => cell.outcome === outcome);
    if (some("false alarm")) found.push(`${fault.name}: a false alarm`);
    if (some("right")) continue;
    if (some("detected")) found.push(`${fault.name}: detected, but never called what it is`);
    else if (some("missed")) found.push(`${fault.name}: detected by nothing`);
    else found.push(`${fault.name}: never happened, so it proves nothing`);
  }
  return found;
}
