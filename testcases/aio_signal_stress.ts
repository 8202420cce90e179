/**
 * Asynchronous, direct and buffered I/O by many threads under a storm of signals.
 *
 * The race, in plain words: a thread submits an asynchronous direct write and waits for it. A signal, or io_uring's own
 * notification of another completion, interrupts the wait; the write goes on. Whoever takes that for the end and uses the
 * memory again changes it while the kernel still writes from it. btrfs has computed its checksum by then, so what is on
 * the disk fails it, and every later read is EIO; elsewhere wrong data are written and nobody is told.
 *
 * The report: fsstress (`-p 10 -n 1000 -w`, in one of twenty runs of btrfs/062 to 067) freed its buffer when
 * io_getevents(2) returned EINTR (Qu Wenruo, August 2023). It was the test's own error, and the fix was the test's:
 * "fsstress: wait interrupted aio to finish" waits again. There is no kernel commit to name; the documented EINTR
 * (io_getevents(2)) says nothing of the operations.
 *
 * What is different here: a buffer in flight belongs to the kernel by type, and an interrupted wait is repeated and counted.
 * fsstress verifies nothing itself; here each file has an oracle that knows what every byte may be, reads are compared when
 * they complete and files in the page cache and on the disk when all is over. AIO, io_uring and plain calls are mixed in
 * one thread, so that one's notifications interrupt the other's waits, and each waiting thread is signalled besides.
 * Direct and buffered I/O use a file in turns, as open(2) asks for, so every byte has an answer. Which kinds of
 * operations there are, and how many of each, follows from the seed.
 *
 * Truncates come between the other operations on a file. `--truncate beside` has them meet, and finds a race of XFS now and
 * then (seen on Linux 6.18): an asynchronous direct write behind the end is lost to a truncate that makes the file longer.
 * `dio_races --race truncate-up` provokes just that, and tells it.
 *
 * `--commit-old-mistake` does what fsstress did, in memory that stays the test's own: the flight recorder must show it, and
 * the result is TBROK of the test, never TFAIL of the kernel.
 */
import { basename } from "node:path";
import {
  call,
  type Engine,
  type Finding,
  forgetExpectations,
  limits,
  queryRecord,
  type SignalStressOutcome,
  type StorageInfo,
  storageInfo,
} from "#native";
import { parseInteger, parseSeed } from "../ts/base/numbers.js";
import { absence, alignOf, ENGINES } from "../ts/testcase/engines.js";
import { sentence, type Words } from "../ts/testcase/finding.js";
import { choice, chooseSeed, flag, integer, size, text } from "../ts/testcase/options.js";
import { type Test, testcase } from "../ts/testcase/testcase.js";
import {
  cacheOnly,
  climb,
  describeRanges,
  explainFailure,
  isBad,
  type LevelFinding,
  reportFailure,
  unreachable,
  verifyOption,
} from "../ts/testcase/verification.js";

const options = {
  p: integer({ default: 10, help: "Threads (default 10)", invalid: "Invalid number of threads '%s'" }),
  n: integer({
    default: 1000,
    help: "Operations of each (default 1000)",
    invalid: "Invalid number of operations '%s'",
  }),
  s: text<bigint | undefined>({
    default: undefined,
    argument: "NUMBER",
    defaultsAs: "seed",
    help: "Seed of the plan and the data, to repeat a run (default random)",
    invalid: "Invalid seed '%s': use a number below 2^64, decimal or 0x…",
    read: parseSeed,
  }),
  b: size({ default: 65_536, help: "Longest operation (default 64K)", invalid: "Invalid block size '%s'" }),
  files: integer({
    default: 6,
    help: "Files that the threads share (default 6)",
    invalid: "Invalid number of files '%s'",
  }),
  "file-size": size({
    default: 1_048_576,
    help: "Size of a file at most (default 1M)",
    invalid: "Invalid file size '%s'",
  }),
  depth: integer({
    default: 8,
    help: "Operations in flight of each thread (default 8)",
    invalid: "Invalid depth '%s'",
  }),
  engine: choice({
    default: "mix",
    of: ["mix", ...ENGINES],
    help: "How reads and writes are submitted (default mix: each operation through another)",
  }),
  io: choice({
    default: "mix",
    of: ["mix", "direct", "buffered"],
    help: "With O_DIRECT, through the page cache, or both in turns (default mix)",
  }),
  "buffer-align": text({
    default: "page",
    argument: "logical|page|OFFSET",
    help: "Memory alignment of the buffers: to the page (default), to the logical block only, so that most straddle pages; or OFFSET bytes into a page",
    invalid: "Invalid buffer alignment '%s': use logical, page or a number of bytes smaller than the page",
    read: (word) =>
      word === "logical" || word === "page" || parseInteger(word, 0, limits().pageBytes - 1) !== undefined
        ? word
        : undefined,
  }),
  signals: choice({ default: "on", of: ["on", "off"], help: "Signal the threads all the time (default on)" }),
  truncate: choice({
    default: "between",
    of: ["between", "beside"],
    help: "Truncate between the other operations on a file (default), or while they are in flight",
  }),
  "commit-old-mistake": flag({
    help: "Use a buffer again when the wait for its write is interrupted, as fsstress did: to prove that this is found to be the test's own error",
  }),
  verify: verifyOption("each file"),
};

type StressTest = Test<typeof options>;

interface State {
  seed: bigint;
  engines: Engine[];
  storage: StorageInfo;
}

export default testcase({
  name: "aio_signal_stress",
  summary: "Asynchronous, direct and buffered I/O by many threads under a storm of signals",
  options,
  runtimeSeconds: 0,
  timeoutSeconds: 600,
  needs: { directory: true },

  setup(test): State {
    const { b, io, signals, verify } = test.options;
    const obstacle = unreachable(test, verify);
    if (obstacle) test.unsupported(obstacle);
    const storage = storageInfo(test.directory);
    if (b % storage.dioOffsetAlign !== 0) {
      test.unsupported(`Block size is not a multiple of ${storage.dioOffsetAlign} bytes, which direct I/O needs here`);
    }
    if (io === "direct" && test.filesystem === "tmpfs") test.unsupported("O_DIRECT not supported on tmpfs");
    const engines = available(test);
    const seed = chooseSeed(test.options.s);
    test.info(`Seed 0x${seed.toString(16)}, engines ${engines.join(", ")}, ${IO[io]}, signals ${signals}`);
    return { seed, engines, storage };
  },

  async run(test, state) {
    try {
      await once(test, state);
    } finally {
      forgetExpectations();
    }
  },
});

const IO = { mix: "direct and buffered I/O in turns", direct: "direct I/O", buffered: "buffered I/O" };

/** The engines to use; a mix goes without those that can't be had here. */
function available(test: StressTest): Engine[] {
  const { engine } = test.options;
  if (engine !== "mix") return [engine];
  const kernel = limits();
  for (const why of new Set(ENGINES.map((name) => absence(name, kernel)))) if (why !== undefined) test.info(why);
  return ENGINES.filter((name) => absence(name, kernel) === undefined);
}

async function once(test: StressTest, { seed, engines, storage }: State): Promise<void> {
  const { p, n, b, files, depth, io, signals, verify } = test.options;
  const mistake = test.options["commit-old-mistake"];
  const outcome = await call(
    "signal-stress",
    {
      ...{ directory: test.directory, workers: p, operations: n, seed, files, depth, engines, blockBytes: b },
      fileBytes: test.options["file-size"],
      firstFile: 1 + (test.iteration - 1) * files,
      direct: io !== "buffered",
      buffered: io !== "direct",
      align: alignOf(test.options["buffer-align"], storage.logicalBlockBytes),
      dioOffsetAlign: storage.dioOffsetAlign,
      truncateBeside: test.options.truncate === "beside",
      signals: signals === "on",
      commitOldMistake: mistake,
    },
    (done) => test.sink.progress(done, p * n, "operations"),
  );
  test.sink.data("stress", outcome);
  describeRun(test, outcome);
  ownErrors(test, outcome);
  if (outcome.error) test.broken(explainFailure(outcome.error));
  const { first, total } = outcome.findings;
  for (const finding of first) reportFinding(test, finding);
  if (total > first.length) test.info(`${total - first.length} more operations went wrong`);
  await verifyFiles(test, outcome);
  if (verify === "full" && test.filesystem === "btrfs") {
    test.info("The checksums of all data are compared with the disk when the filesystem is checked (--verify full)");
  }
  if (test.results > 0) return;
  const reads = outcome.counts.find(({ action }) => action === "read")?.done ?? 0;
  const { retriedEintr } = outcome.stats;
  test.pass(
    `${p * n} operations, ${reads} reads and ${files} files are right, ${retriedEintr} interrupted waits lost nothing`,
  );
}

/** What happened, so that a pass says what it is worth. */
function describeRun(test: StressTest, outcome: SignalStressOutcome): void {
  const counts = outcome.counts.filter(({ done }) => done > 0).map(({ action, done }) => `${done} ${action}`);
  test.info(`Did ${counts.join(", ")}; ${outcome.direct} directly; sent ${outcome.signals} signals`);
  if (outcome.leftOut.length > 0) test.info(`The seed leaves out: ${outcome.leftOut.join(", ")}`);
  if (outcome.unsupported.length > 0) test.info(`${test.filesystem} does not have: ${outcome.unsupported.join(", ")}`);
  if (outcome.noDirect) test.info(`${test.filesystem} has no O_DIRECT: all I/O was buffered`);
  if (outcome.collisions > 0) {
    const reads = outcome.collisions === 1 ? "1 direct read" : `${outcome.collisions} direct reads`;
    test.info(`${reads} across the end of a file failed with EIO, and succeeded when they ended there: forgiven`);
    test.info("XFS takes what it has preallocated behind the end for a collision with buffered writes");
  }
  const { shortReads, shortWrites, retriedEintr, retriedEagain } = outcome.stats;
  const resumed = `Resumed ${shortReads} short reads and ${shortWrites} short writes`;
  test.info(
    `${resumed}, retried ${retriedEintr} interrupted and ${retriedEagain} refused (EAGAIN) waits and transfers`,
  );
}

/** Memory that was used for two things at once: nothing that is found afterwards says anything about the kernel. */
function ownErrors(test: StressTest, { mistakes }: SignalStressOutcome): void {
  const [shared] = queryRecord({ max: 0 }).sharedMemory;
  if (shared) {
    if (mistakes > 0) test.info(`Used a buffer again at EINTR ${mistakes} times (--commit-old-mistake)`);
    test.info(`In flight: ${shared.inFlight.line}`);
    test.info(`Meanwhile: ${shared.other.line}`);
    test.broken("the test's own error: a buffer was used again while the kernel was still transferring");
  }
  if (mistakes > 0) test.broken("The old mistake was committed, and the flight recorder does not show it");
  if (test.options["commit-old-mistake"]) {
    test.unsupported("The old mistake could not be committed: no wait for a direct write was interrupted here");
  }
}

const OPERATIONS_SHOWN = 8;
/** What the flight recorder holds. */
const RECORDED_MAX = 65_536;

const WORDS: Words = {
  refused: ({ detail, code, errno }) => `${detail} failed: ${code} (${errno})`,
  short: ({ detail, got, least }) => `${detail} went no further: got ${got} of ${least} bytes that must be there`,
  long: ({ detail, got, most }) => `${detail} returned ${got} bytes, and the file has ${most} there at most`,
  size: ({ detail, got, least, most }) =>
    `${detail}: size ${got}, must be ${least === most ? least : `from ${least} to ${most}`}`,
  "wrong-data": ({ detail, rangesTotal }) =>
    `${detail} returned data that nobody wrote there, in ${rangesTotal} range${rangesTotal === 1 ? "" : "s"}`,
};

function reportFinding(test: StressTest, finding: Finding): void {
  const { file = "", ranges, rangesTotal } = finding;
  test.fail(sentence(WORDS, finding));
  for (const line of describeRanges(file, ranges, rangesTotal)) test.info(line);
  for (const line of around(finding)) test.info(`  ${line}`);
  for (const range of ranges) {
    const { operations } = queryRecord({ file, offset: range.offset, bytes: range.bytes, max: 2 * OPERATIONS_SHOWN });
    test.info(`What touched 0x${range.offset.toString(16)}:`);
    for (const { line, generation } of operations)
      test.info(`  ${line}${generation > 0 ? `, generation ${generation}` : ""}`);
  }
}

/** The operation as recorded, with the changes of its file before it and all that was in flight there with it. */
function around({ file = "", offset, bytes, errno, got }: Finding): string[] {
  const { operations } = queryRecord({ file, max: RECORDED_MAX });
  const result = errno === undefined ? got : -errno;
  const at = operations.findLastIndex((one) => {
    return one.offset === offset && one.bytes === bytes && (result === undefined || one.result === result);
  });
  const wrong = operations[at];
  if (!wrong) return [];
  const begun = wrong.submittedSeconds;
  const ended = wrong.completedSeconds ?? Number.POSITIVE_INFINITY;
  const before = operations
    .slice(0, at)
    .filter(({ changes, completedSeconds = ended }) => changes && completedSeconds < begun);
  const beside = operations.filter(({ submittedSeconds, completedSeconds = ended }) => {
    return submittedSeconds <= ended && completedSeconds >= begun;
  });
  const shown = [...before.slice(-OPERATIONS_SHOWN), ...beside.slice(0, 2 * OPERATIONS_SHOWN)];
  return shown.map((one) => (one === wrong ? `${one.line} <- this one` : one.line));
}

/** All files on each level before the next: mounting again concerns all of them. */
async function verifyFiles(test: StressTest, { files }: SignalStressOutcome): Promise<void> {
  const { verify } = test.options;
  const others = { ...(test.remount && { remount() {} }) };
  const climbs = files.map((file, index) => climb(index === 0 ? test : others, verify, file));
  const findings: LevelFinding[][] = files.map(() => []);
  for (let open = true; open; ) {
    for (const [index, climber] of climbs.entries()) {
      const { value: found, done } = await climber.next();
      if (done) open = false;
      else if (found.error) test.broken(explainFailure(found.error));
      else findings[index]?.push(found);
    }
  }
  test.sink.data("verify", findings);
  if (findings.some(cacheOnly)) test.info(`${test.filesystem} has no O_DIRECT: verified in the page cache only`);
  for (const [index, { path }] of files.entries()) {
    const found = findings[index] ?? [];
    if (!found.some(isBad)) continue;
    test.fail(`${basename(path)} does not hold what was written`);
    reportFailure(test, path, found);
  }
}
