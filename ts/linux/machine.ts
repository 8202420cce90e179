/** Facts of the machine, as kirk's report and the journal hold them. */
import { readFileSync } from "node:fs";
import { machine, release, version } from "node:os";
import { join } from "node:path";
import { startOf } from "../base/files.js";
import type { MachineFacts } from "../events/events.js";

/** The start of a file of /proc or /etc; empty where there is none. */
function start(path: string): string {
  // /proc/cpuinfo of a large machine has megabytes and takes the kernel long: only its beginning is wanted.
  return startOf(path, 8192) ?? "";
}

function field(text: string, pattern: RegExp): string {
  return pattern.exec(text)?.[1]?.trim() || "unknown";
}

/** The processor's name, under the first of the names that the architectures give it. */
function cpu(): string {
  const text = start("/proc/cpuinfo");
  const names = ["model name", "cpu model", "uarch", "cpu", "Processor", "vendor_id", "CPU implementer"];
  const values = names.map((name) => field(text, new RegExp(`^${name}\\s*:(.*)`, "m")));
  return values.find((value) => value !== "unknown") ?? "unknown";
}

/** AT_PAGESZ of the auxiliary vector: the page size without a process of its own or the addon. */
export function pageBytes(): number {
  const AT_PAGESZ = 6n;
  try {
    const vector = readFileSync("/proc/self/auxv");
    const words = new BigUint64Array(vector.buffer.slice(vector.byteOffset, vector.byteOffset + (vector.length & ~7)));
    for (let index = 0; index + 1 < words.length; index += 2) {
      if (words[index] === AT_PAGESZ) return Number(words[index + 1]);
    }
  } catch {
    // No /proc: not known.
  }
  return 0;
}

/** Which distribution the root directory `root` holds, by its os-release. */
export function distributionOf(root: string): Pick<MachineFacts, "distribution" | "distributionVersion"> {
  const osRelease = start(join(root, "etc/os-release")) || start(join(root, "usr/lib/os-release"));
  return {
    distribution: field(osRelease, /^ID="?([^"\n]*)/m),
    distributionVersion: field(osRelease, /^VERSION_ID="?([^"\n]*)/m),
  };
}

/** Reads them; what a machine does not tell is `unknown`. */
export function machineFacts(): MachineFacts {
  const memory = start("/proc/meminfo");
  return {
    kernel: release(),
    kernelVersion: version(),
    machine: machine(),
    pageBytes: pageBytes(),
    node: process.version,
    ...distributionOf("/"),
    cmdline: start("/proc/cmdline").trim(),
    cpu: cpu(),
    memory: field(memory, /^MemTotal:(.*)/m),
    swap: field(memory, /^SwapTotal:(.*)/m),
  };
}
