import { expect, test } from "vitest";
import { type ResultType, zeroCounters } from "../../ts/events/events.js";
import { LegacyLines, legacyExitStatus } from "../../ts/report/legacy.js";

function print(lines: [ResultType, string, boolean?][], id = "aio01", colour = false): string {
  const legacy = new LegacyLines(id, colour);
  return lines.map(([result, text, ends]) => legacy.format({ result, text, ends, file: "aio01.ts", line: 7 })).join("");
}

test("the columns, the numbers and the places of LTP's old library", () => {
  const out = print([
    ["TINFO", "Using /var/tmp/x as tmpdir (ext2/ext3/ext4 filesystem)"],
    ["TPASS", "Test 1: 10 writes in   0.000116 sec"],
    ["TWARN", "beware"],
    ["TCONF", "not here"],
    ["TFAIL", "Test 2: wrong"],
  ]);
  expect(out).toBe(
    "aio01       0  TINFO  :  Using /var/tmp/x as tmpdir (ext2/ext3/ext4 filesystem)\n" +
      "aio01       1  TPASS  :  Test 1: 10 writes in   0.000116 sec\n" +
      "aio01       0  TWARN  :  aio01.ts:7: beware\n" +
      "aio01       2  TCONF  :  aio01.ts:7: not here\n" +
      "aio01       3  TFAIL  :  aio01.ts:7: Test 2: wrong\n",
  );
  // What openQA's runner takes for a result of the old library.
  for (const line of out.trimEnd().split("\n")) expect(line).toMatch(/^\w+\s+\d+\s+(\w+)\s+:\s+.*$/);
});

test("what ends a testcase is followed by the line about the rest", () => {
  expect(print([["TBROK", "no room", true]], "diotest01")).toBe(
    "diotest01    1  TBROK  :  aio01.ts:7: no room\ndiotest01    2  TBROK  :  aio01.ts:7: Remaining cases broken\n",
  );
  expect(print([["TCONF", "not here", true]])).toContain(
    "aio01       2  TCONF  :  aio01.ts:7: Remaining cases not appropriate for configuration\n",
  );
});

test("only the type is coloured", () => {
  expect(print([["TPASS", "fine"]], "aio01", true)).toBe("aio01       1  \u001b[1;32mTPASS\u001b[0m  :  fine\n");
});

test.each([
  [{ passed: 1 }, 0],
  [{ passed: 16, skipped: 1 }, 0],
  [{ skipped: 1 }, 32],
  [{ passed: 1, failed: 1, skipped: 1 }, 33],
  [{ broken: 1 }, 2],
  [{ passed: 1, warnings: 2 }, 4],
])("%j is exit status %i", (counters, status) => {
  expect(legacyExitStatus({ ...zeroCounters(), ...counters })).toBe(status);
});
