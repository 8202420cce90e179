/** JUnit's XML, as Jenkins' schema (junit-10.xsd of its xunit plugin) has it, which GitLab, Azure and others read too. */
import XMLBuilder from "fast-xml-builder";
import { groupBy } from "../base/group.js";
import { countsOf, type Judged, judged } from "./judged.js";
import { placeOf, type Results } from "./results.js";

/** What XML 1.0 can hold. */
const SPEAKABLE = (code: number) =>
  code >= 0x20 ? !(code >= 0xd800 && code < 0xe000) && (code & 0xfffe) !== 0xfffe : [9, 10, 13].includes(code);

/** Without what XML can't hold, not even as an entity. */
const clean = (text: string) =>
  Array.from(text, (one) => (SPEAKABLE(one.codePointAt(0) ?? 0) ? one : "\ufffd")).join("");
const seconds = (value: number) => value.toFixed(3);

/** A suite is a runtest file on one filesystem of one guest. */
const suiteOf = ({ run }: Judged) => [run.suite, placeOf(run)].filter(Boolean).join(" on ");

function testcase(one: Judged, suite: string): object {
  const { run } = one;
  const shared = {
    "@_name": run.iteration > 1 ? `${run.id}#${run.iteration}` : run.id,
    "@_classname": suite,
    "@_time": seconds(one.seconds),
  };
  switch (one.as) {
    case "passed":
      return shared;
    case "skipped":
      return { ...shared, skipped: { "@_message": clean(one.why) } };
    case "expected":
      return {
        ...shared,
        skipped: { "@_message": clean(`did not pass, as expected: ${one.why}`) },
        "system-out": clean(one.details),
      };
    case "failed":
    case "broken": {
      const what = { "@_message": clean(one.why), "@_type": one.verdict, "#text": clean(one.details) };
      return { ...shared, [one.as === "failed" ? "failure" : "error"]: what, "system-out": clean(run.command) };
    }
  }
}

function sums(all: readonly Judged[], { failed, broken }: ReturnType<typeof countsOf>): object {
  const time = all.reduce((sum, one) => sum + one.seconds, 0);
  return { "@_tests": all.length, "@_failures": failed, "@_errors": broken, "@_time": seconds(time) };
}

/** What was not run is skipped, with the reason; so is what did not pass as a known issue has it. */
export function junitReport(results: Results): string {
  const all = judged(results);
  const { start, machine } = results;
  const facts = {
    version: start?.version,
    kernel: machine?.kernel,
    machine: machine?.machine,
    "page size": machine && String(machine.pageBytes),
    distribution: machine && `${machine.distribution} ${machine.distributionVersion}`,
  };
  const property = Object.entries(facts).flatMap(([name, value]) =>
    value === undefined ? [] : [{ "@_name": name, "@_value": clean(value) }],
  );
  const testsuite = [...groupBy(all, suiteOf)].map(([name, tests]) => {
    const counts = countsOf(tests);
    return {
      "@_name": name,
      ...sums(tests, counts),
      "@_skipped": counts.skipped + counts.expected,
      // The schema has no zone in it.
      ...(start && { "@_timestamp": start.time.replace(/(?:\.\d+)?Z$/, "") }),
      properties: { property },
      testcase: tests.map((one) => testcase(one, name)),
    };
  });
  const xml = new XMLBuilder({
    ...{ ignoreAttributes: false, suppressEmptyNode: true, suppressBooleanAttributes: false },
    ...{ format: true, indentBy: "  " },
  });
  return xml.build({
    "?xml": { "@_version": "1.0", "@_encoding": "UTF-8" },
    testsuites: { "@_name": "aiodio-ltp", ...sums(all, countsOf(all)), testsuite },
  });
}
