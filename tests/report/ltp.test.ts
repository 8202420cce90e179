import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { formatResult, formatSummary, ltpStyle } from "../../ts/report/ltp.js";
import { LtpReporter } from "../../ts/report/ltp-reporter.js";
import { Results } from "../../ts/report/results.js";
import { plan, play, runEvents } from "./fixture.js";

const plain = { colour: false, reproducible: false };
const line = (result: "TPASS" | "TINFO" | "TFAIL", text = "x") => ({ result, file: "aiocp.ts", line: 7, text });

/** openQA's pattern for a result line. */
const OPENQA = /^[\w.:/]+\s+(\w+):\s+.*$/;

describe("one line", () => {
  test("plain", () => {
    expect(formatResult(line("TPASS", "Files are identical"), plain)).toBe("aiocp.ts:7: TPASS: Files are identical\n");
    expect(OPENQA.exec(formatResult(line("TFAIL"), plain).trimEnd())?.[1]).toBe("TFAIL");
  });

  test("LTP's colours cover the type and its colon", () => {
    const colour = { colour: true, reproducible: false };
    expect(formatResult(line("TPASS"), colour)).toBe("aiocp.ts:7: \u001b[1;32mTPASS: \u001b[0mx\n");
    expect(formatResult(line("TFAIL"), colour)).toBe("aiocp.ts:7: \u001b[1;31mTFAIL: \u001b[0mx\n");
    expect(formatResult(line("TINFO"), colour)).toBe("aiocp.ts:7: \u001b[1;34mTINFO: \u001b[0mx\n");
  });

  test("reproducible output has no TINFO and no texts", () => {
    const reproducible = { colour: false, reproducible: true };
    expect(formatResult(line("TINFO"), reproducible)).toBe("");
    expect(formatResult(line("TPASS"), reproducible)).toBe("aiocp.ts:7: TPASS: \n");
  });
});

test("the Summary block is LTP's", () => {
  const text = formatSummary({ passed: 1, failed: 20, broken: 0, skipped: 3, warnings: 0 });
  expect(text).toBe("\nSummary:\npassed   1\nfailed   20\nbroken   0\nskipped  3\nwarnings 0\n");
});

test.each([
  [{}, true, true],
  [{}, false, false],
  [{ LTP_COLORIZE_OUTPUT: "y" }, false, true],
  [{ LTP_COLORIZE_OUTPUT: "1" }, false, true],
  [{ LTP_COLORIZE_OUTPUT: "n" }, true, false],
  [{ LTP_COLORIZE_OUTPUT: "0" }, true, false],
  [{ LTP_COLORIZE_OUTPUT: "maybe" }, false, true],
  [{ LTP_COLORIZE_OUTPUT: "" }, false, true],
  [{ NO_COLOR: "1" }, true, false],
  [{ FORCE_COLOR: "1" }, false, true],
  [{ LTP_COLORIZE_OUTPUT: "y", NO_COLOR: "1" }, false, true],
])("colours with %j on a terminal: %j", (env, tty, colour) => {
  expect(ltpStyle(env, tty).colour).toBe(colour);
});

test.each([
  ["1", true],
  ["y", true],
  ["n", false],
  [undefined, false],
])("LTP_REPRODUCIBLE_OUTPUT=%s", (value, reproducible) => {
  const env = value === undefined ? {} : { LTP_REPRODUCIBLE_OUTPUT: value };
  expect(ltpStyle(env, false).reproducible).toBe(reproducible);
});

function report(events: ReturnType<typeof runEvents>): { text: string; afterEach: string[] } {
  const results = new Results();
  const afterEach: string[] = [];
  let text = "";
  const reporter = new LtpReporter({
    style: plain,
    results,
    write: (part) => {
      text += part;
    },
  });
  play(
    results,
    {
      event: (event) => {
        reporter.event(event);
        afterEach.push(text);
      },
    },
    events,
  );
  return { text, afterEach };
}

describe("a run", () => {
  test("with one worker is live", () => {
    const { text, afterEach } = report(runEvents());
    expect(text).toMatchSnapshot();
    expect(afterEach[1]).toBe("### AD001 aiocp -b 1k -n 1 -f DIRECT\n");
  });

  test("with two workers shows each testcase whole", () => {
    const { text } = report(runEvents({ workers: 2 }));
    const blocks = (whole: string) => whole.split(/^(?=### AD)/m).map((block) => block.replace(/^### \d.*\n/m, ""));
    expect(blocks(text).sort()).toEqual(blocks(report(runEvents()).text).sort());
  });

  test("has headers that openQA takes for no result", () => {
    const { text } = report(runEvents());
    const headers = text.split("\n").filter((row) => row.startsWith("###"));
    expect(headers).toHaveLength(plan.length + 1);
    for (const header of headers) expect(header).not.toMatch(OPENQA);
  });

  test("that is interrupted says what is left", () => {
    const { text } = report(runEvents({ stopAfter: 2, interrupted: true }));
    expect(text.split("\n").at(-2)).toMatchInlineSnapshot(
      `"### Interrupted: 2 of 5 testcases in 12.5 s: 1 TFAIL, 1 TPASS; 3 not run"`,
    );
  });
});

test("every formatter of result lines is this one", () => {
  // A second place that writes `TYPE: ` would drift from LTP's format.
  for (const name of ["progress", "quiet", "json", "summary"]) {
    const source = readFileSync(new URL(`../../ts/report/${name}.ts`, import.meta.url), "utf8");
    expect(source).not.toMatch(/TPASS: |\$\{result\}: /);
  }
});
