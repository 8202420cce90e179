/** Provisioned filesystems for tests, and what must be as before when they are gone. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { execa, type Options } from "execa";
import { expect } from "vitest";
import { Filesystem, type ProvisionOptions } from "../../ts/filesystem/provision.js";
import { parseFilesystems, type Variant } from "../../ts/filesystem/variants.js";
import { findTool } from "../../ts/process/tools.js";
import { needsFilesystems } from "../support/needs.js";
import { temporaryDirectory } from "../support/temporary.js";

export const MiB = 2 ** 20;

/** A directory for backing files, of this test file only: what is left in the system is recognised by its name. */
export function backingDirectory(): string {
  return temporaryDirectory("backing");
}

export function variant(name: string): Variant {
  const [only] = parseFilesystems(name);
  if (!only) throw new Error(name);
  return only;
}

/** Small and quickly made; fails where the kernel can't, and skips the test where its programs are missing. */
export async function provision(name: string, options: ProvisionOptions): Promise<Filesystem> {
  needsFilesystems(name);
  const filesystem = await Filesystem.provision(variant(name), {
    sizeBytes: 512 * MiB,
    dirtyBytes: 4 * MiB,
    ...options,
  });
  if (!(filesystem instanceof Filesystem)) throw new Error(`${name}: ${filesystem.reason}`);
  return filesystem;
}

/** Runs something with a PATH that holds these programs and no others. */
export async function withOnly<T>(programs: readonly string[], run: () => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), "aiodio-path-"));
  const path = process.env.PATH;
  try {
    for (const program of programs) symlinkSync(findTool(program) ?? program, join(directory, program));
    process.env.PATH = directory;
    return await run();
  } finally {
    process.env.PATH = path;
    rmSync(directory, { recursive: true });
  }
}

/** Runs a command where the filesystem is mounted. */
export function inside(filesystem: Filesystem, command: readonly string[], options: Options = {}) {
  const [program = "", ...args] = [...filesystem.enter, ...command];
  return execa(program, args, { reject: false, all: true, ...options });
}

/** What there is of a backing directory's filesystems in the system. */
export function traces(backing: string): string[] {
  const found = readdirSync(backing).map((name) => `file ${name}`);
  for (const device of readdirSync("/sys/block").filter((name) => name.startsWith("loop"))) {
    try {
      const file = readFileSync(`/sys/block/${device}/loop/backing_file`, "utf8").trim();
      if (file.startsWith(`${backing}/`)) found.push(`${device} on ${file}`);
    } catch {} // Not attached.
  }
  return found;
}

/** The mounts of this namespace. */
export function mountsHere(): string {
  return readFileSync("/proc/self/mounts", "utf8");
}

/** The kernel clears devices in its own time, but it does. */
export async function expectNoTraces(backing: string): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (traces(backing).length > 0 && performance.now() < deadline) await sleep(10);
  expect(traces(backing)).toEqual([]);
}
