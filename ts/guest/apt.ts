/**
 * Debian packages by the host's apt, in a directory of its own: neither the host's sources nor its state are touched.
 * One directory for each suite and architecture, because a broken index of one would take the others with it.
 */
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { UsageError } from "../base/errors.js";
import { CommandError, runCommand, STATUS_FD } from "../process/run.js";
import { sha256 } from "./cache.js";

/** Where Debian is where the host's apt knows no mirror of it. */
const DEFAULT_MIRROR = "http://deb.debian.org/debian";
const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";
/** How often progress is told, in percent. */
const PROGRESS_STEP = 25;

export type Tell = (text: string) => void;

/** What an archive does not have, or does not give: another one, or a later day, may. */
export class ArchiveError extends UsageError {
  override name = "ArchiveError";
}

/**
 * The first of these sources that has what is needed. An archive lists packages that it does not hold, at times.
 *
 * @param what for messages: `the root of ppc64le`
 * @throws ArchiveError with each source's reason
 */
export async function firstOf<Source extends string, Found>(
  what: string,
  sources: readonly Source[],
  fetch: (source: Source) => Promise<Found>,
  tell: Tell,
): Promise<Found> {
  const reasons: string[] = [];
  for (const [index, source] of sources.entries()) {
    try {
      const found = await fetch(source);
      if (index > 0) tell(`${what} is from ${source}`);
      return found;
    } catch (error) {
      if (!(error instanceof ArchiveError)) throw error;
      reasons.push(error.message);
      const next = sources[index + 1];
      if (next !== undefined) tell(`${what} can't be had from ${source}, trying ${next}: ${error.message}`);
    }
  }
  throw new ArchiveError(`${what} can't be had: ${reasons.join("; ")}. Try again later, or with another mirror`);
}

/** The host's mirror of Debian, as its apt names it. */
export async function debianMirror(): Promise<string> {
  const format = ["--format", "$(REPO_URI)"] as const;
  const uris = (await runCommand(["apt-get", "indextargets", ...format])).split("\n");
  return mirrorOf(uris) ?? DEFAULT_MIRROR;
}

/** Of the URIs that apt uses, Debian's own archive: `…/debian`, by any host. */
export function mirrorOf(uris: readonly string[]): string | undefined {
  return uris.map((uri) => uri.trim().replace(/\/+$/, "")).find((uri) => /^[a-z+]+:\/\/\S+\/debian$/.test(uri));
}

/** A package to be fetched. */
export interface Download {
  /** File name. */
  name: string;
  bytes: number;
}

/** The lines of `--print-uris`: `'URI' NAME BYTES HASH`. */
export function parseUris(output: string): Download[] {
  return [...output.matchAll(/^'[^']*' (\S+) (\d+) /gm)].map(([, name = "", bytes]) => ({
    name,
    bytes: Number(bytes),
  }));
}

/** The packages that `apt-cache depends` shows for one, alternatives included. */
export function parseDependencies(output: string): string[] {
  const names = [...output.matchAll(/^\s*\|?(?:Pre)?Depends: (\S+)$/gm)].map(([, name = ""]) => name);
  return [...new Set(names.filter((name) => !name.startsWith("<")).map((name) => name.replace(/:any$/, "")))];
}

export class Apt {
  private constructor(
    private readonly directory: string,
    private readonly suite: string,
    private readonly architecture: string,
    private readonly tell: Tell,
  ) {}

  /**
   * Reads a suite's index for one architecture into an empty directory.
   *
   * @param architecture Debian's name
   * @throws ArchiveError when it can't be read, in one line
   */
  static async open(directory: string, suite: string, architecture: string, tell: Tell): Promise<Apt> {
    if (!existsSync(KEYRING)) {
      throw new UsageError(`${KEYRING} is missing: install it (Debian package debian-archive-keyring)`);
    }
    const apt = new Apt(directory, suite, architecture, tell);
    mkdirSync(join(directory, "lists", "partial"), { recursive: true });
    mkdirSync(join(directory, "archives", "partial"), { recursive: true });
    writeFileSync(join(directory, "status"), "");
    const mirror = await debianMirror();
    writeFileSync(join(directory, "sources.list"), `deb [signed-by=${KEYRING}] ${mirror} ${suite} main\n`);
    try {
      tell(`reading the package list of ${suite} for ${architecture}`);
      await apt.run("apt-get", ["update", "-o", "APT::Update::Error-Mode=any"]);
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      throw new ArchiveError(
        `Debian's ${suite} for ${architecture} can't be read from ${mirror} (${error.words}): choose another suite, or try again later`,
      );
    }
    return apt;
  }

  /** The package and those that it depends on, as far as `follow` goes, each once. */
  async closure(names: readonly string[], follow: (name: string) => boolean): Promise<string[]> {
    const found = new Set(names);
    for (const name of found) {
      for (const needed of parseDependencies(await this.run("apt-cache", ["depends", name]))) {
        if (follow(needed)) found.add(needed);
      }
    }
    return [...found];
  }

  /** The names of all packages that the suite lists. */
  async names(): Promise<Set<string>> {
    return new Set((await this.run("apt-cache", ["pkgnames"])).split("\n"));
  }

  /** Fetches exactly these packages; returns the paths of their files. @throws ArchiveError */
  download(names: readonly string[]): Promise<string[]> {
    // What an attempt has left that was given up must not be taken for a part of this one.
    for (const name of readdirSync(this.directory)) if (name.endsWith(".deb")) rmSync(join(this.directory, name));
    return this.fetch(["download"], names, this.directory);
  }

  /** Fetches these packages and all that they depend on. @throws ArchiveError */
  downloadWithDependencies(names: readonly string[]): Promise<string[]> {
    const flags = ["install", "--yes", "--no-install-recommends", "--download-only"];
    return this.fetch(flags, names, join(this.directory, "archives"));
  }

  private async fetch(command: readonly string[], names: readonly string[], directory: string): Promise<string[]> {
    const args = [...command, ...names];
    const needed = (error: unknown): never => {
      if (!(error instanceof CommandError)) throw error;
      throw new ArchiveError(
        `${this.suite} for ${this.architecture} does not give ${names.join(", ")} (${error.words})`,
      );
    };
    const downloads = parseUris(await this.run("apt-get", ["--print-uris", ...args]).catch(needed));
    const mebibytes = Math.ceil(downloads.reduce((sum, { bytes }) => sum + bytes, 0) / 2 ** 20);
    const what = `${downloads.length} packages of ${this.suite} for ${this.architecture}, ${mebibytes} MiB`;
    this.tell(`fetching ${what}`);
    let told = 0;
    await this.run("apt-get", args, (line) => {
      const percent = Number(/^dlstatus:\d+:([\d.]+):/.exec(line)?.[1] ?? 0);
      if (percent < told + PROGRESS_STEP || percent >= 100) return;
      told = Math.floor(percent / PROGRESS_STEP) * PROGRESS_STEP;
      this.tell(`fetching: ${told}% of ${mebibytes} MiB`);
    }).catch(needed);
    const files = readdirSync(directory).filter((name) => name.endsWith(".deb"));
    return files.sort().map((name) => join(directory, name));
  }

  private run(command: "apt-get" | "apt-cache", args: readonly string[], status?: Tell): Promise<string> {
    const { directory } = this;
    const settings: Record<string, string> = {
      "Dir::State": directory,
      "Dir::State::lists": join(directory, "lists"),
      "Dir::State::status": join(directory, "status"),
      "Dir::Cache": directory,
      "Dir::Cache::archives": join(directory, "archives"),
      "Dir::Etc::sourcelist": join(directory, "sources.list"),
      "Dir::Etc::sourceparts": "-",
      "Dir::Etc::preferencesparts": "-",
      "Dir::Etc::preferences": "-",
      "APT::Architecture": this.architecture,
      // The empty list first, or the host's architectures stay in it.
      "APT::Architectures": this.architecture,
      // The directory may be unreadable for apt's own user.
      "APT::Sandbox::User": "",
      "Acquire::Languages": "none",
      // sid's mirrors are late at times, and what a guest runs is no secret.
      "Acquire::Check-Valid-Until": "false",
      ...(status && { "APT::Status-Fd": String(STATUS_FD) }),
    };
    const options = Object.entries(settings).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
    return runCommand([command, "-qq", ...options, ...args], { cwd: directory, ...(status && { status }) });
  }
}

/** SHA-256 of each package by its file's name. */
export async function checksums(paths: readonly string[]): Promise<Record<string, string>> {
  const sums: Record<string, string> = {};
  for (const path of paths) sums[path.slice(path.lastIndexOf("/") + 1)] = await sha256(path);
  return sums;
}

/**
 * Unpacks packages into one tree, which is made, without running anything of theirs. Links between directories stay (`/bin` to
 * `usr/bin`), owners become the user's.
 */
export async function unpack(paths: readonly string[], directory: string): Promise<void> {
  const script =
    'for deb; do dpkg-deb --fsys-tarfile "$deb" | tar -x --no-same-owner --keep-directory-symlink || exit 1; done';
  mkdirSync(directory, { recursive: true });
  // With pipefail a package that breaks off is no success; dash has it only since 0.5.13.
  await runCommand(["bash", "-c", `set -o pipefail; ${script}`, "bash", ...paths], { cwd: directory });
}
