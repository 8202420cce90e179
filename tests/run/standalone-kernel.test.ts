/** What a testcase's command makes of what this machine's kernel really says while it runs. */
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, fsyncSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { childrenOf, command, printed, summaryOf } from "../support/command.js";
import { replaceOnDisk } from "../support/damage.js";
import { filesystems, imageOf } from "../support/filesystems.js";

const btrfs = filesystems().find(({ name }) => name === "btrfs");
const directory = btrfs?.directory ?? "";

/** A testcase meanwhile reads a block whose checksum is wrong; `end` is what becomes of it then. */
async function besideBadChecksum(end: NodeJS.Signals) {
  const damaged = join(directory, "damaged");
  const content = randomBytes(4096);
  const fd = openSync(damaged, "w");
  writeSync(fd, content);
  fsyncSync(fd);
  closeSync(fd);
  // Out of the page cache.
  spawnSync("dd", [`if=${damaged}`, "of=/dev/null", "iflag=nocache", "count=0"]);
  expect(replaceOnDisk(imageOf(directory) ?? "", content, randomBytes(4096))).toBe(1);

  const running = command("aiocp", ["-b", "1k", "-n", "1", "-s", "1m", "-f", "SYNC"], { TMPDIR: directory });
  await printed(running, /Copy srcfile/);
  // It can't end meanwhile.
  const [worker = 0] = childrenOf(running.pid);
  process.kill(worker, "SIGSTOP");
  const read = spawnSync("dd", [`if=${damaged}`, "of=/dev/null", "bs=4k"], { encoding: "utf8" });
  // SIGKILL ends a stopped process too, and its parent may have reaped it at once.
  process.kill(worker, end);
  expect(read.stderr).toContain("Input/output error");
  return running;
}

const withImage = test.runIf(btrfs && imageOf(directory));

withImage("a checksum that fails on its filesystem is TFAIL", async () => {
  const { all, exitCode } = await besideBadChecksum("SIGCONT");
  expect(all).toMatch(/^aiocp\.ts:\d+: TPASS: Files are identical$/m);
  expect(all).toMatch(/^command-main\.ts:\d+: TFAIL: kernel: BTRFS warning \(device loop\d+\): csum failed/m);
  expect(all).toMatch(/^command-main\.ts:\d+: TINFO: kernel: btrfs-csum-failed: /m);
  expect(summaryOf(all)).toMatchObject({ passed: 1, broken: 0, warnings: 0 });
  expect(exitCode).toBe(1);
});

withImage("so it is where the testcase died before it could hear of it", async () => {
  const { all, exitCode } = await besideBadChecksum("SIGKILL");
  expect(all).toMatch(/^aftermath-main\.ts:\d+: TBROK: Test killed by SIGKILL!$/m);
  expect(all).toMatch(/^aftermath-main\.ts:\d+: TFAIL: kernel: BTRFS warning \(device loop\d+\): csum failed/m);
  expect(summaryOf(all)).toMatchObject({ passed: 0, broken: 1, warnings: 0 });
  expect(exitCode).toBe(3);
});
