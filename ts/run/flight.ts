/**
 * The file that a worker's flight recorder writes to. The controller opens it and the worker maps it, so it outlives the
 * worker, however that ends. Beside a journal it has a name and outlives the controller too.
 */
import { closeSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RecordAnswer } from "#native";

/** Operations kept of a testcase that went wrong. */
export const KEPT_OPERATIONS = 200;

/** Where a run's worker with that number (from 1) records, beside the run's journal. */
export function flightPath(journal: string, worker: number): string {
  return `${journal}.flight-${worker}`;
}

export class FlightFile {
  private constructor(
    readonly fd: number,
    private readonly path: string | undefined,
  ) {}

  /** Undefined where no file can be made: then the worker records into memory, and a dead one leaves no record. */
  static open(path?: string): FlightFile | undefined {
    // In memory where there is such a directory: what is recorded must not be I/O on a disk under test.
    const places = path === undefined ? ["/dev/shm", tmpdir()] : [undefined];
    for (const place of places) {
      const name = place === undefined ? (path ?? "") : join(place, `aiodio-flight-${process.pid}-${Math.random()}`);
      try {
        const fd = openSync(name, place === undefined ? "w+" : "wx+", 0o600);
        if (place !== undefined) rmSync(name);
        return new FlightFile(fd, path);
      } catch {}
    }
    return undefined;
  }

  /** As {@link readFlight} has it. */
  read(): Promise<RecordAnswer> {
    return readFlight(this.fd);
  }

  /** Closes it; the run has ended in good order, so that a file with a name is of no more use. */
  close(): void {
    closeSync(this.fd);
    if (this.path !== undefined) rmSync(this.path, { force: true });
  }
}

/** What the worker recorded of the last testcase into the open file: its last operations, and what it left in flight. */
export async function readFlight(fd: number): Promise<RecordAnswer> {
  // The addon is loaded only when something has gone wrong.
  const { queryRecord } = await import("#native");
  return queryRecord({ path: `/proc/self/fd/${fd}`, max: KEPT_OPERATIONS });
}

/** What a record says beyond its operations, as TINFO lines: what was in flight at a death, and the test's own errors. */
export function flightLines(record: RecordAnswer, died: boolean): string[] {
  const lines: string[] = [];
  if (died && record.inFlight.length > 0) {
    lines.push(`in flight when it ended: ${record.inFlight.length} operation${record.inFlight.length > 1 ? "s" : ""}`);
    lines.push(...record.inFlight.slice(0, 8).map(({ line }) => `  ${line}`));
  }
  for (const { inFlight, other } of record.sharedMemory) {
    lines.push("the test's own error, not the kernel's: memory in flight was used for something else");
    lines.push(`  in flight: ${inFlight.line}`, `  meanwhile: ${other.line}`);
  }
  return lines;
}
