import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatBytes, parseInteger, parseSeconds, parseSeed, parseSize } from "../../ts/base/numbers.js";

describe("parseInteger", () => {
  test.each([
    ["1", 1],
    ["+7", 7],
    [" 42", 42],
    ["010", 10],
    ["2147483647", 2147483647],
  ])("%j is %d", (text, value) => expect(parseInteger(text)).toBe(value));

  test.each(["", "abc", "0", "-1", "1x", "1 ", "0x10", "1.5", "2147483648", "99999999999999999999"])(
    "%j is refused",
    (text) => expect(parseInteger(text)).toBeUndefined(),
  );

  test("reads back every number in range", () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 2 ** 31 - 1 }), (n) => parseInteger(String(n)) === n));
  });
});

describe("parseSize", () => {
  test.each([
    ["1", 1],
    ["4b", 4],
    ["4x", 4],
    ["1k", 1024],
    ["64K", 65536],
    ["1m", 2 ** 20],
    ["2G", 2 ** 31],
    ["0x200", 512],
    ["010", 8],
    ["0x10k", 16384],
  ])("%j is %d", (text, value) => expect(parseSize(text)).toBe(value));

  test.each(["", "k", "0", "-4k", "4kb", "1.5k", "09", "abc", "9007199254740992", "99999999g"])(
    "%j is refused",
    (text) => expect(parseSize(text)).toBeUndefined(),
  );

  test("multiplies by the suffix", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 20 }), fc.constantFrom("k", "K", "m", "M", "g", "G"), (n, suffix) => {
        const power = { k: 10, m: 20, g: 30 }[suffix.toLowerCase()] ?? 0;
        return parseSize(`${n}${suffix}`) === n * 2 ** power;
      }),
    );
  });

  test("never throws, and never returns less than one byte or what a number can't hold", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const value = parseSize(text);
        return value === undefined || (Number.isSafeInteger(value) && value >= 1);
      }),
    );
  });
});

test("parseSeed takes all of 64 bits and no more", () => {
  expect(parseSeed("0xffffffffffffffff")).toBe(2n ** 64n - 1n);
  expect(parseSeed("12")).toBe(12n);
  for (const text of ["", "-1", "0x", "18446744073709551616", "1k"]) expect(parseSeed(text)).toBeUndefined();
});

test("parseSeconds takes fractions from the minimum on", () => {
  expect(parseSeconds("0.1", 0.1)).toBe(0.1);
  expect(parseSeconds("3", 0.1)).toBe(3);
  for (const text of ["", "0.05", "-1", "x", "1e3"]) expect(parseSeconds(text, 0.1)).toBeUndefined();
});

test("formatBytes keeps whole units", () => {
  expect([1, 1024, 1536, 2 ** 20, 3 * 2 ** 30].map(formatBytes)).toEqual([
    "1 bytes",
    "1 KiB",
    "1536 bytes",
    "1 MiB",
    "3 GiB",
  ]);
});
