#!/usr/bin/env node
// Boots guests and runs one line in each: `scripts/check-guests.js [NAME...]`, by default every suite of `guest list` on amd64.
//
// A line for each: its kernel and the verdict, or that an archive does not have today what it needs, which is no failure.
// The exit status is 1 when a guest did not come up or its line did not pass.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { SUITES } from "../dist/library.cjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const names = process.argv.length > 2 ? process.argv.slice(2) : SUITES.map((suite) => `amd64:${suite}`);
const folder = mkdtempSync(join(tmpdir(), "aiodio-check-guests-"));
const lines = join(folder, "one");
try {
  writeFileSync(lines, "ONE aiocp -b 4k -n 4 -f DIRECT\n");
  for (const name of names) {
    const argv = [
      join(root, "bin", "aiodio-ltp.js"),
      lines,
      "--guest",
      name,
      "--filesystems",
      "ext4",
      "--backing",
      folder,
    ];
    const { status, stdout, stderr } = spawnSync(process.execPath, argv, { encoding: "utf8" });
    const output = `${stdout}${stderr}`;
    const kernel = / Linux \S+ \S+/.exec(output)?.[0].trim();
    if (status === 2 && /can't be (?:had|read from)/.test(output)) {
      console.log(`${name}: not in the archive: ${output.trim().split("\n").at(-1)}`);
    } else if (status === 0 && kernel !== undefined && /\/ONE +TPASS/.test(output)) {
      console.log(`${name}: ${kernel}: TPASS`);
    } else {
      console.log(`${name}: FAILED (exit status ${status})\n${output.replaceAll(/^(?=.)/gm, "    ")}`);
      process.exitCode = 1;
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
