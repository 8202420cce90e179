/**
 * Buffered reads through io_uring while the page cache is dropped, read ahead and reclaimed.
 *
 * The race, in plain words: io_uring first tries a buffered read without blocking. Readahead for the same pages is under
 * way; its completion unlocks them one by one, and the first wakes the read. It copies that page, finds the next one
 * still locked, and ends: 4096 of 65536 bytes, in the middle of the file. That is allowed, but no read(2) of a file does
 * it, so programs do not expect it, and what an earlier read left in the rest of their buffer looks like corruption.
 *
 * The report: fio's io_uring engine with verification, on XFS (Linux bug 208827, August 2020). Bisected to Linux 5.5,
 * f67676d160c6 "io_uring: ensure async punted read/write requests copy iovec"; far more frequent since bcf5a06304d6
 * "io_uring: support true async buffered reads, if file provides it" (5.9-rc1). fio compared its buffer without
 * looking at the number of bytes read: the "corruption" was the test's.
 *
 * The fix: 227c0c9673d8 "io_uring: internally retry short reads" (5.9), with f38c7e3abfba "io_uring: ensure async
 * buffered read-retry is setup properly" and c8d317aa1887 "io_uring: fix async buffered reads when readahead is
 * disabled" (both 5.9 too). Since then a read of a regular file is short at its end only.
 *
 * What is different here: each completion's number of bytes is compared with what is there to be read, so a short read is
 * called one, with the operation, and never corruption. Each buffer is poisoned before its read: what lies behind the
 * bytes returned must be untouched, and bytes that are said to be read must have been. The pages are dropped
 * (POSIX_FADV_DONTNEED), read ahead (readahead(2)) and reclaimed (MADV_PAGEOUT) by three threads instead of by chance.
 * With `--resubmit` short reads are gone on with, as the io_uring manual asks programs to, and the data must be right.
 * The report's ring had a kernel thread for its submissions (SQPOLL); here the testing thread submits.
 */
import { join } from "node:path";
import { call, type Finding, limits, queryRecord, type ShortReadOutcome, type StorageInfo, storageInfo } from "#native";
import { formatBytes, parseInteger } from "../ts/base/numbers.js";
import { alignOf, engineOption } from "../ts/testcase/engines.js";
import { sentence, type Words } from "../ts/testcase/finding.js";
import { choice, chooseSeed, flag, integer, seed, size, text } from "../ts/testcase/options.js";
import { type Test, testcase } from "../ts/testcase/testcase.js";
import { describeRanges, explainFailure } from "../ts/testcase/verification.js";

const FILE = "short_read";
const FILE_ID = 1;
const SECTOR = 512;
/** The file ends inside a block and inside a sector, so that a right short read is among the others. */
const TAIL = SECTOR + 100;

const options = {
  s: size({ default: 268_435_456, help: "File size (default 256M)", invalid: "Invalid file size '%s'" }),
  b: size({ default: 65_536, help: "Length of a read (default 64K)", invalid: "Invalid block size '%s'" }),
  n: integer({ default: 32, help: "Reads in flight (default 32)", invalid: "Invalid number of reads '%s'" }),
  passes: integer({
    default: 2,
    help: "How often the file is read: in order and in random order, by turns (default 2)",
    invalid: "Invalid number of passes '%s'",
  }),
  engine: engineOption("io_uring", "the reads are"),
  "buffer-align": text({
    default: "page",
    argument: "logical|page|OFFSET",
    help: "Memory alignment of the buffers: to the page (default), to the logical block only, or OFFSET bytes into a page",
    invalid: "Invalid buffer alignment '%s': use logical, page or a number of bytes smaller than the page",
    read: (word) =>
      word === "logical" || word === "page" || parseInteger(word, 0, limits().pageBytes - 1) !== undefined
        ? word
        : undefined,
  }),
  resubmit: flag({ help: "Go on where a read ended short instead of failing" }),
  disturb: choice({ default: "on", of: ["on", "off"], help: "Drop, read ahead and reclaim the pages (default on)" }),
  seed: seed(),
};

type ShortReadTest = Test<typeof options>;

interface State {
  seed: bigint;
  bytes: number;
  storage: StorageInfo;
}

export default testcase({
  name: "uring_short_read",
  summary: "Buffered reads through io_uring while the page cache is disturbed: each must be complete and right",
  options,
  runtimeSeconds: 0,
  timeoutSeconds: 600,
  needs: { directory: true },

  async setup(test): Promise<State> {
    const { s, b, engine, resubmit, disturb } = test.options;
    if (b % SECTOR !== 0) test.unsupported(`Block size is not a multiple of ${SECTOR}`);
    const seed = chooseSeed(test.options.seed);
    const bytes = Math.floor(s / SECTOR) * SECTOR + TAIL;
    const short = resubmit ? "gone on with" : "a failure";
    test.info(
      `Seed 0x${seed.toString(16)}, engine ${engine}, page cache disturbed: ${disturb}, a short read is ${short}`,
    );
    test.info(`Fill ${FILE} with ${formatBytes(bytes)}`);
    const key = { seed, fileId: FILE_ID, generation: 1 };
    const { error } = await call("fill", { path: join(test.directory, FILE), bytes, key });
    if (error?.code === "ENOSPC") test.unsupported(`${explainFailure(error)}: use a smaller file (-s)`);
    if (error) test.broken(explainFailure(error));
    return { seed, bytes, storage: storageInfo(test.directory) };
  },

  async run(test, { seed, bytes, storage }) {
    const { b, n, passes, engine, resubmit, disturb } = test.options;
    const path = join(test.directory, FILE);
    const outcome = await call(
      "short-read",
      {
        ...{ path, bytes, seed, blockBytes: b, depth: n, engine, passes, resubmit },
        key: { seed, fileId: FILE_ID, generation: 1 },
        align: alignOf(test.options["buffer-align"], storage.logicalBlockBytes),
        disturb: disturb === "on",
      },
      (done) => test.sink.progress(Math.min(done, bytes * passes), bytes * passes, "bytes"),
    );
    test.sink.data("reads", outcome);
    describeRun(test, outcome);
    if (outcome.error) test.broken(explainFailure(outcome.error));
    const { first, total } = outcome.findings;
    for (const finding of first) reportFinding(test, finding);
    if (total > first.length) test.info(`${total - first.length} more reads went wrong`);
    if (total > 0) return;
    const { shortReads } = outcome.stats;
    // A resumed read that meets the end of the file counts as short too; each such read ends there once.
    test.pass(
      resubmit
        ? `all ${outcome.reads} reads were complete and right, after ${shortReads} resubmissions`
        : `all ${outcome.reads} reads were complete and right`,
    );
  },
});

function describeRun(test: ShortReadTest, outcome: ShortReadOutcome): void {
  const { reads, atEnd, dropped, readAhead, reclaimed, noReclaim, stats } = outcome;
  test.info(
    `${reads} reads, ${atEnd} of them rightly short at the end of the file, at most ${stats.inFlightMax} in flight`,
  );
  test.info(`Dropped pages ${dropped} times, read ahead ${readAhead} times, reclaimed ${reclaimed} times`);
  if (noReclaim) test.info("The kernel can't reclaim chosen pages (MADV_PAGEOUT, MADV_POPULATE_READ: Linux 5.14)");
}

/** The operation that it was, and those beside it. */
const OPERATIONS_SHOWN = 4;
/** Of those that the flight recorder has of the range, how many are looked through. */
const RECORDED_MAX = 4096;

const whereOf = ({ offset }: Finding) => `${FILE} at offset 0x${offset.toString(16)}`;
const short = (finding: Finding) => `short read of ${whereOf(finding)}: got ${finding.got} of ${finding.least}`;

const WORDS: Words = {
  short,
  touched: (finding) => `${short(finding)}, and memory behind them changed, ${finding.detail}`,
  unfilled: (finding) =>
    `read of ${whereOf(finding)} says ${finding.got} bytes, and left memory as it was ${finding.detail}`,
  long: (finding) =>
    `read of ${whereOf(finding)} returned ${finding.got} bytes, and the file has ${finding.most} there`,
  refused: (finding) =>
    `read of ${finding.bytes} bytes of ${whereOf(finding)} failed: ${finding.code} (${finding.errno})`,
  "wrong-data": (finding) => `read of ${whereOf(finding)}: got ${finding.got} bytes that are not the file's`,
};

function reportFinding(test: ShortReadTest, finding: Finding): void {
  const { offset, bytes, ranges, rangesTotal } = finding;
  test.fail(sentence(WORDS, finding));
  for (const line of describeRanges(FILE, ranges, rangesTotal)) test.info(line);
  const { operations } = queryRecord({ file: FILE, offset, bytes, max: RECORDED_MAX });
  const it = operations.findLast((one) => one.offset === offset && one.bytes === bytes);
  const last = operations.slice(-OPERATIONS_SHOWN);
  // However much went on there after it.
  const shown = !it || last.includes(it) ? last : [it, ...last.slice(1)];
  for (const { line } of shown) test.info(`  ${line}`);
}
