/** A process's own peak memory, as the kernel counts it: resident pages, those it shares with others included. */
import { readFileSync, writeFileSync } from "node:fs";

/** Lets the count begin anew with what is resident now. Where the kernel can't (CONFIG_PROC_PAGE_MONITOR), it goes on. */
export function restartPeak(): void {
  try {
    writeFileSync("/proc/self/clear_refs", "5");
  } catch {}
}

/**
 * The peak in bytes since the process executed its program or since {@link restartPeak}: VmHWM of proc(5). getrusage(2)
 * counts the process that it was forked from, too. Undefined where /proc does not tell.
 */
export function peakBytes(): number | undefined {
  try {
    const kib = /^VmHWM:\s*(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
    return kib === undefined ? undefined : Number(kib) * 1024;
  } catch {
    return undefined;
  }
}
