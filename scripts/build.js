#!/usr/bin/env node
// Builds the addon (release mode) and the TypeScript; run by `npm ci` through "prepare", and before the tests.
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { BUILT_FROM, sourcesDigest } from "./sources.js";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: "inherit" });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

// In the repository itself, npx links the package into its cache and has it prepared once more: `npm ci` did that.
if (process.env.npm_command === "exec" && existsSync(join(root, "dist")) && existsSync(join(root, "native"))) {
  process.exit(0);
}

const tool = (name) => join(root, "node_modules", ".bin", name);

if (spawnSync("cargo", ["--version"], { stdio: "ignore" }).status !== 0) {
  console.error(
    "aiodio-ltp: building needs Rust 1.89 or newer, and `cargo` is not in PATH: install it from https://rustup.rs, then run `npm ci` again",
  );
  process.exit(1);
}
if (!existsSync(tool("napi")) || !existsSync(tool("esbuild"))) {
  console.error("aiodio-ltp: the build tools are missing: run `npm ci` (with development dependencies)");
  process.exit(1);
}
// A build that fails leaves nothing that says it is whole; nor does one whose sources change meanwhile.
rmSync(BUILT_FROM, { force: true });
run(process.execPath, ["scripts/registry.js"]);
const sources = sourcesDigest();
run(tool("napi"), [
  ...["build", "--platform", "--release", "--manifest-path", "crates/aiodio-node/Cargo.toml"],
  ...["--output-dir", "native", "--js", "index.cjs", "--dts", "index.d.ts"],
]);
// Linked as a whole, so that it starts in a millisecond on any libc.
run("cargo", [
  ...["rustc", "--release", "--manifest-path", "crates/aiodio-exec/Cargo.toml", "--bin", "aiodio-exec"],
  ...["--", "-C", "target-feature=+crt-static"],
]);
const target = process.env.CARGO_TARGET_DIR ?? join(root, "target");
// Not over a file that is being run.
rmSync(join(root, "native", "aiodio-exec"), { force: true });
copyFileSync(join(target, "release", "aiodio-exec"), join(root, "native", "aiodio-exec"));
run(process.execPath, ["scripts/bundle.js"]);
writeFileSync(BUILT_FROM, sources);
