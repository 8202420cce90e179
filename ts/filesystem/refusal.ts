/**
 * Why a filesystem could not be made: the machine lacks something (TCONF), the user asked for what can't be (a usage
 * error), or it should have worked (TBROK). Only what mkfs or the kernel says in so many words is a lack.
 */
import { formatBytes } from "../base/numbers.js";
import type { MountError } from "../linux/mounts.js";
import type { Family, Variant } from "./variants.js";

/** What this machine cannot do; the message is the reason. */
export class UnavailableError extends Error {}
/** What the user chose wrongly; the message says what to do. */
export class UnusableError extends Error {}
/** What has failed although this machine can, and nobody chose wrongly. */
export class BrokenError extends Error {}

/** Words of mkfs programs that do not know what they are asked for, or not for such a device. */
const MKFS_LACKS =
  /\bun(?:known|recognized|supported)\b|not supported|invalid (?:option|filesystem option|value|(?:block|sector) ?size)|\billegal\b|cannot be smaller|too (?:small|large)/i;
/** Words of kernels that do not know what they are to mount. */
const KERNEL_LACKS =
  /\bun(?:known|recognized|supported)\b|not (?:yet )?supported|supports only|not available|error loading|will currently work|cannot be mounted without/i;
/** Errors of mount(2) that say: not with this kernel. EINVAL may say anything. */
const NOT_SUPPORTED = ["ENODEV", "EOPNOTSUPP", "ENOSYS"];

/**
 * What it means that mkfs has failed.
 *
 * @param message with the command and the most important words
 * @param exit undefined where it was killed
 * @param output all its words
 */
export function refusedByMkfs(variant: Variant, message: string, exit: number | undefined, output: string): Error {
  if (exit === undefined) return new BrokenError(message);
  const own = variant.own?.filter((key) => key !== "mount") ?? [];
  if (own.length > 0) return new UnusableError(`${message}: ${correct(own)}`);
  return MKFS_LACKS.test(output) ? new UnavailableError(message) : new BrokenError(message);
}

/** What it means that a filesystem fresh from mkfs could not be mounted; the error itself where it means nothing more. */
export function refusedByMount(variant: Variant, family: Family, error: MountError, pageBytes: number): Error {
  const { code = "", reason } = error;
  if (code !== "EINVAL" && !NOT_SUPPORTED.includes(code)) return error;
  const [, words = ""] = reason.split("Kernel log: ");
  const { blockBytes = 0, own } = variant;
  const large = blockBytes > pageBytes && family.largeBlocks !== undefined;
  // An option that the kernel does not know it names; a block that is too large for it is no fault of the option's.
  if (own && !(large && !/option|parameter/i.test(words))) return new UnusableError(`${reason}: ${correct(own)}`);
  if (large) {
    const sizes = `${variant.family} blocks of ${formatBytes(blockBytes)} on pages of ${formatBytes(pageBytes)}`;
    return new UnavailableError(`${sizes} need ${family.largeBlocks}. ${reason}`);
  }
  return code !== "EINVAL" || KERNEL_LACKS.test(words) ? new UnavailableError(reason) : error;
}

function correct(own: readonly string[]): string {
  return `correct ${own.map((key) => `${key}=`).join(" or ")}, or leave it out`;
}
