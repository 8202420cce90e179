/**
 * Writes asynchronously and directly into space that has no data yet, and reads back the moment a write completes.
 *
 * The race. ext4 and XFS mark space as unwritten until its data are on the disk. Marking it written afterwards needs a
 * transaction, which can't be made where the device's completion arrives, so it is left to a worker. If the completion of
 * the AIO is told before that worker is done, a read finds an unwritten extent and returns zeros for data that are
 * reported as written.
 *
 * The report. Christoph Hellwig on linux-fsdevel, with a reproducer: 4 KiB by AIO into a sparse file of 1 GiB, read back
 * after io_getevents; zeros in 20 of 20 runs on a laptop. Found as corruption in guests of QEMU with native AIO.
 *
 * The fix. The series that came with the report let the filesystem delay the completion until the extent is converted,
 * in Linux 2.6.36: 40e2e97316af ("direct-io: move aio_complete into ->end_io"), fb511f215017 ("xfs: move aio completion
 * after unwritten extent conversion") and, of the same name, 5b3ff237bef4 for ext4. xfstests generic/239 tests it; generic/207 (kernel bugzilla 6831) tests the file's size
 * after a completion, which is checked here too; generic/114 sub-block writes behind the end.
 *
 * Different from the original: the space is a hole, preallocated, punched, zeroed or behind the end; the place is random;
 * several neighbouring writes are in flight in one extent and, with small blocks, in one block; each completion is read
 * back by a direct read, through the page cache and through a mapping, each first in its turn, by one read that is not
 * repeated; the blocks around must stay zero; stale data are told from zeros; the disk is verified in the end.
 */
import { join } from "node:path";
import { call } from "#native";
import { formatBytes } from "../ts/base/numbers.js";
import { engineOption } from "../ts/testcase/engines.js";
import { reportFindings } from "../ts/testcase/finding.js";
import { choice, chooseSeed, integer, seed, size } from "../ts/testcase/options.js";
import { testcase } from "../ts/testcase/testcase.js";
import { explainFailure, isBad, unreachable, verifyAndReport, verifyOption } from "../ts/testcase/verification.js";
import { needDirect, needMultiple, reportOverlap, rounds, TIMEOUT_SECONDS } from "./shared/races.js";

const FILE = "testfile";

const WORDS = {
  "write-error": "A direct write into space without data failed",
  "short-write": "A direct write into space without data ended early",
  "read-error": "What a completed write has written can't be read",
  "short-read": "What a completed write has written is read short",
  "not-converted": "unwritten extent not converted at completion: zeros where a write has completed",
  "wrong-data": "Something else than what a completed write has written",
  "size-lost": "The file is shorter than a completed write reaches",
  neighbour: "Bytes that nobody wrote to are not zero",
};

const SPACES = ["hole", "allocated", "punched", "zeroed", "extended"] as const;

const options = {
  n: rounds(20),
  s: size({ default: 2 ** 30, help: "Size of the file (default 1G, sparse)", invalid: "Invalid file size '%s'" }),
  b: size({ default: 4096, help: "Bytes of each write (default 4k)", invalid: "Invalid block size '%s'" }),
  d: integer({ default: 8, help: "Neighbouring writes in flight (default 8)", invalid: "Invalid depth '%s'" }),
  engine: engineOption("libaio", "the I/O is", "as in the report"),
  space: choice({
    default: "hole",
    of: SPACES,
    help: "What is written into: a sparse file (default, as in the report), preallocated, punched or zeroed space, or space behind the end",
  }),
  seed: seed(),
  verify: verifyOption("the file of the last round"),
};

export default testcase({
  name: "aio_unwritten",
  summary: "Read back asynchronous writes into space without data the moment they complete",
  options,
  runtimeSeconds: 0,
  timeoutSeconds: TIMEOUT_SECONDS,
  needs: { directory: true },

  setup(test): { seed: bigint } {
    const { s, b, d, engine, space, verify } = test.options;
    const storage = needDirect(test);
    const obstacle = unreachable(test, verify);
    if (obstacle) test.unsupported(obstacle);
    needMultiple(test, "The block size", b, storage.dioOffsetAlign);
    needMultiple(test, "The file size", s, b);
    test.permitKernel("page-cache-invalidation", "buffered reads look at what direct writes are beside");
    const seed = chooseSeed(test.options.seed);
    test.info(
      `Seed 0x${seed.toString(16)}, engine ${engine}, ${d} writes of ${formatBytes(b)} in flight, into ${space} space of ${formatBytes(s)}`,
    );
    return { seed };
  },

  async run(test, { seed }) {
    const { n, s, b, d, engine, space, verify } = test.options;
    const path = join(test.directory, FILE);
    const outcome = await call("unwritten", {
      ...{ path, bytes: s, blockBytes: b, depth: d, rounds: n, engine, space, seed },
    });
    test.sink.data("race", outcome);
    const { error, findings, writes, reads, overlaps, expectation } = outcome;
    let failed = reportFindings(test, FILE, findings, WORDS);
    if (error?.code === "EOPNOTSUPP") test.unsupported(`${test.filesystem} has no ${space} space`);
    if (error) test.broken(explainFailure(error));
    if (expectation !== undefined && !failed) {
      const fail = () => test.fail("The file is not what was written");
      failed = (await verifyAndReport(test, verify, { path, expectation }, fail)).some(isBad);
    }
    if (!failed) test.pass(`${writes} completed writes were there at once, and the file was as long as they reach`);
    reportOverlap(
      test,
      reads,
      `${reads} reads after completions, ${overlaps} of ${writes} while others of the same extent were in flight`,
    );
  },
});
