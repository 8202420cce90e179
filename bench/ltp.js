// LTP's own programs, to be measured beside ours: built from its source tree, never a part of this one.
import { spawnSync } from "node:child_process";
import { copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { basename, join } from "node:path";

/** Where LTP has the programs of its aio and dio runtest files. */
const DIRECTORIES = ["io/ltp-aiodio", "io/direct_io", "io/aio", "fs/fsx-linux"].map(
  (path) => `testcases/kernel/${path}`,
);

/** LTP's runtest files of asynchronous and direct I/O. */
export const LTP_FILES = [
  ...["ltp-aiodio.part1", "ltp-aiodio.part2", "ltp-aiodio.part3", "ltp-aiodio.part4", "dio", "ltp-aio-stress"],
  "dma_thread_diotest",
];

/** LTP's tree with the programs built, in a copy unless they are there already. */
export function buildLtp(source, work) {
  if (existsSync(join(source, "testcases/kernel/fs/fsx-linux/fsx-linux"))) return source;
  const tree = join(work, "ltp");
  cpSync(source, tree, { recursive: true });
  for (const [command, ...args] of [
    ["make", "autotools"],
    ["./configure"],
    ...DIRECTORIES.map((path) => ["make", "-C", path]),
  ]) {
    const { status, stderr } = spawnSync(command, args, { cwd: tree, encoding: "utf8" });
    if (status !== 0) throw new Error(`building LTP: ${command} ${args.join(" ")} failed:\n${stderr}`);
  }
  return tree;
}

/** The executable files at any depth. */
function executables(directory) {
  return readdirSync(directory, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => statSync(path).mode & 0o111 && !path.endsWith(".sh"));
}

/** Copies the programs of a built tree into a directory that is made for them, as LTP installs them. */
export function installPrograms(tree, directory) {
  mkdirSync(directory, { recursive: true });
  for (const program of DIRECTORIES.flatMap((path) => executables(join(tree, path)))) {
    copyFileSync(program, join(directory, basename(program)));
  }
}
