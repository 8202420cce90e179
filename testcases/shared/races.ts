/** What testcases that provoke a race have in common: what they need, and how hard they raced. */
import { join } from "node:path";
import { probeDirect, type StorageInfo, storageInfo } from "#native";
import { parseInteger } from "../../ts/base/numbers.js";
import { type Option, type Options, text } from "../../ts/testcase/options.js";
import type { Test } from "../../ts/testcase/testcase.js";
import { explainFailure } from "../../ts/testcase/verification.js";

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

/** What raced, in figures: a TINFO, or TWARN when nothing did and so nothing was proven. */
export function reportOverlap(test: Test<Options>, overlaps: number, text: string): void {
  if (overlaps > 0) test.info(text);
  else test.warn(`${text}: nothing has raced, so nothing is proven`);
}
