#!/usr/bin/env node
// `npm test`: the core's tests and then the package's, both on real ext4, xfs and btrfs.
//
// Without root or mkfs the tests run on the temporary directory alone; in CI that is a failure.
// Arguments go to vitest, and then the core's tests are left out: `npm test -- tests/plan`.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { provision, release, rerunWithPrivateMounts } from "./filesystems.js";

const self = fileURLToPath(import.meta.url);
const root = dirname(dirname(self));
const FILESYSTEMS = ["ext4", "xfs", "btrfs"];
const IMAGE_BYTES = 640 * 2 ** 20;

function run(command, args, env) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: "inherit", env });
  if (error) throw error;
  return status ?? 1;
}

function main() {
  const base = mkdtempSync(join(tmpdir(), "aiodio-test-"));
  const directories = [];
  try {
    try {
      if (process.getuid() !== 0) throw new Error("mounting needs root");
      for (const name of FILESYSTEMS) directories.push(provision(base, name, IMAGE_BYTES));
    } catch (error) {
      if (process.env.CI) throw error;
      console.error(`Not every filesystem is there to test on: ${error.message}`);
    }
    const env = { ...process.env };
    if (directories.length > 0) env.AIODIO_TEST_DIRS = directories.join(":");
    const filters = process.argv.slice(2);
    const core = filters.length > 0 ? 0 : run("cargo", ["test", "--workspace"], env);
    return core || run(join(root, "node_modules", ".bin", "vitest"), ["--run", ...filters], env);
  } finally {
    for (const directory of directories) release(directory);
    rmSync(base, { recursive: true, force: true });
  }
}

process.exitCode = rerunWithPrivateMounts(self) ?? main();
