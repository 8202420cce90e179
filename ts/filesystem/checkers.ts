/** The filesystems' own checkers, and what their exit statuses mean. None of them changes anything here. */
import type { CheckReport } from "../events/events.js";
import { runTool } from "../process/run.js";
import { findTool, missingTool } from "../process/tools.js";

/** `metadata`: the structure; `data`: the checksums of the data too, where the filesystem has them. */
export type CheckLevel = "metadata" | "data";

interface Checker {
  /** The program and its arguments. */
  command: readonly [string, ...string[]];
  /** The words of one that has looked at all there is and found nothing wrong. */
  clean: RegExp;
  /** The words of one that has found damage. */
  corrupt: RegExp;
}

const EXT = (device: string): Checker => ({
  // -f: also when it is marked clean.
  command: ["e2fsck", "-fn", device],
  clean: /: \d+\/\d+ files \(/,
  corrupt: new RegExp(
    [
      "Filesystem still has errors",
      "Bad magic number in super-block",
      "Superblock checksum does not match",
      "superblock could not be read or does not describe",
      "superblock is corrupt",
    ].join("|"),
  ),
});

/** Checkers of the unmounted device, by kernel name of the filesystem. */
const UNMOUNTED: Readonly<Record<string, (device: string, level: CheckLevel) => Checker>> = {
  ext2: EXT,
  ext3: EXT,
  ext4: EXT,
  xfs: (device) => ({
    command: ["xfs_repair", "-n", device],
    clean: /^No modify flag set, skipping filesystem flush and exiting\.$/m,
    // It has a sentence for each kind of damage; they have these words in common, which its errors of usage have not.
    corrupt: /\bwould\b|\bbad\b|corrupt|CRC error|is suspect|, counted \d|could not find valid|\bnot found$/im,
  }),
  btrfs: (device, level) => ({
    command: ["btrfs", "check", "--readonly", ...(level === "data" ? ["--check-data-csum"] : []), device],
    // Without these words it has printed its usage, perhaps, and some versions exit with 0 then.
    clean: /, no error found$/m,
    corrupt: new RegExp(
      [
        "errors? found in",
        "error\\(s\\) found",
        "checksum verify failed",
        "parent transid verify failed",
        "bad tree block",
        "No valid Btrfs found",
        "superblock (?:checksum mismatch|bytenr mismatch)",
      ].join("|"),
      "i",
    ),
  }),
  f2fs: (device) => ({
    // Its exit status says nothing in a dry run.
    command: ["fsck.f2fs", "--dry-run", "-f", device],
    clean: /^Done: /m,
    corrupt: /\[Fail\]|\[ASSERT\]/i,
  }),
  bcachefs: (device) => ({
    command: ["bcachefs", "fsck", "-n", device],
    // It has no closing words of its own.
    clean: /^/,
    corrupt: /, not fixing|errors? (?:found|not fixed)|, exiting/i,
  }),
  exfat: (device) => ({
    command: ["fsck.exfat", "-n", device],
    clean: /: clean\b/,
    corrupt: /: corrupted\b/,
  }),
  vfat: (device) => ({
    command: ["fsck.vfat", "-n", device],
    clean: /, \d+\/\d+ clusters$/m,
    corrupt: /^Leaving filesystem unchanged\.$/m,
  }),
};

/** Reads everything and compares the checksums; -r: repairs nothing, so that the evidence stays. */
const scrub = (directory: string): Checker => ({
  command: ["btrfs", "scrub", "start", "-B", "-d", "-r", directory],
  clean: /^Error summary:\s+no errors found$/m,
  corrupt: /^Error summary:(?!\s+no errors found$)/m,
});

/**
 * What a checker's end means, by what it said: exit statuses alone do not tell damage from an option that the program does
 * not know, or a device that it could not open.
 */
function verdictOf({ clean, corrupt }: Checker, exit: number | undefined, output: string): CheckReport["verdict"] {
  if (corrupt.test(output)) return "corrupt";
  return exit === 0 && clean.test(output) ? "clean" : "failed";
}

/**
 * What checks the mounted filesystem; undefined where there is nothing to be checked that way. Not done within
 * `limitSeconds` (as `runTool` has it by default) is `failed`, as with {@link checkUnmounted}.
 */
export function mountedChecker(
  type: string,
  level: CheckLevel,
  limitSeconds?: number,
): ((directory: string) => Promise<CheckReport>) | undefined {
  return type === "btrfs" && level === "data" ? (directory) => run(scrub(directory), limitSeconds) : undefined;
}

/** Checks the device, which must not be mounted; empty where the filesystem has no checker. */
export async function checkUnmounted(
  type: string,
  device: string,
  level: CheckLevel,
  limitSeconds?: number,
): Promise<CheckReport[]> {
  const checker = UNMOUNTED[type]?.(device, level);
  return checker ? [await run(checker, limitSeconds)] : [];
}

async function run(known: Checker, limitSeconds?: number): Promise<CheckReport> {
  const [name, ...args] = known.command;
  const checker = known.command.join(" ");
  if (findTool(name) === undefined) return { checker, verdict: "failed", output: missingTool(name) };
  const { exit, output, hung } = await runTool(name, args, limitSeconds);
  // The names of the kernel's functions are no words of the checker's.
  const verdict = verdictOf(known, exit, output);
  const words = hung === undefined ? output : `${output}\n${hung}`.trim();
  return { checker, verdict, ...(exit !== undefined && { exit }), output: words };
}
