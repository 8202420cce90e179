/** The flight records that a run leaves beside its journal when it is killed with its workers. */
import { existsSync, rmSync } from "node:fs";
import type { RecordAnswer } from "#native";
import { flightPath } from "../run/flight.js";

/** Operations taken from one. */
const OPERATIONS_MAX = 200;

/** What the worker of that number recorded last; undefined where nothing is left, or it can't be read. */
export async function recordLeftBehind(journal: string, worker: number): Promise<RecordAnswer | undefined> {
  const path = flightPath(journal, worker);
  if (!existsSync(path)) return undefined;
  const { queryRecord } = await import("#native");
  const record = queryRecord({ path, max: OPERATIONS_MAX });
  return record.error || record.total === 0 ? undefined : record;
}

/** Removes one that the journal has by now: the run that goes on may have fewer workers, which would leave it for ever. */
export function dropLeftBehind(journal: string, worker: number): void {
  rmSync(flightPath(journal, worker), { force: true });
}
