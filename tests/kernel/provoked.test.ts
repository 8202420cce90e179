/**
 * Real messages of this machine's kernel, provoked on throw-away images. The mounts live in a namespace of the child
 * that makes them, and the loop devices clear themselves, so nothing is left however this ends.
 */
import { openSync, readFileSync, readSync, writeSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { KernelFinding } from "../../ts/events/events.js";
import { type KernelWatch, openKernelWatch } from "../../ts/kernel/watch.js";
import { needsFilesystems } from "../support/needs.js";

const root = process.getuid?.() === 0;
let folder = "";
let watch: KernelWatch;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "provoked-"));
  watch = openKernelWatch();
});
afterAll(async () => {
  watch.close();
  await rm(folder, { recursive: true });
});

/** Without root only CI complains. */
const provoke = test.skipIf(!root && !process.env.CI);

/** Runs a shell script in a mount namespace of its own, in the folder; its last line of output is returned. */
async function privately(script: string): Promise<string> {
  const { stdout } = await execa("unshare", ["--mount", "--propagation", "private", "--", "bash", "-euc", script], {
    cwd: folder,
    env: { LC_ALL: "C" },
  });
  return stdout.split("\n").at(-1) ?? "";
}

/** What the kernel says while a script runs that prints its device last. */
async function heard(script: string): Promise<KernelFinding[]> {
  watch.between();
  watch.begin("this");
  const device = await privately(`mkdir -p mnt; ${script}`);
  expect(device).toMatch(/^\/dev\/loop\d+$/);
  watch.tell("this", { devices: [device.slice("/dev/".length)] });
  // Others may use the machine.
  return watch.end("this").filter(({ elsewhere }) => !elsewhere);
}

function byRule(findings: readonly KernelFinding[]): Record<string, KernelFinding[] | undefined> {
  const rules: Record<string, KernelFinding[]> = {};
  for (const finding of findings) {
    const name = finding.rule ?? "unknown";
    rules[name] = [...(rules[name] ?? []), finding];
  }
  return rules;
}

const DEVICE = "findmnt -no SOURCE mnt";

/** Changes one byte of an image where it holds a text. */
function changeByte(image: string, needle: Buffer): void {
  const at = readFileSync(image).indexOf(needle);
  expect(at).toBeGreaterThan(0);
  overwrite(image, at + 100, 1);
}

function overwrite(image: string, at: number, length: number): void {
  const fd = openSync(image, "r+");
  const bytes = Buffer.alloc(length);
  readSync(fd, bytes, 0, length, at);
  writeSync(
    fd,
    bytes.map((byte) => byte ^ 0x5a),
    0,
    length,
    at,
  );
}

provoke("the log can be read", () => {
  expect(root).toBe(true);
  expect(watch.note).toBeUndefined();
});

provoke("btrfs: a changed block of data", async () => {
  needsFilesystems("btrfs");
  const needle = Buffer.from("known bytes of a file ".repeat(500));
  await privately(`truncate -s 128M b; mkfs.btrfs -q -m single -d single b; mkdir -p mnt; mount -o loop b mnt
    for i in $(seq 1000); do echo -n 'known bytes of a file '; done > mnt/f; umount mnt`);
  changeByte(join(folder, "b"), needle);
  const findings = byRule(await heard(`mount -o loop b mnt; ! cat mnt/f > cat.out; ${DEVICE}`));
  expect(findings["btrfs-csum-failed"]?.[0]).toMatchObject({ class: "corruption", verdict: "TFAIL", shared: false });
  expect(findings["btrfs-device-corrupt"]?.[0]?.text).toMatch(/errs: wr 0, rd 0, flush 0, corrupt 1, gen 0/);
});

provoke("ext4: a changed block of a directory", async () => {
  needsFilesystems("ext4");
  const block = await privately(`truncate -s 64M e; mkfs.ext4 -q e; mkdir -p mnt; mount -o loop e mnt
    mkdir mnt/d; touch mnt/d/{1..20}; umount mnt; debugfs -R 'blocks /d' e 2> debugfs.out`);
  const blockBytes = Number(await privately("dumpe2fs -h e 2> dumpe2fs.out | sed -n 's/^Block size: *//p'"));
  overwrite(join(folder, "e"), Number.parseInt(block, 10) * blockBytes, blockBytes);
  const findings = byRule(await heard(`mount -o loop e mnt; ! ls mnt/d > ls.out 2>&1; ${DEVICE}`));
  expect(findings["ext4-error"]?.[0]).toMatchObject({ class: "corruption", verdict: "TFAIL", shared: false });
});

provoke("xfs: changed headers of the allocation groups", async () => {
  needsFilesystems("xfs");
  await privately("truncate -s 320M x; mkfs.xfs -q x");
  const image = join(folder, "x");
  const header = readFileSync(image).subarray(0, 512);
  const groupBytes = header.readUInt32BE(4) * header.readUInt32BE(84);
  // The second sector of a group counts its free space.
  for (let group = 0; group < header.readUInt32BE(88); group += 1) overwrite(image, group * groupBytes + 612, 8);
  // Most kernels do not even mount it.
  const findings = byRule(
    await heard(`mount -o loop x mnt 2> mount.err && ! touch mnt/f 2> touch.err
      ${DEVICE} || grep -o '/dev/loop[0-9]*' mount.err`),
  );
  expect(findings["xfs-metadata-corrupt"]?.[0]).toMatchObject({ class: "corruption", verdict: "TFAIL", shared: false });
  expect(findings["xfs-metadata-corrupt"]?.[0]?.text).toMatch(
    /Unmount and run xfs_repair\n.*First \d+ bytes.*\n0{8}: /,
  );
  expect(findings["xfs-shutdown-corruption"]?.[0]).toMatchObject({ class: "corruption", verdict: "TFAIL" });
});

provoke("a device that cannot be read is not the filesystem's fault", async () => {
  needsFilesystems("ext4");
  // The kernel tells ten such errors in five seconds, whosever they are.
  await vi.waitFor(
    async () => {
      const findings = await heard(`truncate -s 64M r; mkfs.ext4 -qF r; mount -o loop r mnt
        head -c 8M /dev/urandom > mnt/f; sync -f mnt; ${DEVICE} > device; truncate -s 1M r
        ! dd if=mnt/f of=dd.out iflag=direct bs=1M 2> dd.err; cat device`);
      expect(findings.filter(({ verdict }) => verdict)).toEqual([]);
      expect(byRule(findings)["block-error"]?.[0]).toMatchObject({ class: "device", shared: false });
    },
    { timeout: 240_000, interval: 1000 },
  );
});

provoke("a device that cannot be written is not the filesystem's fault", async () => {
  needsFilesystems("ext4");
  const findings = await heard(`mkdir -p small; mount -t tmpfs -o size=24M none small; truncate -s 64M small/w
    mkfs.ext4 -q -E nodiscard small/w; mount -o loop small/w mnt
    ! dd if=/dev/zero of=mnt/f bs=1M count=40 conv=fsync 2> dd.err; ${DEVICE}`);
  expect(byRule(findings)["ext4-device-error"]?.[0]).toMatchObject({ class: "device", shared: false });
  expect(findings.filter(({ verdict }) => verdict)).toEqual([]);
});
