/** What mkfs leaves out for a kernel that is older than it. */
import { release } from "node:os";
import { expect, test } from "vitest";
import { featureArguments, mkfsFacts, versionNumber } from "../../ts/filesystem/features.js";
import { needsFilesystems } from "../support/needs.js";

test.each([
  ["6.12.48-amd64", 6012],
  ["lts_5.4.conf", 5004],
  ["mkfs.xfs version 6.16.0", 6016],
  ["7.2.13+deb14-amd64", 7002],
  ["none", undefined],
])("the version of %s", (text, version) => {
  expect(versionNumber(text)).toBe(version);
});

const CONFIGS: Record<string, string> = {
  "dax_x86_64.conf": "[metadata]\nreflink=0\n",
  "lts_5.10.conf": "# old\n\n[metadata]\nbigtime=0\ninobtcount=0\nrmapbt=0\n\n[inode]\nsparse=1\nnrext64=0\n",
  "lts_6.1.conf": "[metadata]\nnrext64=0\nbigtime=1\nrmapbt=0\n\n[inode]\nsparse=1\n\n[naming]\nparent=0\n",
  "lts_6.12.conf": "[metadata]\nbigtime=1\n\n[naming]\nparent=0\n",
};
const xfs = (version: string) => ({
  words: `mkfs.xfs version ${version}`,
  configs: Object.keys(CONFIGS),
  read: (name: string) => CONFIGS[name] ?? "",
});

test.each([
  // No newer than the kernel: its own defaults.
  ["6.1.0", "6.18.44", [], []],
  ["6.12.0", "6.12.48-amd64", [], []],
  ["6.16.0", "6.14.1", [], ["-m", "bigtime=1", "-n", "parent=0"]],
  [
    "6.16.0",
    "6.1.0-50",
    [],
    ["-i", "nrext64=0", "-m", "bigtime=1", "-m", "rmapbt=0", "-i", "sparse=1", "-n", "parent=0"],
  ],
  // What the variant or the user sets is not set twice, which mkfs.xfs refuses.
  ["6.16.0", "6.1.0", ["-m", "rmapbt=1,bigtime=0", "-n", "parent=1"], ["-i", "nrext64=0", "-i", "sparse=1"]],
  ["6.16.0", "6.1.0", ["-c", "options=/x"], []],
  ["6.16.0", "6.1.0", ["-m", "crc=0"], []],
  // Older than all that is known of: the oldest.
  [
    "6.16.0",
    "4.18.0",
    [],
    ["-m", "bigtime=0", "-m", "inobtcount=0", "-m", "rmapbt=0", "-i", "sparse=1", "-i", "nrext64=0"],
  ],
])("mkfs.xfs %s on Linux %s with %j: %j", (tool, kernel, given, expected) => {
  expect(featureArguments("mkfs.xfs", kernel, given, xfs(tool))).toEqual(expected);
});

const BTRFS = `Filesystem features available:
mixed-bg            - mixed data and metadata block groups (compat=2.6.37, safe=2.6.37)
no-holes            - no explicit hole extents for files (compat=3.14, safe=4.0, default=5.15)
block-group-tree    - block group tree, more efficient block group tracking to reduce mount time (compat=6.1, safe=6.1, default=6.19)
raid-stripe-tree    - raid stripe tree (compat=6.7)
`;

test.each([
  ["6.12.1", [], []],
  ["5.10.0", [], ["-O", "^block-group-tree"]],
  ["3.13.0", [], ["-O", "^no-holes,^block-group-tree"]],
  ["5.10.0", ["-O", "block-group-tree"], []],
])("mkfs.btrfs on Linux %s with %j: %j", (kernel, given, expected) => {
  expect(featureArguments("mkfs.btrfs", kernel, given, { words: BTRFS })).toEqual(expected);
});

// The programs of this machine are those of its distribution, whose kernels are no older.
test.each(["mkfs.xfs", "mkfs.btrfs", "mkfs.ext4"])(
  "the installed %s gets no argument on this kernel, and is understood",
  async (command) => {
    needsFilesystems(command.replace("mkfs.", ""));
    const facts = await mkfsFacts(command);
    expect(featureArguments(command, release(), [], facts)).toEqual([]);
    if (command === "mkfs.xfs") expect(featureArguments(command, "4.19.0", [], facts)).toContain("bigtime=0");
    if (command === "mkfs.btrfs") expect(featureArguments(command, "3.10.0", [], facts)[1]).toContain("^no-holes");
  },
);
