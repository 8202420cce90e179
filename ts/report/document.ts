/** Reports that are made of what a run has come to, when it is over. */
import type { Reporter, RunEvent } from "../events/events.js";
import type { Results } from "./results.js";

/** What a report is made by; it may be told to keep the logs of what passed too (`Results.keepLogs`). */
export type Format = (results: Results) => string;

/** Hands a report to `write` when the run is over. */
export class DocumentReporter implements Reporter {
  constructor(
    readonly results: Results,
    readonly format: Format,
    readonly write: (report: string) => void,
  ) {}

  event(_event: RunEvent): void {}

  end(): void {
    this.write(this.format(this.results));
  }
}
