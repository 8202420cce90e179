/**
 * What guests need, kept between runs: directories that appear whole or not at all.
 *
 * An entry is made under another name and renamed when it is complete and on the disk, so that nothing half-written can
 * be trusted. There are no locks: of two processes that make the same entry, the first one's stays.
 */
import { createHash } from "node:crypto";
import { createReadStream, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { runCommand } from "./command.js";

const MANIFEST = "manifest.json";
/** `NAME.PID.making`: what a process is making; another process with that ID is told apart by its being alive. */
const MAKING = /\.(\d+)\.making$/;

/** What an entry was made of. */
export interface Manifest {
  /** ISO 8601. */
  time: string;
  /** SHA-256 by the name of what was fetched: Debian packages. */
  fetched: Record<string, string>;
  /** SHA-256 of files of the entry that are checked before use, by their path in it. */
  files: Record<string, string>;
  /** Anything else that whoever uses the entry wants to know. */
  facts: Record<string, string>;
}

export interface Entry {
  directory: string;
  manifest: Manifest;
}

/** `$XDG_CACHE_HOME/aiodio-ltp`; relative values are to be ignored, says the XDG Base Directory Specification. */
export function cacheDirectory(env: NodeJS.ProcessEnv): string {
  const { XDG_CACHE_HOME: home } = env;
  const base = home && isAbsolute(home) ? home : join(env.HOME || homedir(), ".cache");
  return join(base, "aiodio-ltp");
}

export async function sha256(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}

export class Cache {
  constructor(readonly directory: string) {}

  /** The entry when it is there and what can be checked of it is intact. */
  async find(name: string): Promise<Entry | undefined> {
    const directory = join(this.directory, name);
    let manifest: Manifest;
    try {
      manifest = JSON.parse(readFileSync(join(directory, MANIFEST), "utf8"));
      for (const [path, expected] of Object.entries(manifest.files)) {
        if ((await sha256(join(directory, path))) !== expected) return undefined;
      }
    } catch {
      // Absent or damaged: it is made again.
      return undefined;
    }
    return { directory, manifest };
  }

  /**
   * The entry, made when it is not there.
   *
   * @param make fills an empty directory and tells what it was made of; `check` are paths to be checked before each use
   */
  async entry(
    name: string,
    make: (directory: string) => Promise<Omit<Manifest, "time" | "files"> & { check: readonly string[] }>,
  ): Promise<Entry> {
    const found = await this.find(name);
    if (found) return found;
    const directory = join(this.directory, name);
    this.forgetAbandoned(dirname(directory));
    const making = `${directory}.${process.pid}.making`;
    rmSync(making, { recursive: true, force: true });
    mkdirSync(making, { recursive: true });
    try {
      const { check, fetched, facts } = await make(making);
      const files: Record<string, string> = {};
      for (const path of check) files[path] = await sha256(join(making, path));
      const manifest: Manifest = { time: new Date().toISOString(), fetched, files, facts };
      writeFileSync(join(making, MANIFEST), `${JSON.stringify(manifest, undefined, 2)}\n`);
      // The name must not reach the disk before the content.
      await runCommand(["sync", "-f", making], {}, "coreutils");
      await this.install(name, making);
      return { directory, manifest };
    } finally {
      rmSync(making, { recursive: true, force: true });
    }
  }

  private async install(name: string, making: string): Promise<void> {
    const directory = join(this.directory, name);
    try {
      renameSync(making, directory);
    } catch (error) {
      if (!["ENOTEMPTY", "EEXIST"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
      // Somebody else was faster, or what lies there is damaged.
      if (await this.find(name)) return;
      rmSync(directory, { recursive: true, force: true });
      renameSync(making, directory);
    }
  }

  /** Removes what processes left that were killed while they made it. */
  private forgetAbandoned(parent: string): void {
    let names: string[] = [];
    try {
      names = readdirSync(parent);
    } catch {}
    for (const name of names) {
      const pid = MAKING.exec(name)?.[1];
      if (pid !== undefined && !isAlive(Number(pid))) rmSync(join(parent, name), { recursive: true, force: true });
    }
  }

  /** Removes all of it. */
  clear(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }

  path(...parts: string[]): string {
    return resolve(this.directory, ...parts);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
