import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseSkipList, readSkipList, skipReason } from "../../ts/kernel/skip-list.js";
import { parseYaml } from "../../ts/kernel/yaml.js";

const parse = (content: string) => parseSkipList(content, "f", parseYaml);
const IDS = ["AD001", "AD0010", "dio10", "dio12", "fsx-linux", "gf01"];
const skipped = (content: string, kernel?: string) => IDS.filter((id) => skipReason(parse(content), id, kernel));

describe("kirk's list", () => {
  test("has a regular expression a line, looked for in the ID, and comments", () => {
    expect(skipped("# why\n  # also\n\nAD001\n^dio1[0-1]$\r\n")).toEqual(["AD001", "AD0010", "dio10"]);
    expect(skipped("")).toEqual([]);
  });

  test("says which line it was", () => {
    expect(skipReason(parse("x\nAD001\n"), "AD001", undefined)).toBe("f:2");
  });

  test("that is malformed is one clear error", () => {
    expect(() => parse("AD001\nAD00(\n")).toThrow(
      '--skip-file: f:2: "AD00(" is neither an ID nor a regular expression',
    );
    expect(() => readSkipList("/nowhere/f", parseYaml)).toThrow("--skip-file: cannot read /nowhere/f (ENOENT)");
  });
});

describe("LKFT's list", () => {
  // The form of skipfile-lkft.yaml of Linaro's test-definitions.
  const LIST = `# This skipfile is consumable using skipgen
skiplist:
  - reason: >
      skip long running
      dio tests
    url: https://example.org/KV-171
    environments: production
    boards:
      - all
    branches:
      - all
    tests:
      - dio10
  - reason: old kernels
    environments: all
    boards: all
    branches:
      - 4.4
      - linux-4.9.y
      - v4.14-rt
    tests: [AD001]
  - reason: not here
    environments: [staging]
    boards: all
    branches: all
    tests: [fsx-linux]
  - reason: one board
    environments: all
    boards: [x15, i386]
    branches: all
    tests:
      - gf01
`;

  test("skips by name what is for all boards, and for this kernel's branch", () => {
    expect(skipped(LIST)).toEqual(["dio10"]);
    for (const kernel of ["4.4.302", "4.9.337-rt", "4.14.0-1-default"]) {
      expect(skipped(LIST, kernel), kernel).toEqual(["AD001", "dio10"]);
    }
    for (const kernel of ["6.4.4", "4.40.1", "14.4.1"]) expect(skipped(LIST, kernel), kernel).toEqual(["dio10"]);
  });

  test("gives its reasons, and says what it does not do here", () => {
    expect(skipReason(parse(LIST), "dio10", undefined)).toBe("skip long running dio tests https://example.org/KV-171");
    expect(parse(LIST).notes).toEqual(["f: what is only for boards (i386, x15) is run here"]);
  });

  test.each([
    ["skiplist:\n", []],
    ["---\nskiplist: []\n", []],
    ["skiplist:\n- tests: [dio10]\n", ["dio10"]],
  ])("%j skips %j", (content, ids) => {
    expect(skipped(content)).toEqual(ids);
  });

  test.each([
    ["skiplist: x\n", "f is not LKFT's format at skiplist"],
    ["skiplist:\n- reason: x\n", "f is not LKFT's format at skiplist / 0 / tests"],
    ["---\ntests: []\n", "f is not LKFT's format at skiplist"],
    ["skiplist: [\n", "f is no YAML ("],
  ])("%j is one clear error", (content, message) => {
    expect(() => parse(content)).toThrow(`--skip-file: ${message}`);
  });
});

test("nothing but its own error comes out, whatever goes in", () => {
  const piece = fc.constantFrom(
    "skiplist:",
    "\n",
    "- ",
    "tests:",
    "  ",
    "[",
    "AD001",
    "---\n",
    "(",
    "#",
    "all",
    "branches: ",
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(piece).map((all) => all.join("")),
      ),
      (content) => {
        try {
          parse(content);
        } catch (error) {
          expect(error).toMatchObject({ name: "UsageError" });
        }
      },
    ),
  );
});
