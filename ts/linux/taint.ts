/** The kernel's taint: flags that say what has happened since boot. Readable by everyone, even where the log is not. */
import { readFileSync } from "node:fs";
import type { RuleClass } from "../events/events.js";

export interface Taint {
  letter: string;
  class: RuleClass;
  text: string;
}

/** By bit number; Documentation/admin-guide/tainted-kernels.rst. */
export const TAINTS: readonly Taint[] = [
  { letter: "P", class: "info", text: "proprietary module was loaded" },
  { letter: "F", class: "info", text: "module was force loaded" },
  { letter: "S", class: "info", text: "kernel running on an out of specification system" },
  { letter: "R", class: "info", text: "module was force unloaded" },
  { letter: "M", class: "device", text: "processor reported a machine check" },
  { letter: "B", class: "corruption", text: "bad page referenced, or unexpected page flags" },
  { letter: "U", class: "info", text: "taint requested by a program" },
  { letter: "D", class: "corruption", text: "kernel died: an oops or a BUG" },
  { letter: "A", class: "info", text: "ACPI table overridden" },
  { letter: "W", class: "warning", text: "kernel issued a warning" },
  { letter: "C", class: "info", text: "staging driver was loaded" },
  { letter: "I", class: "info", text: "workaround for a bug in the firmware" },
  { letter: "O", class: "info", text: "module from outside the kernel's tree was loaded" },
  { letter: "E", class: "info", text: "unsigned module was loaded" },
  { letter: "L", class: "warning", text: "soft lockup" },
  { letter: "K", class: "info", text: "kernel was live patched" },
  { letter: "X", class: "info", text: "auxiliary taint of the distribution" },
  { letter: "T", class: "info", text: "kernel was built with randomised structures" },
  { letter: "N", class: "info", text: "a test inside the kernel was run" },
  { letter: "J", class: "info", text: "a program used a device's debugging interface" },
];

/** Distributions have flags of their own from 27 to 31, which upstream never sets. */
const DISTRIBUTION_BITS = { first: 27, last: 31 };

function taintOf(bit: number): Taint {
  const known = TAINTS[bit];
  if (known) return known;
  if (bit < DISTRIBUTION_BITS.first || bit > DISTRIBUTION_BITS.last) {
    return { letter: "?", class: "warning", text: `flag ${bit}, which is not known here` };
  }
  // include/linux/panic.h of SUSE's kernels: TAINT_NO_SUPPORT.
  const text = bit === 31 ? "SUSE: unsupported module was loaded" : `flag ${bit} of the distribution`;
  return { letter: bit === 31 ? "N" : "?", class: "info", text };
}

/** The flags now; undefined where there is no /proc. */
export function readTaint(path = "/proc/sys/kernel/tainted"): bigint | undefined {
  try {
    return BigInt(readFileSync(path, "utf8").trim());
  } catch {
    return undefined;
  }
}

/** The flags that came in between, the gravest class first. */
export function newTaints(before: bigint, after: bigint): Taint[] {
  const fresh = after & ~before;
  const order: readonly RuleClass[] = ["corruption", "device", "warning", "info"];
  const taints: Taint[] = [];
  for (let bit = 0; fresh >> BigInt(bit) > 0n; bit += 1) {
    if (((fresh >> BigInt(bit)) & 1n) === 0n) continue;
    taints.push(taintOf(bit));
  }
  return taints.sort((a, b) => order.indexOf(a.class) - order.indexOf(b.class));
}
