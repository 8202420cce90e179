/** Which line of the TypeScript source is calling: the `file:line` of a result line. */
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";

export interface Location {
  file: string;
  line: number;
}

/** From where each line of a built file is (`scripts/bundle.js`): the number of its source and the line in it, in pairs. */
interface Lines {
  sources: string[];
  lines: number[];
}

const tables = new Map<string, Lines | undefined>();

/** The table beside a built file, read when its first line is asked for. */
function linesOf(path: string): Lines | undefined {
  if (!tables.has(path)) {
    let table: Lines | undefined;
    try {
      table = JSON.parse(readFileSync(`${path}.lines`, "utf8"));
    } catch {}
    tables.set(path, table);
  }
  return tables.get(path);
}

/** Where the function `above` was called from, in the source where the running file was built. */
export function callerOf(above: (...args: never[]) => unknown): Location {
  const { prepareStackTrace, stackTraceLimit } = Error;
  const holder: { stack?: unknown } = {};
  let site: NodeJS.CallSite | undefined;
  try {
    Error.stackTraceLimit = 1;
    Error.prepareStackTrace = (_, sites) => sites;
    Error.captureStackTrace(holder, above);
    [site] = holder.stack as NodeJS.CallSite[];
  } finally {
    Error.prepareStackTrace = prepareStackTrace;
    Error.stackTraceLimit = stackTraceLimit;
  }
  const url = site?.getFileName() ?? "unknown";
  const path = url.startsWith("file:") ? fileURLToPath(url) : url;
  const line = site?.getLineNumber() ?? 0;
  const table = linesOf(path);
  const place = 2 * (line - 1);
  const source = table?.sources[table.lines[place] ?? -1];
  return { file: source ?? basename(path), line: (source && table?.lines[place + 1]) || line };
}
