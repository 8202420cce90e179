/** What a run comes to, in words: shared by the reporters that people read. */
import type { ResultType, Verdict } from "./events.js";
import { formatLogLine, paint } from "./ltp.js";
import { explanation, type Results, type TestEnd, type TestResult } from "./results.js";

/** Worst first, as openQA orders them; TPASS last so that trouble leads. */
const ORDER: readonly Verdict[] = ["TBROK", "TFAIL", "TWARN", "TCONF", "TPASS"];

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

/** The result lines behind a verdict, indented. */
export function formatExplanation({ log }: TestResult, colour: boolean): string {
  const lines = explanation(log);
  const style = { colour, reproducible: false };
  const shown = lines.slice(0, EXPLANATION_LINES_MAX).map((line) => formatLogLine(line, style));
  const more = lines.length - shown.length;
  if (more > 0) shown.push(`… and ${more} more lines: --reporter ltp shows all\n`);
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
  const { planned, endedCount, earlier, end } = results;
  const verdicts = formatVerdicts(results, colour);
  const notRun = planned - endedCount;
  const ran = notRun > 0 ? `${endedCount} of ${planned}` : `${planned}`;
  const before = earlier > 0 ? ` (${earlier} of them earlier)` : "";
  const rest = notRun > 0 ? `; ${notRun} not run` : "";
  return `${end?.interrupted ? "Interrupted: " : ""}${ran} testcases${before} in ${formatSeconds(seconds)}: ${verdicts}${rest}\n`;
}

/** Seconds between the start and the end of this run, by its events. */
export function elapsedSeconds({ start, end }: Results): number {
  if (!start || !end) return 0;
  return Math.max(0, (Date.parse(end.time) - Date.parse(start.time)) / 1000);
}
