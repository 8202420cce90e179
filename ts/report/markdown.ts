/** What a run came to, for a mail, an issue or a job's summary. */
import { type Comparison, summaryOf } from "./compare.js";
import { type Bad, isBad, isExpected, judged } from "./judged.js";
import type { Results } from "./results.js";
import { COLUMNS, elapsedSeconds, formatTotals } from "./summary.js";

/** More failures than this are told by their names only: who wants all of them has the journal. */
const TOLD_MAX = 20;
const NAMED_MAX = 200;
const LINES_MAX = 40;

/** Text in a table or a paragraph. */
const plain = (text: string) => text.replaceAll(/[\\`*_{}[\]<>|#]/g, "\\$&").replaceAll(/\s+/g, " ");

/** So many backticks that nothing in the text can end them, and at least `least`. */
const fenceOf = (text: string, least: number) =>
  "`".repeat(Math.max(least, ...(text.match(/`+/g) ?? []).map(({ length }) => length + 1)));

/** Text as it is. */
function block(text: string): string {
  const fence = fenceOf(text, 3);
  return `${fence}\n${text.trimEnd()}\n${fence}\n`;
}

function code(text: string): string {
  const fence = fenceOf(text, 1);
  return fence.length > 1 ? `${fence} ${text} ${fence}` : `${fence}${text}${fence}`;
}

/** GitHub's form of a table. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |\n`;
  return line(head) + line(head.map(() => "---")) + rows.map(line).join("");
}

function chapter(one: Bad, results: Results): string {
  const { run, verdict, details } = one;
  const lines = details.trimEnd().split("\n");
  const more = lines.length > LINES_MAX ? `\n… and ${lines.length - LINES_MAX} more lines` : "";
  return `\n### ${plain(results.label(run))}: ${verdict}\n\n${code(run.command)}\n\n${block(lines.slice(0, LINES_MAX).join("\n") + more)}`;
}

/** As CommonMark with GitHub's tables. */
export function markdownReport(results: Results): string {
  const { start, machine } = results;
  const parts = [`## aiodio-ltp\n\n${plain(formatTotals(results, elapsedSeconds(results), false).trim())}\n`];
  if (start && machine) {
    const place = `${machine.distribution} ${machine.distributionVersion}, ${machine.machine}, ${machine.pageBytes / 1024} KiB pages`;
    const made = start.sizeBytes === undefined ? "" : `, filesystems of ${start.sizeBytes / 2 ** 20} MiB`;
    parts.push(
      `\nLinux ${plain(machine.kernel)} (${plain(place)}), aiodio-ltp ${start.version}, ${start.time}, ${start.workers} workers${made}\n`,
    );
  }
  const filesystems = results.filesystems();
  if (filesystems.length > 0) {
    const rows = filesystems.map(({ name, verdicts, notRun, reason }) => [
      ...[plain(name), ...COLUMNS.map((verdict) => String(verdicts[verdict]))],
      reason === undefined ? (notRun > 0 ? `${notRun} not run` : "") : plain(reason),
    ]);
    parts.push("\n", table(["filesystem", ...COLUMNS, ""], rows));
  }
  const all = judged(results);
  const bad = all.filter(isBad);
  for (const one of bad.slice(0, TOLD_MAX)) parts.push(chapter(one, results));
  const others = bad.slice(TOLD_MAX);
  if (others.length > 0) {
    const named = others.slice(0, NAMED_MAX).map(({ run }) => plain(results.label(run)));
    const rest = others.length > NAMED_MAX ? ` and ${others.length - NAMED_MAX} more` : "";
    parts.push(`\nAnd ${others.length} others: ${named.join(", ")}${rest}\n`);
  }
  const expected = all.filter(isExpected);
  if (expected.length > 0) {
    const rows = expected.map(({ run, why }) => [plain(results.label(run)), plain(why)]);
    parts.push("\n### Did not pass, as expected\n\n", table(["testcase", "known issue"], rows.slice(0, NAMED_MAX)));
  }
  for (const { reason, keys } of start?.skipped ?? []) parts.push(`\nNot run: ${keys.length} (${plain(reason)})\n`);
  return parts.join("");
}

/** A comparison, for the request that brings the change. */
export function comparisonMarkdown(comparison: Comparison): string {
  const { verdict, sections } = summaryOf(comparison);
  const parts = sections.map(({ title, rows }) => {
    const lines = rows.map(([name, text]) => `- ${code(name)}${text === "" ? "" : ` ${plain(text)}`}\n`);
    return `\n### ${plain(title)}\n\n${lines.join("")}`;
  });
  return `## aiodio-ltp: ${verdict}\n\n${comparison.compared} lines compared.\n${parts.join("")}`;
}
