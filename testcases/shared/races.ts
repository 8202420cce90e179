/** What testcases that provoke a race have in common: what they need, and the words for what they found. */
import { join } from "node:path";
import { probeDirect, type RaceTrouble, type RaceTroubles, type StorageInfo, storageInfo } from "#native";
import { formatBytes, parseInteger } from "../../ts/base/numbers.js";
import { type Option, type Options, text } from "../../ts/testcase/options.js";
import type { Test } from "../../ts/testcase/testcase.js";
import { describeRanges, explainFailure } from "../../ts/testcase/verification.js";

/** Seconds that one of these programs may take. */
export const TIMEOUT_SECONDS = 300;

/** `-n`: rounds. */
export function rounds(count: number): Option<number> {
  return text({
    default: count,
    argument: "INT",
    help: `Rounds (default ${count})`,
    invalid: "Invalid number of rounds '%s'",
    read: (word) => parseInteger(word),
  });
}

/** Direct I/O in the temporary directory, or TCONF. */
export function needDirect(test: Test<Options>): StorageInfo {
  if (test.filesystem === "tmpfs") test.unsupported("O_DIRECT not supported on tmpfs");
  const failure = probeDirect(join(test.directory, "probe"));
  if (failure?.code === "EINVAL") test.unsupported("O_DIRECT is not supported by this filesystem");
  if (failure) test.broken(explainFailure(failure));
  return storageInfo(test.directory);
}

/** A transfer of these lengths that the filesystem does directly, or TCONF. */
export function needMultiple(test: Test<Options>, what: string, bytes: number, unit: number): void {
  if (bytes % unit !== 0) test.unsupported(`${what} must be a multiple of ${unit} bytes here, and is ${bytes}`);
}

/** Troubles shown of each kind. */
const SHOWN = 3;

/**
 * One TFAIL for each kind of trouble, with its sentence from `words`, and what is known of the first of them as TINFO.
 * `file` is the name shown, `race` what each sentence begins with. Returns whether there was any.
 */
export function reportTroubles<K extends string>(
  test: Test<Options>,
  file: string,
  troubles: RaceTroubles,
  words: Readonly<Record<K, string>>,
  race = "",
): boolean {
  for (const kind of new Set(troubles.first.map((trouble) => trouble.kind))) {
    test.fail(`${race}${(words as Readonly<Record<string, string>>)[kind] ?? kind}`);
    const found = troubles.first.filter((trouble) => trouble.kind === kind);
    for (const trouble of found.slice(0, SHOWN)) for (const line of describeTrouble(file, trouble)) test.info(line);
  }
  if (troubles.total > troubles.first.length) test.info(`${troubles.total} troubles in all`);
  return troubles.total > 0;
}

/** A trouble's facts as lines. */
export function describeTrouble(
  file: string,
  { round, offset, bytes, code, errno, detail, range }: RaceTrouble,
): string[] {
  const answer = code === undefined ? "" : `: ${code} (${errno})`;
  const where = `${file}, round ${round}`;
  const first = `${where}: ${formatBytes(bytes)} at offset 0x${offset.toString(16)}${answer}: ${detail}`;
  return range ? [first, ...describeRanges(where, [range], 1)] : [first];
}

/** What raced, in figures: a TINFO, or TWARN when nothing did and so nothing was proven. */
export function reportOverlap(test: Test<Options>, overlaps: number, text: string): void {
  if (overlaps > 0) test.info(text);
  else test.warn(`${text}: nothing has raced, so nothing is proven`);
}
