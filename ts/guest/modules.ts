/** Kernel modules for an initramfs: which are needed, in which order, uncompressed; without kmod and depmod. */
import { readdirSync, readFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { basename, join } from "node:path";
import { gunzipSync } from "node:zlib";
import { CommandError, commandBytes } from "../process/run.js";

/** Larger than any module, and its debug information. */
const MODULE_BYTES_MAX = 1 << 30;
/** What unpacks a module. Node itself has no xz, and zstd only from 22.15 on. */
const UNPACKERS: Readonly<Record<string, string>> = { xz: "xz", zst: "zstd" };
const FILE_NAME = /^(.+)\.ko(?:\.(gz|xz|zst))?$/;

/** The modules below one `lib/modules/RELEASE`. */
export interface ModuleTree {
  /** Path by name. */
  files: ReadonlyMap<string, string>;
  /** What the kernel has without a module. */
  builtin: ReadonlySet<string>;
}

export interface Module {
  name: string;
  /** The uncompressed ELF file. */
  data: Uint8Array;
}

/** A module's one name: the kernel treats - and _ as equal. */
export function moduleName(name: string): string {
  return name.replaceAll("-", "_");
}

/** Looks at the tree; reads no module yet. */
export function readModuleTree(directory: string): ModuleTree {
  const files = new Map<string, string>();
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    const name = FILE_NAME.exec(entry.name)?.[1];
    if (name !== undefined && entry.isFile()) files.set(moduleName(name), join(entry.parentPath, entry.name));
  }
  let list = "";
  try {
    list = readFileSync(join(directory, "modules.builtin"), "utf8");
  } catch {
    // A tree that was not installed has none: then what is missing can't be told from what is built in.
  }
  const builtin = list.split("\n").flatMap((line) => FILE_NAME.exec(basename(line.trim()))?.[1] ?? []);
  return { files, builtin: new Set(builtin.map(moduleName)) };
}

/**
 * The wanted modules with all that they depend on, each after what it needs.
 *
 * @returns `missing`: what is neither there nor known to be built in; it may be built in or have another name
 * @throws UsageError when a module's compression has no program here
 */
export async function modulesInOrder(
  tree: ModuleTree,
  wanted: readonly string[],
): Promise<{ modules: Module[]; missing: string[] }> {
  const modules: Module[] = [];
  const missing: string[] = [];
  const seen = new Set<string>();
  const add = async (spelled: string): Promise<void> => {
    const name = moduleName(spelled);
    if (seen.has(name)) return;
    seen.add(name);
    const path = tree.files.get(name);
    if (path === undefined) {
      if (!tree.builtin.has(name)) missing.push(spelled);
      return;
    }
    const data = await readModule(path);
    const info = modinfo(data);
    for (const needed of info.get("depends")?.flatMap((list) => list.split(",")) ?? []) {
      if (needed !== "") await add(needed);
    }
    // What should be there before, by its file's name; other names there are aliases, and nothing waits for them.
    for (const soft of info.get("softdep") ?? []) {
      for (const needed of /^pre:(.*?)(?:post:|$)/.exec(soft)?.[1]?.trim().split(/\s+/) ?? []) {
        if (tree.files.has(moduleName(needed))) await add(needed);
      }
    }
    modules.push({ name, data });
  };
  for (const name of wanted) await add(name);
  return { modules, missing };
}

/** Reads and uncompresses one module. @throws UsageError when the program for that is missing */
export async function readModule(path: string): Promise<Uint8Array> {
  const compression = FILE_NAME.exec(basename(path))?.[2] ?? "";
  if (compression === "gz") return gunzipSync(readFileSync(path));
  const command = UNPACKERS[compression];
  if (command === undefined) return readFileSync(path);
  const packed = await open(path);
  try {
    return await commandBytes([command, "-dc"], { stdin: packed.fd, bytesMax: MODULE_BYTES_MAX });
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    throw new Error(`${command} cannot read ${path}: ${error.words}`);
  } finally {
    await packed.close();
  }
}

/** ELF offsets that differ between 32 and 64 bits (elf.h). */
const ELF64 = { sectionOffset: 0x28, sectionSize: 0x3a, nameIndex: 0x3e, offset: 0x18, size: 0x20, word: 8 } as const;
const ELF32 = { sectionOffset: 0x20, sectionSize: 0x2e, nameIndex: 0x32, offset: 0x10, size: 0x14, word: 4 } as const;

/**
 * The `key=value` texts of a module's .modinfo section, by key.
 *
 * @throws Error when it is no ELF file
 */
export function modinfo(elf: Uint8Array): Map<string, string[]> {
  const bytes = Buffer.from(elf.buffer, elf.byteOffset, elf.byteLength);
  if (bytes.subarray(0, 4).toString("latin1") !== "\x7fELF") throw new Error("no ELF file");
  const at = bytes[4] === 2 ? ELF64 : ELF32;
  const little = bytes[5] === 1;
  const short = (offset: number) => (little ? bytes.readUInt16LE(offset) : bytes.readUInt16BE(offset));
  const int = (offset: number) => (little ? bytes.readUInt32LE(offset) : bytes.readUInt32BE(offset));
  const word = (offset: number) => {
    if (at.word === 4) return int(offset);
    return Number(little ? bytes.readBigUInt64LE(offset) : bytes.readBigUInt64BE(offset));
  };
  const headers = word(at.sectionOffset);
  const size = short(at.sectionSize);
  const count = short(at.sectionSize + 2);
  const content = (index: number) => {
    const header = headers + index * size;
    const start = word(header + at.offset);
    return bytes.subarray(start, start + word(header + at.size));
  };
  const names = content(short(at.nameIndex));
  const found = new Map<string, string[]>();
  for (let index = 0; index < count; index += 1) {
    const from = int(headers + index * size);
    if (names.toString("latin1", from, names.indexOf(0, from)) !== ".modinfo") continue;
    for (const text of content(index).toString("latin1").split("\0")) {
      const equals = text.indexOf("=");
      if (equals < 0) continue;
      const key = text.slice(0, equals);
      found.set(key, [...(found.get(key) ?? []), text.slice(equals + 1)]);
    }
  }
  return found;
}

/** Needed in every guest: its disks, its root over 9p, and the port that carries the protocol. */
const BASE_MODULES = ["virtio_pci", "virtio_blk", "virtio_console", "9pnet_virtio", "9p"];
/** Checksums of filesystems: the older and the newer name; kernels since 6.16 may have neither. */
const CRC32C = ["crc32c_generic", "crc32c_cryptoapi"];

/** What each family of filesystems needs; names that a kernel does not have are built in, renamed or of another age. */
const FAMILY_MODULES: Readonly<Record<string, readonly string[]>> = {
  ext2: ["ext4"],
  ext3: ["ext4"],
  ext4: ["ext4"],
  xfs: ["xfs"],
  btrfs: ["btrfs"],
  f2fs: ["f2fs"],
  bcachefs: ["bcachefs"],
  exfat: ["exfat"],
  vfat: ["vfat", "nls_cp437", "nls_ascii", "nls_iso8859_1"],
  overlayfs: ["ext4", "overlay"],
  tmpfs: [],
};
/** Checksums that btrfs has beside crc32c. */
const BTRFS_CHECKSUMS: Readonly<Record<string, string>> = {
  sha256: "sha256_generic",
  xxhash: "xxhash_generic",
  blake2: "blake2b_generic",
};

/** What the filesystems of a run need, and nothing else: inserting modules is most of an emulated boot. */
export function modulesFor(
  variants: readonly { family: string; mkfs: readonly string[] }[],
  tree: ModuleTree,
): string[] {
  const wanted = new Set(BASE_MODULES);
  for (const name of CRC32C) if (tree.files.has(name)) wanted.add(name);
  for (const { family, mkfs } of variants) {
    for (const name of FAMILY_MODULES[family] ?? []) wanted.add(name);
    for (const [word, name] of Object.entries(BTRFS_CHECKSUMS)) if (mkfs.includes(word)) wanted.add(name);
  }
  return [...wanted];
}
