import fc from "fast-check";
import { expect, test } from "vitest";
import { barsOf } from "../../ts/page/lanes.js";

const operations = fc
  .array(fc.record({ begin: fc.integer({ min: 0, max: 100 }), takes: fc.option(fc.integer({ min: 0, max: 50 })) }), {
    minLength: 1,
    maxLength: 40,
  })
  .map((all) =>
    all.map(({ begin, takes }, id) => ({
      ...{ id, line: String(id), begin, changes: true },
      ...(takes !== null && { end: begin + takes }),
    })),
  );

test("bars of one lane never overlap, lie in the time shown, and keep what they are of", () => {
  fc.assert(
    fc.property(operations, (all) => {
      const { bars, from, to } = barsOf(all);
      expect(bars.map(({ operation }) => operation.id).sort((a, b) => a - b)).toEqual(all.map(({ id }) => id));
      for (const { begin, end, operation } of bars) {
        expect(begin).toBeGreaterThanOrEqual(0);
        expect(end).toBeLessThanOrEqual(1);
        expect(end).toBeGreaterThanOrEqual(begin);
        expect(from + begin * (to - from || 1e-6)).toBeCloseTo(operation.begin);
      }
      for (const one of bars) {
        for (const other of bars) {
          if (one === other || one.lane !== other.lane) continue;
          expect(one.end <= other.begin || other.end <= one.begin).toBe(true);
        }
      }
    }),
  );
});

test("what is still in flight goes to the end, and messages of the kernel have their place", () => {
  const open = { id: 1, line: "pwrite", begin: 10, changes: true };
  const { bars, from, to } = barsOf([open, { ...open, id: 2, end: 12 }], [9, 14]);
  expect([from, to]).toEqual([9, 14]);
  expect(bars.map(({ lane, end }) => [lane, end])).toEqual([
    [0, 1],
    [1, 0.6],
  ]);
});
