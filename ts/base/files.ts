/** Small files: read where they may be missing, and replaced whole. */
import { closeSync, openSync, readdirSync, readFileSync, readSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { reasonOf } from "./errors.js";

/** A file's text without blanks around it; undefined where it can't be read. */
export function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return undefined;
  }
}

/** The text of a file's first bytes; undefined where it can't be read. */
export function startOf(path: string, bytesMax: number): string | undefined {
  const bytes = Buffer.alloc(bytesMax);
  try {
    const fd = openSync(path, "r");
    try {
      return bytes.toString("utf8", 0, readSync(fd, bytes));
    } finally {
      closeSync(fd);
    }
  } catch {
    return undefined;
  }
}

/** Names in a directory; none where it can't be read. */
export function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/**
 * A file is either the old one or the new one, never half of it, and a failed write leaves the old one. A link in its place is
 * not followed.
 */
export function replaceFile(path: string, text: string, mode = 0o666): void {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    writeFileSync(temporary, text, { mode, flag: "wx" });
    renameSync(temporary, path);
  } catch (error) {
    // What was there before is not ours: a link, maybe, that somebody has put in our way.
    if (reasonOf(error) !== "EEXIST") rmSync(temporary, { force: true });
    throw error;
  }
}
