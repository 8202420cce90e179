/**
 * What tests need of the machine, by one rule: a program that is missing is a failure in CI and elsewhere a skip that
 * names the package. The closing line tells what was skipped for want of which.
 */
import { TestRunner } from "vitest";
import { familyOf, parseFilesystems } from "../../ts/filesystem/variants.js";
import { findTool, missingTool, packageOf } from "../../ts/process/tools.js";

/** What checks each family, which its tests run too. */
const CHECKERS: Readonly<Record<string, string>> = { btrfs: "btrfs", ext4: "e2fsck", xfs: "xfs_repair" };

/** Ends the test that runs now, or its hook, where one of these programs is missing. */
export function needs(...programs: string[]): void {
  for (const program of programs) {
    const packageName = packageOf(program);
    if (packageName === undefined) throw new Error(`ts/process/tools.ts does not know the package of ${program}`);
    if (findTool(program) === undefined) without(missingTool(program), packageName);
  }
}

/** The programs that make and check these filesystems, as `--filesystems` names them. */
export function needsFilesystems(...names: string[]): void {
  for (const variant of parseFilesystems(names.join(","))) {
    const { mkfs } = familyOf(variant);
    if (mkfs) needs(mkfs.command);
    const checker = CHECKERS[variant.family];
    if (checker !== undefined) needs(checker);
  }
}

/** What .ci/run could not install because its archive does not have it today: that is no failed test. */
const NOT_IN_ARCHIVE = new Set((process.env.AIODIO_NOT_IN_ARCHIVE ?? "").split(" "));

/** Ends the test that runs now because of something that this machine lacks, which this package brings. */
export function without(reason: string, packageName: string): never {
  if (process.env.CI && !NOT_IN_ARCHIVE.has(packageName)) throw new Error(`${reason}; .ci/run must install it`);
  return skipFor(reason);
}

/** Ends the test that runs now, in CI too: an archive does not have today what it needs, or a container may not do it. */
export function skipFor(reason: string): never {
  const test = TestRunner.getCurrentTest();
  if (!test) throw new Error(`outside of a test: ${reason}`);
  return test.context.skip(reason);
}
