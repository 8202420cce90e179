/** The line under a failure that brings it back. */
import { execFileSync } from "node:child_process";
import fc from "fast-check";
import { expect, test } from "vitest";
import { shellWord } from "../../ts/base/quoting.js";
import type { RunEvent, RunStart } from "../../ts/events/events.js";
import { makePlan } from "../../ts/plan/plan.js";
import { parseRuntest } from "../../ts/plan/runtest.js";
import { DocumentReporter } from "../../ts/report/document.js";
import { kirkReport } from "../../ts/report/json.js";
import { LtpReporter } from "../../ts/report/ltp-reporter.js";
import { ProgressReporter } from "../../ts/report/progress.js";
import { QuietReporter } from "../../ts/report/quiet.js";
import { repeatCommand } from "../../ts/report/repeat.js";
import { Results } from "../../ts/report/results.js";
import { fakeTerminal, plan, play, runEvents } from "./fixture.js";

const repeat = { options: ["-d", "/mnt", "--engine", "sync"], files: { part1: "/my files/part1" } };

/** A run of which one can say how it was made, and of whose second testcase the seed is known. */
function events(): RunEvent[] {
  return runEvents().flatMap((event): RunEvent[] => {
    if (event.type === "run-start") return [{ ...event, repeat }];
    if (event.type !== "test-start" || event.key !== plan[1]?.key) return [event];
    const line = (text: string): RunEvent => ({
      ...{ type: "line", key: event.key, result: "TINFO", file: "aiocp.ts", line: 1, text },
    });
    return [event, line("Seed 0x1f, engine sync"), line("Seed 0x20: what came of it")];
  });
}

const LINE = "repeat: aiodio-ltp -d /mnt --engine sync -s '^AD002$' --seed 0x1f '/my files/part1'\n";

test("is under each failure of every reporter, with the seed it took", () => {
  const shown = (make: (results: Results, terminal: ReturnType<typeof fakeTerminal>) => Parameters<typeof play>[1]) => {
    const terminal = fakeTerminal();
    const results = new Results();
    play(results, make(results, terminal), events());
    return terminal.written.out;
  };
  const style = { colour: false, reproducible: false };
  const progress = shown((results, terminal) => new ProgressReporter({ terminal, results }));
  const quiet = shown((results, terminal) => new QuietReporter(terminal, results));
  const ltp = shown((results, terminal) => new LtpReporter({ style, results, write: (text) => terminal.out(text) }));
  for (const out of [progress, quiet, ltp]) expect(out.match(/repeat: /g)).toHaveLength(3);
  expect(progress).toContain(`offset 4096, 1024 bytes: zeros\n    ${LINE}`);
  expect(quiet).toContain(`offset 4096, 1024 bytes: zeros\n    ${LINE}`);
  expect(ltp).toContain(`\nwarnings 0\n### ${LINE}`);
});

test("is in kirk's report with the seed, and only of what did not pass", () => {
  let text = "";
  const results = new Results(true);
  const reporter = new DocumentReporter(results, kirkReport, (report) => {
    text = report;
  });
  play(results, reporter, events());
  const told = JSON.parse(text).results.map(({ seed, repeat }: { seed?: string; repeat?: string }) => ({
    seed,
    repeat,
  }));
  expect(told[1]).toEqual({ seed: "0x1f", repeat: LINE.replace("repeat: ", "").trimEnd() });
  expect(told.map(({ repeat }: { repeat?: string }) => repeat !== undefined)).toEqual([false, true, false, true, true]);
});

test("is of the file, guest and filesystem that the testcase ran on", () => {
  const line = parseRuntest("AD001 aiocp\n", "x");
  const runs = makePlan(
    [
      { path: "a/x", suite: "x", lines: line },
      { path: "b/x", suite: "x", lines: line },
    ],
    { guests: ["amd64"], filesystems: ["ext4:1k", "xfs"], repeat: 2 },
    ["aiocp"],
  );
  const options = { options: [], files: { x: "/a/x", "x@2": "/b/x" } };
  const commands = (more: object) => {
    const start = { ...(runEvents()[0] as RunStart), plan: runs, repeat: { ...options, ...more } };
    return runs.map((run) => repeatCommand({ run }, { start }));
  };
  expect(commands({ machines: "--host" })[3]).toBe("aiodio-ltp --host amd64 --filesystems ext4:1k -s '^AD001$' /b/x");
  expect(commands({ machines: "--guest" }).at(-1)).toBe("aiodio-ltp --guest amd64 --filesystems xfs -s '^AD001$' /b/x");
  // From a pipe of the shell there is nothing to read again.
  expect(commands({ files: { x: "/a/x" } })[2]).toBeUndefined();
});

test("a shell takes each word for what it is", () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.string({ unit: "binary" }).filter((text) => !text.includes("\0")),
        { maxLength: 8 },
      ),
      (words) => {
        const script = `printf '%s\\0' x ${words.map(shellWord).join(" ")}`;
        const printed = execFileSync("sh", ["-c", script], { encoding: "utf8" });
        expect(printed).toBe(["x", ...words].map((word) => `${word}\0`).join(""));
      },
    ),
    { numRuns: 30 },
  );
  expect(["a b", "it's", "$HOME", "", "~", "ext4:1k,xfs"].map(shellWord).join(" ")).toBe(
    "'a b' 'it'\\''s' '$HOME' '' '~' ext4:1k,xfs",
  );
});
