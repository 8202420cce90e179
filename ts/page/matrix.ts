/**
 * Which lines are a matrix, as most runtest files are: all values of one option with all values of another, block sizes and queue
 * depths for example. Found from the lines themselves, so that a new file needs no declaration.
 */
import { groupBy } from "../base/group.js";
import { parseSize } from "../base/numbers.js";

/** A command of a runtest line, as far as axes are concerned. */
export interface Command {
  command: string;
}

/** A table: its cell in a row and column is the line with both values, where there is one. */
export interface Matrix<L extends Command> {
  /** What all of it have in common: the program with its other options. */
  title: string;
  rowOption: string;
  columnOption: string;
  rows: string[];
  columns: string[];
  cells: (L | undefined)[][];
}

/** From so many of its cells on a table is worth being one. */
const FILLED_MIN = 0.6;

/** Options of a command, by their names, in the order they are given; "" is the program. */
export function optionsOf(command: string): Map<string, string> {
  const [program = "", ...words] = command.trim().split(/\s+/);
  const options = new Map([["", program]]);
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? "";
    const next = words[at + 1];
    const [, name, joined] = /^(--[\w-]+)(?:=(.*))?$/.exec(word) ?? /^(-[A-Za-z])(.+)?$/.exec(word) ?? [];
    if (name === undefined) options.set(word, "");
    else if (joined !== undefined) options.set(name, joined);
    else if (next !== undefined && !next.startsWith("-")) {
      options.set(name, next);
      at += 1;
    } else options.set(name, "");
  }
  return options;
}

/** Sizes by their size, everything else by the alphabet. */
export function compareValues(a: string, b: string): number {
  const [left, right] = [parseSize(a), parseSize(b)];
  if (left !== undefined && right !== undefined) return left - right;
  return a < b ? -1 : a > b ? 1 : 0;
}

interface Parsed<L> {
  line: L;
  options: Map<string, string>;
}

/** The command without these options. */
function rest({ options }: Parsed<unknown>, without: readonly string[]): string {
  const words = [...options].filter(([name]) => !without.includes(name));
  return words.flatMap(([name, value]) => [name, value].filter((word) => word !== "")).join(" ");
}

function table<L extends Command>(title: string, parsed: Parsed<L>[], row: string, column: string): Matrix<L> {
  const values = (name: string) =>
    [...new Set(parsed.map(({ options }) => options.get(name) ?? ""))].sort(compareValues);
  const [rows, columns] = [values(row), values(column)];
  const cells = rows.map((): (L | undefined)[] => columns.map(() => undefined));
  for (const { line, options } of parsed) {
    const cellsOfRow = cells[rows.indexOf(options.get(row) ?? "")];
    if (cellsOfRow) cellsOfRow[columns.indexOf(options.get(column) ?? "")] = line;
  }
  return { title, rowOption: row, columnOption: column, rows, columns, cells };
}

/** The tables over two options, where most of their cells are filled and none twice. */
function tablesOver<L extends Command>(parsed: Parsed<L>[], row: string, column: string): Matrix<L>[] {
  const both = parsed.filter(({ options }) => options.get(row) && options.get(column));
  return [...groupBy(both, (one) => rest(one, [row, column]))].flatMap(([title, group]) => {
    const made = table(title, group, row, column);
    const filled = made.cells.flat().filter((line) => line !== undefined).length;
    const { rows, columns } = made;
    const is = rows.length > 1 && columns.length > 1 && filled === group.length;
    return is && filled >= FILLED_MIN * rows.length * columns.length ? [made] : [];
  });
}

const linesIn = <L extends Command>(matrices: readonly Matrix<L>[]): L[] =>
  matrices.flatMap(({ cells }) => cells.flat().filter((line) => line !== undefined));

function fullest<L extends Command>(parsed: Parsed<L>[], names: readonly string[]): Matrix<L>[] {
  let best: Matrix<L>[] = [];
  for (const [at, row] of names.entries()) {
    for (const column of names.slice(at + 1)) {
      const made = tablesOver(parsed, row, column);
      if (linesIn(made).length > linesIn(best).length) best = made;
    }
  }
  return best;
}

/** The tables that lines of one program make, over the two options that take in most of them; and what is in none. */
export function matricesOf<L extends Command>(lines: readonly L[]): { matrices: Matrix<L>[]; others: L[] } {
  const parsed = lines.map((line): Parsed<L> => ({ line, options: optionsOf(line.command) }));
  const valued = (name: string) => parsed.flatMap(({ options }) => options.get(name) || []);
  const names = [...new Set(parsed.flatMap(({ options }) => [...options.keys()]))].filter((name) =>
    name.startsWith("-"),
  );
  // Sizes and numbers are axes before words are: what is a word tells tables apart.
  const numbers = names.filter((name) => valued(name).every((value) => parseSize(value) !== undefined));
  const best = fullest(parsed, numbers);
  const matrices = best.length > 0 ? best : fullest(parsed, names);
  const taken = new Set(linesIn(matrices));
  return { matrices, others: lines.filter((line) => !taken.has(line)) };
}
