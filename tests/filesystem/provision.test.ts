import { execFileSync } from "node:child_process";
import { closeSync, openSync, readFileSync, readSync, writeSync } from "node:fs";
import { basename, join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { limits } from "#native";
import type { CheckReport } from "../../ts/events/events.js";
import { Filesystem, Unavailable } from "../../ts/filesystem/provision.js";
import { VARIANT_NAMES } from "../../ts/filesystem/variants.js";
import { commandLine, printed } from "../support/command.js";
import { LIBRARY } from "../support/library.js";
import { needsFilesystems } from "../support/needs.js";
import { backingDirectory, expectNoTraces, inside, MiB, mountsHere, provision, variant, withOnly } from "./fixture.js";

const backing = backingDirectory();
const before = mountsHere();

afterAll(async () => {
  expect(mountsHere()).toBe(before);
  await expectNoTraces(backing);
});

/** Those that a CI machine has; the others are tested where they exist. */
const REQUIRED = ["ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "overlayfs"];
const { pageBytes } = limits();
const aiocp = commandLine("aiocp", ["-b", "64k", "-s", "512k"]);

describe("every named variant", () => {
  test.concurrent.each(VARIANT_NAMES)("%s", async (name) => {
    const wanted = variant(name);
    if (REQUIRED.includes(wanted.family)) needsFilesystems(name);
    const filesystem = await Filesystem.provision(wanted, { backing, sizeBytes: 512 * MiB, dirtyBytes: 4 * MiB });
    if (filesystem instanceof Unavailable) {
      expect(filesystem.reason).toMatch(/needs? |install it/);
      const large = (wanted.blockBytes ?? 0) > pageBytes;
      expect(large || !REQUIRED.includes(wanted.family), filesystem.reason).toBe(true);
      return;
    }
    const { directory, device } = filesystem;
    if (wanted.blockBytes !== undefined) {
      const { stdout } = await inside(filesystem, ["stat", "-f", "-c", "%S", directory]);
      expect(Number(stdout)).toBe(wanted.blockBytes);
    }
    if (device !== undefined) {
      const sector = readFileSync(`/sys/block/${basename(device)}/queue/logical_block_size`, "utf8");
      expect(Number(sector)).toBe(wanted.sectorBytes ?? 512);
      expect(filesystem.dirtiedBytes).toBeGreaterThan(0);
    }
    const direct = wanted.family === "tmpfs" ? [] : ["-f", "DIRECT"];
    const { exitCode, all } = await inside(filesystem, [...aiocp, ...direct], { env: { TMPDIR: directory } });
    expect(exitCode, String(all)).toBe(0);
    expect(all).toContain("TPASS: Files are identical");
    expect(all).toContain(`Using ${directory}/`);

    const result = await filesystem.check();
    expect(result, JSON.stringify(result)).toMatchObject({ clean: true });
    expect(result.reports.length > 0 || result.note !== undefined).toBe(true);
    await filesystem.release();
  });
});

describe("one filesystem", () => {
  test("remount keeps what was written and frees what is unlinked; tmpfs says that it can't", async () => {
    const filesystem = await provision("ext4", { backing });
    const file = join(filesystem.directory, "file");
    await inside(filesystem, ["sh", "-c", `echo kept >${file}`]);
    await filesystem.remount();
    expect((await inside(filesystem, ["cat", file])).stdout).toBe("kept");
    await filesystem.release();

    const memory = await provision("tmpfs", { backing });
    expect(memory.mounts).toBeUndefined();
    await expect(memory.remount()).rejects.toThrow("tmpfs has no disk");
    await memory.release();
  });

  test("a worker remounts by itself, with its working directory on the filesystem", async () => {
    const filesystem = await provision("overlayfs", { backing });
    const script = `
      import { remountAll } from ${LIBRARY};
      import { openSync, readFileSync, writeFileSync } from "node:fs";
      process.chdir(${JSON.stringify(filesystem.directory)});
      writeFileSync("file", "kept");
      remountAll(${JSON.stringify(filesystem.mounts)});
      console.log(process.cwd(), readFileSync("file", "utf8"));
      openSync("file");
      try { remountAll(${JSON.stringify(filesystem.mounts)}); } catch (error) { console.log(error.code, error.message); }
    `;
    const { stdout } = await inside(filesystem, [process.execPath, "--input-type=module", "-e", script]);
    expect(stdout).toContain(`${filesystem.directory} kept\n`);
    expect(stdout).toMatch(/^EBUSY .*still in use.*; it is held by process \d+ \(node\): .*\/file$/m);
    await filesystem.release();
  });

  test("who holds it is named, and it goes when they do", async () => {
    const filesystem = await provision("xfs", { backing });
    const holder = inside(filesystem, ["sleep", "30"], { cwd: "/" });
    const inUse = inside(filesystem, [
      "sh",
      "-c",
      `cd ${filesystem.directory} && exec sh -c 'echo there; exec sleep 30'`,
    ]);
    await printed(inUse, /there/);
    await expect.poll(() => readFileSync(`/proc/${inUse.pid}/comm`, "utf8")).toBe("sleep\n");
    await expect(filesystem.check()).rejects.toThrow(new RegExp(`held by process ${inUse.pid} \\(sleep\\)`));
    inUse.kill("SIGKILL");
    holder.kill("SIGKILL");
    await inUse;
    expect((await filesystem.check()).clean).toBe(true);
    await filesystem.release();
  });

  test("direct I/O of the loop driver is as asked, and free space holds stale stamps", async () => {
    const filesystem = await provision("ext2", { backing, directIo: true, dirtyBytes: 8 * MiB });
    const dio = readFileSync(`/sys/block/${basename(filesystem.device ?? "")}/loop/dio`, "utf8").trim() === "1";
    expect(filesystem.directIo).toBe(dio);
    expect(filesystem.dirtiedBytes).toBe(8 * MiB);
    expect(sectorsLike(filesystem, STALE_START)).toBeGreaterThan((8 * MiB) / 512 - 64);
    await filesystem.release();
  });

  test("btrfs keeps the stale stamps too", async () => {
    const filesystem = await provision("btrfs", { backing, dirtyBytes: 8 * MiB });
    expect(sectorsLike(filesystem, STALE_START)).toBeGreaterThan((8 * MiB) / 512 - 64);
    await filesystem.release();
  });

  test("settings of the user's own reach mkfs and mount", async () => {
    const filesystem = await provision("ext4:mkfs=-L mine:mount=noatime,nobarrier".replace(",", "\\,"), { backing });
    const { stdout } = await inside(filesystem, ["findmnt", "-n", "-o", "OPTIONS", filesystem.directory]);
    expect(stdout).toContain("noatime");
    expect(stdout).toContain("nobarrier");
    expect(
      execFileSync("blkid", ["-p", "-s", "LABEL", "-o", "value", filesystem.device ?? ""], { encoding: "utf8" }),
    ).toBe("mine\n");
    await filesystem.release();
  });
});

/** Header of a stale stamp: magic, seed 0, file 0xffffffff. */
const STALE_START = Buffer.from("AIODIO1\n\0\0\0\0\0\0\0\0\xff\xff\xff\xff", "latin1");

/** Sectors of the backing file that start with these bytes. */
function sectorsLike({ backing: path = "" }: Filesystem, start: Buffer): number {
  const fd = openSync(path, "r");
  const chunk = Buffer.alloc(MiB);
  let found = 0;
  try {
    for (let offset = 0; ; offset += MiB) {
      const bytes = readSync(fd, chunk, 0, MiB, offset);
      if (bytes === 0) return found;
      for (let at = 0; at < bytes; at += 512) {
        if (chunk.compare(start, 0, start.length, at, at + start.length) === 0) found += 1;
      }
    }
  } finally {
    closeSync(fd);
  }
}

describe("a planted corruption is found, behind the page cache, by", () => {
  const plant = (filesystem: Filesystem, offset: number, bytes: Buffer) => {
    const fd = openSync(filesystem.backing ?? "", "r+");
    writeSync(fd, bytes, 0, bytes.length, offset);
    closeSync(fd);
  };
  const complaint = async (filesystem: Filesystem): Promise<CheckReport[]> => {
    const { clean, reports } = await filesystem.check();
    expect(clean).toBe(false);
    return reports.filter(({ verdict }) => verdict !== "clean");
  };

  test("e2fsck: a block bitmap of ext4", async () => {
    const filesystem = await provision("ext4", { backing });
    const { stdout } = await inside(filesystem, ["dumpe2fs", filesystem.device ?? ""]);
    const block = Number(/Block bitmap at (\d+)/.exec(String(stdout))?.[1]);
    plant(filesystem, block * 4096, Buffer.alloc(512, 0xa5));
    const [report] = await complaint(filesystem);
    expect(report).toMatchObject({ checker: `e2fsck -fn ${filesystem.device}`, verdict: "corrupt", exit: 4 });
    expect(report?.output).toMatch(/bitmap/i);
    await filesystem.release();
  });

  test("xfs_repair: an inode B-tree block of xfs", async () => {
    const filesystem = await provision("xfs", { backing });
    const { stdout } = await inside(filesystem, [
      "xfs_db",
      "-r",
      "-c",
      "agi 0",
      "-c",
      "p root",
      "-c",
      "sb 0",
      "-c",
      "p blocksize",
      filesystem.device ?? "",
    ]);
    const [, root, blockBytes] = /root = (\d+)\nblocksize = (\d+)/.exec(String(stdout)) ?? [];
    plant(filesystem, Number(root) * Number(blockBytes) + 56, Buffer.alloc(64, 0xa5));
    const [report] = await complaint(filesystem);
    expect(report).toMatchObject({ checker: `xfs_repair -n ${filesystem.device}`, verdict: "corrupt", exit: 1 });
    expect(report?.output).toMatch(/inobt|corrupt|inode/i);
    expect((await filesystem.check()).unmountable).toMatch(/cannot be mounted.*Kernel log: .*EUCLEAN/);
    await filesystem.release();
  });

  test("scrub and btrfs check: a data block of btrfs", async () => {
    const filesystem = await provision("btrfs", { backing, dirtyBytes: 0 });
    await inside(filesystem, [
      "sh",
      "-c",
      `yes aiodio-planted | head -c 65536 >${filesystem.directory}/file && sync -f ${filesystem.directory}`,
    ]);
    const image = readFileSync(filesystem.backing ?? "");
    const at = image.indexOf("aiodio-planted\naiodio-planted\n".repeat(400));
    expect(at).toBeGreaterThan(0);
    plant(filesystem, at + 8192, Buffer.from("changed"));
    const reports = await complaint(filesystem);
    expect(reports.map(({ checker }) => checker.split(" ").slice(0, 2).join(" "))).toEqual([
      "btrfs scrub",
      "btrfs check",
    ]);
    expect(reports[0]?.output).toMatch(/csum=1/);
    expect(reports[1]?.output).toMatch(/csum/);
    // Nothing was repaired: it is found again.
    await complaint(filesystem);
    await filesystem.release();
  });

  test("nobody, where the checker is missing: that is no clean bill", async () => {
    needsFilesystems("ext4");
    const filesystem = await withOnly(["unshare", "setpriv", "mkfs.ext4"], () =>
      Filesystem.provision(variant("ext4"), { backing, sizeBytes: 512 * MiB, dirtyBytes: 0 }),
    );
    if (filesystem instanceof Unavailable) throw new Error(filesystem.reason);
    const { clean, reports } = await filesystem.check();
    expect(clean).toBe(false);
    expect(reports).toMatchObject([{ verdict: "failed", output: expect.stringContaining("e2fsck is not in PATH") }]);
    await filesystem.release();
  });
});
