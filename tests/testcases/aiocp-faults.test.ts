/**
 * Faults planted between the copy and its verification, on real filesystems: each must turn aiocp's verdict to TFAIL and
 * be named for what it is. What faults in the system calls do is in aiocp-syscalls.test.ts.
 */
import { execFileSync } from "node:child_process";
import { truncateSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { startRecord } from "#native";
import type { ResultLine } from "../../ts/events/events.js";
import type { Testcase } from "../../ts/testcase/testcase.js";
import { readAt, replaceOnDisk, writeAt } from "../support/damage.js";
import { executed } from "../support/execute.js";
import { filesystems, imageOf } from "../support/filesystems.js";

/** Called after each copy with the destination's path and the number of copies so far. */
let plant: (destination: string, copies: number) => void = () => {};
let copies = 0;

vi.mock("#native", async (original) => {
  const { watched } = await import("../support/native.js");
  return watched(original, {
    copy: {
      after({ destination }) {
        copies += 1;
        plant(destination, copies);
      },
    },
  });
});
/** Stands in for unmounting and mounting, for faults that show only afterwards. */
let remount: () => void = () => {};
vi.mock("../../ts/linux/mounts.js", () => ({ remountAll: () => remount() }));

const aiocp = (await import("../../testcases/aiocp.js")).default as unknown as Testcase;

beforeEach(() => void startRecord({}));
afterEach(() => {
  plant = () => {};
  copies = 0;
});

async function run(parent: string, argv: string[], mounts?: []): Promise<ResultLine[]> {
  return (await executed(aiocp, parent, argv, mounts)).lines;
}

const BLOCK = 4096;
const SECTOR = 512;
const DIRECT = ["-b", "4k", "-n", "4", "-f", "DIRECT", "-s", "64k"];

function flipped(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  copy[200] = (copy[200] ?? 0) ^ 0x10;
  return copy;
}

interface Fault {
  name: string;
  argv: string[];
  plant: (destination: string, copies: number) => void;
  /** Lines that must be there, as `TYPE: text`. */
  shows: RegExp[];
}

let older: Buffer;
const FAULTS: Fault[] = [
  {
    name: "two blocks swapped",
    argv: DIRECT,
    plant: (path) => {
      const [first, second] = [readAt(path, 0, BLOCK), readAt(path, 5 * BLOCK, BLOCK)];
      writeAt(path, 0, second);
      writeAt(path, 5 * BLOCK, first);
    },
    shows: [
      /TINFO: dstfile.bin, page cache: 16 of 128 sectors are bad, in 2 ranges/,
      /page cache: 4 KiB at offset 0x0: another offset's stamp: the data of offset 0x5000/,
      /disk: 4 KiB at offset 0x5000: another offset's stamp: the data of offset 0x0/,
    ],
  },
  {
    name: "a block of zeros",
    argv: DIRECT,
    plant: (path) => writeAt(path, 3 * BLOCK, Buffer.alloc(BLOCK)),
    shows: [/page cache: 4 KiB at offset 0x3000: zeros/, /disk: 4 KiB at offset 0x3000: zeros/],
  },
  {
    name: "a block that the report tells all about",
    argv: DIRECT,
    plant: (path) => writeAt(path, 3 * BLOCK, Buffer.alloc(BLOCK)),
    shows: [
      /TINFO: dstfile.bin, 4 KiB at offset 0x3000: looks like this: a write that was reported as done is missing/,
      /bad in: page cache and disk/,
      /right would be: generation 1/,
      /on the disk: 0x\w+, .*: at 0x\w+, written/,
      /what touched it:/,
      / libaio#\d+ pwrite\(dstfile.bin, 0x3000, 4096\) = 4096 </,
      /in flight meanwhile:/,
      / libaio#\d+ p\w+\(\w+.bin, 0x\w+, 4096\) = 4096 </,
      /00003000 {2}41 49 4f 44 49 4f 31 0a .* ≠ 00 00 00 00/,
    ],
  },
  {
    name: "one sector of the copy before",
    argv: [...DIRECT, "-i", "2"],
    plant: (path, copies) => {
      if (copies === 1) older = readAt(path, 9 * SECTOR, SECTOR);
      else writeAt(path, 9 * SECTOR, older);
    },
    shows: [/page cache: 512 bytes at offset 0x1200: another generation \(1\)/],
  },
  {
    name: "one bit flipped",
    argv: DIRECT,
    plant: (path) => writeAt(path, 7 * SECTOR, flipped(readAt(path, 7 * SECTOR, SECTOR))),
    shows: [/512 bytes at offset 0xe00: mutated: 1 bits in 1 bytes differ, first at 0xec8/],
  },
  {
    name: "a sector torn in the middle",
    argv: DIRECT,
    plant: (path) => writeAt(path, 7 * SECTOR + 256, Buffer.alloc(256)),
    shows: [/512 bytes at offset 0xe00: torn, first at 0xf\w\w: the rest is zeros/],
  },
  {
    name: "garbage",
    argv: DIRECT,
    plant: (path) => writeAt(path, BLOCK, Buffer.alloc(BLOCK, 0x6b)),
    shows: [/4 KiB at offset 0x1000: garbage: no stamp/],
  },
  {
    name: "the file one block short",
    argv: DIRECT,
    plant: (path) => truncateSync(path, 15 * BLOCK),
    shows: [
      /TFAIL: Expected destination file size 65536 but it's 61440/,
      /4 KiB at offset 0xf000: missing: the file ends before it/,
    ],
  },
  {
    name: "the file one block long",
    argv: DIRECT,
    plant: (path) => writeAt(path, 16 * BLOCK, Buffer.alloc(BLOCK, 1)),
    shows: [/TFAIL: Expected destination file size 65536 but it's 69632/],
  },
];

describe.each(filesystems())("on $name", ({ name, directory }) => {
  test.each(["DIRECT", "SYNC"])("%s without a fault passes", async (flag) => {
    const lines = await run(directory, ["-b", "4k", "-f", flag, "-i", "2"]);
    expect(lines.filter(({ result }) => result !== "TINFO").map(({ result }) => result)).toEqual(["TPASS", "TPASS"]);
  });

  test.each(FAULTS)("$name", async (fault) => {
    plant = fault.plant;
    const lines = await run(directory, fault.argv);
    const texts = lines.map(({ result, text }) => `${result}: ${text}`);
    const passes = fault.argv.includes("-i") ? 1 : 0;
    expect(lines.filter(({ result }) => result === "TPASS")).toHaveLength(passes);
    expect(lines.some(({ result }) => result === "TFAIL")).toBe(true);
    for (const pattern of fault.shows) expect(texts).toContainEqual(expect.stringMatching(pattern));
    expect(lines.every(({ result }) => result !== "TBROK")).toBe(true);
  });

  test("good on the disk, bad after mounting again", async () => {
    let destination = "";
    plant = (path) => {
      destination = path;
    };
    remount = () => writeAt(destination, 4 * BLOCK, Buffer.alloc(BLOCK));
    const texts = (await run(directory, [...DIRECT, "--verify", "remount"], [])).map(
      ({ result, text }) => `${result}: ${text}`,
    );
    expect(texts).toContain("TFAIL: Files are not identical");
    expect(texts).toContain("TINFO: dstfile.bin, page cache: good");
    expect(texts).toContain("TINFO: dstfile.bin, disk: good");
    expect(texts).toContainEqual(expect.stringMatching(/after mounting again: 4 KiB at offset 0x4000: zeros/));
    remount = () => {};
    const lines = await run(directory, [...DIRECT, "--verify", "remount"], []);
    expect(lines.filter(({ result }) => result === "TPASS")).toHaveLength(1);
  });

  test("--verify remount on a filesystem that is not the run's own is TCONF", async () => {
    const lines = await run(directory, [...DIRECT, "--verify", "remount"]);
    expect(lines.map(({ result }) => result).filter((result) => result !== "TINFO")).toEqual(["TCONF"]);
  });

  const image = imageOf(directory);
  test.runIf(image)("the page cache good, the disk bad", async () => {
    plant = (path) => {
      // Fills the page cache: the copy itself went past it.
      const good = readAt(path, 6 * BLOCK, SECTOR);
      expect(replaceOnDisk(image ?? "", good, flipped(good))).toBeGreaterThan(0);
    };
    const lines = await run(directory, DIRECT);
    const texts = lines.map(({ result, text }) => `${result}: ${text}`);
    expect(texts).toContain("TFAIL: Files are not identical");
    expect(texts).toContain("TINFO: dstfile.bin, page cache: good");
    // btrfs notices by its checksum and refuses to give the data out.
    const what =
      name === "btrfs"
        ? /disk: 4 KiB at offset 0x6000: can't be read: EIO/
        : /disk: 512 bytes at offset 0x6000: mutated: 1 bits/;
    expect(texts).toContainEqual(expect.stringMatching(what));
    // LTP's check, the page cache alone, is blind to it.
    expect((await run(directory, [...DIRECT, "--verify", "cache"])).some(({ result }) => result === "TPASS")).toBe(
      true,
    );
  });

  test.runIf(image)("the disk good, the page cache bad", async () => {
    // Without checksums, or btrfs would take the good data on the disk for bad.
    if (name === "btrfs") execFileSync("chattr", ["+C", directory]);
    plant = (path) => {
      const good = readAt(path, 6 * BLOCK, SECTOR);
      writeAt(path, 6 * BLOCK, flipped(good));
      expect(replaceOnDisk(image ?? "", flipped(good), good)).toBe(1);
    };
    const texts = (await run(directory, DIRECT)).map(({ result, text }) => `${result}: ${text}`);
    expect(texts).toContain("TFAIL: Files are not identical");
    expect(texts).toContainEqual(expect.stringMatching(/page cache: 512 bytes at offset 0x6000: mutated: 1 bits/));
    expect(texts).toContain("TINFO: dstfile.bin, disk: good");
  });
});
