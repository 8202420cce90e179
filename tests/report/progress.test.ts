import { describe, expect, test, vi } from "vitest";
import { ProgressReporter } from "../../ts/report/progress.js";
import { QuietReporter } from "../../ts/report/quiet.js";
import { Results } from "../../ts/report/results.js";
import { formatSeconds } from "../../ts/report/summary.js";
import { colourWanted } from "../../ts/report/terminal.js";
import { fakeTerminal, play, runEvents, screen } from "./fixture.js";

function progress(
  events: ReturnType<typeof runEvents>,
  how: Parameters<typeof fakeTerminal>[0] = {},
  journal?: ConstructorParameters<typeof ProgressReporter>[0]["journal"],
) {
  const terminal = fakeTerminal(how);
  const results = new Results();
  let nowMs = 0;
  const reporter = new ProgressReporter({
    terminal,
    results,
    journal,
    now: () => {
      nowMs += 250;
      return nowMs;
    },
  });
  return { terminal, results, reporter, play: () => play(results, reporter, events) };
}

describe("progress without a terminal", () => {
  test("is a line for each testcase, what explains the others, and totals", () => {
    const run = progress(runEvents());
    run.play();
    expect(run.terminal.written.out).toMatchSnapshot();
  });

  test("of an interrupted run says what did not run and how to go on", () => {
    const run = progress(runEvents({ stopAfter: 2, interrupted: true }), {}, { path: "/tmp/j", kept: false });
    run.play();
    expect(run.terminal.written.out.split("\n").slice(-3)).toEqual([
      "Interrupted: 2 of 5 testcases in 12.5 s: 1 TFAIL, 1 TPASS; 3 not run",
      "Journal: /tmp/j (go on with --resume)",
      "",
    ]);
  });

  test("can be coloured", () => {
    const run = progress(runEvents({ stopAfter: 1 }), { colour: true });
    run.play();
    expect(run.terminal.written.out).toContain("AD001 \u001b[1;32mTPASS\u001b[0m");
  });
});

describe("progress on a terminal", () => {
  test("shows a line for each worker and a bar, below what did not pass", () => {
    const run = progress(runEvents({ workers: 2 }), { tty: true });
    const shown: string[][] = [];
    for (const event of runEvents({ workers: 2 })) {
      run.results.add(event);
      run.reporter.event(event);
      run.reporter.note("");
      shown.push(screen(run.terminal.written.out));
    }
    run.reporter.end();
    expect(shown[4]).toMatchSnapshot("both workers at work");
    expect(shown.at(-6)).toMatchSnapshot("near the end");
    expect(screen(run.terminal.written.out)).toMatchSnapshot("at the end");
  });

  test("never wraps, so that it can be redrawn", () => {
    const run = progress(runEvents(), { tty: true, columns: 30 });
    for (const event of runEvents().slice(0, 3)) {
      run.results.add(event);
      run.reporter.event(event);
      run.reporter.note("");
    }
    const rows = screen(run.terminal.written.out, 30);
    expect(rows).toHaveLength(4);
    expect(rows[1]).toHaveLength(29);
    run.reporter.end();
  });

  test.each([
    [4, ["… and 4 more at once", "["]],
    [2, ["["]],
  ])("on %d rows never goes up beyond the top", (rows, last) => {
    const events = runEvents({ workers: 5 });
    const run = progress(events, { tty: true, rows });
    for (const event of events.slice(0, 6)) {
      run.results.add(event);
      run.reporter.event(event);
      run.reporter.note("");
    }
    const { out } = run.terminal.written;
    const ups = [...out.matchAll(/\[(\d+)A/g)].map(([, up]) => Number(up));
    expect(Math.max(...ups)).toBe(rows - 1);
    const shown = screen(out).filter((line) => line !== "");
    expect(shown.slice(-last.length).map((line, index) => line.startsWith(last[index] ?? "?"))).not.toContain(false);
    run.reporter.end();
  });

  test("puts notes above the live lines", () => {
    const run = progress(runEvents(), { tty: true });
    for (const event of runEvents().slice(0, 2)) {
      run.results.add(event);
      run.reporter.event(event);
    }
    run.reporter.note("interrupted\n");
    expect(screen(run.terminal.written.out)[1]).toBe("interrupted");
    expect(run.terminal.written.err).toBe("");
    run.reporter.end();
  });
});

test("resuming: the totals cover the earlier part, the lines do not", () => {
  const all = runEvents();
  const earlier = runEvents({ stopAfter: 2, interrupted: true });
  const run = progress([]);
  for (const event of earlier) run.results.add(event);
  const [start] = all;
  if (!start) throw new Error("no events");
  play(run.results, run.reporter, [start, ...all.slice(all.findIndex((e) => "key" in e && e.key === "part1:AD003"))]);
  const { out } = run.terminal.written;
  expect(out).toContain("5 testcases in /mnt, 2 of them already done\n");
  expect(out.split("Did not pass:")[0]).not.toContain("AD002");
  expect(out).toContain("5 testcases (2 of them earlier) in 12.5 s: 1 TBROK, 1 TFAIL, 1 TWARN, 1 TCONF, 1 TPASS\n");
});

test("quiet shows what failed and the totals", () => {
  const terminal = fakeTerminal();
  const results = new Results();
  play(results, new QuietReporter(terminal, results), runEvents());
  expect(terminal.written.out).toMatchSnapshot();
});

test.each([
  [0, "0.00 s"],
  [0.123, "0.12 s"],
  [9.994, "9.99 s"],
  [9.996, "10.0 s"],
  [99.94, "99.9 s"],
  [99.96, "1 min 40 s"],
  [119.6, "2 min 00 s"],
  [3599.6, "1 h 00 min"],
  [7384, "2 h 03 min"],
])("%d seconds are %s", (seconds, text) => {
  expect(formatSeconds(seconds)).toBe(text);
});

test.each([
  [{}, true, true],
  [{}, false, false],
  [{ TERM: "dumb" }, true, false],
  [{ NO_COLOR: "1" }, true, false],
  [{ NO_COLOR: "" }, true, true],
  [{ FORCE_COLOR: "1" }, false, true],
  [{ FORCE_COLOR: "0" }, true, false],
  [{ FORCE_COLOR: "1", NO_COLOR: "1" }, false, true],
])("colour with %j on a terminal: %j", (env, tty, colour) => {
  expect(colourWanted(env, tty)).toBe(colour);
});

test("elsewhere than on a terminal there is a sign of life each minute", () => {
  vi.useFakeTimers();
  try {
    const run = progress(runEvents({ workers: 2 }));
    for (const event of runEvents({ workers: 2 }).slice(0, 3)) {
      run.results.add(event);
      run.reporter.event(event);
    }
    const before = run.terminal.written.out;
    vi.advanceTimersByTime(59_000);
    expect(run.terminal.written.out).toBe(before);
    vi.advanceTimersByTime(61_000);
    const beats = run.terminal.written.out.slice(before.length).trim().split("\n");
    expect(beats).toHaveLength(2);
    for (const beat of beats) expect(beat).toMatch(/^… 0 of 5 done; running: AD001 for .* s, AD002 for .* s$/);
    run.reporter.end();
    vi.advanceTimersByTime(120_000);
    expect(run.terminal.written.out.slice(before.length).trim().split("\n")).toHaveLength(2);
  } finally {
    vi.useRealTimers();
  }
});
