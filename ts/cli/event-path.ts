/** What happens to each event of a run, in this order. */
import { reasonOf } from "../base/errors.js";
import type { Reporter, RunEvent } from "../events/events.js";
import type { KnownFacts, KnownIssues } from "../kernel/known-issues.js";
import { Excuses } from "../report/excuses.js";
import type { Journal } from "../report/journal.js";
import type { Results } from "../report/results.js";
import type { Terminal } from "../report/terminal.js";

/** The one way of an event: journal, results, what is known of it, reporters. */
export class EventPath {
  failure: { error: unknown } | undefined;
  readonly abort = new AbortController();
  readonly excuses: Excuses | undefined;
  readonly #describe: (facts: KnownFacts, guest?: string) => void;

  /** @param kept whether the journal is only kept, and not one that the user has asked for */
  constructor(
    private journal: Journal | undefined,
    private readonly kept: boolean,
    private readonly results: Results,
    private readonly reporters: readonly Reporter[],
    private readonly terminal: Terminal,
    { known, describe }: { known: KnownIssues | undefined; describe(facts: KnownFacts, guest?: string): void },
  ) {
    this.excuses = known && new Excuses(known, results);
    this.#describe = describe;
  }

  /** It must not throw into the scheduler: what is wrong here ends the run in good order. */
  readonly emit = (event: RunEvent): void => {
    try {
      // The journal first: what a reporter shows has been kept.
      this.#keep(event);
      if (event.type === "guest") this.#describe(event.machine, event.guest);
      const explained = this.excuses?.after(event) ?? [];
      for (const one of explained) this.#keep(one);
      // What is expected is known before any of it is shown.
      for (const one of [event, ...explained]) for (const reporter of this.reporters) reporter.event(one);
    } catch (error) {
      this.failure ??= { error };
      this.abort.abort();
    }
  };

  tell(text: string): void {
    const noting = this.reporters.find((reporter) => reporter.note);
    if (noting) noting.note?.(text);
    else this.terminal.err(text);
  }

  end(): void {
    for (const reporter of this.reporters) reporter.end?.();
  }

  close(): void {
    this.journal?.close();
  }

  #keep(event: RunEvent): void {
    try {
      this.journal?.append(event);
    } catch (error) {
      if (!this.kept) throw error;
      // Nobody has asked for it.
      this.tell(`aiodio-ltp: this run is kept no longer (${reasonOf(error)})\n`);
      this.journal?.close();
      this.journal = undefined;
    }
    this.results.add(event);
  }
}
