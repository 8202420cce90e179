/** Files that a run writes when it is over. */
import { accessSync, constants, lstatSync, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { reasonOf, UsageError } from "../base/errors.js";
import { replaceFile } from "../base/files.js";

/**
 * The path. Told before the run, not after hours of it.
 *
 * @param option who wants it, for the message
 * @throws UsageError it can't be written
 */
export function checkOutput(option: string, path: string): string {
  try {
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory())
      throw new UsageError(`${option}: ${path} is a directory`);
    accessSync(isReplaceable(path) ? dirname(path) : path, constants.W_OK);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${option}: cannot write ${path} (${reasonOf(error)}): name a file in a writable directory`);
  }
  return path;
}

/** Whether another file may take its place. What is a link, a pipe or a device (`/dev/null`) is written to instead. */
function isReplaceable(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isFile() ?? true;
}

/** A reader never sees half a report, and a failed write leaves the old one. */
export function writeOutput(path: string, text: string): void {
  if (isReplaceable(path)) replaceFile(path, text);
  else writeFileSync(path, text);
}
