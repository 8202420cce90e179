/** What a journal holds, for tests: production code never has all of it in memory. */
import type { RunEvent } from "../../ts/events/events.js";
import { readJournal } from "../../ts/report/journal.js";
import { Results } from "../../ts/report/results.js";

/** All events of a journal; a key outside its plan is an error, as in a run that is resumed. */
export async function eventsOf(path: string) {
  const events: RunEvent[] = [];
  const results = new Results();
  const history = await readJournal(path, (event) => {
    results.add(event);
    events.push(event);
  });
  return { ...history, events };
}
