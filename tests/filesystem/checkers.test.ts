/** What the filesystems' checkers mean, by what they say: programs of the test's own say it. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { checkUnmounted } from "../../ts/filesystem/checkers.js";

const path = process.env.PATH;
let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "aiodio-checkers-"));
  process.env.PATH = `${directory}:${path}`;
});
afterAll(() => {
  process.env.PATH = path;
  rmSync(directory, { recursive: true, force: true });
});

/** The verdict where the filesystem's program prints this and ends so. */
async function verdictOf(type: string, program: string, exit: number | "KILL", output: string): Promise<string> {
  const file = join(directory, program);
  const end = exit === "KILL" ? "kill -KILL $$" : `exit ${exit}`;
  writeFileSync(file, `#!/bin/sh\ncat <<'END'\n${output}\nEND\n${end}\n`);
  chmodSync(file, 0o755);
  const [report, ...others] = await checkUnmounted(type, "/dev/no-such-device", "data");
  expect(others).toEqual([]);
  expect(report?.checker).toMatch(`${program} `);
  expect(report?.output).toContain(output.trim().split("\n")[0]);
  return report?.verdict ?? "none";
}

/** Words of the real programs: e2fsprogs 1.47, xfsprogs 6.1, btrfs-progs 6.2. */
const WORDS: [string, string, number | "KILL", string, string][] = [
  [
    "ext4",
    "e2fsck",
    0,
    "clean",
    "Pass 5: Checking group summary information\nx: 11/16384 files (0.0% non-contiguous), 1/2 blocks",
  ],
  ["ext4", "e2fsck", 0, "failed", "e2fsck 1.47.0 (5-Feb-2023)"],
  ["ext4", "e2fsck", 4, "corrupt", "Fix? no\n\nx: ********** WARNING: Filesystem still has errors **********"],
  ["ext4", "e2fsck", 8, "corrupt", "ext2fs_open2: Bad magic number in super-block"],
  [
    "ext4",
    "e2fsck",
    8,
    "failed",
    "e2fsck: No such file or directory while trying to open /dev/x\nPossibly non-existent device?",
  ],
  [
    "ext4",
    "e2fsck",
    8,
    "failed",
    "/dev/x has unsupported feature(s): FEATURE_C12\ne2fsck: Get a newer version of e2fsck!",
  ],
  [
    "ext4",
    "e2fsck",
    16,
    "failed",
    "e2fsck: invalid option -- 'Q'\nUsage: e2fsck [-panyrcdfktvDFV]\n -l badblocks Add to badblocks list",
  ],
  [
    "xfs",
    "xfs_repair",
    0,
    "clean",
    "Phase 7 - verify link counts...\nNo modify flag set, skipping filesystem flush and exiting.",
  ],
  ["xfs", "xfs_repair", 0, "failed", "Usage: xfs_repair [options] device"],
  ["xfs", "xfs_repair", 1, "corrupt", "bad magic # 0x4f63ce42 in inobt block 0/3\nsb_icount 64, counted 0"],
  [
    "xfs",
    "xfs_repair",
    1,
    "corrupt",
    "would write modified primary superblock\nCannot proceed further in no_modify mode.",
  ],
  [
    "xfs",
    "xfs_repair",
    "KILL",
    "corrupt",
    "Metadata CRC error detected at 0x5585e9c739a9, xfs_inobt block 0x18/0x1000",
  ],
  [
    "xfs",
    "xfs_repair",
    1,
    "failed",
    "/dev/x: No such file or directory\n\nfatal error -- couldn't initialize XFS library",
  ],
  [
    "xfs",
    "xfs_repair",
    1,
    "failed",
    "xfs_repair: /dev/x contains a mounted and writable filesystem\n\nfatal error -- couldn't initialize XFS library",
  ],
  [
    "xfs",
    "xfs_repair",
    1,
    "failed",
    "xfs_repair: invalid option -- 'Z'\nUsage: xfs_repair [options] device\n  -n  No modify mode, just checks the filesystem for damage.",
  ],
  ["btrfs", "btrfs", 0, "clean", "found 147456 bytes used, no error found\ntotal csum bytes: 0"],
  // An option that it does not know: this version says how it is used, and exits with 0.
  [
    "btrfs",
    "btrfs",
    0,
    "failed",
    "usage: btrfs check [options] <device>\n    WARNING: the repair mode is considered dangerous",
  ],
  ["btrfs", "btrfs", 1, "failed", "btrfs check: unrecognized option '--check-data-csum'"],
  ["btrfs", "btrfs", 1, "failed", "ERROR: mount check: cannot open /dev/x: No such file or directory"],
  ["btrfs", "btrfs", 1, "corrupt", "No valid Btrfs found on b\nERROR: cannot open file system"],
  ["btrfs", "btrfs", 1, "corrupt", "ERROR: errors found in csum tree\nfound 147456 bytes used, error(s) found"],
  ["btrfs", "btrfs", "KILL", "failed", "Opening filesystem to check..."],
];

describe("a checker is judged by what it says", () => {
  test.each(WORDS)("%s: %s, exit status %s, is %s: %s", async (type, program, exit, verdict, output) => {
    expect(await verdictOf(type, program, exit, output)).toBe(verdict);
  });
});
