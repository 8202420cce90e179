/**
 * Filesystems on demand: each is kept by a process of its own, in a mount namespace of its own, on a loop device whose
 * backing file has no name. Whatever dies at whatever moment, nothing of it stays.
 */
import { statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, resolve } from "node:path";
import type { FaultReport } from "#native";
import { reasonOf, UsageError } from "../base/errors.js";
import { textOf } from "../base/files.js";
import { formatBytes } from "../base/numbers.js";
import { surroundingSeconds } from "../base/timing.js";
import type { CheckResult } from "../events/events.js";
import type { Mount } from "../linux/mounts.js";
import type { CheckLevel } from "./checkers.js";
import { bytesOfDevice } from "./device.js";
import { KeeperError, KeeperProcess, type Patience } from "./keeper-process.js";
import type { FromKeeper, Provisioned, Store, ToKeeper } from "./keeper-protocol.js";
import { familyOf, type Variant } from "./variants.js";

/** The size of a provisioned filesystem where nobody says: large enough for every line of LTP's runtest files. */
export const DEFAULT_SIZE_BYTES = 2 * 2 ** 30;
/** How much of the free space is filled with stale stamps at most, unless told otherwise. */
const DEFAULT_DIRTY_BYTES = 128 * 2 ** 20;
/** How long the kernel may take to clear a loop device, and how often it is looked at. */
const CLEAR_WAIT_MS = 10_000;
const CLEAR_POLL_MS = 5;
/** Each such part of a filesystem gives mkfs and checkers as long again as every request has. */
const TOOL_BYTES = 2 ** 30;
/** How long a filesystem of an interrupted run may take to go. */
const INTERRUPTED_SECONDS = 5;
/** How long its check may: what has passed is worth as much as the filesystem that it left. */
const INTERRUPTED_CHECK_SECONDS = 30;

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
  /**
   * How long the keeper may take for an answer, in seconds; what mkfs and checkers get beside it goes by the size.
   * {@link surroundingSeconds} of the environment by default.
   */
  limitSeconds?: number;
  /** Aborting it ends all waiting for the keeper; the filesystem is gone then. */
  signal?: AbortSignal;
}

/** This machine cannot provide the variant. */
export class Unavailable {
  constructor(
    readonly variant: Variant,
    /** What is missing, and the package or kernel option that brings it. */
    readonly reason: string,
  ) {}
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
    private readonly limits: Limits,
  ) {
    this.death = keeper.death;
    this.attached = provisioned.backing === undefined ? undefined : attachment(provisioned.device);
  }

  /**
   * Makes and mounts one filesystem.
   *
   * @throws UsageError not root; the size, backing directory or device cannot be used
   * @throws KeeperError anything else that went wrong; KeeperHung where it came to no end
   */
  static async provision(variant: Variant, options: ProvisionOptions): Promise<Filesystem | Unavailable> {
    if (process.geteuid?.() !== 0) {
      throw new UsageError("Making filesystems (--filesystems, --device) needs root: run it with sudo");
    }
    const store = storeOf(variant, options);
    const limits = limitsOf(store, options);
    const { toolSeconds, signal } = limits;
    const dirtyBytes = options.dirtyBytes ?? DEFAULT_DIRTY_BYTES;
    const keeper = new KeeperProcess();
    try {
      const answer = await keeper.ask({ type: "provision", variant, store, dirtyBytes, toolSeconds }, byTools(limits));
      if (answer.type === "provisioned") return new Filesystem(variant, keeper, answer, limits);
      await keeper.close({ seconds: limits.seconds, signal });
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

  /** Whether its keeper is gone, or given up: nothing can be asked of it, and nothing new enter it. */
  get dead(): boolean {
    return this.keeper.dead;
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
   * @throws KeeperHung when it comes to no end
   */
  async check(level: CheckLevel = "data"): Promise<CheckResult> {
    const patience = { ...byTools(this.limits), graceSeconds: INTERRUPTED_CHECK_SECONDS };
    return (await this.ask({ type: "check", level }, "checked", patience)).result;
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
   * @throws KeeperHung when it comes to no end
   */
  async release(): Promise<void> {
    await this.turn.catch(() => {});
    await this.keeper.close({ ...this.limits, graceSeconds: INTERRUPTED_SECONDS });
    // What was given up may never let go.
    if (this.attached === undefined || this.keeper.givenUp) return;
    const deadline = performance.now() + CLEAR_WAIT_MS;
    while (attachment(this.device) === this.attached) {
      if (performance.now() > deadline) {
        throw new KeeperError(`${this.variant.name}: ${this.device} is still in use. ${this.keeper.words}`.trim());
      }
      await new Promise((resolve) => setTimeout(resolve, CLEAR_POLL_MS));
    }
  }

  private ask<T extends FromKeeper["type"]>(
    request: ToKeeper,
    type: T,
    patience: Patience = this.limits,
  ): Promise<Extract<FromKeeper, { type: T }>> {
    const answer = this.turn
      .catch(() => {})
      .then(async () => {
        const answer = await this.keeper.ask(request, patience);
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

/** How long its keeper may take. */
interface Limits extends Patience {
  /** For one run of mkfs or a checker. */
  toolSeconds: number;
}

function limitsOf(store: Store, { limitSeconds, signal }: ProvisionOptions): Limits {
  const seconds = limitSeconds ?? surroundingSeconds(process.env);
  const bytes = "device" in store ? bytesOfDevice(store.device) : store.sizeBytes;
  return { seconds, signal, toolSeconds: seconds * (1 + Math.ceil(bytes / TOOL_BYTES)) };
}

/** For requests that run programs: two of them at most read or write all there is. */
function byTools({ seconds, toolSeconds, signal }: Limits): Patience {
  return { seconds: seconds + 2 * toolSeconds, signal };
}

function unexpected(answer: FromKeeper, { name }: Variant): Error {
  if (answer.type !== "failed") return new KeeperError(`${name}: the keeper answered ${answer.type}`);
  return new (answer.usage ? UsageError : KeeperError)(`${name}: ${answer.message}`);
}

/** What a loop device is attached to at this moment, undefined when it is free; another use gives another text. */
function attachment(device: string | undefined): string | undefined {
  if (device === undefined) return undefined;
  const read = (file: string) => textOf(`/sys/block/${basename(device)}/${file}`);
  const file = read("loop/backing_file");
  // Inode numbers are used again; the disk's sequence number (Linux 5.15) is not.
  return file === undefined ? undefined : `${file} ${read("diskseq") ?? ""}`;
}
