/** The filesystems of a run hide nothing that the run needs. */
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { describe, expect, test } from "vitest";
import { root } from "../../ts/base/package.js";
import { findMountPoint } from "../../ts/filesystem/mount-point.js";
import { plainEnvironment } from "../support/command.js";
import { needsFilesystems } from "../support/needs.js";
import { temporaryDirectory } from "../support/temporary.js";

const base = temporaryDirectory("mount-point");
const at = (name: string) => join(base, name);
for (const name of ["full", "full/below", "empty", "empty2"]) mkdirSync(at(name));
writeFileSync(at("file"), "");
symlinkSync(at("empty"), at("link"));

describe("the mount point is", () => {
  test.each([
    ["the first that is empty", [], ["full", "empty", "empty2"], "empty"],
    ["one that holds something where none is empty", [], ["none", "file", "full"], "full"],
    ["none that is needed itself", ["empty"], ["empty", "empty2"], "empty2"],
    ["none with something needed below", ["full/below"], ["full"], undefined],
    ["none with something needed below that is yet to be made", ["empty/new/file"], ["empty", "empty2"], "empty2"],
    ["none that is needed by another name", ["link"], ["empty", "empty2"], "empty2"],
    ["none that is another name of what is needed", ["empty"], ["link", "empty2"], "empty2"],
    ["one whose name only begins alike", ["empty2"], ["empty"], "empty"],
  ])("%s", (_, needed, candidates, expected) => {
    expect(findMountPoint(needed.map(at), candidates.map(at))).toBe(expected === undefined ? undefined : at(expected));
  });
});

// In a mount namespace of its own, where these directories are another, empty filesystem.
test.runIf(process.geteuid?.() === 0).each(["/mnt", "/srv"])(
  "the user's files may be in %s, and relative paths are meant from there",
  async (place) => {
    needsFilesystems("ext4");
    const lines = at("lines");
    writeFileSync(lines, "FSX fsx-linux -N 10 --log ops.log\n");
    const line = [
      process.execPath,
      join(root, "bin", "aiodio-ltp.js"),
      lines,
      "--filesystems",
      "ext4",
      "--size",
      "64m",
    ];
    const script = 'mount -t tmpfs none "$1" && cd "$1" && shift && "$@" && ls';
    const inside = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", place];
    const [program = "", ...args] = [...inside, ...line, "--backing", place];
    const { exitCode, all } = await execa(program, args, { env: plainEnvironment(), reject: false, all: true });
    expect(exitCode, all).toBe(0);
    expect(all).toMatch(/^ops\.log$/m);
    rmSync(lines);
  },
);
