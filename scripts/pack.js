#!/usr/bin/env node
// Packs the npm packages from what is built here: the main one and this machine's platform package.
//
//   node scripts/pack.js OUT
//
// The work is done on a copy, by napi-rs's own commands: they write the platform packages into the manifest's
// optionalDependencies, which must not happen to the repository's (`npm ci` could not resolve them before a release).
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const out = process.argv[2];
if (out === undefined) {
  console.error("usage: node scripts/pack.js OUT");
  process.exit(2);
}
if (!existsSync(join(root, "dist")) || !existsSync(join(root, "native"))) {
  console.error("pack: nothing is built yet: run `npm ci` first");
  process.exit(1);
}

const stage = mkdtempSync(join(tmpdir(), "aiodio-pack-"));

function run(command, args) {
  const { status, error, stdout, stderr } = spawnSync(command, args, { cwd: stage, encoding: "utf8" });
  if (error) throw error;
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} failed:\n${stdout}${stderr}`);
}

/** napi-rs wants an addon for every target of the manifest: leaves those that are built. */
function restrictTargets() {
  const path = join(stage, "package.json");
  const manifest = JSON.parse(readFileSync(path, "utf8"));
  const built = readdirSync(join(stage, "native")).filter((name) => name.endsWith(".node"));
  manifest.napi.targets = manifest.napi.targets.filter((target) =>
    built.some((name) => name.includes(`.${platformOf(target)}.`)),
  );
  delete manifest.scripts;
  delete manifest.devDependencies;
  writeFileSync(path, `${JSON.stringify(manifest, null, 2)}\n`);
}

/** The platform's package has `aiodio-exec` beside the addon. */
function addExec(directory) {
  const path = join(directory, "package.json");
  const manifest = JSON.parse(readFileSync(path, "utf8"));
  manifest.files.push("aiodio-exec");
  writeFileSync(path, `${JSON.stringify(manifest, null, 2)}\n`);
  cpSync(join(stage, "native", "aiodio-exec"), join(directory, "aiodio-exec"));
}

/** `powerpc64le-unknown-linux-gnu` → `linux-ppc64-gnu`, as napi-rs names its packages. */
function platformOf(target) {
  const [cpu, , system, abi] = target.split("-");
  const names = { x86_64: "x64", aarch64: "arm64", powerpc64le: "ppc64", riscv64gc: "riscv64" };
  return [system, names[cpu] ?? cpu, abi].join("-");
}

try {
  const texts = ["package.json", "README.md", "LICENSE", "ARCHITECTURE.md"];
  for (const name of [...texts, "bin", "dist", "docs", "native", "runtest"]) {
    cpSync(join(root, name), join(stage, name), { recursive: true });
  }
  const napi = join(root, "node_modules", ".bin", "napi");
  restrictTargets();
  run(napi, ["create-npm-dirs"]);
  run(napi, ["artifacts", "--output-dir", "native"]);
  for (const platform of readdirSync(join(stage, "npm"))) addExec(join(stage, "npm", platform));
  run(napi, ["pre-publish", "--skip-optional-publish", "--no-gh-release"]);
  mkdirSync(out, { recursive: true });
  const pack = ["pack", "--ignore-scripts", "--pack-destination", resolve(out)];
  run("npm", pack);
  for (const platform of readdirSync(join(stage, "npm"))) run("npm", [...pack, `./npm/${platform}`]);
  console.log(readdirSync(out).join("\n"));
} finally {
  rmSync(stage, { recursive: true, force: true });
}
