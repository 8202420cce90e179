/** Only what failed, and one closing line. */
import type { Reporter, RunEvent } from "../events/events.js";
import type { Results } from "./results.js";
import {
  elapsedSeconds,
  formatExplanation,
  formatFilesystemEvent,
  formatKnownIssues,
  formatRates,
  formatSkippedList,
  formatTest,
  formatTotals,
} from "./summary.js";
import type { Terminal } from "./terminal.js";

export class QuietReporter implements Reporter {
  constructor(
    readonly terminal: Terminal,
    readonly results: Results,
  ) {}

  event(event: RunEvent): void {
    const { terminal, results } = this;
    if (event.type === "test-end" && !event.interrupted && event.verdict !== "TPASS") {
      if (results.expected(event.key) !== undefined) return;
      if (event.verdict === "TCONF" && !results.required.has(event.key)) return;
      const result = { ...results.of(event.key), end: event };
      terminal.out(formatTest(result, results, terminal.colour) + formatExplanation(result, results, terminal.colour));
    }
    if (event.type === "filesystem" || event.type === "check" || event.type === "unchecked")
      terminal.out(formatFilesystemEvent(event, results));
    if (event.type === "run-end") {
      const known = formatKnownIssues(results) + formatSkippedList(results);
      terminal.out(known + formatRates(results) + formatTotals(results, elapsedSeconds(results), terminal.colour));
    }
  }
}
