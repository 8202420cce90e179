/** Which class of bug is named for what was found. */
import { describe, expect, test } from "vitest";
import type { BadRange, Extent } from "#native";
import { badCopies, type Circumstances, diagnose } from "../../ts/testcase/diagnosis.js";
import { hexDump } from "../../ts/testcase/verification.js";

function range(kind: BadRange["kind"], right: BadRange["right"] = [2]): BadRange {
  return { offset: 0, bytes: 512, kind, right, shownAt: 0, found: Buffer.alloc(0), expected: Buffer.alloc(0) };
}

const unwritten: Extent[] = [{ offset: 0, bytes: 4096, physical: 8192, states: ["unwritten"] }];
const written: Extent[] = [{ offset: 0, bytes: 4096, physical: 8192, states: [] }];
const both: Circumstances = { cacheBad: true, diskBad: true };

describe("a diagnosis", () => {
  test.each<[string, BadRange, Circumstances, RegExp]>([
    ["zeros over an unwritten extent", range("zeros"), { ...both, extents: unwritten }, /before extent conversion/],
    ["zeros over a hole", range("zeros"), { ...both, extents: [] }, /left a hole/],
    ["zeros over a written extent", range("zeros"), { ...both, extents: written }, /its block was zeroed after it/],
    [
      "zeros on the disk only, unwritten",
      range("zeros"),
      { cacheBad: false, diskBad: true, extents: unwritten },
      /conversion was lost/,
    ],
    ["bad on the disk only", range("mutated"), { cacheBad: false, diskBad: true }, /never reached the disk/],
    ["bad in the page cache only", range("stale"), { cacheBad: true, diskBad: false }, /not invalidated/],
    ["an older write", range("stale"), both, /newer write was lost/],
    ["old data in a hole", range("stale", ["zeros"]), both, /punched, zeroed or truncated/],
    ["a free block's content", range("stale-disk"), both, /shown before its data were written/],
    ["another place's data", range("misplaced"), both, /wrong mapping/],
    ["another file's data", range("other-file"), both, /two files share a block/],
    ["another run's data", range("other-run"), both, /earlier run/],
    ["a torn sector", range("torn"), both, /only a part of the sector/],
    ["changed bytes", range("mutated"), both, /changed on the way/],
    ["noise where zeros should be", range("garbage", ["zeros"]), both, /where zeros should be/],
    ["noise", range("garbage"), both, /memory of somebody else/],
    ["a short file", range("missing"), both, /size was lost/],
    ["a long file", range("beyond-end"), both, /truncate was lost/],
    ["an error that passes", range("read-error-once"), both, /succeeded when it was repeated/],
    ["an error", range("read-error"), both, /checksum that does not match/],
  ])("of %s", (_name, bad, circumstances, sentence) => {
    expect(diagnose(bad, circumstances)).toMatch(sentence);
  });

  test("says which copies are bad", () => {
    expect(badCopies(both)).toBe("page cache and disk");
    expect(badCopies({ cacheBad: true, diskBad: false })).toBe("page cache only: the disk is good");
    expect(badCopies({ cacheBad: false, diskBad: true })).toBe("disk only: the page cache is good");
    expect(badCopies({ cacheBad: true })).toBe("page cache (the disk was not looked at)");
  });
});

test("expected and found stand side by side", () => {
  const expected = Buffer.from("AIODIO1\n0123456789abcdef");
  const found = Buffer.from("AIODIO1\n01234567\0\0\0\0cdef");
  expect(hexDump({ shownAt: 0x1e00, expected, found })).toMatchInlineSnapshot(`
    [
      "            expected                                          found",
      "  00001e00  41 49 4f 44 49 4f 31 0a 30 31 32 33 34 35 36 37   41 49 4f 44 49 4f 31 0a 30 31 32 33 34 35 36 37",
      "  00001e10  38 39 61 62 63 64 65 66                         ≠ 00 00 00 00 63 64 65 66",
    ]
  `);
});
