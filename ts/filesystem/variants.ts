/**
 * The filesystems that can be provisioned, by name: a family (`ext4`), with modifiers (`ext4:1k`) and settings of the
 * user's own (`ext4:1k:mount=data=journal`). A modifier is a short name for settings, so the two combine freely.
 */

import { UsageError } from "../base/errors.js";
import { formatBytes, parseSize } from "../base/numbers.js";
import { didYouMean } from "../base/suggest.js";

export interface Variant {
  /** As the user wrote it; unique in a list. */
  name: string;
  family: string;
  /** The filesystem's block size in bytes (btrfs: sector size); undefined is mkfs's choice. */
  blockBytes?: number;
  /** Logical sector size of the device in bytes; undefined is 512 for a loop device, and what a real device has. */
  sectorBytes?: number;
  /** Size of the device; undefined is that of the run. */
  sizeBytes?: number;
  /** Arguments for mkfs beyond the family's. */
  mkfs: string[];
  /** Mount options beyond the family's. */
  mount: string[];
  /** Fault rules, for `faultfs`. */
  faults?: string[];
  /** Settings that the user has written out and that mkfs or mount may refuse; absent where all is the table's. */
  own?: OwnSetting[];
}

/** Settings whose values only mkfs or the kernel can judge. */
const OWN_SETTINGS = ["block", "mkfs", "mount"] as const;
type OwnSetting = (typeof OWN_SETTINGS)[number];

/** What a variant is made of, as the user writes it: `key=value`. */
type Setting = readonly [key: string, value: string];

export interface Family {
  /** As in /proc/filesystems. */
  kernelName: string;
  /** The kernel option that brings it. */
  kernelOption: string;
  /** Absent where there is no device to format; overlayfs lies on a formatted device. */
  mkfs?: {
    command: string;
    /** Always: quiet, and over whatever the device holds. */
    args: readonly string[];
    /** Asks for a block size in bytes; absent where the filesystem has no choice of one. */
    block?: (bytes: number) => string[];
  };
  /** Whether our own process serves it: a filesystem that lies by rules, which nobody means by `all`. */
  lies?: true;
  /** The filesystem that is on the device, where it is another one. */
  below?: string;
  /** Always. Freed blocks must keep their stale content, so nothing may be discarded. */
  mount: readonly string[];
  /** What mkfs needs at least, in bytes. */
  minimumBytes: number;
  /** What blocks larger than a page need. */
  largeBlocks?: string;
  modifiers: Readonly<Record<string, readonly Setting[]>>;
}

const MiB = 2 ** 20;

const EXT_MKFS = { args: ["-q", "-F", "-F"], block: (bytes: number) => ["-b", String(bytes)] };
const BTRFS_SINGLE: Setting[] = [["mkfs", "-m single -d single"]];
/** mkfs.btrfs's default; a block cannot be larger than a node. */
const BTRFS_NODE_BYTES = 16_384;

export const FAMILIES: Readonly<Record<string, Family>> = {
  ext2: {
    kernelName: "ext2",
    kernelOption: "CONFIG_EXT4_USE_FOR_EXT2 or CONFIG_EXT2_FS",
    mkfs: { command: "mkfs.ext2", ...EXT_MKFS },
    mount: [],
    minimumBytes: 16 * MiB,
    modifiers: {},
  },
  ext3: {
    kernelName: "ext3",
    kernelOption: "CONFIG_EXT4_FS",
    mkfs: { command: "mkfs.ext3", ...EXT_MKFS },
    mount: [],
    minimumBytes: 16 * MiB,
    modifiers: {},
  },
  ext4: {
    kernelName: "ext4",
    kernelOption: "CONFIG_EXT4_FS",
    mkfs: { command: "mkfs.ext4", ...EXT_MKFS },
    mount: ["nodiscard"],
    minimumBytes: 16 * MiB,
    largeBlocks: "Linux 6.19 with CONFIG_TRANSPARENT_HUGEPAGE",
    modifiers: {
      "1k": [["block", "1k"]],
      "2k": [["block", "2k"]],
      "64k": [["block", "64k"]],
      bigalloc: [["mkfs", "-O bigalloc"]],
      nodelalloc: [["mount", "nodelalloc"]],
      journal: [["mount", "data=journal"]],
      dioread_nolock: [["mount", "dioread_nolock"]],
      dioread_lock: [["mount", "dioread_lock"]],
      nojournal: [["mkfs", "-O ^has_journal"]],
      "4ks": [["sector", "4096"]],
    },
  },
  xfs: {
    kernelName: "xfs",
    kernelOption: "CONFIG_XFS_FS",
    mkfs: {
      command: "mkfs.xfs",

      args: ["-q", "-f"],
      block: (bytes) => ["-b", `size=${bytes}`],
    },
    mount: ["nodiscard"],
    // mkfs.xfs refuses less since 5.19.
    minimumBytes: 300 * MiB,
    largeBlocks: "Linux 6.12 with CONFIG_TRANSPARENT_HUGEPAGE",
    modifiers: {
      "1k": [["block", "1k"]],
      "2k": [["block", "2k"]],
      "64k": [["block", "64k"]],
      rmapbt: [["mkfs", "-m rmapbt=1"]],
      normapbt: [["mkfs", "-m rmapbt=0"]],
      reflink: [["mkfs", "-m reflink=1"]],
      noreflink: [["mkfs", "-m reflink=0"]],
      "4ks": [["sector", "4096"]],
    },
  },
  btrfs: {
    kernelName: "btrfs",
    kernelOption: "CONFIG_BTRFS_FS",
    mkfs: {
      command: "mkfs.btrfs",

      args: ["-q", "-f"],
      block: (bytes) => ["-s", String(bytes), "-n", String(Math.max(bytes, BTRFS_NODE_BYTES))],
    },
    mount: ["nodiscard"],
    // With data and metadata twice, mkfs.btrfs 6.2 refuses 130 MiB.
    minimumBytes: 256 * MiB,
    largeBlocks: "Linux 6.18 with CONFIG_BTRFS_EXPERIMENTAL",
    modifiers: {
      "4k": [["block", "4k"]],
      "16k": [["block", "16k"]],
      "64k": [["block", "64k"]],
      nodatasum: [["mount", "nodatasum"]],
      nodatacow: [["mount", "nodatacow"]],
      zstd: [["mount", "compress=zstd"]],
      sha256: [["mkfs", "--csum sha256"]],
      xxhash: [["mkfs", "--csum xxhash"]],
      blake2: [["mkfs", "--csum blake2"]],
      single: BTRFS_SINGLE,
      dup: [["mkfs", "-m dup -d dup"]],
      space_cache_v1: [
        ["mkfs", "-R ^free-space-tree"],
        ["mount", "space_cache=v1"],
      ],
      space_cache_v2: [
        ["mkfs", "-R free-space-tree"],
        ["mount", "space_cache=v2"],
      ],
      "4ks": [["sector", "4096"]],
    },
  },
  f2fs: {
    kernelName: "f2fs",
    kernelOption: "CONFIG_F2FS_FS",
    mkfs: {
      command: "mkfs.f2fs",

      args: ["-q", "-f"],
      block: (bytes) => ["-b", String(bytes)],
    },
    mount: ["nodiscard"],
    minimumBytes: 64 * MiB,
    largeBlocks: "a page of that size",
    modifiers: {},
  },
  bcachefs: {
    kernelName: "bcachefs",
    kernelOption: "CONFIG_BCACHEFS_FS (out of the kernel's tree since Linux 6.18)",
    mkfs: {
      command: "mkfs.bcachefs",

      args: ["-q", "--force"],
      block: (bytes) => [`--block_size=${bytes}`],
    },
    mount: [],
    minimumBytes: 64 * MiB,
    largeBlocks: "Linux 6.15",
    modifiers: {},
  },
  exfat: {
    kernelName: "exfat",
    kernelOption: "CONFIG_EXFAT_FS",
    mkfs: { command: "mkfs.exfat", args: ["-q"] },
    mount: [],
    minimumBytes: 16 * MiB,
    modifiers: {},
  },
  vfat: {
    kernelName: "vfat",
    kernelOption: "CONFIG_VFAT_FS",
    mkfs: { command: "mkfs.vfat", args: ["-I"] },
    mount: [],
    minimumBytes: 16 * MiB,
    modifiers: {},
  },
  tmpfs: { kernelName: "tmpfs", kernelOption: "CONFIG_TMPFS", mount: [], minimumBytes: MiB, modifiers: {} },
  overlayfs: {
    kernelName: "overlay",
    kernelOption: "CONFIG_OVERLAY_FS",
    below: "ext4",
    mkfs: { command: "mkfs.ext4", ...EXT_MKFS },
    mount: [],
    minimumBytes: 16 * MiB,
    modifiers: {},
  },
  faultfs: {
    kernelName: "fuseblk",
    kernelOption: "CONFIG_FUSE_FS",
    lies: true,
    mount: [],
    minimumBytes: MiB,
    modifiers: {},
  },
};

/** Every named variant, in the table's order: what `all` means. */
export const VARIANT_NAMES: readonly string[] = Object.entries(FAMILIES)
  .filter(([, { lies }]) => !lies)
  .flatMap(([family, { modifiers }]) => [family, ...Object.keys(modifiers).map((modifier) => `${family}:${modifier}`)]);

/** The table's row for a variant. */
export function familyOf(variant: Pick<Variant, "family">): Family {
  const family = FAMILIES[variant.family];
  if (!family) throw new Error(`no filesystem named ${variant.family}`);
  return family;
}

const BLOCK_BYTES_MAX = 65_536;
const SECTORS: readonly number[] = [512, 4096];

/** Applies one `key=value`. */
const KEYS: Readonly<Record<string, (variant: Variant, value: string) => void>> = {
  block(variant, value) {
    const bytes = parseSize(value);
    if (bytes === undefined || bytes < 512 || bytes > BLOCK_BYTES_MAX || !Number.isInteger(Math.log2(bytes))) {
      throw new UsageError(`${variant.name}: invalid block size '${value}': use a power of two from 512 to 64k`);
    }
    if (!familyOf(variant).mkfs?.block)
      throw new UsageError(`${variant.name}: ${variant.family} has no block size to set`);
    once(variant, "block", variant.blockBytes);
    variant.blockBytes = bytes;
  },
  sector(variant, value) {
    const bytes = parseSize(value);
    if (bytes === undefined || !SECTORS.includes(bytes)) {
      throw new UsageError(`${variant.name}: invalid sector size '${value}': use ${SECTORS.join(" or ")}`);
    }
    const { mkfs, lies } = familyOf(variant);
    if (!mkfs && !lies) throw new UsageError(`${variant.name}: ${variant.family} has no device`);
    once(variant, "sector", variant.sectorBytes);
    variant.sectorBytes = bytes;
  },
  size(variant, value) {
    const bytes = parseSize(value);
    if (bytes === undefined || bytes < MiB)
      throw new UsageError(`${variant.name}: invalid size '${value}': use 1M or more`);
    once(variant, "size", variant.sizeBytes);
    variant.sizeBytes = bytes;
  },
  mkfs(variant, value) {
    if (!familyOf(variant).mkfs) throw new UsageError(`${variant.name}: ${variant.family} has no mkfs`);
    variant.mkfs.push(...value.split(/\s+/).filter(Boolean));
  },
  fault(variant, value) {
    if (!familyOf(variant).lies) throw new UsageError(`${variant.name}: ${variant.family} does not lie; faultfs does`);
    variant.faults = [...(variant.faults ?? []), value];
  },
  mount(variant, value) {
    if (familyOf(variant).lies) throw new UsageError(`${variant.name}: ${variant.family} has no mount options`);
    variant.mount.push(...value.split(",").filter(Boolean));
  },
};

function once(variant: Variant, key: string, before: number | undefined): void {
  if (before !== undefined) throw new UsageError(`${variant.name}: ${key} is set twice`);
}

/** A backslash before a separator takes its meaning away. */
const BETWEEN_VARIANTS = /(?<!\\),/;
const BETWEEN_PARTS = /(?<!\\):/;

/**
 * Reads the value of `--filesystems`: names of {@link VARIANT_NAMES}, modifiers of one family one after the other
 * (`xfs:1k:rmapbt`), `key=value` for anything else, and `all`, separated by commas. A comma or colon inside a value is
 * written with a backslash before it. What is named twice is provisioned once.
 *
 * @throws UsageError that suggests what may have been meant
 */
export function parseFilesystems(text: string): Variant[] {
  const found = new Map<string, Variant>();
  for (const part of text.split(BETWEEN_VARIANTS)) {
    const name = part.trim();
    for (const each of name === "all" ? VARIANT_NAMES : [name]) {
      if (!found.has(each)) found.set(each, parseVariant(each));
    }
  }
  return [...found.values()];
}

function parseVariant(name: string): Variant {
  const [family = "", ...parts] = name.split(BETWEEN_PARTS);
  const row = Object.hasOwn(FAMILIES, family) ? FAMILIES[family] : undefined;
  if (!row) {
    if (name === "")
      throw new UsageError(`--filesystems: a name is missing; there are: ${VARIANT_NAMES.join(", ")}, all`);
    throw new UsageError(
      `There is no filesystem '${family}'${didYouMean(family, [...Object.keys(FAMILIES), "all"])}; there are: ${VARIANT_NAMES.join(", ")}`,
    );
  }
  const variant: Variant = { name, family, mkfs: [], mount: [] };
  for (const part of parts) {
    const own = OWN_SETTINGS.find((key) => part.startsWith(`${key}=`));
    if (own) variant.own = [...new Set(variant.own).add(own)];
    for (const [key, value] of settingsOf(family, row, part)) {
      if (!Object.hasOwn(KEYS, key)) {
        const suggestion = didYouMean(key, Object.keys(KEYS));
        throw new UsageError(
          `${name}: there is no setting '${key}'${suggestion}; there are: ${Object.keys(KEYS).join(", ")}`,
        );
      }
      if (value === "") throw new UsageError(`${name}: '${key}' has no value`);
      KEYS[key]?.(variant, value);
    }
  }
  const { blockBytes = BLOCK_BYTES_MAX, sectorBytes = 512 } = variant;
  if (blockBytes < sectorBytes) {
    throw new UsageError(
      `${name}: a block of ${formatBytes(blockBytes)} is smaller than a sector of ${formatBytes(sectorBytes)}`,
    );
  }
  return variant;
}

/** The settings that a modifier's name stands for, or the one setting that is written out. */
function settingsOf(family: string, row: Family, part: string): readonly Setting[] {
  const equals = part.indexOf("=");
  if (equals >= 0) return [[part.slice(0, equals), part.slice(equals + 1).replaceAll(/\\([,:])/g, "$1")]];
  const settings = Object.hasOwn(row.modifiers, part) ? row.modifiers[part] : undefined;
  if (settings) return settings;
  const names = Object.keys(row.modifiers);
  const known = names.length > 0 ? `it has: ${names.join(", ")}` : "it has none";
  throw new UsageError(
    `${family} has no variant '${part}'${didYouMean(part, names)}; ${known}; or use ${Object.keys(KEYS).join("=…, ")}=…`,
  );
}

/** What LTP's environment variables ask for (its doc/user_guide: setup_tests). */
export interface LtpFilesystems {
  /** LTP_DEV: a block device to be formatted. */
  device?: string;
  /** LTP_DEV_FS_TYPE: the filesystem where a test wants a formatted device and does not say which; ext2 by default. */
  defaultFamily: string;
  /** LTP_SINGLE_FS_TYPE or LTP_FORCE_SINGLE_FS_TYPE: of all filesystems, only this one. */
  onlyFamily?: string;
}

/** @throws UsageError where LTP's own library would refuse, or where the filesystem is none of ours */
export function ltpFilesystems(env: NodeJS.ProcessEnv): LtpFilesystems {
  const { LTP_DEV, LTP_DEV_FS_TYPE, LTP_SINGLE_FS_TYPE, LTP_FORCE_SINGLE_FS_TYPE } = env;
  if (LTP_SINGLE_FS_TYPE && LTP_FORCE_SINGLE_FS_TYPE) {
    throw new UsageError("LTP_SINGLE_FS_TYPE and LTP_FORCE_SINGLE_FS_TYPE are both set: unset one");
  }
  const named = (variable: string, value: string | undefined) => {
    if (!value) return undefined;
    const family = value === "overlay" ? "overlayfs" : value;
    if (Object.hasOwn(FAMILIES, family)) return family;
    const known = Object.keys(FAMILIES);
    throw new UsageError(
      `${variable}: there is no filesystem '${value}'${didYouMean(value, known)}; there are: ${known.join(", ")}`,
    );
  };
  const onlyFamily =
    named("LTP_SINGLE_FS_TYPE", LTP_SINGLE_FS_TYPE) ?? named("LTP_FORCE_SINGLE_FS_TYPE", LTP_FORCE_SINGLE_FS_TYPE);
  return {
    ...(LTP_DEV && { device: LTP_DEV }),
    defaultFamily: named("LTP_DEV_FS_TYPE", LTP_DEV_FS_TYPE) ?? "ext2",
    ...(onlyFamily !== undefined && { onlyFamily }),
  };
}
