import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, onTestFinished, test } from "vitest";
import { modinfo, modulesFor, modulesInOrder, readModule, readModuleTree } from "../../ts/guest/modules.js";
import { needs } from "../support/needs.js";

/** The smallest ELF file that has a .modinfo section: header, contents, three section headers. */
function elf(texts: readonly string[], { bits = 64, little = true } = {}): Buffer {
  const wide = bits === 64;
  const info = Buffer.from(texts.map((text) => `${text}\0`).join(""));
  const names = Buffer.from("\0.modinfo\0.shstrtab\0");
  const headerBytes = wide ? 64 : 52;
  const entryBytes = wide ? 64 : 40;
  const tableAt = headerBytes + info.length + names.length;
  const bytes = Buffer.alloc(tableAt + 3 * entryBytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const word = (at: number, value: number) =>
    wide ? view.setBigUint64(at, BigInt(value), little) : view.setUint32(at, value, little);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, little ? 1 : 2]);
  word(wide ? 0x28 : 0x20, tableAt);
  const counts = wide ? 0x3a : 0x2e;
  view.setUint16(counts, entryBytes, little);
  view.setUint16(counts + 2, 3, little);
  view.setUint16(counts + 4, 2, little);
  bytes.set(info, headerBytes);
  bytes.set(names, headerBytes + info.length);
  const section = (index: number, name: number, at: number, size: number) => {
    const start = tableAt + index * entryBytes;
    view.setUint32(start, name, little);
    word(start + (wide ? 0x18 : 0x10), at);
    word(start + (wide ? 0x20 : 0x14), size);
  };
  section(1, 1, headerBytes, info.length);
  section(2, 10, headerBytes + info.length, names.length);
  return bytes;
}

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "modules-"));
  onTestFinished(() => rmSync(path, { recursive: true }));
  return path;
}

/** A tree of modules with these dependencies. */
function treeOf(modules: Record<string, string[]>, builtin: string[] = []) {
  const root = folder();
  mkdirSync(join(root, "kernel", "fs"), { recursive: true });
  for (const [name, texts] of Object.entries(modules))
    writeFileSync(join(root, "kernel", "fs", `${name}.ko`), elf(texts));
  writeFileSync(join(root, "modules.builtin"), builtin.map((name) => `kernel/fs/${name}.ko\n`).join(""));
  return readModuleTree(root);
}

const orderOf = (result: Awaited<ReturnType<typeof modulesInOrder>>) => result.modules.map(({ name }) => name);

test.each([
  [64, true],
  [64, false],
  [32, true],
  [32, false],
])(".modinfo of a %i-bit file, little-endian %s", (bits, little) => {
  const info = modinfo(elf(["license=GPL", "alias=fs-x", "alias=fs-y", "depends=a,b", "nothing"], { bits, little }));
  expect(Object.fromEntries(info)).toEqual({ license: ["GPL"], alias: ["fs-x", "fs-y"], depends: ["a,b"] });
});

test("what is no module is refused", () => {
  expect(() => modinfo(Buffer.from("#!/bin/sh\n"))).toThrow("no ELF file");
});

test("a module comes after all that it depends on, and once", async () => {
  const tree = treeOf({
    btrfs: ["depends=xor,raid6-pq,libcrc32c"],
    xor: ["depends="],
    raid6_pq: ["depends="],
    libcrc32c: ["depends="],
    xfs: ["depends=libcrc32c"],
  });
  const result = await modulesInOrder(tree, ["btrfs", "xfs"]);
  expect(orderOf(result)).toEqual(["xor", "raid6_pq", "libcrc32c", "btrfs", "xfs"]);
  expect(result.missing).toEqual([]);
});

test("a soft dependency comes first where it is a module, and an alias is none", async () => {
  const tree = treeOf({
    ext4: ["depends=jbd2", "softdep=pre: crc32c_generic crypto-crc32c post: late"],
    jbd2: [],
    crc32c_generic: [],
    late: [],
  });
  expect(orderOf(await modulesInOrder(tree, ["ext4"]))).toEqual(["jbd2", "crc32c_generic", "ext4"]);
});

test("modules that depend on each other end the search", async () => {
  const tree = treeOf({ a: ["depends=b"], b: ["depends=a"] });
  expect(orderOf(await modulesInOrder(tree, ["a"]))).toEqual(["b", "a"]);
});

test("what is built in is not missing, what is neither there nor built in is", async () => {
  const tree = treeOf({ nine: ["depends=netfs,gone"] }, ["netfs"]);
  expect(await modulesInOrder(tree, ["nine", "virtio-blk"])).toMatchObject({ missing: ["gone", "virtio-blk"] });
});

test.each(["gz", "xz", "zst"])("a module compressed as .%s is uncompressed", async (suffix) => {
  const plain = elf(["depends=a"]);
  const tool = { gz: undefined, xz: "xz", zst: "zstd" }[suffix];
  if (tool !== undefined) needs(tool);
  const packed = tool === undefined ? gzipSync(plain) : spawnSync(tool, ["-c"], { input: plain }).stdout;
  const path = join(folder(), `m.ko.${suffix}`);
  writeFileSync(path, packed);
  expect(Buffer.from(await readModule(path)).equals(plain)).toBe(true);
});

test("a compressed module that is damaged is named", async () => {
  needs("xz");
  const path = join(folder(), "m.ko.xz");
  writeFileSync(path, "no xz");
  await expect(readModule(path)).rejects.toThrow(`xz cannot read ${path}`);
});

test("a compression without its program names the package", async () => {
  const path = join(folder(), "m.ko.zst");
  writeFileSync(path, "");
  const before = process.env.PATH;
  onTestFinished(() => {
    process.env.PATH = before;
  });
  process.env.PATH = "/nonexistent";
  await expect(readModule(path)).rejects.toThrow("zstd is not in PATH: install it (Debian package zstd)");
});

test("only what the filesystems need is wanted", () => {
  const tree = treeOf({ crc32c_generic: [] });
  const base = ["virtio_pci", "virtio_blk", "virtio_console", "9pnet_virtio", "9p", "crc32c_generic"];
  expect(modulesFor([{ family: "ext4", mkfs: [] }], tree)).toEqual([...base, "ext4"]);
  expect(modulesFor([{ family: "btrfs", mkfs: ["--csum", "sha256"] }], tree)).toEqual([
    ...base,
    "btrfs",
    "sha256_generic",
  ]);
});
