/** Programs that PATH has twice, ours and LTP's: who starts one by its name gets the first, and may mean the other. */
import { readFileSync, realpathSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { startOf } from "../base/files.js";
import { findTool } from "../process/tools.js";
import { WRITTEN_BY } from "./install-ltproot.js";

export interface Shadow {
  name: string;
  /** What its name starts. */
  first: string;
  /** What it does not. */
  hidden: string;
  /** Whether the first is this package's, and the hidden one is not. */
  ours: boolean;
}

/**
 * The directories that a program's name is looked up in: PATH's, and behind them what kirk appends, LTP's own
 * (`$LTPROOT`, by default /opt/ltp).
 */
export function programFolders({ PATH = "", LTPROOT = "/opt/ltp" }: NodeJS.ProcessEnv): string[] {
  return [...PATH.split(delimiter).filter(Boolean), join(LTPROOT, "testcases", "bin")];
}

/** Those of the programs that `folders`, in this order, have from us and from somebody else. */
export function shadows(names: Iterable<string>, folders: readonly string[]): Shadow[] {
  return [...names].flatMap((name) => {
    const places = folders
      .flatMap((folder) => findTool(name, folder) ?? [])
      .map((path) => ({ path, ours: isOurs(path) }));
    const [first] = places;
    const hidden = places.find(({ ours }) => ours !== first?.ours);
    return first && hidden ? [{ name, first: first.path, hidden: hidden.path, ours: first.ours }] : [];
  });
}

/** A file of some version of this package, or what it wrote into a tree for kirk. */
function isOurs(path: string): boolean {
  const start = startOf(path, 200);
  if (start === undefined || start.includes(WRITTEN_BY)) return start !== undefined;
  try {
    const manifest = join(dirname(dirname(realpathSync(path))), "package.json");
    return JSON.parse(readFileSync(manifest, "utf8")).name === "aiodio-ltp";
  } catch {
    return false;
  }
}
