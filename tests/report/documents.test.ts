/** Reports for other tools: each is read by somebody else's parser where there is one, and kept as a snapshot. */

import fc from "fast-check";
import { XMLParser, XMLValidator } from "fast-xml-parser";
import { expect, test } from "vitest";
import { parse } from "yaml";
import type { RunEvent } from "../../ts/events/events.js";
import { DocumentReporter, type Format } from "../../ts/report/document.js";
import { githubReport } from "../../ts/report/github.js";
import { junitReport } from "../../ts/report/junit.js";
import { markdownReport } from "../../ts/report/markdown.js";
import { Results } from "../../ts/report/results.js";
import { tapReport } from "../../ts/report/tap.js";
import { plan, play, runEvents } from "./fixture.js";

/** One of each verdict; one failure is known, one line is not to be run, and a filesystem is damaged that nothing ran on. */
function everything(): RunEvent[] {
  const [start, ...rest] = runEvents();
  if (start?.type !== "run-start") throw new Error("the fixture has changed");
  const more = plan.slice(0, 1).map((run) => ({ ...run, key: "part1:AD900", id: "AD900" }));
  const end = rest.pop() as RunEvent;
  return [
    {
      ...start,
      ...{ plan: [...plan, ...more], repeat: { options: [], files: { part1: "part1" } } },
      skipped: [{ reason: "known issue 7", keys: ["part1:AD900"] }],
    },
    ...rest,
    { type: "known-issue", key: plan[4]?.key ?? "", text: "bug 4711" },
    {
      type: "check",
      ...{ time: start.time, filesystem: "xfs", worker: 0, suspects: [] },
      result: {
        ...{ clean: false, seconds: 0.25 },
        reports: [{ checker: "xfs_repair -n /dev/loop0", verdict: "corrupt", exit: 1, output: "bad magic\n" }],
      },
    },
    end,
  ];
}

function made(format: Format, events: readonly RunEvent[] = everything()): string {
  const results = new Results();
  let text = "";
  const write = (part: string) => {
    text += part;
  };
  play(results, new DocumentReporter(results, format, write), events);
  return text;
}

test.each([
  ["junit", junitReport],
  ["tap", tapReport],
  ["markdown", markdownReport],
  ["github", githubReport],
] as const)("%s", (_, format) => {
  expect(made(format)).toMatchSnapshot();
});

const xml = new XMLParser({ ignoreAttributes: false, isArray: (name) => ["testsuite", "testcase"].includes(name) });
type Case = Record<"@_name", string> & Record<"failure" | "error" | "skipped", unknown>;

test("junit's sums are those of its testcases", () => {
  const { testsuites } = xml.parse(made(junitReport));
  const cases: Case[] = testsuites.testsuite.flatMap(({ testcase }: { testcase: Case[] }) => testcase);
  const count = (name: keyof Case) => cases.filter((one) => one[name] !== undefined).length;
  expect(cases.map((one) => one["@_name"])).toEqual([...plan.map(({ id }) => id), "AD900", "xfs-check-1"]);
  expect([count("failure"), count("error"), count("skipped")]).toEqual([2, 1, 3]);
  expect(testsuites).toMatchObject({ "@_tests": "7", "@_failures": "2", "@_errors": "1" });
});

/** The events with this text in their result lines. */
function saying(text: string): RunEvent[] {
  return everything().map((event) => (event.type === "line" && event.result !== "TINFO" ? { ...event, text } : event));
}

test("whatever a testcase says, each format can be read", () => {
  const hostile = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.constantFrom(
      "]]>",
      "</failure>",
      "# TODO",
      "::error::x",
      "\u0000\u001b[1m",
      "```\n## x",
      "\ud800",
      "a\r\nb",
      "%0A",
    ),
  );
  fc.assert(
    fc.property(hostile, (text) => {
      const events = saying(text);
      const junit = made(junitReport, events);
      expect(XMLValidator.validate(junit)).toBe(true);
      expect(xml.parse(junit).testsuites.testsuite).toHaveLength(2);

      const tap = made(tapReport, events);
      const points = tap.split("\n").filter((line) => /^(?:not )?ok /.test(line));
      expect(points).toHaveLength(7);
      expect(points.filter((line) => /[^\\]# (?:TODO|SKIP) /.test(line))).toHaveLength(3);
      for (const [, block = ""] of tap.matchAll(/^ {2}---\n(.*?)^ {2}\.\.\.$/gms))
        expect(parse(block)).toBeTypeOf("object");

      for (const line of made(githubReport, events).trimEnd().split("\n")) expect(line).toMatch(/^::(?:error|notice) /);
      // Every block that is begun is ended.
      const markdown = made(markdownReport, events);
      const fences = markdown.split("\n").filter((line) => /^`{3,}$/.test(line));
      expect(fences.length % 2).toBe(0);
    }),
  );
});

test("a run that ended before its plan bails out, and what was not run has not passed", () => {
  const events = runEvents({ stopAfter: 2 });
  const tap = made(tapReport, events);
  expect(tap).toContain("Bail out! 3 of 5 testcases were not run");
  expect(tap.match(/^ok /gm)).toHaveLength(4);
  expect(tap.match(/# SKIP not run: the run ended before$/gm)).toHaveLength(3);
  expect(made(githubReport, events)).toContain("::warning title=3 testcases were not run::3 of 5");
});

test("an annotation is short, and ends with how to have it again", () => {
  const events = everything().flatMap((event): RunEvent[] => {
    if (event.type !== "line" || event.result !== "TFAIL") return [event];
    const more = Array.from(
      { length: 100 },
      (_, line): RunEvent => ({ ...event, result: "TINFO", text: `line ${line}` }),
    );
    return [event, ...more];
  });
  const [annotation = ""] = made(githubReport, events).split("\n", 1);
  const lines = annotation.split("%0A");
  expect(lines).toHaveLength(9);
  expect(lines.at(-2)).toBe("… and 96 more lines");
  expect(lines.at(-1)).toBe("repeat: aiodio-ltp -s '^AD002$' part1");
});

test("what had to pass and could not apply is a failure", () => {
  const [start, ...rest] = runEvents();
  const events = [{ ...(start as RunEvent), required: "all" } as RunEvent, ...rest];
  expect(made(junitReport, events)).toContain('<failure message="O_DIRECT not supported on tmpfs" type="TCONF">');
  expect(made(junitReport)).toContain('<skipped message="O_DIRECT not supported on tmpfs"/>');
});
