/** What a filesystem has not is no failure of it. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { command } from "../support/command.js";
import { needsFilesystems } from "../support/needs.js";

test.runIf(process.getuid?.() === 0)("a filesystem without preallocation has no allocated space: TCONF", async () => {
  needsFilesystems("ext3");
  const directory = mkdtempSync(join(tmpdir(), "spaces-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const lines = join(directory, "lines");
  writeFileSync(
    lines,
    "ALLOCATED aio_unwritten -n 1 -s 1m --space allocated\nHOLE aio_unwritten -n 1 -s 1m --space hole\n",
  );
  const { all, exitCode } = await command("aiodio-ltp", [lines, "--filesystems", "ext3", "--reporter", "ltp"]);
  expect(all).toMatch(/TCONF: ext2\/ext3\/ext4 has no allocated space/);
  expect(all).toMatch(/2 testcases in .*: 1 TCONF, 1 TPASS/);
  expect(exitCode, all).toBe(0);
});
