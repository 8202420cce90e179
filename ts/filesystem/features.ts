/**
 * What mkfs leaves out so that the kernel here can mount the result: its programs may be newer than the kernel, which then does not
 * know what they make by default. Tools that are no newer than the kernel get no further argument.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { namesIn } from "../base/files.js";
import { runTool } from "../process/run.js";

/** xfsprogs's files of what its defaults were when a kernel was released (mkfs.xfs(8), CONFIGURATION FILES). */
const XFS_CONFIGS = "/usr/share/xfsprogs/mkfs";

/** `6.12.48-amd64` → 6012. Undefined where there is no version. */
export function versionNumber(text: string): number | undefined {
  const match = /(\d+)\.(\d+)/.exec(text);
  return match ? Number(match[1]) * 1000 + Number(match[2]) : undefined;
}

/** What the programs say of themselves. */
export interface MkfsFacts {
  /** `-V`, or the list of features. */
  words: string;
  /** The files of {@link XFS_CONFIGS}: their names, and how to read one. */
  configs?: readonly string[];
  read?: (name: string) => string;
}

/**
 * Arguments for mkfs on a kernel.
 *
 * @param command as in `variants.ts`
 * @param kernel as uname(2) has the release
 * @param given arguments that the variant and the user give: what they set is not touched
 */
export function featureArguments(
  command: string,
  kernel: string,
  given: readonly string[],
  facts: MkfsFacts,
): string[] {
  const running = versionNumber(kernel);
  if (running === undefined) return [];
  if (command === "mkfs.xfs") return xfsArguments(running, given, facts);
  if (command === "mkfs.btrfs") return btrfsArguments(running, given, facts.words);
  return [];
}

/** Asks the installed program what it would do. */
export async function mkfsFacts(command: string): Promise<MkfsFacts> {
  if (command === "mkfs.xfs") {
    const { output } = await runTool(command, ["-V"]);
    return {
      words: output,
      configs: namesIn(XFS_CONFIGS),
      read: (name) => readFileSync(join(XFS_CONFIGS, name), "utf8"),
    };
  }
  // -O lists what cannot be changed later, -R the rest; newer versions list all by -O.
  const lists = ["-O", "-R"].map((option) => runTool(command, [option, "list-all"]));
  return command === "mkfs.btrfs"
    ? { words: (await Promise.all(lists)).map(({ output }) => output).join("\n") }
    : { words: "" };
}

/** The letter that each section of a configuration file has on the command line. */
const XFS_SECTIONS: Readonly<Record<string, string>> = { metadata: "-m", inode: "-i", naming: "-n" };

function xfsArguments(kernel: number, given: readonly string[], { words, configs = [], read }: MkfsFacts): string[] {
  const tool = versionNumber(words);
  const set = new Set(given.flatMap((argument) => [...argument.matchAll(/([a-z0-9]+)=/g)].map(([, key]) => key)));
  // A configuration file of the user's own sets what it sets, and without checksums there is none of these features.
  const ownChoice = given.includes("-c") || set.has("crc");
  if (tool === undefined || tool <= kernel || ownChoice || !read) return [];
  const versions = configs
    .flatMap((name) => (/^lts_\d+\.\d+\.conf$/.test(name) ? [{ name, version: versionNumber(name) ?? 0 }] : []))
    .sort((a, b) => a.version - b.version);
  const fitting = versions.findLast(({ version }) => version <= kernel) ?? versions[0];
  if (!fitting) return [];
  let option: string | undefined;
  return read(fitting.name)
    .split("\n")
    .flatMap((line) => {
      const section = /^\[(\w+)\]/.exec(line)?.[1];
      if (section !== undefined) option = XFS_SECTIONS[section];
      const [, key = "", value = ""] = /^(\w+)=(\w+)/.exec(line) ?? [];
      if (key === "" || option === undefined || set.has(key)) return [];
      // xfsprogs 6.1 ships it in a section that its own mkfs refuses.
      return [key === "nrext64" ? "-i" : option, `${key}=${value}`];
    });
}

/** Lines of `-O list-all`: `block-group-tree - … (compat=6.1, safe=6.1, default=6.19)`. */
function btrfsArguments(kernel: number, given: readonly string[], words: string): string[] {
  const names = given.join(" ");
  const unknown = [...words.matchAll(/^([\w-]+)\s+- .*\((?:.*\b)?compat=([\d.]+).*\bdefault=[\d.]+\)/gm)]
    .filter(([, name = "", compat = ""]) => (versionNumber(compat) ?? 0) > kernel && !names.includes(name))
    .map(([, name]) => `^${name}`);
  return unknown.length === 0 ? [] : ["-O", [...new Set(unknown)].join(",")];
}
