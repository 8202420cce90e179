/** The filesystems' own checkers, and what their exit statuses mean. None of them changes anything here. */
import { findTool, missingTool, runTool, type ToolResult } from "./tools.js";

/** `metadata`: the structure; `data`: the checksums of the data too, where the filesystem has them. */
export type CheckLevel = "metadata" | "data";

/** What one program said. */
export interface CheckReport {
  /** The command line. */
  checker: string;
  /** `failed`: it could not be run, or could not finish, so it proves nothing. */
  verdict: "clean" | "corrupt" | "failed";
  /** Undefined when it was killed or could not be started. */
  exit?: number;
  /** Its words, at most 16 KiB. */
  output: string;
}

export interface CheckResult {
  /** No program complained, and all that exist for this filesystem ran. */
  clean: boolean;
  /** Empty where the filesystem has no checker; `note` says so. */
  reports: CheckReport[];
  note?: string;
  /** Why the filesystem could not be mounted again after the check; it stays unmounted then. */
  unmountable?: string;
  /** Why nothing could be checked at all: the filesystem is held, or its keeper has died. */
  unchecked?: string;
  seconds: number;
}

interface Checker {
  /** The program and its arguments. */
  command: readonly [string, ...string[]];
  /** Debian's name of the package. */
  package: string;
  verdict(result: ToolResult & { exit: number }): CheckReport["verdict"];
}

const EXT = (device: string): Checker => ({
  // -f: also when it is marked clean. 4 is "errors left uncorrected"; 8 and more are operational errors, which a
  // superblock that is no longer one is too (e2fsck(8)).
  command: ["e2fsck", "-fn", device],
  package: "e2fsprogs",
  verdict: ({ exit }) => (exit === 0 ? "clean" : exit >= 16 ? "failed" : "corrupt"),
});

/** Checkers of the unmounted device, by kernel name of the filesystem. */
const UNMOUNTED: Readonly<Record<string, (device: string, level: CheckLevel) => Checker>> = {
  ext2: EXT,
  ext3: EXT,
  ext4: EXT,
  xfs: (device) => ({
    // 1 is "corruption was detected"; 2 a dirty log, which a clean unmount does not leave (xfs_repair(8)).
    command: ["xfs_repair", "-n", device],
    package: "xfsprogs",
    verdict: ({ exit }) => (exit === 0 ? "clean" : exit === 1 || exit === 2 ? "corrupt" : "failed"),
  }),
  btrfs: (device, level) => ({
    command: ["btrfs", "check", "--readonly", ...(level === "data" ? ["--check-data-csum"] : []), device],
    package: "btrfs-progs",
    verdict: ({ exit }) => (exit === 0 ? "clean" : "corrupt"),
  }),
  f2fs: (device) => ({
    // Its exit status says nothing in a dry run.
    command: ["fsck.f2fs", "--dry-run", "-f", device],
    package: "f2fs-tools",
    verdict: ({ exit, output }) => (/\[Fail\]|\[ASSERT\]/i.test(output) ? "corrupt" : exit === 0 ? "clean" : "failed"),
  }),
  bcachefs: (device) => ({
    command: ["bcachefs", "fsck", "-n", device],
    package: "bcachefs-tools",
    verdict: ({ exit }) => (exit === 0 ? "clean" : exit >= 8 ? "failed" : "corrupt"),
  }),
  exfat: (device) => ({
    command: ["fsck.exfat", "-n", device],
    package: "exfatprogs",
    verdict: ({ exit }) => (exit === 0 ? "clean" : exit >= 8 ? "failed" : "corrupt"),
  }),
  vfat: (device) => ({
    // 1 is "recoverable errors", 2 a usage error (fsck.fat(8)).
    command: ["fsck.vfat", "-n", device],
    package: "dosfstools",
    verdict: ({ exit }) => (exit === 0 ? "clean" : exit === 1 ? "corrupt" : "failed"),
  }),
};

/** Reads everything and compares the checksums; -r: repairs nothing, so that the evidence stays. */
const scrub = (directory: string): Checker => ({
  command: ["btrfs", "scrub", "start", "-B", "-d", "-r", directory],
  package: "btrfs-progs",
  verdict: ({ exit, output }) => {
    if (/^Error summary:\s+no errors found$/m.test(output)) return exit === 0 ? "clean" : "failed";
    return /^Error summary:/m.test(output) || exit === 3 ? "corrupt" : "failed";
  },
});

/** What checks the mounted filesystem; undefined where there is nothing to be checked that way. */
export function mountedChecker(
  type: string,
  level: CheckLevel,
): ((directory: string) => Promise<CheckReport>) | undefined {
  return type === "btrfs" && level === "data" ? (directory) => run(scrub(directory)) : undefined;
}

/** Checks the device, which must not be mounted; empty where the filesystem has no checker. */
export async function checkUnmounted(type: string, device: string, level: CheckLevel): Promise<CheckReport[]> {
  const checker = UNMOUNTED[type]?.(device, level);
  return checker ? [await run(checker)] : [];
}

async function run({ command, package: debianPackage, verdict }: Checker): Promise<CheckReport> {
  const [name, ...args] = command;
  const checker = command.join(" ");
  if (findTool(name) === undefined) return { checker, verdict: "failed", output: missingTool(name, debianPackage) };
  const result = await runTool(name, args);
  const { exit, output } = result;
  if (exit === undefined) return { checker, verdict: "failed", output };
  return { checker, verdict: verdict({ ...result, exit }), exit, output };
}
