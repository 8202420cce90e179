/**
 * LTP's own output, byte for byte: result lines, colours, Summary block; of a run and of a testcase by itself.
 *
 * One thing is left out: LTP cuts messages at 1024 bytes, with a TWARN before; here a message has no such limit.
 */
import type { Counters, ResultLine, ResultType } from "../events/events.js";
import type { LogLine } from "./results.js";
import { colourWanted } from "./terminal.js";

const RESET = "\u001b[0m";

const COLOURS: Record<ResultType, string> = {
  TPASS: "\u001b[1;32m",
  TFAIL: "\u001b[1;31m",
  TBROK: "\u001b[1;31m",
  TCONF: "\u001b[1;33m",
  TWARN: "\u001b[1;35m",
  TINFO: "\u001b[1;34m",
  TDEBUG: "\u001b[1;37m",
};

/** Colours a text as LTP colours the result type. */
export function paint(result: ResultType, text: string, colour: boolean): string {
  return colour ? `${COLOURS[result]}${text}${RESET}` : text;
}

/** How LTP's environment variables want the lines. */
export interface LtpStyle {
  colour: boolean;
  /** LTP_REPRODUCIBLE_OUTPUT: no TINFO, no message texts. */
  reproducible: boolean;
}

/** Whole, and without colours. */
export const PLAIN: LtpStyle = { colour: false, reproducible: false };

/** Reads LTP_COLORIZE_OUTPUT and LTP_REPRODUCIBLE_OUTPUT; `tty` is about the stream that the lines go to. */
export function ltpStyle(env: NodeJS.ProcessEnv, tty: boolean): LtpStyle {
  const { LTP_COLORIZE_OUTPUT: colorize, LTP_REPRODUCIBLE_OUTPUT: reproducible } = env;
  return {
    // Any value but n and 0 switches colours on: LTP's own quirk, which scripts may rely on.
    colour: colorize === undefined ? colourWanted(env, tty) : colorize !== "n" && colorize !== "0",
    reproducible: reproducible === "1" || reproducible === "y",
  };
}

/** One result line with its newline; empty where LTP_REPRODUCIBLE_OUTPUT leaves it out. */
export function formatResult({ result, file, line, text }: ResultLine, style: LtpStyle): string {
  if (style.reproducible && (result === "TINFO" || result === "TDEBUG")) return "";
  return `${file}:${line}: ${paint(result, `${result}: `, style.colour)}${style.reproducible ? "" : text}\n`;
}

/** A result line or a raw text, with its newline. */
export function formatLogLine(line: LogLine, style: LtpStyle): string {
  if (line.type === "line") return formatResult(line, style);
  return line.text.endsWith("\n") ? line.text : `${line.text}\n`;
}

/** The Summary block, with the empty line before it. */
export function formatSummary(counters: Counters): string {
  const { passed, failed, broken, skipped, warnings } = counters;
  const rows = Object.entries({ passed, failed, broken, skipped, warnings });
  return `\nSummary:\n${rows.map(([name, number]) => `${name.padEnd(9)}${number}\n`).join("")}`;
}
