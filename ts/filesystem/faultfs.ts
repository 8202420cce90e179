/** A filesystem that lies by rules, for tests of tests: what they must notice is planted, and known. */
import type { FiredFault } from "#native";
import { UsageError } from "../base/errors.js";
import { defaultBacking, Filesystem, Unavailable } from "./provision.js";

export type { FiredFault } from "#native";

/** What the rules have done since they were set. */
export interface Fired {
  /** How often each rule was applied, in the order in which they were set. */
  counts: number[];
  /** The first 4096 faults applied; `rule` is the rule's number in that order. */
  fired: FiredFault[];
}

export interface FaultfsOptions {
  /** `FAULT[:KEY=VALUE]...`; none by default, and then it is a true filesystem. */
  rules?: readonly string[];
  /** How much can be stored, in memory; 512 MiB by default. */
  capacityBytes?: number;
  /** Directory of the nameless file behind its loop device, which takes no room there; one that there is by default. */
  backing?: string;
}

const CAPACITY_BYTES = 512 * 2 ** 20;

export class Faultfs {
  private constructor(
    /** For `RunRequest.mounts` and whatever else is made for filesystems of the run's own. */
    readonly filesystem: Filesystem,
  ) {}

  /**
   * Makes and mounts an empty one, in a mount namespace of its own.
   *
   * @throws UsageError not root, or a rule is wrong; Error with what this machine lacks
   */
  static async start({
    rules = [],
    capacityBytes = CAPACITY_BYTES,
    backing = defaultBacking(0),
  }: FaultfsOptions = {}): Promise<Faultfs> {
    const variant = { name: "faultfs", family: "faultfs", mkfs: [], mount: [], faults: [...rules] };
    const filesystem = await Filesystem.provision(variant, { backing, sizeBytes: capacityBytes });
    if (filesystem instanceof Unavailable) throw new UsageError(`faultfs: ${filesystem.reason}`);
    return new Faultfs(filesystem);
  }

  /** The root. It exists only for processes started with {@link enter}. */
  get directory(): string {
    return this.filesystem.directory;
  }

  /** The command that executes its further arguments where the filesystem is mounted; for `Slot` and `Worker`. */
  get enter(): readonly string[] {
    return this.filesystem.enter;
  }

  /**
   * Replaces the rules; counting starts anew. Faults that were applied stay.
   *
   * @throws UsageError when one is wrong; then the old ones stay
   */
  setRules(rules: readonly string[]): Promise<void> {
    return this.filesystem.setFaults(rules);
  }

  /** What the rules have done; a rule that never fired proves nothing. */
  fired(): Promise<Fired> {
    return this.filesystem.faultsFired();
  }

  /** Unmounts and mounts again: the moment of `corrupt-after-remount`. Nothing on it may be open. */
  remount(): Promise<void> {
    return this.filesystem.remount();
  }

  /** Unmounts it; all that was stored is gone. */
  stop(): Promise<void> {
    return this.filesystem.release();
  }
}
