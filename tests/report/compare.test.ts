import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { exitStatus, type PlannedRun, type RunEvent, type Verdict, zeroCounters } from "../../ts/events/events.js";
import { chanceOf, compare, formatComparison, isWorse } from "../../ts/report/compare.js";
import { Results } from "../../ts/report/results.js";
import { runEvents } from "./fixture.js";

const COUNTER = { TPASS: "passed", TFAIL: "failed", TBROK: "broken", TWARN: "warnings", TCONF: "skipped" } as const;

interface Line {
  id: string;
  program?: string;
  /** One for each time that it ran. */
  verdicts?: Verdict[];
  seconds?: number[];
  reason?: string;
  expected?: boolean;
}

/** What a run of these lines came to. */
function resultsOf(lines: readonly Line[]): Results {
  const [start] = runEvents();
  if (start?.type !== "run-start") throw new Error("the fixture has changed");
  const plan: PlannedRun[] = [];
  const events: RunEvent[] = [];
  for (const {
    id,
    program = "aiocp",
    verdicts = ["TPASS"] as Verdict[],
    seconds = [0.1],
    reason = "bad",
    expected,
  } of lines) {
    for (const [index, verdict] of verdicts.entries()) {
      const key = `s:${id}${index > 0 ? `#${index + 1}` : ""}`;
      plan.push({ key, suite: "s", id, iteration: index + 1, program, argv: [], command: `${program} -x` });
      const counters = { ...zeroCounters(), [COUNTER[verdict]]: 1 };
      const [time, durationSeconds] = [start.time, seconds[index % seconds.length] ?? 0];
      events.push({ type: "test-start", time, key, worker: 1 });
      events.push({ type: "line", key, result: verdict, file: "x.ts", line: 1, text: reason });
      const end = { verdict, exit: exitStatus(counters), counters, durationSeconds, summary: true };
      events.push({ type: "test-end", time, key, ...end });
      if (expected) events.push({ type: "known-issue", key, text: "bug 1" });
    }
  }
  const results = new Results();
  for (const event of [{ ...start, plan }, ...events]) results.add(event);
  return results;
}

const names = (changes: readonly { now: { name: string } }[]) => changes.map(({ now }) => now.name);
const times = (count: number, verdict: Verdict, other: Verdict, others: number): Verdict[] => [
  ...Array<Verdict>(count - others).fill(verdict),
  ...Array<Verdict>(others).fill(other),
];

test("verdicts that changed, each in its section", () => {
  const old = resultsOf([
    { id: "SAME" },
    { id: "NEW" },
    { id: "FIXED", verdicts: ["TFAIL"] },
    { id: "UNFIT" },
    { id: "NEVER", verdicts: ["TCONF"] },
    { id: "FAILED", verdicts: ["TFAIL"] },
    { id: "OTHER", verdicts: ["TFAIL"], reason: "2 of 2048 sectors are bad" },
    { id: "STILL", verdicts: ["TFAIL"], reason: "2 of 2048 sectors are bad" },
    { id: "KNOWN" },
    { id: "GONE" },
  ]);
  const now = resultsOf([
    { id: "SAME" },
    { id: "NEW", verdicts: ["TBROK"], reason: "Test killed by SIGSEGV!" },
    { id: "FIXED" },
    { id: "UNFIT", verdicts: ["TCONF"], reason: "no O_DIRECT" },
    { id: "NEVER", verdicts: ["TCONF"] },
    { id: "FAILED", verdicts: ["TCONF"] },
    { id: "OTHER", verdicts: ["TFAIL"], reason: "read of 512 bytes failed: EIO" },
    { id: "STILL", verdicts: ["TFAIL"], reason: "7 of 2048 sectors are bad" },
    { id: "KNOWN", verdicts: ["TFAIL"], expected: true },
    { id: "ADDED" },
  ]);
  const all = compare(old, now);
  expect(names(all.broken)).toEqual(["s:NEW"]);
  expect(names(all.unfit)).toEqual(["s:UNFIT", "s:FAILED"]);
  expect(names(all.fixed)).toEqual(["s:FIXED"]);
  expect(names(all.reasons)).toEqual(["s:OTHER"]);
  expect([all.worse, all.better, all.slower]).toEqual([[], [], []]);
  expect([all.missing, all.added, all.compared]).toEqual([["s:GONE"], ["s:ADDED"], 9]);
  expect(isWorse(all)).toBe(true);
  expect(formatComparison(all)).toMatchSnapshot();
  const same = compare(now, now);
  expect(isWorse(same)).toBe(false);
  expect(formatComparison(same)).toBe("10 lines compared: no difference\n");
});

test("with repetitions a rate counts, with how likely it is by chance", () => {
  const rates = (bad: number, count = 20) => resultsOf([{ id: "R", verdicts: times(count, "TPASS", "TFAIL", bad) }]);
  expect(names(compare(rates(2), rates(12)).worse)).toEqual(["s:R"]);
  expect(names(compare(rates(12), rates(2)).better)).toEqual(["s:R"]);
  const unsure = compare(rates(4), rates(7));
  expect([unsure.worse, unsure.better, isWorse(unsure)]).toEqual([[], [], false]);
  // One failure where there was none is one.
  const rare = compare(rates(0), rates(1));
  expect(names(rare.broken)).toEqual(["s:R"]);
  expect(formatComparison(rare)).toContain(
    "TFAIL 1 of 20 times, before: passed 20 times (by chance: 0.500, so run more)",
  );
  expect(formatComparison(compare(rates(0), rates(9)))).toContain("(by chance: less than 0.001)");
});

describe("slower", () => {
  /** Ten lines of each of four programs; what a program's lines take differs by a third from line to line and run to run. */
  const suite = (factor: (program: string) => number, noise: (line: number) => number) =>
    resultsOf(
      ["a", "b", "c", "d"].flatMap((program, row) =>
        Array.from({ length: 10 }, (_, line) => {
          const seconds = (0.05 + 0.1 * line) * (1 + row) * factor(program) * noise(10 * row + line);
          return { id: `${program}${line}`, program, seconds: [seconds] };
        }),
      ),
    );

  test("a program of which every line takes twice as long is named, and only that", () => {
    const noise = fc.array(fc.double({ min: 0.85, max: 1.15, noNaN: true }), { minLength: 80, maxLength: 80 });
    const machine = fc.double({ min: 0.5, max: 2, noNaN: true });
    fc.assert(
      fc.property(noise, machine, (values, speed) => {
        const old = suite(
          () => 1,
          (line) => values[line] ?? 1,
        );
        const again = suite(
          () => speed,
          (line) => values[40 + line] ?? 1,
        );
        const now = suite(
          (program) => speed * (program === "c" ? 2 : 1),
          (line) => values[40 + line] ?? 1,
        );
        // That all of it is slower is the machine.
        expect(compare(old, again).slower).toEqual([]);
        const { slower } = compare(old, now);
        expect(slower.map(({ what }) => what)).toEqual(["c"]);
        expect(slower[0]?.times).toBeGreaterThan(1.5);
      }),
    );
  });

  test("so is a line that was repeated, each time", () => {
    const line = (seconds: number[]) => resultsOf([{ id: "R", verdicts: seconds.map(() => "TPASS"), seconds }]);
    const old = line([0.1, 0.12, 0.11, 0.1, 0.13]);
    expect(compare(old, line([0.2, 0.21, 0.25, 0.22, 0.2])).slower).toMatchObject([{ what: "s:R" }]);
    expect(compare(old, line([0.2, 0.21, 0.25, 0.22, 0.12])).slower).toEqual([]);
    expect(compare(old, line([0.2, 0.21])).slower).toEqual([]);
  });

  test("what failed or takes no time says nothing", () => {
    const lines = (seconds: number, verdict: Verdict) =>
      resultsOf(
        Array.from({ length: 20 }, (_, index) => ({ id: `L${index}`, verdicts: [verdict], seconds: [seconds] })),
      );
    expect(compare(lines(0.001, "TPASS"), lines(0.01, "TPASS")).slower).toEqual([]);
    expect(compare(lines(1, "TFAIL"), lines(9, "TFAIL")).slower).toEqual([]);
    expect(compare(lines(1, "TPASS"), lines(9, "TPASS")).slower).toMatchObject([{ what: "aiocp", times: 9 }]);
  });
});

test("the chance is that of all ways to spread the failures", () => {
  /** By counting all subsets of so many runs. */
  const counted = (k: number, n: number, bad: number, total: number) => {
    let [hits, all] = [0, 0];
    for (let set = 0; set < 2 ** total; set++) {
      const bits = [...set.toString(2).padStart(total, "0")];
      if (bits.filter((bit) => bit === "1").length !== bad) continue;
      all += 1;
      if (bits.slice(0, n).filter((bit) => bit === "1").length >= k) hits += 1;
    }
    return hits / all;
  };
  const sizes = fc
    .tuple(fc.nat(9), fc.nat(9), fc.nat(9))
    .map(([a, b, c]) => ({ total: 1 + (a % 9), n: b, bad: c }))
    .map(({ total, n, bad }) => ({ total, n: n % (total + 1), bad: bad % (total + 1) }));
  fc.assert(
    fc.property(sizes, fc.nat(9), ({ total, n, bad }, k) => {
      expect(chanceOf(k, n, bad, total)).toBeCloseTo(counted(k, n, bad, total), 9);
    }),
  );
});
