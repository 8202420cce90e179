/**
 * Proves that the testcases detect corruption: plants each fault under each of them, on a filesystem that lies, and looks
 * whether it is noticed and called by its right name.
 */

import type { ResultType, Verdict } from "../events/events.js";
import type { Faultfs } from "../filesystem/faultfs.js";
import { Slot } from "../run/slot.js";
import { excuse, type FaultCase, type Subject } from "./cases.js";

/** What became of one fault under one testcase. */
export type CellOutcome =
  /** Noticed, and called what it is; for a lawful one: lived with. */
  | "right"
  /** Noticed only. */
  | "detected"
  | "missed"
  /** Missed, and there is a reason ({@link excuse}) for which nobody could have noticed. */
  | "excused"
  /** It never happened there, or the testcase cannot run. */
  | "not applicable"
  /** A failure where nothing is wrong. */
  | "false alarm";

export interface Cell {
  outcome: CellOutcome;
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
): CellOutcome {
  const failed = verdict !== "TPASS" && verdict !== "TCONF";
  if (!fault) return failed ? "false alarm" : verdict === "TCONF" ? "not applicable" : "right";
  if (fired === 0) return failed ? "false alarm" : "not applicable";
  const named = lines.some((line) => fault.right.test(line));
  if (fault.lawful) return failed ? "false alarm" : verdict === "TCONF" ? "not applicable" : "right";
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

/** Instead of one. Of reads there is no end: nearly all may be of what is read ahead and dropped again before anybody looks. */
const MANY = { read: ":count=1000000:probability=500", other: ":count=200:probability=500" };

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
  const many = fault?.rule.includes("op=read") ? MANY.read : MANY.other;
  const rule = subject.many ? fault?.rule.replace(":count=1", many) : fault?.rule;
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

/** One row of the table: a fault, or none, under each subject. */
export interface Row {
  fault: FaultCase | undefined;
  /** In the order of the subjects. */
  cells: readonly Cell[];
}

/** A missed fault that the subject may miss is excused. */
export function excused(cell: Cell, fault: FaultCase | undefined, subject: Subject): Cell {
  const may = cell.outcome === "missed" && fault && excuse(subject.name, fault.name) !== undefined;
  return may ? { ...cell, outcome: "excused" } : cell;
}

/**
 * Whether the table proves enough: what is wrong with it, in sentences; none when all is well.
 *
 * @param whole every fault was planted, so that each subject must have named one
 */
export function complaints(rows: readonly Row[], subjects: readonly Subject[], whole: boolean): string[] {
  const found: string[] = [];
  for (const { fault, cells } of rows) {
    const name = fault?.name ?? "no fault";
    const those = (outcome: CellOutcome) =>
      subjects.filter((_, index) => cells[index]?.outcome === outcome).map((subject) => subject.name);
    const alarms = those("false alarm");
    if (alarms.length > 0) found.push(`${name}: a false alarm of ${alarms.join(", ")}`);
    if (!fault) continue;
    const missed = those("missed");
    if (missed.length > 0) found.push(`${name}: missed by ${missed.join(", ")}`);
    if (those("right").length > 0) continue;
    if (those("detected").length > 0) found.push(`${name}: detected, but never called what it is`);
    else if (missed.length > 0 || those("excused").length > 0) found.push(`${name}: detected by nothing`);
    else found.push(`${name}: never happened, so it proves nothing`);
  }
  if (!whole) return found;
  for (const [index, { name }] of subjects.entries()) {
    // What can't run here without a fault either says nothing about itself.
    const runs = rows.some(({ fault, cells }) => !fault && cells[index]?.outcome !== "not applicable");
    const named = rows.some(({ fault, cells }) => fault && !fault.lawful && cells[index]?.outcome === "right");
    if (runs && !named) found.push(`${name}: calls no fault by its name`);
  }
  return found;
}
