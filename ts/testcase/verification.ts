/**
 * Verification down the ladder — page cache, disk, after mounting again — and the words for what it finds. A testcase
 * climbs it once, after its last completion, and words its own verdict; the lines here are the TINFO below that.
 */
import { basename } from "node:path";
import {
  type BadRange,
  call,
  type Extent,
  type Failure,
  fileExtents,
  queryRecord,
  type RecordedOperation,
  type VerifyLevel,
  type VerifyOptions,
  type VerifyOutcome,
} from "#native";
import { formatBytes } from "../base/numbers.js";
import { badCopies, type Copies, diagnose } from "./diagnosis.js";
import { choice, type Option } from "./options.js";
import type { Test } from "./testcase.js";

/** One copy of the data to look at. */
export type CopyLevel = VerifyLevel | "remount";
/** A value of `--verify`; the checker that `full` adds is the runner's. */
export type DeepestLevel = CopyLevel | "full";
export type LevelFinding = VerifyOutcome & { level: CopyLevel };
/** A file and what it should hold: one generation of stamps, or what a workload has found (the number in its outcome). */
export type Expected = Omit<VerifyOptions, "level" | "rangesMax"> | { path: string; expectation: number };

type Remountable = Pick<Test, "remount">;
/** Somebody to tell what was left out; the journal has it in the findings. */
type Climber = Remountable & Partial<Pick<Test, "info">>;

/** Bad ranges shown; all are counted. */
const RANGES_SHOWN = 8;

/** What each value of `--verify` reads. */
const LEVELS: Record<DeepestLevel, readonly CopyLevel[]> = {
  cache: ["cache"],
  disk: ["cache", "disk"],
  remount: ["cache", "disk", "remount"],
  full: ["cache", "disk", "remount"],
};
/** After mounting, the page cache is empty: what is read through it comes from the disk. */
const NATIVE_LEVELS = { cache: "cache", disk: "disk", remount: "cache" } as const;
const LEVEL_NAMES = { cache: "page cache", disk: "disk", remount: "after mounting again" } as const;

/** `--verify`. `subject` is what the help text says is verified: "the copy". */
export function verifyOption(subject: string): Option<DeepestLevel> {
  return choice({
    default: "disk",
    of: ["cache", "disk", "remount", "full"],
    help: `How far down ${subject} is verified: page cache only (as LTP), the disk too (default), or after unmounting and mounting (filesystems of the run's own; full has them checked besides)`,
  });
}

/** Why this level can't be reached here; undefined where it can. For a TCONF in setup. */
export function unreachable(test: Remountable, deepest: DeepestLevel): string | undefined {
  if ((deepest !== "remount" && deepest !== "full") || test.remount) return undefined;
  return `--verify ${deepest} needs a filesystem of the run's own: aiodio-ltp --filesystems`;
}

/**
 * Verifies the file level by level; no descriptor of it may be open. A finding whose `error` is set says why nothing could
 * be verified: that is for the testcase to break on.
 */
export async function* climb(test: Climber, deepest: DeepestLevel, expected: Expected): AsyncGenerator<LevelFinding> {
  for (const level of LEVELS[deepest]) {
    if (level === "remount") test.remount?.();
    const found = await verify(expected, level);
    if (found.bytesSkipped > 0) {
      const where = `${basename(expected.path)}, ${LEVEL_NAMES[level]}`;
      test.info?.(`${where}: ${formatBytes(found.bytesSkipped)} of holes not read, but their ends and samples`);
    }
    yield { level, ...found };
  }
}

function verify(expected: Expected, level: CopyLevel): Promise<VerifyOutcome> {
  const how = { rangesMax: RANGES_SHOWN, level: NATIVE_LEVELS[level] };
  if (!("expectation" in expected)) return call("verify", { ...expected, ...how });
  const { path, expectation } = expected;
  return call("verify-expected", { path, expectation, ...how });
}

/**
 * The same file looked at again on each level without mounting anew, one line a level: whether the file that the data was
 * taken from is at fault itself.
 */
export async function* secondLook(deepest: DeepestLevel, expected: Expected): AsyncGenerator<string> {
  for (const level of LEVELS[deepest]) {
    const found = await verify(expected, level);
    const state =
      (found.error && explainFailure(found.error)) ??
      (found.sectorsBad > 0 ? `${found.sectorsBad} sectors are bad` : "good");
    yield `${basename(expected.path)}, ${LEVEL_NAMES[level]}: ${state}`;
  }
}

/** Whether the disk was to be looked at and could not be: the filesystem has no direct I/O, or no disk. */
export function cacheOnly(findings: readonly LevelFinding[]): boolean {
  return findings.some(({ level, direct }) => level === "disk" && !direct);
}

/** Whether what was read is right: every byte, and no byte too many. */
export function isBad({ rangesTotal }: Pick<LevelFinding, "rangesTotal">): boolean {
  return rangesTotal > 0;
}

/** One line for a level that is good; else how much is bad, and what the bad bytes are. `file` is the name shown. */
export function describeLevel(file: string, finding: LevelFinding): string[] {
  const { level, sectors, sectorsBad, ranges, rangesTotal } = finding;
  const where = `${file}, ${LEVEL_NAMES[level]}`;
  if (!isBad(finding)) return [`${where}: good`];
  return [
    `${where}: ${sectorsBad} of ${sectors} sectors are bad, in ${rangesTotal} range${rangesTotal === 1 ? "" : "s"}`,
    ...describeRanges(where, ranges, rangesTotal),
  ];
}

/** What bad bytes are, with a dump; `where` is what the lines begin with. */
export function describeRanges(where: string, ranges: readonly BadRange[], total: number): string[] {
  const lines = ranges.flatMap((range) => [
    `${where}: ${formatBytes(range.bytes)} at offset ${hex(range.offset)}: ${explainRange(range)}`,
    ...hexDump(range),
  ]);
  if (total > ranges.length) lines.push(`${where}: ${total - ranges.length} more ranges`);
  return lines;
}

/** Expected and found side by side, 16 bytes a line, with a mark between where they differ. */
export function hexDump({ shownAt, expected, found }: Pick<BadRange, "shownAt" | "expected" | "found">): string[] {
  const lines: string[] = [];
  for (let at = 0; at < found.length; at += DUMP_BYTES) {
    const [right, wrong] = [expected.subarray(at, at + DUMP_BYTES), found.subarray(at, at + DUMP_BYTES)];
    const column = (bytes: Buffer) =>
      [...bytes]
        .map((byte) => byte.toString(16).padStart(2, "0"))
        .join(" ")
        .padEnd(3 * DUMP_BYTES - 1);
    const mark = right.equals(wrong) ? "  " : "≠ ";
    lines.push(`  ${(shownAt + at).toString(16).padStart(8, "0")}  ${column(right)} ${mark}${column(wrong)}`.trimEnd());
  }
  if (lines.length > 0) lines.unshift(`  ${"".padEnd(10)}${"expected".padEnd(3 * DUMP_BYTES - 1)}   found`);
  return lines;
}

const DUMP_BYTES = 16;
/** Operations shown of each range. */
const OPERATIONS_SHOWN = 8;

function hex(offset: number): string {
  return `0x${offset.toString(16)}`;
}

/** All that is known of one bad range; what the journal keeps of it. */
export interface Diagnosis {
  file: string;
  offset: number;
  bytes: number;
  kind: BadRange["kind"];
  /** What would have been right: generations, or zeros. */
  right: BadRange["right"];
  copies: Copies;
  /** Undefined where the filesystem can't tell. */
  extents: Extent[] | undefined;
  /** Operations that touched the range, the last ones, in order. */
  operations: RecordedOperation[];
  /** How many there were. */
  operationsTotal: number;
  /** What was in flight at the same time as the changes among them. */
  beside: RecordedOperation[];
  sentence: string;
}

/**
 * What else is known of each bad range: which copies are bad, the extents under it, the operations that touched it, and
 * which class of bug looks like this. Call it before anything else happens to the file.
 */
export function diagnoseFile(path: string, findings: readonly LevelFinding[]): Diagnosis[] {
  const file = basename(path);
  const disk = findings.find(({ level, direct, error }) => level === "disk" && direct && !error);
  const seen: Diagnosis[] = [];
  for (const finding of findings) {
    for (const range of finding.ranges) {
      const { offset, bytes, kind, right } = range;
      if (seen.some((other) => other.offset === offset && other.bytes === bytes && other.kind === kind)) continue;
      const covers = (found: LevelFinding) =>
        found.ranges.some((other) => other.offset < offset + bytes && offset < other.offset + other.bytes);
      const cacheBad = findings.some((found) => found.level === "cache" && covers(found));
      const copies = { cacheBad, diskBad: disk ? covers(disk) : undefined };
      const extents = extentsOf(path, offset, bytes);
      const record = queryRecord({ file, offset, bytes, max: OPERATIONS_SHOWN });
      const sentence = diagnose(range, { ...copies, extents });
      const { operations, matching: operationsTotal, beside } = record;
      seen.push({ file, offset, bytes, kind, right, copies, extents, operations, operationsTotal, beside, sentence });
    }
  }
  return seen.slice(0, RANGES_SHOWN);
}

function describeContent(content: number | "zeros"): string {
  return content === "zeros" ? content : `generation ${content}`;
}

function extentsOf(path: string, offset: number, bytes: number): Extent[] | undefined {
  try {
    return fileExtents(path, offset, bytes, OPERATIONS_SHOWN) ?? undefined;
  } catch {
    // The file may be gone by now; the report says what it can.
    return undefined;
  }
}

/** A diagnosis as lines. */
export function describeDiagnosis({ file, offset, bytes, ...known }: Diagnosis): string[] {
  const { right, copies, extents, operations, operationsTotal, beside, sentence } = known;
  const where = `${file}, ${formatBytes(bytes)} at offset ${hex(offset)}`;
  const lines = [`${where}: looks like this: ${sentence}`, `  bad in: ${badCopies(copies)}`];
  if (right.length > 0) lines.push(`  right would be: ${right.map(describeContent).join(" or ")}`);
  if (extents?.length === 0) lines.push("  on the disk: a hole");
  for (const { offset, bytes, physical, states } of extents ?? []) {
    const place = physical > 0 ? `at ${hex(physical)}` : "nowhere yet";
    lines.push(`  on the disk: ${hex(offset)}, ${formatBytes(bytes)}: ${place}, ${states.join(", ") || "written"}`);
  }
  if (operations.length > 0) {
    const earlier =
      operationsTotal > operations.length ? ` (${operations.length} of ${operationsTotal}, with the last changes)` : "";
    lines.push(`  what touched it${earlier}:`, ...operations.map(({ line }) => `    ${line}`));
  }
  if (beside.length > 0) lines.push("  in flight meanwhile:", ...beside.map(({ line }) => `    ${line}`));
  return lines;
}

/**
 * The whole failure report of one file, as TINFO lines, and its facts for the journal. Call it when the verdict has been
 * given, before anything else happens to the file.
 */
export function reportFailure(
  test: Pick<Test, "info" | "sink">,
  path: string,
  findings: readonly LevelFinding[],
): void {
  const file = basename(path);
  for (const finding of findings) for (const text of describeLevel(file, finding)) test.info(text);
  const diagnoses = diagnoseFile(path, findings);
  for (const text of diagnoses.flatMap(describeDiagnosis)) test.info(text);
  test.sink.data("diagnosis", diagnoses);
}

/**
 * Climbs, and reports a file that is wrong: `fail` words the verdict, so that its line names the program. What can't be
 * verified ends the testcase.
 */
export async function verifyAndReport(
  test: Pick<Test, "remount" | "info" | "broken" | "sink">,
  deepest: DeepestLevel,
  expected: Expected,
  fail: (findings: readonly LevelFinding[]) => void,
): Promise<LevelFinding[]> {
  const findings: LevelFinding[] = [];
  for await (const found of climb(test, deepest, expected)) {
    if (found.error) test.broken(explainFailure(found.error));
    findings.push(found);
  }
  if (findings.some(isBad)) {
    fail(findings);
    reportFailure(test, expected.path, findings);
  }
  return findings;
}

/** What was verified, for the journal, and whether less than was asked for. */
export function noteVerified(
  test: Pick<Test, "info" | "sink" | "filesystem">,
  findings: readonly LevelFinding[],
): void {
  test.sink.data("verify", findings);
  if (cacheOnly(findings)) test.info(`${test.filesystem} has no O_DIRECT: verified in the page cache only`);
}

/** What the bytes of a bad range are. */
export function explainRange(range: BadRange): string {
  const from = `0x${(range.fromOffset ?? 0).toString(16)}`;
  const first = `first at 0x${(range.firstDifference ?? 0).toString(16)}`;
  switch (range.kind) {
    case "zeros":
      return "zeros";
    case "misplaced":
      return `another offset's stamp: the data of offset ${from}`;
    case "stale":
      return range.right[0] === "zeros"
        ? `data of an earlier write (generation ${range.generation}) where zeros should be`
        : `another generation (${range.generation}): data of an earlier write`;
    case "stale-disk":
      return "stale disk content from before the test";
    case "other-file":
      return `the stamp of file ${range.fileId}, offset ${from}`;
    case "other-run":
      return "the stamp of another run";
    case "torn":
      return `torn, ${first}: the rest is ${range.tornWith}`;
    case "mutated":
      return `mutated: ${range.differingBits} bits in ${range.differingBytes} bytes differ, ${first}`;
    case "beyond-end":
      return "beyond the end that the file should have";
    case "missing":
      return "missing: the file ends before it";
    case "read-error":
      return `can't be read: ${range.code}`;
    case "read-error-once":
      return `could not be read at first (${range.code}), and is good`;
    default:
      return "garbage: no stamp";
  }
}

/** The core's sentence, with the file and, as LTP's TERRNO does, the errno. */
export function explainFailure({ message, path, code, errno }: Failure): string {
  const file = path === undefined ? "" : `${basename(path)}: `;
  return `${file}${message}${code === undefined ? "" : `: ${code} (${errno})`}`;
}
