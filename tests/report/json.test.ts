import { expect, test } from "vitest";
import { DocumentReporter } from "../../ts/report/document.js";
import { kirkReport } from "../../ts/report/json.js";
import { Results } from "../../ts/report/results.js";
import { plan, play, runEvents } from "./fixture.js";

function report(events: ReturnType<typeof runEvents>): string {
  const results = new Results(true);
  let text = "";
  play(
    results,
    new DocumentReporter(results, kirkReport, (part) => {
      text += part;
    }),
    events,
  );
  return text;
}

test("the report is kirk's, with an indent of 4", () => {
  expect(report(runEvents())).toMatchSnapshot();
});

test("exit statuses become kirk's words", () => {
  const events = runEvents({ stopAfter: 1 });
  const words = [0, 1, 2, 3, 4, 32, 34, -1].map((exit) => {
    const changed = events.map((event) => (event.type === "test-end" ? { ...event, exit } : event));
    return JSON.parse(report(changed)).results[0].status;
  });
  expect(words).toEqual(["pass", "fail", "brok", "fail", "warn", "conf", "fail", "brok"]);
});

test("what was interrupted is not in it", () => {
  const { results, stats } = JSON.parse(report(runEvents({ stopAfter: 2, interrupted: true })));
  expect(results.map((result: { test_fqn: string }) => result.test_fqn)).toEqual(["AD001", "AD002"]);
  expect(stats.broken).toBe(0);
});

test("a failure and a later pass of the same line have names of their own, and say where they were", () => {
  const events = runEvents({ stopAfter: 2 }).map((event) => {
    if (event.type !== "run-start") return event;
    const [first, second, ...rest] = plan;
    if (!first || !second) throw new Error("the fixture has changed");
    const again = { ...second, id: first.id, iteration: 2, filesystem: "xfs:1k", guest: "arm64-16k" };
    return { ...event, plan: [{ ...first, filesystem: "ext4" }, again, ...rest] };
  });
  events.splice(-1, 0, { type: "known-issue", key: plan[1]?.key ?? "", text: "bug 1" });
  const { results } = JSON.parse(report(events));
  expect(results).toMatchObject([
    { test_fqn: plan[0]?.key, suite: "part1", iteration: 1, filesystem: "ext4", status: "pass" },
    {
      test_fqn: plan[1]?.key,
      iteration: 2,
      filesystem: "xfs:1k",
      guest: "arm64-16k",
      status: "fail",
      known_issue: "bug 1",
    },
  ]);
  expect(results[0]).not.toHaveProperty("known_issue");
});
