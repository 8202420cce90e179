/** `aiodio-ltp install-ltproot DIR`: a tree that kirk and openQA's native runner take for an installed LTP. */
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { reasonOf, UsageError } from "../base/errors.js";
import { replaceFile } from "../base/files.js";
import { execPath, packaged, root, version } from "../base/package.js";
import { shellWord } from "../base/quoting.js";
import { packagedRuntests } from "../plan/resolve.js";
import { programs } from "../testcase/registry.js";
import type { System } from "./system.js";

/** Marks a tree as ours and lists the files in it: only such a tree is ever written over. */
const MARKER = ".aiodio-ltp";

/** Begins what each script of a tree says of itself. */
export const WRITTEN_BY = "# Written by aiodio-ltp install-ltproot";

interface Entry {
  text: string;
  executable?: boolean;
}

/** Writes the tree; what is wrong with DIR is one {@link UsageError}. */
export function installLtproot(operands: readonly string[], { terminal, cwd }: System): number {
  const [operand] = operands;
  if (!operand || operands.length > 1) {
    throw new UsageError("install-ltproot takes one directory: aiodio-ltp install-ltproot DIR");
  }
  const directory = resolve(cwd, operand);
  const entries = tree(directory);
  try {
    const old = ownFiles(directory);
    makeDirectories(directory);
    const marker = { text: `${[...entries.keys()].sort().join("\n")}\n` };
    // The marker first: an installation that was cut short is still known as ours and can be repeated.
    for (const [path, { text, executable }] of [[MARKER, marker] as [string, Entry], ...entries]) {
      makeDirectories(dirname(join(directory, path)));
      replaceFile(join(directory, path), text, executable ? 0o755 : 0o644);
    }
    for (const path of old) if (!entries.has(path)) rmSync(join(directory, path), { force: true });
    // openQA searches this directory when LTP came as a package, and gives up when it is not there.
    makeDirectories(join(directory, "testcases/bin/openposix/conformance/interfaces"));
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`cannot write ${directory} (${reasonOf(error)}): choose a directory you may write to`);
  }
  terminal.out(
    `${directory}: ${packagedRuntests().length} runtest files, ${programs.size} programs\n` +
      `Run them with: LTPROOT=${shellWord(directory)} kirk --run-suite ${packagedRuntests()[0] ?? "SUITE"}\n`,
  );
  return 0;
}

/** Files of an earlier installation. Throws where anything else is in the way. */
function ownFiles(directory: string): string[] {
  if (!lstatSync(directory, { throwIfNoEntry: false })) return [];
  if (!statSync(directory, { throwIfNoEntry: false })?.isDirectory()) {
    throw new UsageError(`${directory} is no directory: choose another, or remove it`);
  }
  const marker = join(directory, MARKER);
  if (existsSync(marker)) {
    const lines = readFileSync(marker, "utf8").split("\n");
    // A path that leaves the tree is not from us.
    return lines.filter((line) => line !== "" && !line.startsWith("/") && !line.split("/").includes(".."));
  }
  if (readdirSync(directory).length > 0) {
    throw new UsageError(
      `${directory} is not empty and was not made by aiodio-ltp: choose another directory, or move its files away`,
    );
  }
  return [];
}

/** As `mkdir -p`. Node's own recursive mkdirSync never returns below /proc, where creating says ENOENT (Node 20.20). */
function makeDirectories(path: string): void {
  if (existsSync(path)) return;
  makeDirectories(dirname(path));
  mkdirSync(path);
}

function tree(directory: string): Map<string, Entry> {
  const entries = new Map<string, Entry>([
    ["version", { text: `${version}\n` }],
    ["ver_linux", { text: VER_LINUX, executable: true }],
    // openQA's installation module runs it; we have no LVM tests to generate.
    ["testcases/bin/generate_lvm_runfile.sh", { text: "#!/bin/sh\nexit 0\n", executable: true }],
  ]);
  for (const name of packagedRuntests()) {
    entries.set(`runtest/${name}`, { text: readFileSync(packaged("runtest", name), "utf8") });
  }
  for (const name of programs.keys()) {
    entries.set(`testcases/bin/${name}`, { text: wrapper(name, directory), executable: true });
  }
  return entries;
}

/** kirk passes hardly any environment on, so both paths are absolute. */
function wrapper(program: string, directory: string): string {
  const again = shellWord(`aiodio-ltp install-ltproot ${shellWord(directory)}`);
  return `#!/bin/sh
${WRITTEN_BY}: runs ${program} of the npm package aiodio-ltp.
node=${shellWord(process.execPath)}
exec=${shellWord(execPath())}
for needed in "$node" "$exec"; do
  if [ ! -r "$needed" ]; then
    printf '%s: TBROK: %s is gone: install aiodio-ltp again and run: %s\\n' ${shellWord(`${program}.sh:1`)} "$needed" ${again} >&2
    exit 2
  fi
done
exec "$exec" "$node" ${shellWord(root)} ${program} "$@"
`;
}

/** openQA picks "Linux C Library" and "Gnu C" from it; the rest is for people who read logs. */
const VER_LINUX = `#!/bin/sh
# Versions of what a result may depend on. Written by aiodio-ltp install-ltproot.
row() { [ -z "$2" ] || printf '%-22s %s\\n' "$1" "$2"; }
first() { "$@" 2>&1 | head -n 1; }
have() { command -v "$1" >/dev/null 2>&1; }

uname -a
if [ -r /etc/os-release ]; then
  echo
  cat /etc/os-release
fi
echo
row 'Gnu C' "$(have gcc && first gcc --version)"
libc=$(getconf GNU_LIBC_VERSION 2>/dev/null)
row 'Linux C Library' "> \${libc:-$(have ldd && first ldd --version)}"
row 'Gnu make' "$(have make && first make --version)"
row 'util-linux' "$(have mount && first mount --version)"
row 'e2fsprogs' "$(have mkfs.ext4 && first mkfs.ext4 -V)"
row 'xfsprogs' "$(have mkfs.xfs && first mkfs.xfs -V)"
row 'btrfs-progs' "$(have mkfs.btrfs && first mkfs.btrfs -V)"
row 'Node' ${shellWord(process.version)}
row 'aiodio-ltp' ${shellWord(version)}
echo
echo 'Mounted filesystems:'
cat /proc/mounts
exit 0
`;
