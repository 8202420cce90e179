/** The selftest's table: for the terminal a row of counts a fault, with the names below it, and for docs/detection.md. */
import type { ResultType } from "../events/events.js";
import { paint } from "../report/ltp.js";
import { excuse, FAULT_CASES, type Subject } from "../selftest/cases.js";
import type { Cell, CellOutcome, Row } from "../selftest/selftest.js";
import { wrap } from "./flags.js";

export interface Table {
  subjects: readonly Subject[];
  /** Those of LTP's programs; their cells come behind the others. */
  ltp: readonly Subject[];
  /** The first is without a fault. */
  rows: readonly Row[];
}

const COLUMNS: readonly { outcome: CellOutcome; title: string; colour: ResultType }[] = [
  { outcome: "right", title: "named", colour: "TPASS" },
  { outcome: "detected", title: "seen", colour: "TWARN" },
  { outcome: "missed", title: "missed", colour: "TFAIL" },
  { outcome: "excused", title: "excused", colour: "TCONF" },
  { outcome: "not applicable", title: "n/a", colour: "TCONF" },
  { outcome: "false alarm", title: "alarm", colour: "TFAIL" },
];
const LTP_TITLE = "LTP";
/** `99/99/99` */
const LTP_COLUMNS = 8;
const NAME_COLUMNS = Math.max(...FAULT_CASES.map(({ name }) => name.length));
/** Stands for 0, so that what is not 0 is seen. */
const NONE = "·";

function count(cells: readonly Cell[], ...outcomes: CellOutcome[]): number {
  return cells.filter(({ outcome }) => outcomes.includes(outcome)).length;
}

/** What LTP's programs make of it: noticed, missed, false alarms. */
function theirs(cells: readonly Cell[], fault: boolean): [number, number, number] {
  // Without a fault there is nothing to notice: those that pass.
  return [count(cells, "right", "detected"), fault ? count(cells, "missed") : 0, count(cells, "false alarm")];
}

function row(name: string, cells: readonly string[], ltp: string | undefined): string {
  const texts = ltp === undefined ? cells : [...cells, ltp.padStart(LTP_COLUMNS)];
  return `${[name.padEnd(NAME_COLUMNS), ...texts].join("  ").trimEnd()}\n`;
}

/** The line above the rows. */
export function heading({ ltp }: Table): string {
  const titles = COLUMNS.map(({ title }) => title);
  return row("", titles, ltp.length > 0 ? LTP_TITLE : undefined);
}

/** One fault's row, in numbers of subjects. */
export function line({ subjects, ltp, rows }: Table, index: number, colour: boolean): string {
  const { fault, cells } = rows[index] ?? { fault: undefined, cells: [] };
  const own = cells.slice(0, subjects.length);
  const texts = COLUMNS.map((column) => {
    const number = count(own, column.outcome);
    const text = (number > 0 ? String(number) : NONE).padStart(column.title.length);
    return number > 0 ? paint(column.colour, text, colour) : text;
  });
  const others = theirs(cells.slice(subjects.length), fault !== undefined).map((number) => number || NONE);
  return row(fault?.name ?? "no fault", texts, ltp.length > 0 ? others.join("/") : undefined);
}

const MEANINGS = [
  "named: noticed and called what it is, or lived with where the fault is lawful",
  "seen: noticed only",
  "excused: missed, for a reason that is given below",
  "n/a: it never happened there, or the testcase can't run here",
  "alarm: a failure where nothing is wrong",
];

/** What the counts are about, and what is wrong; `found` are the complaints. */
export function details(table: Table, found: readonly string[], columns: number): string {
  const { subjects, ltp, rows } = table;
  const lines: string[] = [];
  const say = (text: string, indent = 2) => {
    const [first = "", ...rest] = wrap(text, columns - indent);
    lines.push(first, ...rest.map((part) => `${" ".repeat(indent)}${part}`));
  };
  say(`${MEANINGS.join("; ")}${ltp.length > 0 ? "; LTP: noticed/missed/false alarms of LTP's programs" : ""}`);
  lines.push("", `${rows.length - 1} faults, ${subjects.length} testcases`);
  const reasons: string[] = [];
  for (const { fault, cells } of rows) {
    const named = (outcome: CellOutcome) => subjects.filter((_, index) => cells[index]?.outcome === outcome);
    const list = (outcome: CellOutcome, words: string) => {
      const names = named(outcome).map(({ name }) => name);
      return names.length > 0 ? [`${words} ${names.join(", ")}`] : [];
    };
    const forgiven = new Map<string, string[]>();
    for (const { name } of named("excused")) {
      const why = excuse(name, fault?.name ?? "") ?? "";
      if (!reasons.includes(why)) reasons.push(why);
      const mark = `[${reasons.indexOf(why) + 1}]`;
      forgiven.set(mark, [...(forgiven.get(mark) ?? []), name]);
    }
    const parts = [
      ...list("false alarm", "a false alarm of"),
      ...list("missed", "missed by"),
      ...list("detected", "seen, not named, by"),
      ...[...forgiven].map(([mark, names]) => `excused ${names.join(", ")} ${mark}`),
      ...(fault ? [] : list("not applicable", "not applicable here:")),
    ];
    if (parts.length > 0) say(`${fault?.name ?? "no fault"}: ${parts.join("; ")}`);
  }
  for (const [index, why] of reasons.entries()) say(`[${index + 1}] ${why}`);
  for (const { fault, cells } of rows) {
    for (const [index, { name }] of subjects.entries()) {
      const cell = cells[index];
      if (cell?.outcome !== "false alarm") continue;
      lines.push("", `False alarm of ${name}, ${fault?.name ?? "no fault"}:`, ...cell.lines.map((text) => `  ${text}`));
    }
  }
  if (found.length > 0) lines.push("", "Not proven:");
  for (const text of found) say(text);
  return `\n${lines.join("\n")}\n`;
}

/** The table of docs/detection.md: all counts but of what did not apply. */
export function markdown({ subjects, ltp, rows }: Table): string {
  const titles = ["fault", "here: named rightly", "only detected", "missed", "excused", "false alarm"];
  if (ltp.length > 0) titles.push("LTP: detected", "missed", "false alarm");
  const lines = [titles, titles.map(() => "---")];
  for (const { fault, cells } of rows) {
    const own = cells.slice(0, subjects.length);
    const numbers = (["right", "detected", "missed", "excused", "false alarm"] as const).map((each) =>
      count(own, each),
    );
    if (ltp.length > 0) numbers.push(...theirs(cells.slice(subjects.length), fault !== undefined));
    lines.push([fault?.name ?? "no fault", ...numbers.map((number) => (number > 0 ? String(number) : NONE))]);
  }
  return lines.map((cells) => (cells[0] === "---" ? `|${cells.join("|")}|\n` : `| ${cells.join(" | ")} |\n`)).join("");
}
