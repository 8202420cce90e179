#!/usr/bin/env node
// `npm test`: the core's tests and then the package's, both on real ext4, xfs and btrfs.
//
// Without root or mkfs the tests run on the temporary directory alone; in CI that is a failure.
// Arguments go to vitest, and then the core's tests are left out: `npm test -- tests/plan`.
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
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

/** The core's tests, which may leave nothing in the temporary directory; vitest looks after its own. */
function testCore(base, env) {
  const temporary = join(base, "core");
  mkdirSync(temporary);
  const status = run("cargo", ["test", "--workspace"], { ...env, TMPDIR: temporary });
  const left = readdirSync(temporary);
  if (left.length > 0) console.error(`The core's tests have left ${left.join(", ")} in the temporary directory`);
  return status || left.length;
}

function main() {
  const base = mkdtempSync(join(tmpdir(), "aiodio-test-"));
  const directories = [];
  try {
    for (const name of FILESYSTEMS) {
      try {
        if (process.getuid() !== 0) throw new Error("mounting needs root");
        directories.push(provision(base, name, IMAGE_BYTES));
      } catch (error) {
        if (process.env.CI) throw error;
        console.error(`No tests on ${name}: ${error.message}`);
      }
    }
    const env = { ...process.env };
    if (directories.length > 0) env.AIODIO_TEST_DIRS = directories.join(":");
    const filters = process.argv.slice(2);
    const core = filters.length > 0 ? 0 : testCore(base, env);
    return core || run(join(root, "node_modules", ".bin", "vitest"), ["--run", ...filters], env);
  } finally {
    for (const directory of directories) release(directory);
    rmSync(base, { recursive: true, force: true });
  }
}

process.exitCode = rerunWithPrivateMounts(self) ?? main();
