/** Which copies of the data a run says that it has looked at. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { command } from "../support/command.js";
import { needsFilesystems } from "../support/needs.js";

let base: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "aiodio-levels-"));
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

test.runIf(process.getuid?.() === 0)("a filesystem that states no direct I/O has no disk level", async () => {
  needsFilesystems("ext4");
  writeFileSync(join(base, "lines"), "COPY aiocp -b 64k -n 4 -s 1m\n");
  // ext4 opens such files with O_DIRECT and answers from the page cache.
  const { stdout, exitCode } = await command("aiodio-ltp", [
    ...[join(base, "lines"), "--filesystems", "ext4:journal", "--reporter", "ltp"],
  ]);
  expect(exitCode, stdout).toBe(0);
  expect(stdout).toMatch(/TINFO: ext2\/ext3\/ext4 has no O_DIRECT: verified in the page cache only/);
  const plain = await command("aiodio-ltp", [join(base, "lines"), "--filesystems", "ext4", "--reporter", "ltp"]);
  expect(plain.exitCode, plain.stdout).toBe(0);
  expect(plain.stdout).not.toContain("verified in the page cache only");
});
