/** Known issues of a testcase, and of the checker that complains about its filesystem afterwards. */
import { expect, test } from "vitest";
import type { RunEvent } from "../../ts/events/events.js";
import { KnownIssues, parseKnownIssues } from "../../ts/kernel/known-issues.js";
import { Excuses } from "../../ts/report/excuses.js";
import { Results } from "../../ts/report/results.js";
import { plan, runEvents } from "./fixture.js";

const [passed = "", failed = ""] = plan.map(({ key }) => key);
const damage = { checker: "/sbin/e2fsck -fn /dev/x", verdict: "corrupt", exit: 4, output: "bad" } as const;

/** What is expected after the first two testcases, of which one failed, and a complaint about the filesystem of both. */
function excused(entries: object, reports: Extract<RunEvent, { type: "check" }>["result"]["reports"] = [damage]) {
  const content = JSON.stringify({ part1: entries });
  const { issues } = parseKnownIssues(content, "k", (text) => ({ value: JSON.parse(text), lineOf: () => 1 }));
  const known = new KnownIssues(issues);
  known.describe({});
  const results = new Results();
  const excuses = new Excuses(known, results);
  const check: RunEvent = {
    ...{ type: "check", time: "", filesystem: "ext4", worker: 1, suspects: [passed, failed] },
    result: { clean: false, reports, seconds: 1 },
  };
  for (const event of [...runEvents({ stopAfter: 2 }), check]) {
    results.add(event);
    for (const excuse of excuses.after(event)) results.add(excuse);
  }
  const expected = [passed, failed].map((key) => results.expected(key));
  // Asking again, as a run that is resumed does, brings the same.
  for (const excuse of excuses.all()) results.add(excuse);
  expect([passed, failed].map((key) => results.expected(key))).toEqual(expected);
  return { expected, unexpected: results.unexpected, stale: known.stale(["part1"]).map(({ issue }) => issue.test) };
}

test("a checker's complaint is explained by an entry with the checker's name", () => {
  const e2fsck = [{ message: "bug 1" }];
  expect(excused({ e2fsck, AD002: [{ message: "bug 2" }] })).toEqual({
    expected: ["bug 1", "bug 2; bug 1"],
    unexpected: 0,
    stale: [],
  });
});

test("the testcase's own failure must be known, too", () => {
  expect(excused({ e2fsck: [{ message: "bug 1" }] })).toMatchObject({ expected: ["bug 1", undefined], unexpected: 1 });
});

test.each([
  ["what is known of a testcase", { AD001: [{}], AD002: [{}] }, ["AD001"]],
  ["what is known of all testcases", { "*": [{ test: "." }] }, []],
  ["another checker's entry", { xfs_repair: [{}] }, ["xfs_repair"]],
  ["an entry for a checker that could not do its work", { e2fsck: [{ retval: "^4$" }] }, ["e2fsck"]],
  ["an entry that keeps the failure", { e2fsck: [{ keep_fail: true }] }, []],
])("%s does not explain it", (_name, entries, stale) => {
  expect(excused(entries)).toEqual({ expected: [undefined, undefined], unexpected: 2, stale });
});

test("each of several checkers needs its entry", () => {
  const mount = { checker: "btrfs check /dev/x", verdict: "failed", output: "killed" } as const;
  const e2fsck = [{ message: "bug 1" }];
  expect(excused({ e2fsck }, [damage, mount])).toMatchObject({ expected: [undefined, undefined] });
  expect(excused({ e2fsck, btrfs: [{ retval: 4, message: "bug 2" }] }, [damage, mount])).toMatchObject({
    expected: ["bug 1; bug 2", undefined],
  });
});
