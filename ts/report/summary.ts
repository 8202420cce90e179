/** What a run comes to, in words: shared by the reporters that people read. */
import { firstOf } from "../base/errors.js";
import {
  isDamaged,
  type ResultType,
  type RunEvent,
  type RunStart,
  type TestEnd,
  type Verdict,
} from "../events/events.js";
import { formatLogLine, paint } from "./ltp.js";
import { repeatCommand } from "./repeat.js";
import { explanation, isUnavailable, type Results, type TestResult, verdictReason } from "./results.js";

/** Worst first, as openQA orders them; TPASS last so that trouble leads. */
export const ORDER: readonly Verdict[] = ["TBROK", "TFAIL", "TWARN", "TCONF", "TPASS"];

/** As tables have them. */
export const COLUMNS: readonly Verdict[] = ["TPASS", "TFAIL", "TBROK", "TWARN", "TCONF"];

/** More lines of explanation than this say no more; the journal and the JSON report have all of them. */
const EXPLANATION_LINES_MAX = 60;

/** A time as people say it. */
export function formatSeconds(seconds: number): string {
  if (seconds < 9.995) return `${seconds.toFixed(2)} s`;
  if (seconds < 99.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const pad = (number: number) => String(number).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${pad(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${pad(Math.floor(whole / 60) % 60)} min`;
}

/** `AD001 TPASS  0.12 s  aiocp -b 1k`. */
export function formatTest({ run, end }: TestResult & { end: TestEnd }, results: Results, colour: boolean): string {
  const label = results.label(run).padEnd(results.labelWidth());
  const verdict = paint(end.verdict, end.verdict, colour);
  return `${label} ${verdict} ${formatSeconds(end.durationSeconds).padStart(7)}  ${run.command}\n`;
}

/** The command that runs a testcase again, as a line; empty where there is none. */
export function formatRepeat(result: TestResult, results: Pick<Results, "start">): string {
  const command = repeatCommand(result, results);
  return command === undefined ? "" : `repeat: ${command}\n`;
}

/** The result lines behind a verdict, and how to have them again, indented. */
export function formatExplanation(result: TestResult & { end: TestEnd }, results: Results, colour: boolean): string {
  const lines = explanation(result.log);
  const style = { colour, reproducible: false };
  const shown = lines.slice(0, EXPLANATION_LINES_MAX).map((line) => formatLogLine(line, style));
  const more = lines.length - shown.length;
  if (more > 0) shown.push(`… and ${more} more lines: --reporter ltp shows all\n`);
  if (result.end.verdict !== "TCONF") shown.push(formatRepeat(result, results));
  return shown.join("").replaceAll(/^(?=.)/gm, "    ");
}

/** `138 TPASS, 1 TFAIL`, worst first. */
export function formatVerdicts(results: Results, colour: boolean): string {
  const counts = results.verdicts();
  const parts = ORDER.filter((verdict) => counts[verdict] > 0).map((verdict) =>
    paint(verdict satisfies ResultType, `${counts[verdict]} ${verdict}`, colour),
  );
  return parts.join(", ") || "none ran";
}

/** The closing line. */
export function formatTotals(results: Results, seconds: number, colour: boolean): string {
  const { planned, endedCount, earlier, skippedCount, end } = results;
  const verdicts = formatVerdicts(results, colour);
  const notRun = planned - endedCount;
  const ran = notRun > 0 ? `${endedCount} of ${planned}` : `${planned}`;
  const before = earlier > 0 ? ` (${earlier} of them earlier)` : "";
  const rest = `${notRun > 0 ? `; ${notRun} not run` : ""}${skippedCount > 0 ? `; ${skippedCount} skipped as listed` : ""}`;
  const known = results.expectedCount > 0 ? ` (${results.expectedCount} not passed as expected)` : "";
  const nothing = results.nothingPassed ? "; nothing passed" : "";
  return `${end?.interrupted ? "Interrupted: " : ""}${ran} testcases${before} in ${formatSeconds(seconds)}: ${verdicts}${known}${rest}${nothing}\n`;
}

/** Seconds between the start and the end of this run, by its events. */
export function elapsedSeconds({ start, end }: Results): number {
  if (!start || !end) return 0;
  return Math.max(0, (Date.parse(end.time) - Date.parse(start.time)) / 1000);
}

/** One line about a guest that is up, or a host that has been reached. */
export function formatGuest(event: Extract<RunEvent, { type: "guest" }>): string {
  const { guest, machine, accelerator, bootSeconds, timeoutMul } = event;
  const pages = `${machine.pageBytes / 1024} KiB pages`;
  const limits = timeoutMul > 1 ? `, time limits × ${timeoutMul}` : "";
  const how = accelerator === undefined ? "ssh" : accelerator === "kvm" ? "KVM" : "emulated";
  return `${guest}: Linux ${machine.kernel} ${machine.machine}, ${pages}, up in ${formatSeconds(bootSeconds)} (${how}${limits})\n`;
}

/** A checker's output longer than this says no more; the journal has all of it. */
const CHECKER_LINES_MAX = 20;

/** What happened to a filesystem between testcases; nothing for a check without complaint. */
export function formatFilesystemEvent(
  event: Extract<RunEvent, { type: "unavailable" | "check" | "filesystem" | "unchecked" }>,
  results?: Pick<Results, "expected">,
): string {
  if (event.type === "filesystem") return event.note === undefined ? "" : `${event.filesystem}: ${event.note}\n`;
  if (event.type === "unavailable") return event.again ? "" : `${event.filesystem} TCONF: ${event.reason}\n`;
  const { filesystem, suspects } = event;
  const shown = suspects.slice(0, 5).join(", ") + (suspects.length > 5 ? ` and ${suspects.length - 5} more` : "");
  if (event.type === "unchecked") return `${filesystem} was not checked any more, so what passed is TWARN: ${shown}\n`;
  const { result } = event;
  if (result.clean) return "";
  const words = result.reports
    .filter(({ verdict }) => verdict !== "clean")
    .flatMap(({ checker, exit, output }) => [
      `${checker} (exit status ${exit ?? "none"}):`,
      ...output
        .trim()
        .split("\n")
        .slice(0, CHECKER_LINES_MAX)
        .map((line) => `  ${line}`),
    ]);
  if (result.unmountable !== undefined) words.push(`it can't be mounted any more: ${result.unmountable}`);
  if (result.unchecked !== undefined) words.push(result.unchecked);
  const damaged = isDamaged(result);
  const issues = new Set(suspects.map((key) => results?.expected(key)));
  const expected = issues.has(undefined) ? "" : `, as expected (${[...issues].join("; ")})`;
  const why = `${damaged ? "one of these did it, so they are TFAIL" : "these are TWARN"}${expected}`;
  const who = suspects.length > 0 ? `${why}: ${shown}` : "nothing ran on it";
  return `${filesystem} ${damaged ? "is damaged" : "could not be checked"}; ${who}\n${words.map((line) => `    ${line}\n`).join("")}`;
}

/** A testcase that did not pass, as expected: nothing to be alarmed by. */
export function formatExpected(result: TestResult & { end: TestEnd }, results: Results, issue: string): string {
  return `${formatTest(result, results, false)}    ${issue}\n`;
}

/** What `--known-issues` came to: failures that were expected, and entries that nothing needed. */
export function formatKnownIssues(results: Results): string {
  const expected = results.ended().flatMap((result) => {
    const text = results.expected(result.run.key);
    return text === undefined ? [] : [`  ${formatExpected(result, results, text)}`];
  });
  const stale = results.staleIssues.map((text) => `  ${text}\n`);
  return [
    ...(expected.length > 0 ? ["\nDid not pass, as expected:\n", ...expected] : []),
    ...(stale.length > 0 ? ["\nKnown issues that match nothing any more:\n", ...stale] : []),
  ].join("");
}

/** A line of what is not run for one reason names this many testcases. */
const SKIPPED_SHOWN = 12;

/** What lists want not to be run, a line for each reason, so that no green run hides it. */
export function formatSkipped(skipped: RunStart["skipped"] = []): string[] {
  return skipped.map(
    ({ reason, keys }) => `not run: ${firstOf(keys, SKIPPED_SHOWN, "testcases").join(", ")}: ${reason}`,
  );
}

/** What was not run because lists want it so, in the closing summary. */
export function formatSkippedList({ start }: Results): string {
  const lines = formatSkipped(start?.skipped).map((line) => `  ${line}\n`);
  return lines.length > 0 ? `\nSkipped, as listed:\n${lines.join("")}` : "";
}

/** More different reasons than this are no overview any more. */
const REASONS_MAX = 20;

/** What did not apply, counted by its reason, most frequent first; what has no filesystem stands in that table. */
export function formatNotApplicable(results: Results): string {
  const counts = new Map<string, number>();
  for (const { run, end, log } of results.ended()) {
    if (end.verdict !== "TCONF" || isUnavailable(log) || results.required.has(run.key)) continue;
    const reason = verdictReason({ log, end });
    counts.set(reason, (counts.get(reason) ?? 0) + 1);
  }
  if (counts.size === 0) return "";
  const rows = [...counts].sort(([, a], [, b]) => b - a);
  const width = String(rows[0]?.[1]).length;
  const shown = rows.slice(0, REASONS_MAX).map(([reason, n]) => `  ${String(n).padStart(width)} × ${reason}\n`);
  if (rows.length > shown.length) shown.push(`  … and ${rows.length - shown.length} more reasons\n`);
  return `\nDid not apply (TCONF):\n${shown.join("")}`;
}

/** The testcases that took longest, longest first. */
export function formatDurations(results: Results, count: number): string {
  if (count === 0) return "";
  const ended = results.ended().sort((a, b) => b.end.durationSeconds - a.end.durationSeconds);
  const lines = ended
    .slice(0, count)
    .map(
      ({ run, end }) => `  ${formatSeconds(end.durationSeconds).padStart(9)}  ${results.label(run)}  ${run.command}\n`,
    );
  return lines.length > 0 ? `\nTook longest:\n${lines.join("")}` : "";
}

/** More lines than this are no overview any more. */
const RATES_MAX = 100;

/** How often each line did not pass that has run more than once; nothing when all always passed. */
export function formatRates(results: Results): string {
  const lines = results.rates().flatMap(({ name, command, verdicts, ran }) => {
    const bad = ORDER.filter((verdict) => verdict !== "TPASS" && verdict !== "TCONF" && verdicts[verdict] > 0);
    if (bad.length === 0) return [];
    const count = bad.reduce((sum, verdict) => sum + verdicts[verdict], 0);
    const which = bad.map((verdict) => `${verdicts[verdict]} ${verdict}`).join(", ");
    return [`  ${name} did not pass ${count} of ${ran} times (${which})  ${command}\n`];
  });
  if (lines.length === 0) return "";
  const more = lines.length > RATES_MAX ? `  … and ${lines.length - RATES_MAX} more\n` : "";
  return `\nHow often:\n${lines.slice(0, RATES_MAX).join("")}${more}`;
}

/** The table of filesystems and verdicts; nothing when the run is on none of its own. */
export function formatFilesystems(results: Results): string {
  const rows = results.filesystems();
  if (rows.length === 0) return "";
  const columns = COLUMNS;
  const width = Math.max(10, ...rows.map(({ name }) => name.length));
  const cell = (value: string | number) => String(value).padStart(6);
  const lines = rows.map(({ name, verdicts, notRun, reason }) => {
    const note = reason ?? (notRun > 0 ? `${notRun} not run` : "");
    return `${name.padEnd(width)}${columns.map((verdict) => cell(verdicts[verdict])).join("")}${note && `  ${note}`}\n`;
  });
  return `\n${"filesystem".padEnd(width)}${columns.map(cell).join("")}\n${lines.join("")}`;
}
