/**
 * Filesystems on demand: each is kept by a process of its own, in a mount namespace of its own, on a loop device whose
 * backing file has no name. Whatever dies at whatever moment, nothing of it stays.
 */
import { readFileSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, resolve } from "node:path";
import type { FaultReport } from "#native";
import { packaged } from "../package.js";
import { reasonOf, UsageError } from "../plan/usage-error.js";
import { LineProcess } from "../run/line-process.js";
import { formatBytes } from "../testcase/numbers.js";
import type { CheckLevel, CheckResult } from "./checkers.js";
import type { FromKeeper, Provisioned, Store, ToKeeper } from "./keeper-protocol.js";
import type { Mount } from "./mounts.js";
import { familyOf, type Variant } from "./variants.js";

const KEEPER_MAIN = packaged("dist", "ts", "filesystem", "keeper-main.js");

/** The size of a provisioned filesystem where nobody says: large enough for every line of LTP's runtest files. */
export const DEFAULT_SIZE_BYTES = 2 * 2 ** 30;
/** How much of the free space is filled with stale stamps at most, unless told otherwise. */
const DEFAULT_DIRTY_BYTES = 128 * 2 ** 20;
/** How long the kernel may take to clear a loop device, and how often it is looked at. */
const CLEAR_WAIT_MS = 10_000;
const CLEAR_POLL_MS = 5;

export interface ProvisionOptions {
  /** Absolute directory of the backing file; see {@link defaultBacking}. */
  backing: string;
  /** Size of the device in bytes, where the variant has none of its own; {@link DEFAULT_SIZE_BYTES} by default. */
  sizeBytes?: number;
  /** Whether the loop driver bypasses the page cache of the filesystem below; false by default. */
  directIo?: boolean;
  /** How much of the free space to fill with stale stamps, in bytes; 128 MiB by default, a third of it at most. */
  dirtyBytes?: number;
  /** A block device to use instead of a loop device: it is formatted. Only what `claimDevice` has returned. */
  device?: string;
}

/** This machine cannot provide the variant. */
export class Unavailable {
  constructor(
    readonly variant: Variant,
    /** What is missing, and the package or kernel option that brings it. */
    readonly reason: string,
  ) {}
}

/** A keeper that could not do what was asked. */
export class KeeperError extends Error {
  override name = "KeeperError";
}

export class Filesystem {
  /** Settles when the keeper is gone, and with it the filesystem. */
  readonly death: Promise<void>;
  /** What the loop device was attached to when it was ours. */
  private readonly attached: string | undefined;
  /** One request at a time. */
  private turn: Promise<unknown> = Promise.resolve();

  private constructor(
    readonly variant: Variant,
    private readonly keeper: KeeperProcess,
    private readonly provisioned: Provisioned,
  ) {
    this.death = keeper.death;
    this.attached = provisioned.backing === undefined ? undefined : attachment(provisioned.device);
  }

  /**
   * Makes and mounts one filesystem.
   *
   * @throws UsageError not root; the size, backing directory or device cannot be used
   * @throws KeeperError anything else that went wrong
   */
  static async provision(variant: Variant, options: ProvisionOptions): Promise<Filesystem | Unavailable> {
    if (process.geteuid?.() !== 0) {
      throw new UsageError("Making filesystems (--filesystems, --device) needs root: run it with sudo");
    }
    const keeper = new KeeperProcess();
    try {
      const answer = await keeper.ask({
        type: "provision",
        variant,
        store: storeOf(variant, options),
        dirtyBytes: options.dirtyBytes ?? DEFAULT_DIRTY_BYTES,
      });
      if (answer.type === "provisioned") return new Filesystem(variant, keeper, answer);
      await keeper.close();
      if (answer.type === "unavailable") return new Unavailable(variant, answer.reason);
      throw unexpected(answer, variant);
    } catch (error) {
      keeper.kill();
      throw error;
    }
  }

  /** The filesystem's root. It exists only for processes started with {@link enter}. */
  get directory(): string {
    return this.provisioned.directory;
  }

  /** Like /dev/loop3; undefined for tmpfs. */
  get device(): string | undefined {
    return this.provisioned.device;
  }

  /** A path of the file behind the loop device, for faults planted beneath the filesystem. */
  get backing(): string | undefined {
    return this.provisioned.backing;
  }

  /** Whether the loop driver does bypass the page cache of the filesystem below. */
  get directIo(): boolean {
    return this.provisioned.directIo;
  }

  /** Free space that was filled with stale stamps, in bytes. */
  get dirtiedBytes(): number {
    return this.provisioned.dirtiedBytes;
  }

  /** What a worker passes to `remountAll`. Undefined where that would lose everything: tmpfs. */
  get mounts(): readonly Mount[] | undefined {
    return this.device === undefined ? undefined : this.provisioned.mounts;
  }

  /** The command that executes its further arguments where the filesystem is mounted; their working directory is /. */
  get enter(): readonly string[] {
    return ["nsenter", `--mount=/proc/${this.keeper.pid}/ns/mnt`, "--"];
  }

  /** The keeper's process ID. */
  get pid(): number {
    return this.keeper.pid;
  }

  /**
   * Unmounts and mounts again. Nothing on it may be open, no working directory be there.
   *
   * @throws KeeperError who holds it, when it is in use
   */
  async remount(): Promise<void> {
    await this.ask({ type: "remount" }, "remounted");
  }

  /**
   * Has the filesystem's own checker read it, unmounted. Nothing on it may be open, no working directory be there.
   *
   * @throws KeeperError who holds it, when it is in use
   */
  async check(level: CheckLevel = "data"): Promise<CheckResult> {
    return (await this.ask({ type: "check", level }, "checked")).result;
  }

  /**
   * For a filesystem that lies: replaces its rules; counting starts anew.
   *
   * @throws UsageError when a rule is wrong; then the old ones stay
   */
  async setFaults(rules: readonly string[]): Promise<void> {
    await this.ask({ type: "set-faults", rules }, "faults-set");
  }

  /** For a filesystem that lies: how often each rule was applied, and the first 4096 faults. */
  async faultsFired(): Promise<Pick<FaultReport, "counts" | "fired">> {
    return (await this.ask({ type: "faults-fired" }, "faults-fired")).report;
  }

  /**
   * Unmounts it and waits until the device is free.
   *
   * @throws KeeperError when somebody still uses it; it goes when they do
   */
  async release(): Promise<void> {
    await this.turn.catch(() => {});
    await this.keeper.close();
    if (this.attached === undefined) return;
    const deadline = performance.now() + CLEAR_WAIT_MS;
    while (attachment(this.device) === this.attached) {
      if (performance.now() > deadline) {
        throw new KeeperError(`${this.variant.name}: ${this.device} is still in use. ${this.keeper.words}`.trim());
      }
      await new Promise((resolve) => setTimeout(resolve, CLEAR_POLL_MS));
    }
  }

  private ask<T extends FromKeeper["type"]>(request: ToKeeper, type: T): Promise<Extract<FromKeeper, { type: T }>> {
    const answer = this.turn
      .catch(() => {})
      .then(async () => {
        const answer = await this.keeper.ask(request);
        if (answer.type !== type) throw unexpected(answer, this.variant);
        return answer as Extract<FromKeeper, { type: T }>;
      });
    this.turn = answer;
    return answer;
  }
}

/**
 * A directory with room for `bytes`: TMPDIR, /var/tmp, /tmp or the working directory.
 *
 * @throws UsageError
 */
export function defaultBacking(bytes: number): string {
  const candidates = [process.env.TMPDIR, "/var/tmp", tmpdir(), process.cwd()].filter((path) => path !== undefined);
  const found: string[] = [];
  for (const path of new Set(candidates.map((path) => resolve(path)))) {
    try {
      const { bavail, bsize } = statfsSync(path);
      if (bavail * bsize >= bytes) return path;
      found.push(`${path} (${Math.floor((bavail * bsize) / 2 ** 20)} MiB free)`);
    } catch (error) {
      found.push(`${path} (${reasonOf(error)})`);
    }
  }
  throw new UsageError(
    `There is no room for a filesystem of ${formatBytes(bytes)}: ${found.join(", ")}. Name another directory with --backing, or use a smaller --size`,
  );
}

/**
 * The size in bytes of the device for a variant.
 *
 * @param sizeBytes what the run asks for, where the variant has none of its own
 * @throws UsageError when that is too small for it
 */
export function deviceBytes(variant: Variant, sizeBytes = DEFAULT_SIZE_BYTES): number {
  const bytes = variant.sizeBytes ?? sizeBytes;
  const { minimumBytes } = familyOf(variant);
  if (bytes < minimumBytes) {
    throw new UsageError(
      `${variant.name}: ${formatBytes(bytes)} are too small for ${variant.family}: use --size ${minimumBytes / 2 ** 20}M or more`,
    );
  }
  // A device consists of whole sectors, and a page is no smaller than any.
  return Math.floor(bytes / 65_536) * 65_536;
}

function storeOf(variant: Variant, { backing, sizeBytes, directIo = false, device }: ProvisionOptions): Store {
  if (device !== undefined) return { device };
  return { backing, sizeBytes: deviceBytes(variant, sizeBytes), directIo };
}

function unexpected(answer: FromKeeper, { name }: Variant): Error {
  if (answer.type !== "failed") return new KeeperError(`${name}: the keeper answered ${answer.type}`);
  return new (answer.usage ? UsageError : KeeperError)(`${name}: ${answer.message}`);
}

/** What a loop device is attached to at this moment, undefined when it is free; another use gives another text. */
function attachment(device: string | undefined): string | undefined {
  if (device === undefined) return undefined;
  const read = (file: string) => {
    try {
      return readFileSync(`/sys/block/${basename(device)}/${file}`, "utf8").trim();
    } catch {
      return undefined;
    }
  };
  const file = read("loop/backing_file");
  // Inode numbers are used again; the disk's sequence number (Linux 5.15) is not.
  return file === undefined ? undefined : `${file} ${read("diskseq") ?? ""}`;
}

/** The other end of `keeper-main.ts`. */
class KeeperProcess {
  private readonly process: LineProcess;
  private answered: ((answer: FromKeeper) => void) | undefined;
  /** What it said on standard error: why it died. */
  words = "";

  constructor() {
    this.process = new LineProcess(
      ["unshare", "--mount", "--propagation", "private", "--", process.execPath, KEEPER_MAIN],
      process.env,
    );
    this.process.onOutput((line) => {
      this.words = `${this.words} ${line}`.trim().slice(0, 2000);
    });
    this.process.onAnswer((line) => {
      this.answered?.(JSON.parse(line));
    });
  }

  get pid(): number {
    return this.process.pid;
  }

  get death(): Promise<void> {
    return this.process.death.then(() => {});
  }

  /** @throws KeeperError when the keeper is dead */
  ask(request: ToKeeper): Promise<FromKeeper> {
    return new Promise((resolve, reject) => {
      this.answered = resolve;
      void this.process.death.then(({ code, signal }) => {
        const how = signal ?? (code === null ? "could not be started (is unshare installed?)" : `status ${code}`);
        reject(new KeeperError(`The keeper of the filesystem ended: ${how}. ${this.words}`.trim()));
      });
      this.process.send(`${JSON.stringify(request)}\n`);
    });
  }

  kill(): void {
    this.process.kill();
  }

  close(): Promise<void> {
    return this.process.close();
  }
}
