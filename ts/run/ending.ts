/** LTP's words for the end of a testcase's process that did not end by itself. */
import type { Death } from "../process/line-process.js";

/** It died. */
export function wordsOfDeath({ code, signal }: Death): string {
  return signal ? `Test killed by ${signal}!` : `Child returned with ${code}`;
}

/** It was killed, because its time was over or somebody ended the run. */
export const WORDS_OF_KILL = [
  ["TINFO", "If you are running on slow machine, try exporting LTP_TIMEOUT_MUL > 1"],
  ["TBROK", "Test killed! (timeout?)"],
] as const;

/** SIGKILL did not end it. LTP counts that as a failure, and prints no Summary. */
export function wordsOfUnkillable(stacks: readonly string[]): string[] {
  return [
    "Cannot kill test processes!",
    ...stacks,
    "Congratulation, likely test hit a kernel bug.",
    "Exiting uncleanly...",
  ];
}
