#!/usr/bin/env node
// `npm run lint`: every formatter and linter; prints what to fix and fails if there is anything.
import { spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const CHECKS = [
  [join(root, "node_modules", ".bin", "biome"), ["ci", "."]],
  [join(root, "node_modules", ".bin", "tsc"), ["-p", "."]],
  [join(root, "node_modules", ".bin", "tsc"), ["-p", join("ts", "page")]],
  [process.execPath, [join(root, "scripts", "rooms.js")]],
  ["cargo", ["fmt", "--all", "--check"]],
  ["cargo", ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]],
];

for (const [command, args] of CHECKS) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: "inherit" });
  if (error) throw error;
  if (status !== 0) process.exitCode = 1;
}
