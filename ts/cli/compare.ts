/** `aiodio-ltp compare OLD NEW`: what two runs have shown differently, by their journals. */
import { resolve } from "node:path";
import { UsageError } from "../base/errors.js";
import { EXIT } from "../base/exit.js";
import { type Comparison, compare as compareResults, formatComparison, isWorse } from "../report/compare.js";
import { readResults } from "../report/journal.js";
import { comparisonMarkdown } from "../report/markdown.js";
import type { Flags, WantedReporter } from "./flags.js";
import { documentWriter, wantedReporters } from "./reporters.js";
import type { System } from "./system.js";

/** @throws UsageError the reporter is none for comparisons */
function formatOf(name: WantedReporter["name"]): (comparison: Comparison) => string {
  if (name === "progress") return formatComparison;
  if (name === "markdown") return comparisonMarkdown;
  if (name === "json") return (comparison) => `${JSON.stringify(comparison, null, 2)}\n`;
  throw new UsageError(`--reporter: compare has no ${name}: choose progress, markdown, json`);
}

/** @throws UsageError there is no such journal, a report can't be written, or the two have no line in common */
export async function compare(flags: Flags, operands: readonly string[], { terminal, cwd }: System): Promise<number> {
  const [old, now, ...more] = operands;
  if (old === undefined || now === undefined || more.length > 0) {
    throw new UsageError("compare takes two journals: compare OLD NEW");
  }
  const reports = wantedReporters(flags, cwd).map(({ name, file }) => ({
    format: formatOf(name),
    write: documentWriter(file, terminal),
  }));
  const comparison = compareResults(await readResults(resolve(cwd, old)), await readResults(resolve(cwd, now)));
  if (comparison.compared === 0) throw new UsageError("the two journals have no line in common that has run");
  for (const { format, write } of reports) write(format(comparison));
  return isWorse(comparison) ? EXIT.failed : EXIT.ok;
}
