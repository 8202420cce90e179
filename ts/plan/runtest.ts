/**
 * LTP's runtest format: one `ID command` a line, `#` comments, blank lines.
 *
 * kirk and openQA hand a line to a shell. Here no shell runs, so whatever only a shell could do (pipes, variables,
 * patterns) is an error rather than an argument that means something else than it does there. Three words of a shell
 * stand in LTP's own files of up to 2023 and are understood: `$TMPDIR`, `$$`, and `time` before a command.
 */

import { firstOf, UsageError } from "../base/errors.js";
import { MARKS } from "../base/variables.js";

/** One line that runs something. */
export interface RuntestLine {
  /** Line number in its file, from 1. */
  number: number;
  id: string;
  /** The command as the file has it, without a trailing comment. */
  command: string;
  /** The command's words, quotes resolved, {@link MARKS} in place of variables; never empty. */
  argv: [string, ...string[]];
}

/** What is wrong with one line and what to do about it. */
export interface Problem {
  number: number;
  message: string;
}

/** More than this is no runtest file. */
const PROBLEMS_SHOWN = 50;

/** A runtest file with at least one malformed line. All problems are told at once, so that one correction is enough. */
export class RuntestError extends UsageError {
  override name = "RuntestError";
  constructor(
    path: string,
    readonly problems: readonly Problem[],
  ) {
    const lines = problems.map(({ number, message }) => `${path}:${number}: ${message}`);
    super(`${path} is malformed, so nothing was run:\n${firstOf(lines, PROBLEMS_SHOWN, "lines").join("\n")}`);
  }
}

/** openQA takes the ID with this pattern; anything else would get another name there. */
const ID = /^[\w-]+$/;

/** Characters that mean something to the shell outside quotes. */
const SHELL = new Set("|;<>&$`()*?[");

/** Characters that keep their shell meaning even inside double quotes. */
const SHELL_IN_DOUBLE_QUOTES = new Set("$`");

/** The mark that the variable at the beginning of a text becomes, and the variable's length. */
function variable(text: string): { mark: string; length: number } | undefined {
  if (text.startsWith("$$")) return { mark: MARKS.PID, length: 2 };
  return /^\$TMPDIR(?!\w)/.test(text) ? { mark: MARKS.TMPDIR, length: "$TMPDIR".length } : undefined;
}

const BLANK = /[ \t]/;

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const CONTROL = /[\u0000-\u0008\u000a-\u001f\u007f]/;

class Malformed extends Error {}

function noShell(character: string): Malformed {
  return new Malformed(`"${character}" would need a shell, and none runs here: put it in single quotes or remove it`);
}

/** One pass over a command; `end` is where the command ends and a trailing comment begins. */
function split(text: string): { argv: string[]; end: number } {
  const argv: string[] = [];
  let word: string | undefined;
  let quote: string | undefined;
  let end = 0;
  for (let at = 0; at < text.length; at++) {
    const character = text.charAt(at);
    const found = quote !== "'" && character === "$" ? variable(text.slice(at)) : undefined;
    if (found) {
      word = (word ?? "") + found.mark;
      at += found.length - 1;
    } else if (quote === "'") {
      if (character === "'") quote = undefined;
      else word += character;
    } else if (character === "\\") {
      const next = text.charAt(++at);
      if (next === "") throw new Malformed("ends in a backslash: a command has to be on one line");
      // As in sh: between double quotes a backslash stays where it escapes nothing.
      word = (word ?? "") + (quote === '"' && !'"\\$`'.includes(next) ? `\\${next}` : next);
    } else if (quote === '"') {
      if (character === '"') quote = undefined;
      else if (SHELL_IN_DOUBLE_QUOTES.has(character)) throw noShell(character);
      else word += character;
    } else if (character === "'" || character === '"') {
      quote = character;
      word ??= "";
    } else if (BLANK.test(character)) {
      if (word !== undefined) argv.push(word);
      word = undefined;
      continue;
    } else if (character === "#" && word === undefined) {
      return { argv, end };
    } else if (SHELL.has(character) || (character === "~" && word === undefined)) {
      throw noShell(character);
    } else {
      word = (word ?? "") + character;
    }
    end = at + 1;
  }
  if (quote !== undefined) throw new Malformed(`a ${quote} is not closed: add the missing quote`);
  if (word !== undefined) argv.push(word);
  return { argv, end };
}

function parseLine(text: string, number: number, firstLines: Map<string, number>): RuntestLine {
  const control = CONTROL.exec(text)?.[0];
  if (control === "\r")
    throw new Malformed("has a carriage return (a file from DOS?): remove it with sed -i 's/\\r//g'");
  if (control !== undefined) {
    const code = control.charCodeAt(0).toString(16).padStart(2, "0");
    throw new Malformed(`has the control character 0x${code}: remove it`);
  }
  // Blanks at the end stay: the last may be escaped.
  const trimmed = text.replace(/^[ \t]+/, "");
  const id = /^[^ \t]+/.exec(trimmed)?.[0] ?? "";
  if (!ID.test(id)) {
    throw new Malformed(`the ID ${JSON.stringify(id)} may hold only letters, digits, "_" and "-": rename it`);
  }
  const first = firstLines.get(id);
  if (first !== undefined) throw new Malformed(`the ID ${id} is already on line ${first}: give this line another`);
  firstLines.set(id, number);
  const rest = trimmed.slice(id.length).replace(/^[ \t]+/, "");
  const { argv, end } = split(rest);
  // Nobody sees what the shell's own `time` would print.
  const [program, ...args] = argv[0] === "time" && argv.length > 1 ? argv.slice(1) : argv;
  if (program === undefined || program === "") {
    throw new Malformed(`the ID ${id} has no command: write one after it, for example "${id} aiocp -b 4k"`);
  }
  return { number, id, command: rest.slice(0, end), argv: [program, ...args] };
}

/** Parses a whole file. Throws one {@link RuntestError} with every malformed line; `path` is only for its messages. */
export function parseRuntest(text: string, path: string): RuntestLine[] {
  const lines: RuntestLine[] = [];
  const problems: Problem[] = [];
  const firstLines = new Map<string, number>();
  for (const [index, line] of text.split("\n").entries()) {
    if (/^[ \t\r]*(#|$)/.test(line)) continue;
    try {
      lines.push(parseLine(line, index + 1, firstLines));
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      problems.push({ number: index + 1, message: error.message });
    }
  }
  if (problems.length > 0) throw new RuntestError(path, problems);
  return lines;
}
