/** Raw result lines of a whole run, as `kirk` or a shell loop over LTP's programs would show them. */
import { isTrouble, type PlannedRun, type Reporter, type RunEvent } from "../events/events.js";
import { formatLogLine, formatSummary, type LtpStyle } from "./ltp.js";
import { placeOf, type Results } from "./results.js";
import {
  elapsedSeconds,
  formatFilesystemEvent,
  formatGuest,
  formatRates,
  formatRepeat,
  formatSkippedList,
  formatTotals,
} from "./summary.js";

/** The line before each testcase of a run. openQA's pattern for result lines must not match it: `#` prevents that. */
export function formatHeader(run: PlannedRun): string {
  const again = run.iteration > 1 ? `#${run.iteration}` : "";
  const place = placeOf(run);
  return `### ${place}${place && " "}${run.id}${again} ${run.command}\n`;
}

export interface LtpReporterOptions {
  style: LtpStyle;
  results: Results;
  /** Called with whole lines. */
  write: (text: string) => void;
}

/** Prints a header before each testcase. With several workers a testcase's lines come together, when it ends. */
export class LtpReporter implements Reporter {
  readonly #options: LtpReporterOptions;
  /** Lines held back, by key. Nothing is held back while there is one worker. */
  readonly #held = new Map<string, string[]>();
  #live = true;

  constructor(options: LtpReporterOptions) {
    this.#options = options;
  }

  event(event: RunEvent): void {
    const { style, results, write } = this.#options;
    switch (event.type) {
      case "run-start":
        this.#live = event.workers === 1;
        break;
      case "test-start":
        if (!this.#live) this.#held.set(event.key, []);
        this.#print(event.key, formatHeader(results.of(event.key).run));
        break;
      case "line":
      case "raw":
        this.#print(event.key, formatLogLine(event, style));
        break;
      case "trace":
        this.#print(event.key, `${event.text}\n`);
        break;
      case "test-end":
        if (event.summary) this.#print(event.key, formatSummary(event.counters));
        if (isTrouble(event) && !event.interrupted) {
          const repeat = formatRepeat(results.of(event.key), results);
          this.#print(event.key, repeat && `### ${repeat}`);
        }
        write((this.#held.get(event.key) ?? []).join(""));
        this.#held.delete(event.key);
        break;
      case "run-end":
        write((formatSkippedList(results) + formatRates(results)).replaceAll(/^(?=.)/gm, "### "));
        write(`### ${formatTotals(results, elapsedSeconds(results), false)}`);
        break;
      case "unavailable":
      case "check":
      case "unchecked":
        write(formatFilesystemEvent(event, results).replaceAll(/^(?=.)/gm, "### "));
        break;
      case "guest":
        write(`### ${formatGuest(event)}`);
        break;
      case "filesystem":
      case "kernel":
      case "known-issue":
      case "stale-issues":
      case "progress":
      case "data":
        break;
    }
  }

  #print(key: string, text: string): void {
    if (text === "") return;
    const held = this.#held.get(key);
    if (held) held.push(text);
    else this.#options.write(text);
  }
}
