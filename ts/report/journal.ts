/**
 * The journal: every event of a run as a line of JSON, written when it happens, so that a run that is killed loses
 * nothing and can be resumed.
 */
import {
  closeSync,
  constants,
  createReadStream,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import { reasonOf, UsageError } from "../base/errors.js";
import { jsonLine } from "../base/lines.js";
import type { RunEvent, RunStart } from "../events/events.js";
import { Results } from "./results.js";

/** What a journal holds beside its events. */
export interface History {
  /** The first part's start; its plan is the plan of all parts. */
  start: RunStart;
  /** Length of the part that holds whole lines; a torn last line comes after it. */
  wholeBytes: number;
}

const NEWLINE = 0x0a;

/** What is read at once; a journal may be larger than the memory. */
const CHUNK_BYTES = 2 ** 20;

/**
 * Reads a journal line by line. A torn last line (a crash while it was written) is ignored, anything else amiss is an
 * error.
 *
 * @param visit gets every event in turn; what it throws is an error of that line
 * @throws UsageError
 */
export async function readJournal(path: string, visit: (event: RunEvent) => void): Promise<History> {
  // Loaded here because nothing but reading a journal needs zod, and it takes as long to load as the rest of us.
  const { checkEvent } = await import("../events/schema.js");
  let start: RunStart | undefined;
  let wholeBytes = 0;
  let number = 0;
  try {
    for await (const line of wholeLines(path)) {
      number += 1;
      try {
        const event = checkEvent(JSON.parse(line.toString()));
        if (event.type === "run-start") start ??= event;
        if (!start) throw new Error("a journal begins with run-start");
        visit(event);
      } catch (error) {
        throw new UsageError(
          `${path}:${number}: is no line of a journal (${(error as Error).message}): ` +
            "repair or remove the line, or begin a new journal; nothing was changed",
        );
      }
      wholeBytes += line.length + 1;
    }
  } catch (error) {
    throw error instanceof UsageError ? error : unreadable(path, error);
  }
  if (!start) throw new UsageError(`the journal ${path} holds no run: remove it and drop --resume to begin a new run`);
  return { start, wholeBytes };
}

/** What the run of a journal came to. @throws UsageError */
export async function readResults(path: string): Promise<Results> {
  const results = new Results();
  await readJournal(path, (event) => results.add(event));
  return results;
}

/** The lines that end with a newline, without it. */
async function* wholeLines(path: string): AsyncGenerator<Buffer> {
  let begun: Buffer[] = [];
  let torn = false;
  for await (const chunk of createReadStream(path, { highWaterMark: CHUNK_BYTES }) as AsyncIterable<Buffer>) {
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
      yield Buffer.concat([...begun, chunk.subarray(from, end)]);
      begun = [];
      from = end + 1;
      torn = false;
    }
    const rest = chunk.subarray(from);
    // A crash of the machine may leave any number of zeros, which no JSON has: the first of them are as good as all.
    if (!torn) begun.push(rest);
    torn ||= rest.includes(0);
  }
}

/** Brings the name of a new file to the disk, where its filesystem can do that. */
function syncName(path: string): void {
  try {
    const fd = openSync(dirname(path), "r");
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch {}
}

function unreadable(path: string, error: unknown, otherwise = ""): UsageError {
  const reason = reasonOf(error);
  if (reason === "ENOENT") {
    return new UsageError(`no journal ${path}: name another${otherwise}`);
  }
  return new UsageError(`cannot read the journal ${path} (${reason}): name another`);
}

/** Whether a run has it open. */
export async function isBeingWritten(path: string): Promise<boolean> {
  try {
    const fd = openSync(path, "r");
    try {
      return !(await import("#native")).lockFile(fd);
    } finally {
      closeSync(fd);
    }
  } catch {
    return false;
  }
}

/** An open journal. */
export class Journal {
  #torn = false;
  #open = true;
  readonly #isFile: boolean;
  /** Behind this is a torn line, which is cut off before anything is written. */
  #cutBytes: number | undefined;

  private constructor(
    readonly path: string,
    readonly fd: number,
  ) {
    this.#isFile = fstatSync(fd).isFile();
  }

  /** Begins a journal. An existing one is never overwritten. @throws UsageError */
  static async create(path: string): Promise<Journal> {
    const journal = await Journal.#take(path, constants.O_CREAT);
    // An empty file (mktemp) and a device like /dev/null hold nothing that could be lost.
    if (fstatSync(journal.fd).size === 0) {
      syncName(path);
      return journal;
    }
    journal.close();
    throw new UsageError(`the journal ${path} exists: go on with it by --resume, or name another file`);
  }

  /**
   * Reads a journal and goes on with it, which changes nothing before the first {@link append}.
   *
   * @param visit as {@link readJournal} has it
   * @throws UsageError
   */
  static async resume(path: string, visit: (event: RunEvent) => void): Promise<{ journal: Journal; history: History }> {
    const journal = await Journal.#take(path, 0);
    try {
      const history = await readJournal(path, visit);
      journal.#cutBytes = history.wholeBytes;
      return { journal, history };
    } catch (error) {
      journal.close();
      throw error;
    }
  }

  /** Opens it for this run alone. The lock is the kernel's, so that it goes with the process, however that ends. */
  static async #take(path: string, flags: number): Promise<Journal> {
    let fd: number;
    try {
      fd = openSync(path, constants.O_WRONLY | constants.O_APPEND | flags, 0o666);
    } catch (error) {
      if (flags === 0) throw unreadable(path, error, ", or drop --resume to begin a new run");
      throw new UsageError(
        `cannot write the journal ${path} (${reasonOf(error)}): name a file in a writable directory`,
      );
    }
    const journal = new Journal(path, fd);
    // Many runs may write to /dev/null.
    if (!journal.#isFile || (await import("#native")).lockFile(fd)) return journal;
    journal.close();
    throw new UsageError(`another run is writing the journal ${path}: wait for its end, or name another file`);
  }

  /** Writes an event before it returns, and to the disk where a testcase or the end comes next. Progress and traces are only for the eyes and are left out. */
  append(event: RunEvent): void {
    // After a failed write the last line may be torn, and nothing may come after it.
    if (event.type === "progress" || event.type === "trace" || this.#torn) return;
    const bytes = Buffer.from(jsonLine(event));
    this.#torn = true;
    if (this.#cutBytes !== undefined) ftruncateSync(this.fd, this.#cutBytes);
    this.#cutBytes = undefined;
    for (let written = 0; written < bytes.length; ) written += writeSync(this.fd, bytes, written);
    // Whom a panic takes with it must be known: nothing is begun before that is on the disk.
    if (this.#isFile && (event.type === "test-start" || event.type === "run-end")) fdatasyncSync(this.fd);
    this.#torn = false;
  }

  /** May be called again. */
  close(): void {
    if (this.#open) closeSync(this.fd);
    this.#open = false;
  }
}
