import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { MachineFacts } from "../../ts/events/events.js";
import {
  ATTRIBUTES,
  type Environment,
  environmentOf,
  issueText,
  KnownIssues,
  parseKnownIssues,
  readKnownIssues,
} from "../../ts/kernel/known-issues.js";
import { parseYaml } from "../../ts/kernel/yaml.js";

const SUITE = "ltp-aiodio.part1";
const run = (id: string, suite = SUITE) => ({ suite, id });
const parse = (value: unknown) => parseKnownIssues(JSON.stringify(value), "f", parseYaml).issues;
const HERE: Environment = { arch: "ppc64le", product: "opensuse:Tumbleweed" };
const describing = (issues: KnownIssues, environment: Environment) => {
  issues.describe(environment);
  return issues;
};
const known = (value: unknown, environment = HERE) => describing(new KnownIssues(parse(value)), environment);
const fromYaml = (content: string) => {
  const { issues, notes } = parseKnownIssues(content, "f", parseYaml);
  return { issues: describing(new KnownIssues(issues), HERE), notes };
};

const MACHINE: MachineFacts = {
  kernel: "6.9.9-1-default",
  kernelVersion: "#1 SMP",
  machine: "ppc64le",
  pageBytes: 65536,
  node: "v20",
  distribution: "opensuse-tumbleweed",
  distributionVersion: "20240720",
  cmdline: "",
  cpu: "",
  memory: "",
  swap: "",
};

describe("an entry", () => {
  const file = {
    [SUITE]: {
      AD033: [
        { arch: "^s390x$", message: "another machine" },
        { arch: "^ppc64le$", retval: "^2$", message: "https://bugzilla.suse.com/1224434\nof btrfs" },
        { message: "anything else" },
      ],
    },
  };

  test("explains a failure: the first whose conditions all fit", () => {
    const issues = known(file);
    expect(issues.explain(run("AD033"), "TBROK", 2)?.place).toBe(`${SUITE} / AD033 / 1`);
    expect(issues.explain(run("AD033"), "TFAIL", 1)?.message).toBe("anything else");
    expect(issues.explain(run("AD034"), "TFAIL", 1)).toBeUndefined();
    expect(issues.explain(run("AD033", "ltp-aiodio.part2"), "TFAIL", 1)).toBeUndefined();
  });

  test("explains no pass", () => {
    const issues = known({ [SUITE]: { AD033: [{}] } });
    expect(issues.explain(run("AD033"), "TPASS", 0)).toBeUndefined();
    expect(issues.explain(run("AD033"), "TCONF", 32)).toBeUndefined();
    expect(issues.explain(run("AD033"), "TWARN", 4)).toBeDefined();
  });

  test.each(ATTRIBUTES.filter((name) => name !== "retval"))("with %s fits only what has it", (name) => {
    const value = { [SUITE]: { A: [{ [name]: "^incredible_value$" }] } };
    expect(known(value, { [name]: "incredible_value" }).explain(run("A"), "TFAIL", 1)).toBeDefined();
    expect(known(value, { [name]: "another" }).explain(run("A"), "TFAIL", 1)).toBeUndefined();
    expect(known(value, {}).explain(run("A"), "TFAIL", 1)).toBeUndefined();
  });

  test("may be meant for all tests, for some, or for a whole suite", () => {
    const issues = known({
      [SUITE]: {
        "*": [
          { test: "^AD03", message: "some" },
          { test: "1$", message: "others" },
        ],
      },
      other: [{ message: "in a list" }],
    });
    expect(issues.explain(run("AD033"), "TFAIL", 1)?.message).toBe("some");
    expect(issues.explain(run("AD001"), "TFAIL", 1)?.message).toBe("others");
    expect(issues.explain(run("AD002"), "TFAIL", 1)).toBeUndefined();
    expect(issues.explain(run("A7", "other"), "TFAIL", 1)?.message).toBe("in a list");
  });

  test("may say not to run the test, or to let it fail", () => {
    const issues = known({
      [SUITE]: { A: [{ skip: 1, arch: "ppc" }], B: [{ keep_fail: true }], C: [{ skip: 1, arch: "x86" }] },
    });
    expect(issues.skip(run("A"))).toMatchObject({ skip: true });
    expect(issues.skip(run("B"))).toBeUndefined();
    expect(issues.skip(run("C"))).toBeUndefined();
    expect(issues.explain(run("B"), "TFAIL", 1)).toMatchObject({ keepFail: true });
  });

  test("tells why in one line", () => {
    const text = (entry: object) => issueText(parse({ s: { A: [entry] } })[0] ?? expect.fail("no entry"));
    expect(text({ message: " two\nlines " })).toBe("two lines");
    expect(text({ bugzilla: 1224434, message: "btrfs" })).toBe("bug 1224434: btrfs");
    expect(text({ bugzilla: "https://bugzilla.suse.com/1" })).toBe("https://bugzilla.suse.com/1");
    expect(text({})).toBe("s / A / 0");
  });
});

describe("exactly what openQA excuses is excused", () => {
  test("of the key * nothing without a `test`", () => {
    const { issues, notes } = fromYaml(`${SUITE}:\n  "*":\n  - message: all\n  - test: ""\n  - test: ~\n`);
    expect(issues.explain(run("AD001"), "TFAIL", 1)).toBeUndefined();
    expect(notes).toEqual(['f:3: an entry of "*" without `test` does not count, as in openQA']);
  });

  test("of the key * nothing for a test that has its own key, whatever that excuses", () => {
    const { issues } = fromYaml(`${SUITE}:
  "*":
  - {test: AD, message: all}
  AD001:
  - {arch: s390x}
  AD002: []
  AD003:
  # - {arch: ppc64le}
`);
    for (const id of ["AD001", "AD002"]) expect(issues.explain(run(id), "TFAIL", 1), id).toBeUndefined();
    for (const id of ["AD003", "AD004"]) expect(issues.explain(run(id), "TFAIL", 1)?.message, id).toBe("all");
  });

  test("in a suite's list whatever it is, `test` does not matter", () => {
    const { issues, notes } = fromYaml("s:\n- test: 7$\n  arch: ppc\n");
    expect(issues.explain(run("A8", "s"), "TFAIL", 1)).toBeDefined();
    expect(notes).toEqual(["f:2: `test` in a suite's list does not count, as in openQA"]);
  });

  test("the first entry that fits says whether to skip", () => {
    const { issues } = fromYaml(`s:
  A: [{arch: ppc}, {skip: 1}]
  B: [{arch: s390x}, {skip: 1}]
  C: [{retval: ^1$}, {skip: 1}]
  D: [{skip: 0}, {skip: 1}]
  E: [{skip: false}]
  F: [{skip: "no"}]
`);
    expect(["A", "B", "C", "D", "E", "F"].filter((id) => issues.skip(run(id, "s")))).toEqual(["B", "C", "F"]);
  });

  test("retval undefined is a test that came to no end of its own", () => {
    const { issues } = fromYaml("s:\n  A: [{retval: ^undefined$}]\n  B: [{retval: ^2$}]\n");
    expect(issues.explain(run("A", "s"), "TBROK", 2)).toBeUndefined();
    expect(issues.explain(run("A", "s"), "TBROK", 2, true)).toBeDefined();
    expect(issues.explain(run("B", "s"), "TBROK", 2, true)).toBeDefined();
  });

  test("merged conditions count", () => {
    const { issues, notes } = fromYaml(`.old: &old
  kernel: ^4\\.
  archs: x86
s:
  A:
  - <<: *old
    message: only old kernels
  B:
  - <<: *old
    kernel: ^6\\.
`);
    expect(issues.explain(run("A", "s"), "TFAIL", 1)).toBeUndefined();
    issues.describe({ kernel: "4.12" });
    expect(issues.explain(run("A", "s"), "TFAIL", 1)?.message).toBe("only old kernels");
    expect(issues.explain(run("B", "s"), "TFAIL", 1)).toBeUndefined();
    expect(notes).toEqual(['f:3: the key "archs" (did you mean "arch"?) is not known and does not count']);
  });

  test.each([
    ["an empty file", ""],
    ["a document's mark", "---\n"],
    ["comments", "# nothing\n"],
    ["a suite whose entries are commented out", "s:\n# A: []\n"],
    ["a test whose entries are commented out", "s:\n  A:\n  # - message: x\n"],
    ["empty keys", "s:\n  A: []\nt: []\n"],
  ])("%s excuses nothing and is no error", (_, content) => {
    const { issues, notes } = fromYaml(content);
    expect(issues.explain(run("A", "s"), "TFAIL", 1)).toBeUndefined();
    expect(notes).toEqual([]);
  });

  test("conditions without a value are none", () => {
    const { issues } = fromYaml("s:\n  A:\n  - {arch: ~, message: ~, skip: ~, test: ~}\n");
    expect(issues.explain(run("A", "s"), "TFAIL", 1)).toMatchObject({ conditions: {}, skip: false });
  });
});

test("unknown keys are told once each, with their line", () => {
  const content = '{"s": {\n"A": [\n{"archs": "x", "note": "y"},\n{"archs": "x"}]},\n"t": [{"note": ""}]}';
  expect(parseKnownIssues(content, "f", parseYaml).notes).toEqual([
    'f:3: the key "archs" (did you mean "arch"?) is not known and does not count',
    'f:3: the key "note" is not known and does not count',
  ]);
});

describe("a test in a guest", () => {
  const there = (id: string, guest: string) => ({ ...run(id), guest });

  test("is explained by what fits the guest, not this machine or another guest", () => {
    const issues = known(
      { [SUITE]: { A: [{ kernel: "^6\\.1\\.", arch: "^ppc64le$" }] } },
      { arch: "ppc64le", kernel: "6.1.0" },
    );
    issues.describe({ arch: "ppc64le", kernel: "6.12.95" }, "new");
    issues.describe({ arch: "ppc64le", kernel: "6.1.0-50" }, "old");
    expect(issues.explain(there("A", "new"), "TFAIL", 1)).toBeUndefined();
    expect(issues.explain(there("A", "old"), "TFAIL", 1)).toBeDefined();
    expect(issues.explain(there("A", "unheard of"), "TFAIL", 1)).toBeUndefined();
  });

  test("is skipped by what is known before the guest is up, and explained by what is known then", () => {
    const file = { [SUITE]: { A: [{ skip: 1, arch: "arm" }], B: [{ skip: 1, kernel: "^6" }, { kernel: "^6" }] } };
    const issues = new KnownIssues(parse(file));
    issues.describe({ arch: "arm64" }, "g");
    expect(issues.skip(there("A", "g"))).toBeDefined();
    expect(issues.skip(there("B", "g"))).toBeUndefined();
    issues.describe({ arch: "arm64", kernel: "6.1" }, "g");
    expect(issues.explain(there("B", "g"), "TFAIL", 1)?.place).toBe(`${SUITE} / B / 0`);
  });

  test("makes an entry stale only where it is of one of the run's guests", () => {
    const file = { [SUITE]: { A: [{ arch: "ppc" }], B: [{ arch: "arm" }], C: [{ arch: "x86" }] } };
    const issues = new KnownIssues(parse(file));
    issues.describe({ arch: "ppc64le" }, "one");
    issues.describe({ arch: "arm64" }, "other");
    expect(issues.stale([SUITE]).map(({ issue }) => issue.test)).toEqual(["A", "B"]);
  });
});

describe("what is listed but no longer fails is told", () => {
  const file = {
    [SUITE]: {
      A: [{ message: "fails" }, { message: "fits too" }, { retval: "^32$", message: "another way" }],
      B: [{ message: "passes" }],
      C: [{ message: "no such test" }],
      D: [{ skip: true }],
      E: [{ arch: "s390x", message: "another machine" }],
    },
    "another suite": { A: [{ message: "not of this run" }] },
  };

  test("but not what is of another machine or suite", () => {
    const issues = known(file);
    issues.skip(run("D"));
    issues.explain(run("A"), "TFAIL", 1);
    issues.explain(run("B"), "TPASS", 0);
    issues.explain(run("E"), "TPASS", 0);
    expect(issues.stale([SUITE]).map(({ issue, reason }) => [issue.place, reason])).toEqual([
      [`${SUITE} / A / 2`, "unneeded"],
      [`${SUITE} / B / 0`, "unneeded"],
      [`${SUITE} / C / 0`, "absent"],
    ]);
  });

  test("and once needed is needed, in however many iterations", () => {
    const issues = known({ [SUITE]: { A: [{}] } });
    issues.explain(run("A"), "TFAIL", 1);
    issues.explain(run("A"), "TPASS", 0);
    expect(issues.stale([SUITE])).toEqual([]);
  });
});

describe("this machine in openQA's words", () => {
  test("lacks what is not known", () => {
    expect(environmentOf({ machine: "ppc64le" }, "20260529")).toEqual({ arch: "ppc64le", ltp_version: "20260529" });
  });

  test("has what can be known, and what is given", () => {
    expect(environmentOf(MACHINE, "20260529", { flavor: "DVD" })).toEqual({
      product: "opensuse:Tumbleweed",
      arch: "ppc64le",
      kernel: "6.9.9-1-default",
      ltp_version: "20260529",
      flavor: "DVD",
    });
  });

  test.each([
    ["opensuse-leap", "15.6", "opensuse:15.6"],
    ["sles", "15.6", "sle:15-SP6"],
    ["sles_sap", "12.5", "sle:12-SP5"],
    ["sles", "16.0", "sle:16.0"],
    ["debian", "12", "debian:12"],
  ])("%s %s is %s", (distribution, distributionVersion, product) => {
    expect(environmentOf({ ...MACHINE, distribution, distributionVersion }, "").product).toBe(product);
  });
});

describe("patterns are Perl's", () => {
  test.each([
    ["(?i)TUMBLE", true],
    ["\\Aopensuse", true],
    ["weed\\z", true],
    ["weed\\Z", true],
    ["suse\\:T", true],
    ["^sle", false],
    ["\\\\A", false],
  ])("%s", (product, fits) => {
    const found = known({ [SUITE]: { A: [{ product }] } }).explain(run("A"), "TFAIL", 1);
    expect(found !== undefined).toBe(fits);
  });

  test("and numbers may stand without quotes", () => {
    expect(known({ [SUITE]: { A: [{ retval: 2 }] } }).explain(run("A"), "TBROK", 2)).toBeDefined();
  });
});

describe("a bad file is one clear error", () => {
  test.each([
    ["[]", "f is not openQA's format: Invalid input: expected record, received array"],
    ['{"s":{"A":{}}}', "f is not openQA's format at s / A: Invalid input: expected array, received object"],
    ['{"s":{"A":[{},{"arch":"("}]}}', 'f is not openQA\'s format at s / A / 1 / arch: "(" is no regular expression'],
    ['{"s":[{"kernel":[]}]}', "f is not openQA's format at s / 0 / kernel: Invalid input"],
    ['{"s":{"A":["x"]}}', "f is not openQA's format at s / A / 0: Invalid input: expected object, received string"],
    ['{"s":', "f is no JSON or YAML ("],
    ["a: b: c", "f is no JSON or YAML ("],
    ["s:\n  A:\n  -\n", "f is not openQA's format at s / A / 0: Invalid input: expected object, received null"],
    [
      "skiplist:\n- reason: slow\n  tests: [AD001]\n",
      "f is LKFT's skip list, not openQA's format: give it as --skip-file",
    ],
  ])("%s", (content, message) => {
    expect(() => parseKnownIssues(content, "f", parseYaml)).toThrow(`--known-issues: ${message}`);
  });

  test("as is one that cannot be read", () => {
    expect(() => readKnownIssues("/nowhere/f", parseYaml)).toThrow(
      "--known-issues: cannot read /nowhere/f (ENOENT): name a file in openQA's format",
    );
  });

  test("whatever it holds", () => {
    fc.assert(
      fc.property(fc.json(), (content) => {
        try {
          parseKnownIssues(content, "f", parseYaml);
        } catch (error) {
          expect(error).toMatchObject({ name: "UsageError" });
        }
      }),
    );
  });
});

test("a file may begin with a byte order mark", () => {
  const folder = mkdtempSync(join(tmpdir(), "known-"));
  writeFileSync(join(folder, "f"), '\uFEFF{"s":{}}');
  expect(readKnownIssues(join(folder, "f"), parseYaml)).toEqual({ issues: [], notes: [] });
  rmSync(folder, { recursive: true });
});
