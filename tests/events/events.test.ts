import { expect, test } from "vitest";
import { exitStatus, verdictOf, zeroCounters } from "../../ts/events/events.js";

test.each([
  [{}, "TCONF", 0],
  [{ passed: 1 }, "TPASS", 0],
  [{ skipped: 1 }, "TCONF", 32],
  [{ passed: 1, skipped: 1 }, "TPASS", 0],
  [{ passed: 1, warnings: 1 }, "TWARN", 4],
  [{ passed: 1, failed: 1, warnings: 1, skipped: 1 }, "TFAIL", 5],
  [{ failed: 1, broken: 1 }, "TBROK", 3],
] as const)("%j is %s with LTP's exit status %d: what reported nothing has not passed", (counters, verdict, exit) => {
  const all = { ...zeroCounters(), ...counters };
  expect([verdictOf(all), exitStatus(all)]).toEqual([verdict, exit]);
});
