import { expect, test } from "vitest";
import type { Line, State } from "../../ts/page/data.js";
import { countStates, linesWanted, NO_FILTER } from "../../ts/page/filter.js";
import { seconds, shortened } from "../../ts/page/format.js";

const line = (label: string, state: State, place: number, why?: string): Line => ({
  ...{ label, id: label, suite: 0, program: 0, place, command: `aiocp -b ${label}`, state, seconds: 1 },
  ...(why !== undefined && { why }),
});
const lines = [line("A", "TPASS", 0), line("B", "TFAIL", 1, "Files differ"), line("C", "TFAIL", 0)];
const labels = (filter: Partial<typeof NO_FILTER>) =>
  linesWanted({ lines }, { ...NO_FILTER, ...filter }).map(({ label }) => label);

test("all are wanted without a filter; verdict, place and text each leave some out", () => {
  expect(labels({})).toEqual(["A", "B", "C"]);
  expect(labels({ states: new Set(["TFAIL"]) })).toEqual(["B", "C"]);
  expect(labels({ place: 0 })).toEqual(["A", "C"]);
  expect(labels({ text: " fileS " })).toEqual(["B"]);
  expect(labels({ text: "-b c" })).toEqual(["C"]);
  expect(labels({ states: new Set(["TFAIL"]), place: 0 })).toEqual(["C"]);
  expect(countStates(lines)).toEqual(
    new Map([
      ["TPASS", 1],
      ["TFAIL", 2],
    ]),
  );
});

test("numbers and names are short", () => {
  expect([0.0000005, 0.0123, 4.56, 123.4].map(seconds)).toEqual(["1 µs", "12 ms", "4.6 s", "123 s"]);
  expect(shortened("faultfs:fault=misdirect-write/AD001", 21)).toBe("faultfs:fa…rite/AD001");
  expect(shortened("short", 21)).toBe("short");
});
