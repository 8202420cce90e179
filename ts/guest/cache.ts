/**
 * What guests need, kept between runs: directories that appear whole or not at all.
 *
 * An entry is made under another name and renamed when it is complete and on the disk, so that nothing half-written can
 * be trusted. There are no locks: of two processes that make the same entry, the first one's stays. Who uses what is here says
 * so, and nothing is taken away under a process that lives.
 */
import { createHash } from "node:crypto";
import { createReadStream, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { UsageError } from "../base/errors.js";
import { namesIn } from "../base/files.js";
import { statFields } from "../linux/proc.js";
import { runCommand } from "../process/run.js";

const MANIFEST = "manifest.json";
/** `NAME.PID.making`: what a process is making; another process with that ID is told apart by its being alive. */
const MAKING = /\.(\d+)\.making$/;
/** Holds an empty file `PID-START` for each process that uses the cache, with the start of proc_pid_stat(5): IDs come again. */
const USERS = "users";

/** From so many days on what was fetched is told to be old, and what was found out is found out again. */
export const OLD_DAYS = 30;

/** Whole days since an ISO time; Infinity where it is none. */
export function daysSince(time: string | undefined, nowMs = Date.now()): number {
  const days = Math.floor((nowMs - Date.parse(time ?? "")) / 86_400_000);
  return Number.isNaN(days) ? Number.POSITIVE_INFINITY : Math.max(0, days);
}

/** `today`, `1 day ago`. */
export function ago(days: number): string {
  if (days === Number.POSITIVE_INFINITY) return "at an unknown time";
  return days === 0 ? "today" : `${days} day${days === 1 ? "" : "s"} ago`;
}

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
  constructor(
    readonly directory: string,
    private readonly sinceMs = Number.NEGATIVE_INFINITY,
  ) {}

  /** The same, in which what was made before now counts as absent, and what is made takes its place. */
  renewed(): Cache {
    return new Cache(this.directory, Date.now());
  }

  /** Whether something of this time is new enough. */
  counts(time: string | undefined): boolean {
    return !(Date.parse(time ?? "") < this.sinceMs);
  }

  /** What an entry that is there was made of; nothing is checked. */
  manifest(name: string): Manifest | undefined {
    try {
      return JSON.parse(readFileSync(join(this.directory, name, MANIFEST), "utf8"));
    } catch {
      return undefined;
    }
  }

  /** The entry when it is there and what can be checked of it is intact. */
  async find(name: string): Promise<Entry | undefined> {
    const directory = join(this.directory, name);
    const manifest = this.manifest(name);
    if (!manifest || !this.counts(manifest.time)) return undefined;
    try {
      for (const [path, expected] of Object.entries(manifest.files)) {
        if ((await sha256(join(directory, path))) !== expected) return undefined;
      }
    } catch {
      // Damaged: it is made again.
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
      await runCommand(["sync", "-f", making]);
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
      // Somebody else was faster, or what lies there is damaged or too old.
      if (await this.find(name)) return;
      const old = `${directory}.old.${process.pid}.making`;
      renameSync(directory, old);
      renameSync(making, directory);
      rmSync(old, { recursive: true, force: true });
    }
  }

  /** Removes what processes left that were killed while they made it. */
  private forgetAbandoned(parent: string): void {
    for (const name of namesIn(parent)) {
      const pid = MAKING.exec(name)?.[1];
      if (pid !== undefined && !isAlive(Number(pid))) rmSync(join(parent, name), { recursive: true, force: true });
    }
  }

  /** Has it left alone by other processes for as long as this one lives. */
  use(): void {
    const path = join(this.directory, USERS, `${process.pid}-${startOf(process.pid)}`);
    if (existsSync(path)) return;
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, "");
    process.once("exit", () => rmSync(path, { force: true }));
  }

  /** The IDs of other processes that use it; what killed ones left is removed. */
  private users(): string[] {
    const directory = join(this.directory, USERS);
    return namesIn(directory).flatMap((name) => {
      const [pid = "", start] = name.split("-");
      const lives = start !== undefined && startOf(pid) === start;
      if (!lives) rmSync(join(directory, name), { force: true });
      return lives && Number(pid) !== process.pid ? [pid] : [];
    });
  }

  /**
   * @param what for the message: the command that would take away what is used
   * @throws UsageError another process lives that uses it
   */
  refuseWhileUsed(what: string): void {
    const users = this.users();
    if (users.length === 0) return;
    const who = users.length > 1 ? `processes ${users.join(", ")} use` : `process ${users[0]} uses`;
    throw new UsageError(`${what}: ${who} what is kept here, for a guest: wait for its end, or end it`);
  }

  /** Removes all of it. @throws UsageError while another process uses it */
  clear(): void {
    this.refuseWhileUsed("guest clean");
    rmSync(this.directory, { recursive: true, force: true });
  }

  path(...parts: string[]): string {
    return resolve(this.directory, ...parts);
  }
}

/** When a process began, in ticks since boot (the 22nd field); undefined when it is gone. */
function startOf(pid: number | string): string | undefined {
  return statFields(pid)?.[19];
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
