/** Which line of the TypeScript source is calling: the `file:line` of a result line. */
import { readFileSync } from "node:fs";
import { SourceMap } from "node:module";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";

export interface Location {
  file: string;
  line: number;
}

const maps = new Map<string, SourceMap | undefined>();

/** The map beside a compiled file, read when its first line is asked for: most files never are. */
function sourceMapOf(path: string): SourceMap | undefined {
  if (!maps.has(path)) {
    let map: SourceMap | undefined;
    try {
      map = new SourceMap(JSON.parse(readFileSync(`${path}.map`, "utf8")));
    } catch {}
    maps.set(path, map);
  }
  return maps.get(path);
}

/** Where the function `above` was called from, in the source where a source map lies beside the running file. */
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
  const origin = sourceMapOf(path)?.findEntry(line - 1, (site?.getColumnNumber() ?? 1) - 1);
  return origin && "originalLine" in origin
    ? { file: basename(origin.originalSource), line: origin.originalLine + 1 }
    : { file: basename(path), line };
}
