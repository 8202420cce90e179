/** Marks in the kernel log which testcase was running when the kernel said something, as openQA does. */
import { closeSync, constants, openSync, writeSync } from "node:fs";

/** The kernel cuts a record at about 1000 bytes. */
const LINE_BYTES_MAX = 900;

export interface KernelLog {
  /** Writes one line; false where that is not permitted. Never throws: a run must not depend on it. */
  mark(text: string): boolean;
  close(): void;
}

/** Opens the kernel log once for the whole run. */
export function openKernelLog(path: string): KernelLog {
  let fd: number | undefined;
  try {
    // Without O_CREAT: where the device is missing, no file may take its place.
    fd = openSync(path, constants.O_WRONLY | constants.O_APPEND);
  } catch {
    // Not root, or a container without the device: then there is nothing to write to.
  }
  return {
    mark(text) {
      if (fd === undefined) return false;
      try {
        const line = text.replaceAll(/\s+/g, " ").slice(0, LINE_BYTES_MAX);
        writeSync(fd, `${line}\n`);
        return true;
      } catch {
        return false;
      }
    },
    close() {
      if (fd !== undefined) closeSync(fd);
      fd = undefined;
    },
  };
}
