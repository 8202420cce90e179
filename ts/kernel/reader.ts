/**
 * Reads the kernel log without waiting: what has been logged since the last time, whenever somebody asks.
 *
 * No thread and no poll: /dev/kmsg keeps a position for each opener, so asking at a testcase's beginning and end finds
 * all that was said between. Closing is immediate and nothing here keeps the process alive.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { reasonOf } from "../base/errors.js";
import { LEVELS, type Level } from "../events/events.js";

/** One record of the kernel log. */
export interface KernelRecord {
  level: Level;
  /** False for what a program wrote into the log: it is not the kernel's word. */
  fromKernel: boolean;
  /** Counts all records since boot; -1 where the record says none. */
  sequence: number;
  /** The record's stamp, from the kernel's own clock; -1 where the record says none. */
  seconds: number;
  /** Thread that was running when the kernel spoke; only where the kernel has CONFIG_PRINTK_CALLER. */
  thread?: number;
  /** Escapes resolved; a record may hold several lines. */
  text: string;
  /** `SUBSYSTEM=block`, `DEVICE=b7:0`…, as drivers add them. */
  properties: string[];
}

/** What one {@link KernelReader.drain} found. */
export interface Drained {
  records: KernelRecord[];
  /** Records that the kernel overwrote before they were read. */
  lost: number;
}

/** Next record's bytes, `lost` after an overrun, `end` when there is no more for now. */
export type RecordSource = () => Uint8Array | "lost" | "end";

/** "6,1234,5678,-,caller=T1;" */
const HEADER = /^(\d+),(\d+),(\d+),[^,;]*((?:,[^,;]*)*);/;
const CALLER = /,caller=T(\d+)/;

/** The kernel never writes a longer record. */
const RECORD_BYTES_MAX = 64 * 1024;
/** A kernel that logs faster than this is read on at the next time. */
const RECORDS_MAX = 100_000;
/** Major and minor number of /dev/kmsg. */
const KMSG = { major: 1, minor: 11 };

/** Brings back what the kernel wrote as `\xNN`; bytes that are no UTF-8 stay escaped, so that nothing is lost. */
function unescaped(text: string): string {
  return text.replaceAll(/(?:\\x[0-9a-f]{2})+/g, (escapes) => {
    const bytes = Buffer.from(escapes.replaceAll("\\x", ""), "hex");
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      return escapes;
    }
  });
}

/** Parses what one read of /dev/kmsg gave. Never throws; what is no record comes back as its text. */
export function parseRecord(bytes: Uint8Array): KernelRecord {
  // The kernel writes ASCII only. Anything else is shown byte for byte.
  const raw = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
  const header = HEADER.exec(raw);
  if (!header) return { level: "unknown", fromKernel: false, sequence: -1, seconds: -1, text: raw, properties: [] };
  const [whole, priority, sequence, microseconds, fields = ""] = header;
  const lines = raw.slice(whole.length).split("\n");
  // Embedded line ends are escaped: a line that begins with a blank is a property, the first one is the text.
  const properties = lines.slice(1).filter((line) => line.startsWith(" "));
  const others = lines.slice(1).filter((line) => line !== "" && !line.startsWith(" "));
  const thread = CALLER.exec(fields)?.[1];
  return {
    level: LEVELS[Number(priority) % 8] ?? "unknown",
    fromKernel: Number(priority) < 8,
    sequence: Number(sequence),
    seconds: Number(microseconds) / 1e6,
    ...(thread !== undefined && { thread: Number(thread) }),
    text: unescaped([lines[0], ...others].join("\n")),
    properties: properties.map((line) => unescaped(line.slice(1))),
  };
}

/** Reads one source of records and tells when some are missing. */
export class KernelReader {
  #expected = -1;

  constructor(
    private readonly source: RecordSource,
    readonly close: () => void = () => {},
  ) {}

  /** All that was logged since the last call. Never throws. */
  drain(): Drained {
    const records: KernelRecord[] = [];
    let lost = 0;
    for (let reads = 0; reads < RECORDS_MAX; reads += 1) {
      const next = this.source();
      if (next === "end") break;
      // How many is in the next record's number.
      if (next === "lost") {
        // ... which says nothing to who has not read one before.
        if (this.#expected < 0) lost += 1;
        continue;
      }
      const record = parseRecord(next);
      if (record.sequence >= 0) {
        if (this.#expected >= 0 && record.sequence > this.#expected) lost += record.sequence - this.#expected;
        this.#expected = record.sequence + 1;
      }
      records.push(record);
    }
    return { records, lost };
  }

  /** Goes past all that was logged so far. */
  skip(): void {
    let last: Uint8Array | undefined;
    for (let reads = 0; reads < RECORDS_MAX; reads += 1) {
      const next = this.source();
      if (next === "end") break;
      if (next !== "lost") last = next;
    }
    if (last) this.#expected = parseRecord(last).sequence + 1;
  }
}

/** Opens the kernel log at its present end, or says in one sentence why it cannot be read. */
export function openKernelReader(path: string): KernelReader | { unreadable: string } {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const reason = reasonOf(error);
    const remedy = reason === "ENOENT" ? "the device is missing here" : "reading it needs root";
    return { unreadable: `${path} cannot be read (${reason}), so what the kernel says is not seen: ${remedy}` };
  }
  // Containers put other things in its place, a console for example.
  const { rdev } = fstatSync(fd);
  if (rdev !== KMSG.major * 256 + KMSG.minor) {
    closeSync(fd);
    return { unreadable: `${path} is no kernel log, so what the kernel says is not seen` };
  }
  const reader = kernelReaderOf(fd);
  reader.skip();
  return reader;
}

/** Reads an open kernel log from where it is. */
export function kernelReaderOf(fd: number): KernelReader {
  const buffer = Buffer.alloc(RECORD_BYTES_MAX);
  let open = true;
  const source: RecordSource = () => {
    if (!open) return "end";
    try {
      const bytes = readSync(fd, buffer);
      return bytes > 0 ? buffer.subarray(0, bytes) : "end";
    } catch (error) {
      // EPIPE: overwritten before it was read, the next read goes on with what is left. EINVAL: one too long for us.
      return ["EPIPE", "EINVAL"].includes(reasonOf(error)) ? "lost" : "end";
    }
  };
  return new KernelReader(source, () => {
    if (open) closeSync(fd);
    open = false;
  });
}

/**
 * Maps the kernel's stamps to the wall clock.
 *
 * The kernel's clock is near CLOCK_MONOTONIC, but drifts from it by seconds a day. What one drain brings was logged
 * between the last drain and this one: that bounds the difference, and short testcases bound it closely.
 */
export class KernelClock {
  /** CLOCK_MONOTONIC minus the kernel's clock, in seconds. */
  #ahead = 0;
  #drainedAt: number;

  constructor(
    private readonly monotonicSeconds = () => Number(process.hrtime.bigint()) / 1e9,
    private readonly wallMs = () => Date.now(),
  ) {
    this.#drainedAt = monotonicSeconds();
  }

  /** Learns from the stamps of a drain that has just ended. */
  learn(records: readonly KernelRecord[]): void {
    const now = this.monotonicSeconds();
    const stamps = records.map(({ seconds }) => seconds).filter((seconds) => seconds >= 0);
    const [first] = stamps;
    const last = stamps.at(-1);
    if (first !== undefined && last !== undefined) {
      this.#ahead = Math.max(this.#ahead, this.#drainedAt - first);
      this.#ahead = Math.min(this.#ahead, now - last);
    }
    this.#drainedAt = now;
  }

  /** ISO 8601 of a stamp; of this moment where the record has none. */
  time(seconds: number): string {
    const ago = seconds < 0 ? 0 : this.monotonicSeconds() - (seconds + this.#ahead);
    return new Date(this.wallMs() - ago * 1000).toISOString();
  }
}
