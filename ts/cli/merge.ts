/** `aiodio-ltp merge JOURNAL... -o FILE`: the journals of all parts of a run (`--shard`) as one. */
import { resolve } from "node:path";
import { UsageError } from "../base/errors.js";
import { EXIT } from "../base/exit.js";
import { mergeJournals } from "../report/merge.js";
import type { Flags } from "./flags.js";
import type { System } from "./system.js";

/** @throws UsageError the journals are no parts of one run, or the file can't be written */
export async function merge({ output }: Flags, operands: readonly string[], { cwd }: System): Promise<number> {
  if (operands.length === 0 || output === undefined) {
    throw new UsageError("merge takes journals and the file for all of them: merge JOURNAL... -o FILE");
  }
  await mergeJournals(
    operands.map((path) => resolve(cwd, path)),
    resolve(cwd, output),
  );
  return EXIT.ok;
}
