/**
 * The journal: every event of a run as a line of JSON, written when it happens, so that a run that is killed loses
 * nothing and can be resumed.
 */
import { closeSync, existsSync, ftruncateSync, openSync, readFileSync, statSync, writeSync } from "node:fs";
import { reasonOf, UsageError } from "../plan/usage-error.js";
import type { PlannedRun, RunEvent } from "./events.js";
import { Results, type RunStart } from "./results.js";

/** What a journal holds. */
export interface History {
  /** The first part's start; its plan is the plan of all parts. */
  start: RunStart;
  events: RunEvent[];
  /** Length of the part that holds whole lines; a torn last line comes after it. */
  wholeBytes: number;
}

const NEWLINE = 0x0a;

/** Reads a journal. A torn last line (a crash while it was written) is ignored, anything else amiss is an error. */
export async function readJournal(path: string): Promise<History> {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    if (reasonOf(error) === "ENOENT") {
      throw new UsageError(`no journal ${path}: name another, or drop --resume to begin a new run`);
    }
    throw new UsageError(`cannot read the journal ${path} (${reasonOf(error)}): name another`);
  }
  // Loaded here because nothing but reading a journal needs zod, and it takes as long to load as the rest of us.
  const { checkEvent } = await import("./journal-schema.js");
  const events: RunEvent[] = [];
  const known = new Results();
  let wholeBytes = 0;
  for (let number = 1; ; number++) {
    const end = bytes.indexOf(NEWLINE, wholeBytes);
    if (end < 0) break;
    try {
      const event = checkEvent(JSON.parse(bytes.toString("utf8", wholeBytes, end)));
      if (number === 1 && event.type !== "run-start") throw new Error("a journal begins with run-start");
      known.add(event);
      events.push(event);
    } catch (error) {
      throw new UsageError(
        `${path}:${number}: is no line of a journal (${(error as Error).message}): ` +
          "repair or remove the line, or begin a new journal; nothing was changed",
      );
    }
    wholeBytes = end + 1;
  }
  const [start] = events;
  if (start?.type !== "run-start") {
    throw new UsageError(`the journal ${path} holds no run: remove it and drop --resume to begin a new run`);
  }
  return { start, events, wholeBytes };
}

/** What else has to be the same for a run to go on. */
export interface Resumption {
  plan: readonly PlannedRun[];
  directory: string;
  engine?: string | undefined;
}

/** Throws unless the run in the journal is the run that is asked for. */
export function checkResumable(path: string, { start }: History, { plan, directory, engine }: Resumption): void {
  const begin = "or begin a new journal without --resume";
  const same = (a: PlannedRun | undefined, b: PlannedRun | undefined) =>
    a?.key === b?.key && a?.program === b?.program && JSON.stringify(a?.argv) === JSON.stringify(b?.argv);
  const length = Math.max(plan.length, start.plan.length);
  for (let index = 0; index < length; index++) {
    const [now, then] = [plan[index], start.plan[index]];
    if (same(now, then)) continue;
    const describe = (run: PlannedRun | undefined) => (run ? `"${run.key} ${run.command}"` : "nothing");
    throw new UsageError(
      `the journal ${path} is of another plan: run ${index + 1} is ${describe(then)} there and ${describe(now)} here: ` +
        `give the same files and options, ${begin}`,
    );
  }
  if (start.directory !== directory) {
    throw new UsageError(`the journal ${path} is of a run in ${start.directory}: add -d ${start.directory}, ${begin}`);
  }
  if (start.engine !== engine) {
    const option = start.engine === undefined ? "drop --engine" : `add --engine ${start.engine}`;
    throw new UsageError(`the journal ${path} is of a run with another engine: ${option}, ${begin}`);
  }
}

/** An open journal. */
export class Journal {
  #torn = false;

  private constructor(
    readonly path: string,
    readonly fd: number,
  ) {}

  /** Begins a journal. An existing one is never overwritten. */
  static create(path: string): Journal {
    // An empty file (mktemp) and a device like /dev/null hold nothing that could be lost.
    if (existsSync(path) && statSync(path).size > 0) {
      throw new UsageError(`the journal ${path} exists: go on with it by --resume, or name another file`);
    }
    return new Journal(path, open(path));
  }

  /** Goes on with a journal that was read before; a torn last line is cut off, since its event starts anew. */
  static resume(path: string, { wholeBytes }: History): Journal {
    const fd = open(path);
    ftruncateSync(fd, wholeBytes);
    return new Journal(path, fd);
  }

  /** Writes an event before it returns. Progress and traces are only for the eyes and are left out. */
  append(event: RunEvent): void {
    // After a failed write the last line may be torn, and nothing may come after it.
    if (event.type === "progress" || event.type === "trace" || this.#torn) return;
    const text = JSON.stringify(event, (_name, value) => (typeof value === "bigint" ? String(value) : value));
    const bytes = Buffer.from(`${text}\n`);
    this.#torn = true;
    for (let written = 0; written < bytes.length; ) written += writeSync(this.fd, bytes, written);
    this.#torn = false;
  }

  close(): void {
    closeSync(this.fd);
  }
}

function open(path: string): number {
  try {
    return openSync(path, "a");
  } catch (error) {
    throw new UsageError(`cannot write the journal ${path} (${reasonOf(error)}): name a file in a writable directory`);
  }
}
