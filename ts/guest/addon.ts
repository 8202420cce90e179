/**
 * The addon for a guest's architecture: the platform package where it is installed, else built from the sources with
 * the Rust target that is installed, else with Debian's compiler and its foreign standard library.
 */
import { createHash } from "node:crypto";
import { chmodSync, copyFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { UsageError } from "../base/errors.js";
import { packaged, root, version } from "../base/package.js";
import { CommandError, runCommand } from "../process/run.js";
import { findTool } from "../process/tools.js";
import { Apt, checksums, firstOf, type Tell, unpack } from "./apt.js";
import { ARCHITECTURES, type Architecture } from "./architectures.js";
import type { Cache, Entry } from "./cache.js";
import { isHost } from "./root.js";

const ADDON = "aiodio.node";
/** What cargo writes for the crate of the binding. */
const LIBRARY = "libaiodio_node.so";
/** Debian's suites with a Rust new enough for the binding, for all architectures; the first that has all of it serves. */
const RUST_SUITES = ["trixie", "sid"] as const;

/**
 * Path of the addon; undefined where the guest can load the host's.
 *
 * @throws UsageError with the commands that help, when there is no way to have it
 */
export async function addonFor(architecture: Architecture, cache: Cache, tell: Tell): Promise<string | undefined> {
  if (isHost(architecture)) return undefined;
  const installed = installedAddon(architecture);
  if (installed !== undefined) return installed;
  if (!existsSync(packaged("Cargo.toml"))) {
    throw new UsageError(
      `The addon for ${architecture.name} is not installed: npm install --force aiodio-ltp-${architecture.napi}@${version}`,
    );
  }
  const { directory } = await cache.entry(addonEntry(architecture), async (making) => {
    const target = await build(architecture, cache, tell);
    copyFileSync(join(target, architecture.rustTarget, "release", LIBRARY), join(making, ADDON));
    return { check: [ADDON], fetched: {}, facts: {} };
  });
  return join(directory, ADDON);
}

/** Name of the addon that is built from these sources. */
export function addonEntry({ napi }: Architecture): string {
  return join("addon", `${napi}-${sourcesHash()}`);
}

function installedAddon({ napi }: Architecture): string | undefined {
  const beside = packaged("native", `aiodio.${napi}.node`);
  if (existsSync(beside)) return beside;
  try {
    return createRequire(import.meta.url).resolve(`aiodio-ltp-${napi}`);
  } catch {
    return undefined;
  }
}

/** Of all that the addon is built from. */
function sourcesHash(): string {
  const hash = createHash("sha256");
  const crates = readdirSync(packaged("crates"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(?:rs|toml)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name));
  for (const path of [packaged("Cargo.toml"), packaged("Cargo.lock"), ...crates.sort()]) {
    hash
      .update(`${path.slice(root.length)}\0`)
      .update(readFileSync(path))
      .update("\0");
  }
  return hash.digest("hex").slice(0, 16);
}

/** Builds it; returns cargo's target directory. */
async function build(architecture: Architecture, cache: Cache, tell: Tell): Promise<string> {
  const { rustTarget, crossLinker, crossPackages, name } = architecture;
  const ways = `Install a cross compiler for ${name} (Debian packages ${crossPackages.join(" ")})`;
  if (findTool("cargo") === undefined)
    throw new UsageError(`Building the addon for ${name} needs cargo: see rustup.rs`);
  if (findTool(crossLinker) === undefined) {
    throw new UsageError(`Building the addon for ${name} needs ${crossLinker}. ${ways}`);
  }
  const target = cache.path("addon-target");
  const linker = `CARGO_TARGET_${rustTarget.replaceAll("-", "_").toUpperCase()}_LINKER`;
  const own = await hasTarget(rustTarget);
  const rustc = own ? {} : { RUSTC: await debianRust(architecture, cache, tell) };
  tell(`building the addon for ${name} with ${own ? "the installed Rust" : "Debian's Rust"}`);
  const args = ["build", "--quiet", "--release", "--package", "aiodio-node", "--target", rustTarget] as const;
  const env: NodeJS.ProcessEnv = { ...process.env, ...rustc, [linker]: crossLinker };
  // Each compiler's artifacts are of no use to the other.
  env.CARGO_TARGET_DIR = join(target, own ? "installed" : "debian");
  try {
    await runCommand(["cargo", ...args], { cwd: root, env });
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    throw new UsageError(
      `The addon for ${name} can't be built (${error.words}). With rustup: rustup target add ${rustTarget}`,
    );
  }
  return env.CARGO_TARGET_DIR;
}

async function hasTarget(rustTarget: string): Promise<boolean> {
  if (findTool("rustc") === undefined) return false;
  const sysroot = (await runCommand(["rustc", "--print", "sysroot"], { cwd: root })).trim();
  return existsSync(join(sysroot, "lib", "rustlib", rustTarget, "lib"));
}

/**
 * Debian's compiler for this host with the standard library of the guest, and the C library that it was linked with,
 * so that it runs on any distribution. Returns the path of a `rustc`.
 */
async function debianRust(architecture: Architecture, cache: Cache, tell: Tell): Promise<string> {
  const host = ARCHITECTURES.find(isHost);
  if (!host) throw new UsageError(`The addon for ${architecture.name} can't be built on ${process.arch}: use rustup`);
  const nameOf = (suite: string) => join("rust", `${host.name}-to-${architecture.name}-${suite}`);
  const kept = (await Promise.all(RUST_SUITES.map((suite) => cache.find(nameOf(suite))))).find(Boolean);
  const fetch = (suite: string) => fetchRust(architecture, host, suite, cache, nameOf(suite), tell);
  const { directory } = kept ?? (await firstOf(`a Rust for ${architecture.name}`, RUST_SUITES, fetch, tell));
  return join(directory, "rustc");
}

function fetchRust(
  architecture: Architecture,
  host: Architecture,
  suite: string,
  cache: Cache,
  name: string,
  tell: Tell,
): Promise<Entry> {
  return cache.entry(name, async (making) => {
    const work = join(making, "apt");
    const fetched: Record<string, string> = {};
    // The guest's own first: what both have, documentation, is the host's in the end.
    for (const [debian, wanted] of [
      [architecture.debian, ["libstd-rust-web-dev"]],
      [host.debian, ["rustc-web"]],
    ] as const) {
      const apt = await Apt.open(join(work, debian), suite, debian, tell);
      // The linker and the C headers are the host's.
      const follow = (needed: string) => /^(?:lib|zlib)/.test(needed) && (!/-dev$/.test(needed) || /rust/.test(needed));
      const packages = debian === host.debian ? await apt.closure(wanted, follow) : wanted;
      const debs = await apt.download(packages);
      Object.assign(fetched, await checksums(debs));
      await unpack(debs, join(making, "root"));
    }
    rmSync(work, { recursive: true });
    const triplet = (await runCommand(["gcc", "-dumpmachine"])).trim();
    const wrapper = join(making, "rustc");
    writeFileSync(wrapper, rustcScript(join(making, "root"), triplet));
    chmodSync(wrapper, 0o755);
    return { check: ["rustc", join("root", "usr", "bin", "rustc")], fetched, facts: {} };
  });
}

/** Runs the unpacked compiler with the unpacked loader and libraries. */
function rustcScript(tree: string, triplet: string): string {
  const libraries = join("usr", "lib", triplet);
  const loader = readdirSync(join(tree, libraries)).find((name) => /^ld(?:64|-linux.*)\.so\.\d+$/.test(name));
  if (loader === undefined) throw new Error(`no loader in ${libraries}`);
  return [
    "#!/bin/sh",
    'root=$(dirname "$0")/root',
    `lib=$root/${libraries}`,
    `exec "$lib/${loader}" --library-path "$lib" "$root/usr/bin/rustc" --sysroot "$root/usr" "$@"`,
    "",
  ].join("\n");
}
