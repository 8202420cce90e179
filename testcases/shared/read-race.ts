/**
 * What the testcases share that read a file while it changes: options, the run, and the words for what came of it. The
 * verdict is worded by each of them.
 */
import { rmSync } from "node:fs";
import { basename, join } from "node:path";
import {
  type BadRead,
  call,
  type Engine,
  type Failure,
  forgetExpectations,
  limits,
  type ReadersOptions,
  type ReadersOutcome,
} from "#native";
import { chooseSeed, flag, integer, type Option, seed } from "../../ts/testcase/options.js";
import type { Test } from "../../ts/testcase/testcase.js";
import {
  explainFailure,
  type LevelFinding,
  noteVerified,
  reportFailure,
  unreachable,
  verifyAndReport,
  verifyOption,
} from "../../ts/testcase/verification.js";

/** The options that all of them have beside LTP's. */
export const raceOptions = {
  "ltp-pattern": flag({ help: "Write zeros as LTP does, not stamps: a lost write can't be seen then" }),
  seed: seed(),
  verify: verifyOption("the file"),
};

/** What the declarations of all of them have in common. */
export const raceDeclaration = {
  runtimeSeconds: 1800,
  timeoutSeconds: 0,
  needs: { directory: true },
  skipFilesystems: ["tmpfs"],
} as const;

/** `-n` of those that read through several readers. */
export function readersOption(count: number): Option<number> {
  const help = `Number of readers (default ${count})`;
  return integer({ default: count, help, invalid: "Invalid number of children '%s'" });
}

/** What most of LTP's readers read at a time, in bytes. */
const READ_BYTES = 4096;

/** What a race needs to know of its testcase. */
export type RaceTest = Test<typeof raceOptions & { engine?: Option<Engine> }>;

/** What stays from one call of the test function to the next. */
export interface RaceState {
  seed: bigint;
  /** Of the stamps written next. */
  generation: number;
}

/** Which file a stamp says it was made for. */
const FILE_ID = 1;

/** Setup: says how the run can be repeated, and refuses what can't be done here. */
export function prepareRace(test: RaceTest): RaceState {
  const { verify, engine } = test.options;
  const obstacle = unreachable(test, verify);
  if (obstacle) test.unsupported(obstacle);
  test.permitKernel("page-cache-invalidation", "readers and writers use direct I/O and the page cache at once");
  const runSeed = chooseSeed(test.options.seed);
  test.info(`Seed 0x${runSeed.toString(16)}${engine === undefined ? "" : `, engine ${engine}`}`);
  if (test.options["ltp-pattern"]) test.info("Zeros are written, as LTP does: a lost write can't be seen");
  return { seed: runSeed, generation: 1 };
}

/** LTP's check of the number of control blocks, which does not stop it. */
export function checkControlBlocks(test: RaceTest, count: number): void {
  const { aioMax } = limits();
  if (test.options.engine !== "libaio" || aioMax === undefined) return;
  test.info(`Maximum AIO blocks: ${aioMax}`);
  if (count > aioMax) test.conf(`Number of async IO blocks passed the maximum (${aioMax})`);
}

/** Leaves old data in free blocks, so that a file that shows them is caught. */
export async function dirtyBlocks(test: RaceTest, { seed }: RaceState, bytes: number): Promise<void> {
  test.info("Dirtying free blocks");
  const { error } = await call("dirty-free-blocks", { path: join(test.directory, "dirty_file"), bytes, seed });
  if (error) test.broken(explainFailure(error));
}

type Work = Pick<ReadersOptions, "scene" | "blockBytes" | "readers"> & { depth?: number; readBytes?: number };

export interface RaceWords {
  /** Name of the file. */
  file: string;
  /** LTP's words for a run that used up its time, where they are others than most programs'. */
  late?: string;
  /** LTP's words for a step of the writer that failed, where it is no plain write; undefined for the core's own. */
  broken?(error: Failure, work: Work): string | undefined;
}

/** LTP's words for a failed step of the programs that write through AIO. */
export function aioBroken({ step, code, errno, offset, got }: Failure, { blockBytes }: Work): string | undefined {
  if (step === "submit") return `io_submit: ${code}`;
  if (step === "reap") return `io_getevents: ${code}`;
  if (step !== "write" && step !== "short-write") return undefined;
  return `AIO write offset ${offset} expected ${blockBytes} got ${got ?? -(errno ?? 0)}`;
}

/** The same for those that write with write(2). */
function writeBroken({ step, code, errno }: Failure, file: string, bytes: number): string | undefined {
  return step === "write" ? `write(${file},${bytes}) failed: ${code} (${errno})` : undefined;
}

/** Has readers read the file while it changes, then verifies it. Returns the texts of TFAIL, none when all is right. */
export async function race(test: RaceTest, state: RaceState, words: RaceWords, work: Work): Promise<string[]> {
  const path = join(test.directory, words.file);
  const { engine = "sync", "ltp-pattern": ltpPattern } = test.options;
  const secondsMax = test.runtimeSeconds > 0 ? { secondsMax: test.runtimeSeconds } : {};
  const outcome = await call("readers", {
    depth: 1,
    readBytes: READ_BYTES,
    ...work,
    ...secondsMax,
    path,
    engine,
    key: { seed: state.seed, fileId: FILE_ID, generation: state.generation },
    ltpPattern,
  });
  // Each round has its own; a scene may need one before the first.
  state.generation += outcome.tally.rounds + 1;
  test.sink.data("race", outcome);
  if (outcome.late) test.info(words.late ?? "Test out of runtime, exiting");
  tellTally(test, outcome);
  const { bad, error } = outcome;
  const failures = bad ? [explainBadRead(bad)] : [];
  if (bad) {
    const finding: LevelFinding = { ...bad.found, level: bad.direct ? "disk" : "cache" };
    test.info(`Reader ${bad.reader} read ${bad.bytes} bytes at offset ${bad.offset} of ${words.file}`);
    reportFailure(test, path, [finding]);
  }
  if (error) {
    for (const failure of failures) test.fail(failure);
    breakOn(test, words, work, error);
  }
  const { expectation } = outcome;
  const findings = await verifyAndReport(test, test.options.verify, { path, expectation }, () => {
    failures.push(`${words.file} does not hold what was written`);
  });
  noteVerified(test, findings);
  forgetExpectations();
  rmSync(path, { force: true });
  return failures;
}

/** LTP's words for the good end. */
export function allRight(test: RaceTest): string {
  return test.options["ltp-pattern"] ? "All bytes read were zeroed" : "All bytes read were zeroed or as written";
}

function tellTally(test: RaceTest, { tally, error, bad }: ReadersOutcome): void {
  const { rounds, writes, reads, overlapping, touching } = tally;
  const touched = test.options["ltp-pattern"] ? "" : `, ${touching} of them on the bytes being written`;
  test.info(`${writes} writes in ${rounds} rounds; ${overlapping} of ${reads} reads overlapped a write${touched}`);
  if (writes > 0 && overlapping === 0 && !error && !bad) {
    test.warn("No read overlapped a write: nothing was raced");
  }
}

/** What a reader saw, in one sentence. */
function explainBadRead({ offset, bytes, found, sizeMin, sizeMax }: BadRead): string {
  const [range] = found.ranges;
  if (range?.kind === "zeros") return `zeros read at offset ${range.offset}, where data had been written`;
  if (range) return `non-zero read at offset ${range.offset}`;
  return `read at offset ${offset} ended at ${offset + bytes}, but the file had from ${sizeMin} to ${sizeMax} bytes`;
}

function breakOn(test: RaceTest, words: RaceWords, work: Work, error: Failure): never {
  if (error.step === "open" && error.code === "EINVAL") test.unsupported(`${test.filesystem} has no O_DIRECT`);
  const read =
    error.step === "read" ? `pread(${basename(error.path ?? "")}) failed: ${error.code} (${error.errno})` : undefined;
  const writers = words.broken ? words.broken(error, work) : writeBroken(error, words.file, work.blockBytes);
  const ltps = writers ?? read;
  // LTP's words do not always name the error.
  if (ltps !== undefined) test.info(explainFailure(error));
  test.broken(ltps ?? explainFailure(error));
}
