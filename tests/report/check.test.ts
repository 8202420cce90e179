/** What becomes of verdicts when a filesystem's checker complains afterwards. */
import { describe, expect, test } from "vitest";
import type { CheckResult, RunEvent } from "../../ts/events/events.js";
import { checkEvent } from "../../ts/events/schema.js";
import { Results } from "../../ts/report/results.js";
import { formatFilesystemEvent } from "../../ts/report/summary.js";
import { plan, runEvents } from "./fixture.js";

const [passed = "", failed = ""] = plan.map(({ key }) => key);

function check(suspects: string[], result: Partial<CheckResult>): Extract<RunEvent, { type: "check" }> {
  const whole = { clean: false, reports: [], seconds: 1, ...result };
  return { type: "check", time: "2026-11-21T00:00:00.000Z", filesystem: "xfs", worker: 1, suspects, result: whole };
}

/** After the first two testcases, of which one failed as expected. */
function resultsWith(event: RunEvent): Results {
  const results = new Results();
  for (const one of runEvents({ stopAfter: 2 })) results.add(one);
  results.add({ type: "known-issue", key: failed, text: "bug 1" });
  expect(results.unexpected).toBe(0);
  results.add(checkEvent(JSON.parse(JSON.stringify(event))));
  return results;
}

const corrupt = { reports: [{ checker: "xfs_repair -n /dev/x", verdict: "corrupt", exit: 1, output: "bad" }] } as const;

describe("a filesystem found damaged", () => {
  test("makes TFAIL of what passed, and no known issue of the testcase explains it", () => {
    const results = resultsWith(check([passed, failed], { reports: [...corrupt.reports] }));
    expect(results.of(passed).end?.verdict).toBe("TFAIL");
    expect(results.of(passed).log.at(-1)).toMatchObject({
      result: "TFAIL",
      text: "xfs was found damaged afterwards: xfs_repair -n /dev/x",
    });
    expect(results.expected(failed)).toBeUndefined();
    expect(results.unexpected).toBe(2);
  });

  test("is trouble of the run even where nothing has run on it", () => {
    expect(resultsWith(check([], { unmountable: "EIO" })).unexpected).toBe(1);
  });
});

describe("a filesystem that could not be checked", () => {
  test.each([
    ["its checker did not work", { reports: [{ checker: "e2fsck", verdict: "failed", output: "killed by SIGKILL" }] }],
    ["its keeper has died", { unchecked: "The keeper of the filesystem ended: SIGKILL." }],
  ] satisfies [string, Partial<CheckResult>][])("is TWARN, not damage: %s", (_, result) => {
    const event = check([passed], result);
    const results = resultsWith(event);
    expect(results.of(passed).end).toMatchObject({ verdict: "TWARN", exit: 4 });
    expect(results.of(passed).log.at(-1)).toMatchObject({ text: expect.stringMatching(/^xfs could not be checked/) });
    expect(results.unexpected).toBe(1);
    const text = formatFilesystemEvent(event);
    expect(text).toMatch(/^xfs could not be checked; these are TWARN: part1:AD001\n/);
    expect(text).toContain("SIGKILL");
  });
});

describe("a filesystem that nothing has checked since", () => {
  const made = (worker = 1): RunEvent => ({
    ...{ type: "filesystem", time: "2026-11-21T00:00:00.000Z", filesystem: "xfs", worker, mounts: [], dirtiedBytes: 0 },
  });
  /** The first two testcases, TPASS and TFAIL, on a filesystem of their worker's own; then `after`. */
  function resultsOn(...after: RunEvent[]): Results {
    const results = new Results();
    const [start, ...tests] = runEvents({ stopAfter: 2 }).slice(0, -1);
    for (const event of [start, made(), ...tests, ...after]) if (event) results.add(event);
    return results;
  }
  const taken = (results: Results) => results.takeUnchecked().map(({ suspects }) => suspects);

  test("is told once, with what passed on it", () => {
    const results = resultsOn();
    expect(results.takeUnchecked()).toEqual([{ filesystem: "xfs", suspects: [passed] }]);
    expect(results.takeUnchecked()).toEqual([]);
  });

  test.each([
    ["checked", [check([], { clean: true })], []],
    ["checked and replaced", [check([], { clean: true }), made()], []],
    ["replaced without a check: its keeper died", [made(), check([], { clean: true })], [[passed]]],
    ["of another worker than the one that was checked", [{ ...check([], { clean: true }), worker: 2 }], [[passed]]],
  ] satisfies [string, RunEvent[], string[][]][])("%s", (_, after, expected) => {
    expect(taken(resultsOn(...after))).toEqual(expected);
  });

  test("leaves TWARN of what passed, and words for it", () => {
    const event: RunEvent = {
      type: "unchecked",
      time: "2026-11-21T00:00:00.000Z",
      filesystem: "xfs",
      suspects: [passed],
    };
    const results = resultsOn(checkEvent(JSON.parse(JSON.stringify(event))));
    expect(results.of(passed).end).toMatchObject({ verdict: "TWARN", exit: 4 });
    expect(results.verdicts()).toMatchObject({ TPASS: 0, TWARN: 1, TFAIL: 1 });
    expect(formatFilesystemEvent(event)).toBe(`xfs was not checked any more, so what passed is TWARN: ${passed}\n`);
  });

  test.each([
    ["that was killed", []],
    ["that told it", [{ type: "unchecked", time: "2026-11-21T00:00:00.000Z", filesystem: "xfs", suspects: [passed] }]],
  ] satisfies [string, RunEvent[]][])("a run %s goes on with what passed there, and a failure stands", (_, after) => {
    const results = resultsOn(...after);
    results.doubtUnchecked();
    expect([passed, failed].map((key) => results.completed(key))).toEqual([false, true]);
    const [start] = runEvents();
    results.add(start as RunEvent);
    expect(results.verdicts()).toMatchObject({ TPASS: 0, TWARN: 0, TFAIL: 1 });
  });
});

test("a complaint that is expected is shown as such", () => {
  const event = check([passed, failed], { reports: [...corrupt.reports] });
  const issues = new Map([
    [passed, "bug 1"],
    [failed, "bug 2; bug 1"],
  ]);
  const shown = (known: ReadonlyMap<string, string>) =>
    formatFilesystemEvent(event, { expected: (key) => known.get(key) }).split("\n")[0];
  const who = "part1:AD001, part1:AD002";
  expect(shown(issues)).toBe(
    `xfs is damaged; one of these did it, so they are TFAIL, as expected (bug 1; bug 2; bug 1): ${who}`,
  );
  expect(shown(new Map([[passed, "bug 1"]]))).toBe(`xfs is damaged; one of these did it, so they are TFAIL: ${who}`);
});
