/**
 * What the controller and a keeper say to each other: JSON messages, one a line. One answer to each request, in their
 * order; the end of the stream releases the filesystem.
 */
import type { FaultReport } from "#native";
import type { CheckResult } from "../events/events.js";
import type { Mount } from "../linux/mounts.js";
import type { CheckLevel } from "./checkers.js";
import type { Variant } from "./variants.js";

/** What a filesystem is made on. */
export type Store =
  | {
      /** Directory of the backing file. */
      backing: string;
      sizeBytes: number;
      /** Whether the loop driver bypasses the page cache of the filesystem below. */
      directIo: boolean;
    }
  /** A block device that `device.ts` has found free. */
  | { device: string };

export type ToKeeper =
  /**
   * The first request. `dirtyBytes`: how much of the free space to fill with stale stamps at most; `toolSeconds`: how long
   * each run of mkfs or a checker may take.
   */
  | { type: "provision"; variant: Variant; store: Store; dirtyBytes: number; toolSeconds: number }
  | { type: "remount" }
  | { type: "check"; level: CheckLevel }
  /** For a filesystem that lies: replaces its rules, whose counting starts anew. */
  | { type: "set-faults"; rules: readonly string[] }
  | { type: "faults-fired" };

/** What has been provisioned. */
export interface Provisioned {
  /** The filesystem's root, in the keeper's mount namespace. */
  directory: string;
  /** From the lowest to the topmost. */
  mounts: Mount[];
  /** Absent for tmpfs. */
  device?: string;
  /** A path, valid while the keeper lives, of the file behind the loop device. */
  backing?: string;
  /** Whether the loop driver does bypass the page cache of the filesystem below. */
  directIo: boolean;
  /** How much of the free space was filled with stale stamps. */
  dirtiedBytes: number;
}

export type FromKeeper =
  | ({ type: "provisioned" } & Provisioned)
  /** This machine can't; the run goes on without. */
  | { type: "unavailable"; reason: string }
  | { type: "remounted" }
  | { type: "checked"; result: CheckResult }
  | { type: "faults-set" }
  | { type: "faults-fired"; report: Pick<FaultReport, "counts" | "fired"> }
  /** `usage`: the user's choice was wrong, and the message says what to do. */
  | { type: "failed"; message: string; usage: boolean };
