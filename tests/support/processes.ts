/** Which processes were started with a mark in their environment, directly or not. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** Processes at one moment, each looked at once: those with the mark, and whether any becomes another program just now and might have it. */
export interface Scan {
  own: number[];
  unknown: boolean;
}

/**
 * What is being reaped counts no more. A process that becomes another program shows no environment then (a thread of the kernel shows
 * none either, and has no file).
 *
 * @param mark `NAME=value`
 */
export function scan(mark: string): Scan {
  const found: Scan = { own: [], unknown: false };
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, "latin1");
      if (environment.split("\0").includes(mark)) found.own.push(Number(pid));
      else if (environment === "" && readlinkSync(`/proc/${pid}/exe`) !== "") found.unknown = true;
    } catch {} // It has ended.
  }
  return found;
}
