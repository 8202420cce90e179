/** Which testcases ran on a filesystem that its checker has not looked at since: what they have shown is not final. */
import type { RunEvent } from "../events/events.js";

/** A filesystem that was never checked after these testcases had begun on it. */
export interface Unchecked {
  filesystem: string;
  suspects: string[];
}

export class UncheckedRuns {
  /** What each worker has now. */
  readonly #open = new Map<number, Unchecked>();
  readonly #lost: Unchecked[] = [];

  /**
   * Takes note of an event; those that say nothing of filesystems change nothing.
   *
   * @param filesystemOf the filesystem of the run's own that a planned run wants
   */
  add(event: RunEvent, filesystemOf: (key: string) => string | undefined): void {
    switch (event.type) {
      case "filesystem":
        this.#lose(event.worker);
        this.#open.set(event.worker, { filesystem: event.filesystem, suspects: [] });
        break;
      case "test-start": {
        const filesystem = filesystemOf(event.key);
        if (filesystem !== undefined && !this.#open.has(event.worker)) {
          // Another machine's word of it has been lost.
          this.#open.set(event.worker, { filesystem, suspects: [] });
        }
        this.#open.get(event.worker)?.suspects.push(event.key);
        break;
      }
      case "check": {
        const open = this.#open.get(event.worker);
        if (open?.filesystem === event.filesystem) open.suspects = [];
        break;
      }
      case "unchecked":
        for (const open of this.#open.values()) {
          open.suspects = open.suspects.filter((key) => !event.suspects.includes(key));
        }
        break;
    }
  }

  #lose(worker: number): void {
    const open = this.#open.get(worker);
    this.#open.delete(worker);
    if (open && open.suspects.length > 0) this.#lost.push(open);
  }

  /** All that nobody has checked, when nothing runs any more; they are forgotten with it. */
  take(): Unchecked[] {
    for (const worker of [...this.#open.keys()]) this.#lose(worker);
    return this.#lost.splice(0);
  }
}
