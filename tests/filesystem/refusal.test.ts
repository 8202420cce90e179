/** What it means that mkfs or mount(2) fails, by the words of the real ones. */
import { describe, expect, test } from "vitest";
import {
  BrokenError,
  refusedByMkfs,
  refusedByMount,
  UnavailableError,
  UnusableError,
} from "../../ts/filesystem/refusal.js";
import { familyOf } from "../../ts/filesystem/variants.js";
import { MountError } from "../../ts/linux/mounts.js";
import { variant } from "./fixture.js";

const MEANINGS = new Map<unknown, string>([
  [UnavailableError, "lack"],
  [UnusableError, "usage"],
  [BrokenError, "broken"],
  [MountError, "broken"],
]);

describe("mkfs that fails", () => {
  test.each([
    ["btrfs:blake2", 1, "ERROR: unknown checksum type 'blake2'", "lack"],
    ["btrfs:space_cache_v2", 1, "ERROR: unrecognized filesystem feature 'free-space-tree'", "lack"],
    ["ext4:bigalloc", 1, "Invalid filesystem option set: bigalloc", "lack"],
    ["xfs:rmapbt", 1, "unknown option -m rmapbt\nUsage: mkfs.xfs", "lack"],
    ["ext4:1k", 1, "mkfs.ext4: Invalid argument while setting blocksize; too small for device", "lack"],
    ["f2fs", 1, "mkfs.f2fs: invalid option -- 'b'", "lack"],
    ["ext4", 1, "mkfs.ext4: Input/output error while writing out and closing file system", "broken"],
    ["ext4:bigalloc", 1, "mkfs.ext4: Invalid argument while trying to write the superblock", "broken"],
    ["btrfs", 1, "ERROR: unable to open /dev/loop0: Device or resource busy", "broken"],
    ["xfs", undefined, "unknown option\nkilled by SIGKILL", "broken"],
    ["ext4:mkfs=-O x", undefined, "killed by SIGKILL", "broken"],
    ["ext4:mkfs=-O x", 1, "Invalid filesystem option set: x", "usage"],
    ["ext4:block=512", 1, "mkfs.ext4: invalid block size - 512", "usage"],
    ["ext4:mount=x", 1, "mkfs.ext4: Input/output error", "broken"],
  ])("%s, exit %s, '%s': %s", (name, exit, words, meaning) => {
    const error = refusedByMkfs(variant(name), `mkfs failed: ${words}`, exit, words);
    expect(MEANINGS.get(error.constructor)).toBe(meaning);
    expect(error.message).toContain(words);
  });
});

describe("a mount that fails", () => {
  const NONE = "The kernel does not accept this x or its mount options";
  test.each([
    ["xfs", "EINVAL", "XFS (loop0): Superblock has unknown incompatible features (0x40) enabled.", "lack"],
    ["ext4", "EINVAL", "EXT4-fs (loop0): couldn't mount because of unsupported optional features (10000)", "lack"],
    ["btrfs:4k", "EINVAL", "BTRFS error (device loop0): sectorsize 4096 not yet supported for page size 65536", "lack"],
    ["btrfs:zstd", "EINVAL", "btrfs: Unknown parameter 'compress'", "lack"],
    ["ext4:64k", "EINVAL", "EXT4-fs (loop0): bad block size 65536", "lack"],
    ["ext4:64k", "EINVAL", "", "lack"],
    ["xfs:64k", "ENOSYS", "", "lack"],
    ["ext4", "ENODEV", "", "lack"],
    ["ext4", "EINVAL", "VFS: Can't find ext4 filesystem on dev loop0.", "broken"],
    ["ext4:journal", "EINVAL", "", "broken"],
    ["xfs", "EUCLEAN", "XFS (loop0): Metadata corruption detected", "broken"],
    ["ext4:mount=typo", "EIO", "EXT4-fs (loop0): unable to read superblock", "broken"],
    ["ext4:mount=typo", "EINVAL", "ext4: Unknown parameter 'typo'", "usage"],
    ["ext4:64k:mount=typo", "EINVAL", "ext4: Unknown parameter 'typo'", "usage"],
    ["ext4:64k:mount=noatime", "EINVAL", "EXT4-fs (loop0): bad block size 65536", "lack"],
    ["ext4:block=64k", "EINVAL", "EXT4-fs (loop0): bad block size 65536", "lack"],
    ["ext4:mkfs=-O x", "EINVAL", "EXT4-fs (loop0): couldn't mount because of unsupported optional features", "usage"],
  ])("%s, %s, '%s': %s", (name, code, words, meaning) => {
    const wanted = variant(name);
    const message = words === "" ? NONE : `${NONE}. Kernel log: ${words}`;
    const failure = new MountError({ message, code, errno: 22 } as never);
    const error = refusedByMount(wanted, familyOf(wanted), failure, 4096);
    expect(MEANINGS.get(error.constructor)).toBe(meaning);
    expect(error.message).toContain(words);
  });
});
