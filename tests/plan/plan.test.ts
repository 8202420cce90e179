import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { nearest } from "../../ts/base/suggest.js";
import { makePlan } from "../../ts/plan/plan.js";
import type { RuntestFile } from "../../ts/plan/resolve.js";
import { parseRuntest } from "../../ts/plan/runtest.js";
import { checkSeed, randomSeed, shuffled, splitmix32 } from "../../ts/plan/shuffle.js";

const file = (suite: string, text: string): RuntestFile => ({
  path: `dir/${suite}`,
  suite,
  lines: parseRuntest(text, suite),
});
const part = file("part", "AD001 aiocp -b 1k\nAD002 aiocp -b 2k -f DIRECT\nAD003 aiocp -b 4k\n");
const thrown = (call: () => unknown): Error => {
  try {
    call();
  } catch (error) {
    return error as Error;
  }
  throw new Error("nothing was thrown");
};
const keys = (files: RuntestFile[], request = {}) => makePlan(files, request, ["aiocp"]).map(({ key }) => key);

test("a run knows its line, and its arguments are without the program", () => {
  expect(makePlan([part], {}, ["aiocp"])[1]).toEqual({
    key: "part:AD002",
    suite: "part",
    id: "AD002",
    iteration: 1,
    program: "aiocp",
    argv: ["-b", "2k", "-f", "DIRECT"],
    command: "aiocp -b 2k -f DIRECT",
  });
});

describe("select and skip", () => {
  test.each([
    [{ select: ["AD00[12]"] }, ["part:AD001", "part:AD002"]],
    [{ select: ["DIRECT"] }, ["part:AD002"]],
    [{ select: ["^AD001$", "-b 4k"] }, ["part:AD001", "part:AD003"]],
    [{ skip: ["2k", "AD003"] }, ["part:AD001"]],
    [{ select: ["AD"], skip: ["AD001"] }, ["part:AD002", "part:AD003"]],
  ])("%j", (request, expected) => {
    expect(keys([part], request)).toEqual(expected);
  });

  test.each([
    [{ select: ["("] }, /^--select: "\(" is no regular expression \(unterminated group\): correct it$/],
    [{ skip: [""] }, /^--skip: the pattern is empty/],
    [{ select: ["ZZ"] }, /^--select and --skip leave none of the 3 lines/],
  ])("%j is one clear error", (request, message) => {
    expect(() => keys([part], request)).toThrow(message);
  });
});

describe("keys", () => {
  test("iterations repeat the whole", () => {
    expect(keys([part], { iterate: 2, skip: ["AD003"] })).toEqual([
      "part:AD001",
      "part:AD002",
      "part:AD001#2",
      "part:AD002#2",
    ]);
  });

  test("files with one base name are told apart, even when names look like ours", () => {
    const one = file("a", "X aiocp");
    const odd = file("a@2", "X aiocp");
    expect(keys([one, one, odd, one])).toEqual(["a:X", "a@3:X", "a@2:X", "a@4:X"]);
  });

  test("are unique whatever the files are", () => {
    const files = fc.array(fc.constantFrom("a", "a@2", "a@3", "b"), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(files, fc.integer({ min: 1, max: 4 }), (names, iterate) => {
        const all = keys(
          names.map((name) => file(name, "X aiocp\nY aiocp")),
          { iterate },
        );
        expect(new Set(all).size).toBe(2 * iterate * names.length);
      }),
    );
  });

  test("too many are refused before they take the memory", () => {
    expect(() => keys([part], { iterate: 1000, repeat: 1000 })).toThrow(
      /^--iterate 1000 and --repeat 1000 makes 3000000/,
    );
    expect(() => keys([part], { iterate: 1_000_000 })).toThrow(/makes 3000000 runs, 1000000 is the limit/);
  });
});

test("unknown programs are one error, and only of lines that would run", () => {
  const bad = file("bad", "A aiocp\nB aicp x\nC aicp\nD frobnicate\nE aicp\nF aicp\n");
  expect(() => keys([bad])).toThrow(
    'unknown program "aicp" (did you mean "aiocp"?) at dir/bad:2, dir/bad:3, dir/bad:5 and 1 more lines; ' +
      '"frobnicate" at dir/bad:4: this version has aiocp; correct the lines or leave them out with --skip',
  );
  expect(keys([bad], { skip: ["aicp", "frob"] })).toEqual(["bad:A"]);
});

test("a file of hundreds of unknown programs is an error of a few lines", () => {
  const text = Array.from({ length: 1000 }, (_, index) => `T${index} program${index}`).join("\n");
  const file = { path: "syscalls", suite: "syscalls", lines: parseRuntest(text, "syscalls") };
  const { message } = thrown(() => makePlan([file], {}, ["aiocp"]));
  expect(message).toMatch(
    /^unknown program "program0" at syscalls:1; .*; and 992 more programs: this version has aiocp/,
  );
  expect(message.length).toBeLessThan(1000);
  const other = thrown(() => parseRuntest("no runtest file:\n".repeat(10_000), "syslog"));
  expect(other.message.split("\n")).toHaveLength(52);
  expect(other.message).toMatch(/\nand 9949 more lines$/);
});

describe("shuffle", () => {
  test("the generator is what its published constants give, on every machine", () => {
    const next = splitmix32(1);
    expect([next(), next(), next()]).toMatchSnapshot();
  });

  test("a seed gives one order, another seed another, and nothing is lost", () => {
    fc.assert(
      fc.property(fc.array(fc.integer()), fc.nat(2 ** 32 - 1), (items, seed) => {
        const once = shuffled(items, String(seed));
        expect(shuffled(items, String(seed))).toEqual(once);
        expect([...once].sort()).toEqual([...items].sort());
      }),
    );
    const many = Array.from({ length: 100 }, (_, index) => index);
    expect(shuffled(many, "1")).not.toEqual(shuffled(many, "2"));
  });

  test("every item comes first about as often", () => {
    const first = new Map<number, number>();
    for (let seed = 0; seed < 4000; seed++) {
      const [item = -1] = shuffled([0, 1, 2, 3], String(seed));
      first.set(item, (first.get(item) ?? 0) + 1);
    }
    for (const count of first.values()) expect(Math.abs(count - 1000)).toBeLessThan(120);
  });

  test("applies to a plan, and iterations stay in it", () => {
    const plan = keys([part], { iterate: 20, shuffleSeed: "7" });
    expect(plan).toEqual(keys([part], { iterate: 20, shuffleSeed: "7" }));
    expect([...plan].sort()).toEqual([...keys([part], { iterate: 20 })].sort());
    expect(plan).not.toEqual(keys([part], { iterate: 20 }));
  });

  test("seeds are whole numbers of 32 bits", () => {
    expect(checkSeed("0042")).toBe("42");
    expect(checkSeed(randomSeed())).toMatch(/^\d+$/);
    for (const bad of ["", "-1", "x", "1.5", "4294967296", "99999999999"]) expect(() => checkSeed(bad)).toThrow(/seed/);
  });
});

test("near misses", () => {
  const names = ["--journal", "--reporter", "--resume", "--bail"];
  expect(nearest("--jounral", names)).toBe("--journal");
  expect(nearest("--report", names)).toBe("--reporter");
  expect(nearest("--frobnicate", names)).toBeUndefined();
  expect(nearest("x".repeat(10_000), names)).toBeUndefined();
});
