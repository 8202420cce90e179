/**
 * Which class of kernel bug looks like what was found: one sentence for a bad range. A sentence says what is usual, not
 * what is proven; the facts it goes by stand beside it in the report.
 */
import type { BadRange, Extent } from "#native";

/** Which copy is bad; one that was not looked at is undefined. */
export interface Copies {
  cacheBad: boolean;
  diskBad?: boolean | undefined;
}

/** What is known of a bad range besides its bytes. */
export interface Circumstances extends Copies {
  /** The extents under it; undefined where the filesystem can't tell. */
  extents?: readonly Extent[] | undefined;
}

/** `page cache and disk`, `page cache only`, … */
export function badCopies({ cacheBad, diskBad }: Copies): string {
  if (diskBad === undefined) return "page cache (the disk was not looked at)";
  if (cacheBad && diskBad) return "page cache and disk";
  return cacheBad ? "page cache only: the disk is good" : "disk only: the page cache is good";
}

function has(extents: readonly Extent[] | undefined, state: string): boolean {
  return extents?.some(({ states }) => states.includes(state)) ?? false;
}

/** One sentence for a bad range. */
export function diagnose(range: BadRange, circumstances: Circumstances): string {
  const { cacheBad, diskBad, extents } = circumstances;
  const zerosExpected = range.right.length === 1 && range.right[0] === "zeros";
  if (range.kind === "missing") return "the update of the file's size was lost, or the file was truncated too far";
  if (range.kind === "beyond-end") {
    return "the file's size was set without the write that it belongs to, or a truncate was lost";
  }
  if (range.kind === "read-error") {
    return "the filesystem refuses the data: a checksum that does not match (memory that changed during a direct write?), or a bad medium";
  }
  if (range.kind === "read-error-once") {
    return "a read failed and succeeded when it was repeated: an error that passes (a device that recovers, a checksum read while it was being written) reached the program";
  }
  if (cacheBad && diskBad === false) {
    return "the page cache holds what the disk does not: it was not invalidated after a direct write, or readahead filled it from before the write";
  }
  if (!cacheBad && diskBad) {
    if (range.kind === "zeros" && has(extents, "unwritten")) {
      return "the data were written back, but the extent is still unwritten: its conversion was lost";
    }
    return "the page cache holds what never reached the disk: a lost or misdirected writeback, or a write error that nobody was told";
  }
  switch (range.kind) {
    case "zeros":
      if (has(extents, "unwritten")) {
        return "completion was reported before extent conversion: the data were written, and the extent is still unwritten";
      }
      if (extents?.length === 0) return "a write that was reported as done left a hole: it was lost, or its extent was";
      return "a write that was reported as done is missing: it was lost, or its block was zeroed after it (a write to another part of the block, a truncate, a late extent conversion)";
    case "stale":
      return zerosExpected
        ? "old data of the file are back where it was punched, zeroed or truncated: the block was not zeroed, or not freed"
        : "an older write's data: the newer write was lost, or the older one overtook it";
    case "stale-disk":
      return "what was in the block before it belonged to the file is exposed: the block was shown before its data were written";
    case "misplaced":
      return "data of another place in the file: a wrong mapping from file to disk, or a request that was split or merged wrongly";
    case "other-file":
      return "data of another file: two files share a block, or a request went to the wrong one";
    case "other-run":
      return "data of an earlier run: an old block of the disk is exposed, or the write was lost";
    case "torn":
      return "only a part of the sector was transferred: a copy that stopped in mid-page, or memory that changed during the transfer";
    case "mutated":
      return "bytes changed on the way: memory that changed during the transfer, or memory, bus or medium at fault";
    default:
      return zerosExpected
        ? "something that no test wrote, where zeros should be: an old block of the disk is exposed"
        : "something that no test wrote: an old block of the disk, or memory of somebody else";
  }
}
