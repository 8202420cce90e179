import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { lineOf, type PlannedRun } from "../../ts/events/events.js";
import { parseShard, shardOf } from "../../ts/plan/shard.js";

function planOf(lines: number, iterations: number): PlannedRun[] {
  return Array.from({ length: iterations }, (_, round) =>
    Array.from({ length: lines }, (_, line) => ({
      ...{ key: `s:L${line}${round > 0 ? `#${round + 1}` : ""}`, suite: "s", id: `L${line}`, iteration: round + 1 },
      ...{ program: line % 3 === 0 ? "a" : "b", argv: [], command: "" },
    })),
  ).flat();
}

const sizes = fc.record({ lines: fc.integer({ min: 1, max: 60 }), iterations: fc.integer({ min: 1, max: 3 }) });
const times = fc.dictionary(
  fc.integer({ min: 0, max: 70 }).map((line) => `s:L${line}`),
  fc.double({ min: 0.001, max: 100, noNaN: true }),
);

test("the parts are the plan: each run is in one, in the plan's order, with all of its line's", () => {
  fc.assert(
    fc.property(sizes, times, fc.nat(), ({ lines, iterations }, seconds, parts) => {
      const plan = planOf(lines, iterations);
      const of = 1 + (parts % lines);
      const known = new Map(Object.entries(seconds));
      const shards = Array.from({ length: of }, (_, index) => shardOf(plan, { index: index + 1, of }, known));
      expect(
        shards
          .flat()
          .map(({ key }) => key)
          .sort(),
      ).toEqual(plan.map(({ key }) => key).sort());
      for (const shard of shards) {
        expect(shard.length).toBeGreaterThan(0);
        expect(shard).toEqual(plan.filter((run) => shard.includes(run)));
        const mine = new Set(shard.map(lineOf));
        expect(shard).toHaveLength(mine.size * iterations);
      }
      expect(shardOf(plan, { index: 1, of }, known)).toEqual(shards[0]);
    }),
  );
});

test("by known times no part is longer than the mean and one line more", () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0.01, max: 50, noNaN: true }), { minLength: 2, maxLength: 60 }),
      fc.nat(),
      (list, parts) => {
        const plan = planOf(list.length, 1);
        const of = 1 + (parts % list.length);
        const seconds = new Map(list.map((value, line) => [`s:L${line}`, value]));
        const sum = (runs: readonly PlannedRun[]) =>
          runs.reduce((total, { key }) => total + (seconds.get(key) ?? 0), 0);
        const limit = sum(plan) / of + Math.max(...list) + 1e-9;
        for (let index = 1; index <= of; index++)
          expect(sum(shardOf(plan, { index, of }, seconds))).toBeLessThanOrEqual(limit);
      },
    ),
  );
});

test("what is not known takes as long as its program's others", () => {
  const plan = planOf(6, 1);
  // Of program b, one line took long: the three others are taken to do so, and are spread.
  const seconds = new Map([
    ["s:L0", 1],
    ["s:L1", 100],
  ]);
  const parts = [1, 2].map(
    (index) => shardOf(plan, { index, of: 2 }, seconds).filter(({ program }) => program === "b").length,
  );
  expect(parts).toEqual([2, 2]);
});

describe("K/N", () => {
  test("is read", () => {
    expect(parseShard("2/3")).toEqual({ index: 2, of: 3 });
    expect(parseShard("1/1")).toEqual({ index: 1, of: 1 });
  });

  test.each(["", "2", "0/3", "4/3", "1/0", "-1/3", "1/3/5", "a/b", "1.5/3", "1/10001", "1 /3"])(
    "%j is refused",
    (text) => {
      expect(() => parseShard(text)).toThrow(`--shard: "${text}" is not K/N, the K-th of N parts, for example 2/3`);
    },
  );

  test("more parts than lines are refused", () => {
    expect(() => shardOf(planOf(2, 5), { index: 3, of: 3 })).toThrow(
      "--shard 3/3: there are only 2 lines: make fewer parts",
    );
  });
});
