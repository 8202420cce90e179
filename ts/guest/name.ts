/** `--guest ARCH[-PAGESIZE][:SUITE]`: what the user asks for, checked before anything is fetched. */

import { UsageError } from "../base/errors.js";
import { didYouMean } from "../base/suggest.js";
import { ARCHITECTURES, type Architecture, type PageSize } from "./architectures.js";

/** Debian's suites that have kernels for guests, oldest first. */
export const SUITES = ["bullseye", "bookworm", "bookworm-backports", "trixie", "trixie-backports", "sid"] as const;
export type Suite = (typeof SUITES)[number];

/** Debian's stable suite. */
const DEFAULT_SUITE: Suite = "trixie";

/** The user's own build of a kernel. */
export interface OwnKernel {
  /** Absolute path of a vmlinux, vmlinuz, bzImage or Image. */
  kernel: string;
  /** Absolute path of a `lib/modules/RELEASE`, or of a directory that holds one; absent for a kernel without modules. */
  modules?: string;
}

export interface GuestName {
  /** As the user wrote it: the guest's name in reports. */
  text: string;
  architecture: Architecture;
  pageSize: PageSize;
  source: { suite: Suite } | OwnKernel;
}

/**
 * Reads one value of `--guest`.
 *
 * @param own the kernel that `--kernel` names, for guests that name no suite
 * @throws UsageError that says what there is
 */
export function parseGuest(text: string, own?: OwnKernel): GuestName {
  const [machine = "", suite, ...more] = text.split(":");
  if (more.length > 0) throw new UsageError(`--guest: "${text}" has more than one ":": write ARCH[-PAGESIZE][:SUITE]`);
  const [spelled = "", size, ...rest] = machine.split("-");
  const names = ARCHITECTURES.map(({ name }) => name);
  const architecture = ARCHITECTURES.find(({ name, aliases }) => name === spelled || aliases.includes(spelled));
  if (!architecture) {
    throw new UsageError(
      `--guest: no architecture "${spelled}"${didYouMean(spelled, names)}: choose ${names.join(", ")}`,
    );
  }
  const sizes = Object.keys(architecture.pageSizes);
  if (rest.length > 0 || (size !== undefined && !sizes.includes(size))) {
    const given = [size, ...rest].join("-");
    throw new UsageError(
      `--guest: ${architecture.name} has no pages of "${given}"${didYouMean(given, sizes)}: choose ${sizes.join(", ")}`,
    );
  }
  const pageSize = (size as PageSize | undefined) ?? architecture.defaultPageSize;
  if (suite === undefined) {
    return { text, architecture, pageSize, source: own ?? { suite: DEFAULT_SUITE } };
  }
  if (own) {
    throw new UsageError(`--guest: "${text}" names the suite ${suite}, and --kernel a kernel: leave out one of them`);
  }
  const known = SUITES.find((candidate) => candidate === suite);
  if (!known) {
    throw new UsageError(`--guest: no suite "${suite}"${didYouMean(suite, SUITES)}: choose ${SUITES.join(", ")}`);
  }
  return { text, architecture, pageSize, source: { suite: known } };
}

/** Reads all of them; what is named twice is one guest. @throws UsageError */
export function parseGuests(texts: readonly string[], own?: OwnKernel): GuestName[] {
  if (own && texts.length === 0) throw new UsageError("--kernel is for a guest: add --guest ARCH[-PAGESIZE]");
  return [...new Set(texts)].map((text) => parseGuest(text, own));
}

/** What `--host` names. ssh would take some words for options. @throws UsageError */
export function checkDestination(text: string): string {
  if (!/^[^-\s]\S*$/.test(text)) {
    throw new UsageError(`--host: "${text}" is no destination for ssh: write user@machine`);
  }
  return text;
}
