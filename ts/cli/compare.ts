/** `aiodio-ltp compare OLD NEW`: what two runs have shown differently, by their journals. */
import { resolve } from "node:path";
import { UsageError } from "../base/errors.js";
import { EXIT } from "../base/exit.js";
import { compare as compareResults, formatComparison, isWorse } from "../report/compare.js";
import { readResults } from "../report/journal.js";
import type { System } from "./system.js";

/** @throws UsageError there is no such journal, or the two have no line in common */
export async function compare(operands: readonly string[], { terminal, cwd }: System): Promise<number> {
  const [old, now, ...more] = operands;
  if (old === undefined || now === undefined || more.length > 0) {
    throw new UsageError("compare takes two journals: compare OLD NEW");
  }
  const comparison = compareResults(await readResults(resolve(cwd, old)), await readResults(resolve(cwd, now)));
  if (comparison.compared === 0) throw new UsageError("the two journals have no line in common that has run");
  terminal.out(formatComparison(comparison));
  return isWorse(comparison) ? EXIT.failed : EXIT.ok;
}
