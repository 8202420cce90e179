/** The output of LTP's old library (`--legacy-output`), for tools that parse it: lines on standard output, no Summary. */
import { type Counters, RESULT_BITS, type ResultLine } from "../events/events.js";
import { paint } from "./ltp.js";

const REMAINING = {
  TBROK: "Remaining cases broken",
  TCONF: "Remaining cases not appropriate for configuration",
} as const;

/** Formats one testcase's lines; results are numbered as they come. */
export class LegacyLines {
  #number = 0;

  /** @param id what each line starts with, for example `diotest01` */
  constructor(
    private readonly id: string,
    private readonly colour: boolean,
  ) {}

  /** One result line with its newline; two where the testcase ends with it. */
  format({ result, file, line, text, ends }: ResultLine): string {
    const unnumbered = result === "TINFO" || result === "TDEBUG" || result === "TWARN";
    const place = result === "TPASS" || result === "TINFO" ? "" : `${file}:${line}: `;
    const print = (message: string) => {
      if (!unnumbered) this.#number += 1;
      const number = String(unnumbered ? 0 : this.#number).padStart(4);
      return `${this.id.padEnd(8)} ${number}  ${paint(result, result, this.colour)}  :  ${place}${message}\n`;
    };
    const first = print(text);
    return ends && (result === "TBROK" || result === "TCONF") ? first + print(REMAINING[result]) : first;
  }
}

/** The old library's exit status: a bit for each type seen, but for a TCONF alone beside something that passed. */
export function legacyExitStatus({ passed, failed, broken, warnings, skipped }: Counters): number {
  const status =
    (failed > 0 ? RESULT_BITS.TFAIL : 0) |
    (broken > 0 ? RESULT_BITS.TBROK : 0) |
    (warnings > 0 ? RESULT_BITS.TWARN : 0) |
    (skipped > 0 ? RESULT_BITS.TCONF : 0);
  return status === RESULT_BITS.TCONF && passed > 0 ? 0 : status;
}
