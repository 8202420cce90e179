/** Text over byte streams: whole lines out of bytes, and bytes out of text. */
import { writeSync } from "node:fs";
import type { Readable } from "node:stream";

/** Writes all of it, synchronously: what was said survives whatever happens to this process next. */
export function writeAll(fd: number, text: string): void {
  let bytes = Buffer.from(text);
  while (bytes.length > 0) bytes = bytes.subarray(writeSync(fd, bytes));
}

/** A value as a line of JSON. Bigints become text: seeds have more digits than a number holds. */
export function jsonLine(value: unknown): string {
  return `${JSON.stringify(value, (_name, part) => (typeof part === "bigint" ? String(part) : part))}\n`;
}

/** Bytes in, whole lines out; bytes of an unfinished line wait for the rest. */
export class LineSplitter {
  private readonly decoder = new TextDecoder();
  private rest = "";

  /** The lines that `bytes` completes, without their newlines. */
  push(bytes: Uint8Array): string[] {
    const lines = (this.rest + this.decoder.decode(bytes, { stream: true })).split("\n");
    this.rest = lines.pop() ?? "";
    return lines;
  }

  /** What is left when the stream ends: empty, or a torn line. */
  end(): string {
    const rest = this.rest + this.decoder.decode();
    this.rest = "";
    return rest;
  }
}

/** Calls `line` for each line of a stream, and for a torn one at its end. */
export function eachLine(stream: Readable, line: (text: string) => void): void {
  const splitter = new LineSplitter();
  stream.on("data", (bytes: Buffer) => {
    for (const text of splitter.push(bytes)) line(text);
  });
  stream.on("end", () => {
    const rest = splitter.end();
    if (rest !== "") line(rest);
  });
}
