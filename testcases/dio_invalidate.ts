/**
 * Writes directly beside other uses of the same pages, and checks that both are right.
 *
 * The race. A direct write goes around the page cache, so the kernel drops the pages that cover its range, before and
 * after it. When the write is smaller than a page, or begins inside one, such a page covers bytes of somebody else too.
 * If those are dirty or in use at that moment the page can't be dropped: the kernel says "Page cache invalidation failure
 * on direct I/O. Possible data corruption due to collision with buffered I/O!", the next fsync fails with EIO, and the
 * page that stays may put old data over the new ones.
 *
 * The report. openSUSE bug 1224434: aiocp with 4k to 32k blocks on btrfs on ppc64le, whose pages are 64 KiB. aiocp never
 * mixes buffered and direct I/O; btrfs did it for itself, since it writes directly only from memory that is aligned to
 * its block, and falls back to buffered writes for the rest. So both met in one page.
 *
 * The fix. The report names none. The message is of commit 5a9d929d6e13 ("iomap: report collisions between directio and
 * buffered writes to userspace", Linux 4.16); a92853b6746f (5.5) keeps it where there is no block layer.
 *
 * What passes and what does not. open(2) warns of mixing direct I/O with buffered I/O or mappings of the same file. So
 * it is told apart who mixes:
 * - `--collide direct` (default): only direct I/O, of ranges that never overlap, from memory of any alignment, as aiocp
 *   does. Nobody used the page cache but the filesystem itself: everything must be right, and EIO is the kernel's bug.
 * - `buffered`, `mmap`, `reader`, `pinned`: the program uses the page otherwise at the same time, though never the same
 *   bytes for writing. Linux reports such a collision by EIO from fsync (that is what 5a9d929d6e13 is for): it is counted
 *   and shown with the operation that met it, and permitted. Data that are lost without a word are not permitted, except
 *   where a buffered write or a store changed the same page meanwhile and the direct write's range has the data from
 *   before: the kernel changes and writes back whole pages. One that it read before the direct write reached the disk, and
 *   wrote back before it came to drop it, is clean then, and nothing is left that could tell (the core's `invalidate` says how).
 *   `--strict` permits nothing: ranges of 4 KiB (`--unit 4k`) pass with it on 4 KiB pages, and fail on 64 KiB pages.
 * - `same-range`: both write the same bytes: either content, and EIO, are permitted.
 * When all is over everything is written once more without any collision, and must be right.
 *
 * Different from the original: it does on purpose what happened by accident, with each kind of collision by itself, on
 * blocks from the logical sector to several pages, and it verifies both ranges and not only fsync's answer. Where memory
 * lies is an option. On 4 KiB pages the filesystems with smaller blocks are where pages are shared. The kernel's message
 * is reported by the runner beside the testcase; it fails the testcase where nothing is permitted.
 */
import { join } from "node:path";
import { call, limits } from "#native";
import { formatBytes, parseInteger, parseSize } from "../ts/base/numbers.js";
import { engineOption } from "../ts/testcase/engines.js";
import { describeRound, reportFindings } from "../ts/testcase/finding.js";
import { choice, chooseSeed, flag, seed, text } from "../ts/testcase/options.js";
import { testcase } from "../ts/testcase/testcase.js";
import { explainFailure, isBad, unreachable, verifyAndReport, verifyOption } from "../ts/testcase/verification.js";
import { needDirect, needMultiple, reportOverlap, rounds, TIMEOUT_SECONDS } from "./shared/races.js";

const FILE = "testfile";
/** Direct writes in flight together. */
const WRITES = 8;
/** The largest block is so many pages long. */
const PAGES_MAX = 4;

const WORDS = {
  "write-error": "A direct write failed because something else used its pages",
  "short-write": "A direct write ended early because something else used its pages",
  "collider-error": "Another use of the pages failed beside the direct writes",
  "fsync-error":
    "fsync failed after a direct write met other bytes of its pages: nobody wrote the same range, so it must not",
  "direct-lost": "A direct write is lost: the page cache has something else in its range",
  "buffered-lost": "Bytes beside a direct write are lost: the page cache has something else",
  "direct-lost-on-disk": "A direct write is lost: the disk has something else in its range",
  "buffered-lost-on-disk": "Bytes beside a direct write are lost: the disk has something else",
  "reader-saw": "A reader saw bytes that were never there",
  "read-error": "What was written can't be read",
};

const COLLIDERS = ["direct", "buffered", "mmap", "reader", "pinned", "same-range"] as const;

/** What each collision is, and what is proven when nothing is wrong. */
const PROVEN: Record<(typeof COLLIDERS)[number], string> = {
  direct: "direct writes to other bytes of the pages: all right, fsync without error",
  buffered:
    "buffered writes to other bytes of the pages: nothing was lost but what fsync told of or the page went over as a whole",
  mmap: "stores through a mapping to other bytes of the pages: nothing was lost but what fsync told of or the page went over as a whole",
  reader: "buffered reads of the same pages: no stale page stayed silently",
  pinned: "pages held by splice(2): no stale page stayed silently",
  "same-range": "buffered writes of the same range: each byte is of one of the two writers",
};

const options = {
  n: rounds(40),
  b: text<number | undefined>({
    default: undefined,
    argument: "SIZE",
    help: `Bytes of each direct write (default: all powers of two from the smallest that is possible to ${PAGES_MAX} pages)`,
    invalid: "Invalid block size '%s'",
    read: parseSize,
  }),
  unit: text<number | undefined>({
    default: undefined,
    argument: "SIZE",
    help: "What all ranges are multiples of (default what direct I/O needs here, mostly the logical block)",
    invalid: "Invalid unit '%s'",
    read: parseSize,
  }),
  engine: engineOption("libaio", "the direct I/O is"),
  collide: choice({
    default: "direct",
    of: COLLIDERS,
    help: "What else uses the pages: direct writes from unaligned memory (default), buffered writes or stores through a mapping to their other bytes, buffered readers, splice(2), or buffered writes of the same range",
  }),
  strict: flag({
    help: "Permit nothing: EIO from fsync is a failure also where the program mixes direct and other I/O",
  }),
  fsync: choice({
    default: "batch",
    of: ["each", "batch", "end", "none"],
    help: "fsync after each direct write, after those of every other round (default), after each round, or never",
  }),
  "buffer-offset": text({
    default: 0,
    argument: "BYTES",
    help: "Where in its page the direct writes' memory starts: unaligned memory makes btrfs write through the page cache (default 0)",
    invalid: "Invalid buffer offset '%s'",
    read: (word) => parseInteger(word, 0, limits().pageBytes - 1),
  }),
  seed: seed(),
  verify: verifyOption("the file"),
};

export default testcase({
  name: "dio_invalidate",
  summary: "Write directly beside other uses of the same pages",
  options,
  runtimeSeconds: 0,
  timeoutSeconds: TIMEOUT_SECONDS,
  needs: { directory: true },

  setup(test): { seed: bigint; dioOffsetAlign: number; dioMemAlign: number; blocks: number[] } {
    const { b, engine, collide, "buffer-offset": offset, verify } = test.options;
    const storage = needDirect(test);
    const obstacle = unreachable(test, verify);
    if (obstacle) test.unsupported(obstacle);
    const dioOffsetAlign = test.options.unit ?? storage.dioOffsetAlign;
    needMultiple(test, "The unit", dioOffsetAlign, storage.dioOffsetAlign);
    const { pageBytes } = limits();
    if (b !== undefined) needMultiple(test, "The block size", b, dioOffsetAlign);
    if (offset % storage.dioMemAlign !== 0)
      test.unsupported(`Direct I/O needs memory aligned to ${storage.dioMemAlign} bytes here`);
    const blocks: number[] = [];
    for (let block = dioOffsetAlign; block <= PAGES_MAX * pageBytes; block *= 2) blocks.push(block);
    if (collide !== "direct" && !test.options.strict)
      test.permitKernel("page-cache-invalidation", "the program itself mixes direct and other I/O");
    const seed = chooseSeed(test.options.seed);
    test.info(
      `Seed 0x${seed.toString(16)}, engine ${engine}, direct writes beside ${collide}, pages of ${formatBytes(pageBytes)}, ` +
        `in multiples of ${formatBytes(dioOffsetAlign)}`,
    );
    if (collide !== "same-range" && dioOffsetAlign % pageBytes === 0)
      test.info("Direct I/O is of whole pages here: neighbours share no page, only what the page cache keeps together");
    if (collide === "same-range")
      test.info("Permitted (open(2)): either writer's content, byte for byte, and EIO from fsync; it is counted only");
    return { seed, dioOffsetAlign, dioMemAlign: storage.dioMemAlign, blocks: b === undefined ? blocks : [b] };
  },

  async run(test, { seed, dioOffsetAlign, dioMemAlign, blocks }) {
    const { n, engine, collide, fsync, strict, "buffer-offset": offsetInPage, verify } = test.options;
    const sum = { writes: 0, collisions: 0, overlaps: 0, sharedPages: 0, permitted: 0, announced: 0 };
    let example: string | undefined;
    let failed = false;
    for (const [index, blockBytes] of blocks.entries()) {
      const name = `${FILE}.${blockBytes}`;
      const path = join(test.directory, name);
      const outcome = await call("invalidate", {
        ...{ path, blockBytes, dioOffsetAlign, writes: WRITES, rounds: n, engine, collider: collide, fsync },
        ...{ dioMemAlign, offsetInPage, strict, seed },
      });
      test.sink.data("race", { blockBytes, ...outcome });
      for (const key of Object.keys(sum) as (keyof typeof sum)[]) sum[key] += outcome[key];
      if (outcome.example) example ??= describeRound(name, outcome.example)[0];
      if (reportFindings(test, name, outcome.findings, WORDS)) failed = true;
      if (outcome.error) test.broken(explainFailure(outcome.error));
      const { expectation } = outcome;
      if (expectation !== undefined) {
        const fail = () => test.fail(`Blocks of ${formatBytes(blockBytes)}: the file is not what was written`);
        if ((await verifyAndReport(test, verify, { path, expectation }, fail)).some(isBad)) failed = true;
      }
      test.sink.progress(index + 1, blocks.length, "block sizes");
    }
    if (!failed) test.pass(`${sum.writes} direct writes beside ${PROVEN[collide]}`);
    if (sum.permitted + sum.announced > 0) {
      test.info(
        `fsync reported ${sum.permitted} collisions by EIO, and ${sum.announced} rounds had a loss: permitted where a ` +
          `program mixes direct and other I/O${example === undefined ? "" : `. The first: ${example}`}`,
      );
    }
    reportOverlap(
      test,
      sum.overlaps,
      `${sum.overlaps} of ${sum.collisions} collisions were made during the direct write beside them, ${sum.sharedPages} in a page of it`,
    );
  },
});
