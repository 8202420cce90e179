/**
 * Writes directly from memory that somebody else changes meanwhile, and reads back what has become of it.
 *
 * The race. A filesystem with data checksums computes the sum of a direct write from the writer's own pages, and the
 * device reads the same pages afterwards. Who stores into them between the two makes sum and data disagree: the next
 * read fails with EIO and "csum failed", although disk and memory are sound. Virtual machines do this all day, since
 * their guests may change pages under writeback.
 *
 * The report. Josef Bacik, 8 April 2011, "O_DIRECT and Btrfs == checksumming nightmare": a shared anonymous mapping of
 * 1 MiB, a child that fills it again and again, a parent that writes it with O_DIRECT and reads it back until a read
 * fails.
 *
 * The fix. Commit 968f19c5b1b7 ("btrfs: always fallback to buffered write if the inode requires checksum"), Linux 6.15:
 * the data are copied into the page cache first, and nobody changes them there. xfstests generic/761 tests it. It was
 * also taken into stable series, so the number of a kernel alone does not tell; btrfs in Debian's
 * 5.10 and 6.1 fails here in nearly every round. Files without checksums (nodatasum) are written from the user's pages
 * still, and need no agreement; but copies of one block do: 7c2830f00c3e ("btrfs: fallback to buffered IO if the data
 * profile has duplication") does the same for RAID1 and the like. Linux 7.3 is announced to bounce instead ("btrfs: use
 * IOMAP_DIO_BOUNCE flag instead of falling back to buffered IO"), as XFS does on devices that need stable pages since
 * 3373503df025.
 *
 * What passes. Any mixture of what was in the memory between submission and completion, down to single bytes: nobody
 * promises more. What fails: EIO, a value that nobody wrote, values from before the write, a page cache that disagrees
 * with the disk.
 *
 * Different from the original: every word says where it belongs and in which pass it was written, where the report had
 * one byte for all; memory is also private, a file's mapping or huge pages; the writer can be a thread; AIO and io_uring;
 * it ends. `--memory private --writer fork` is the other half of fork and direct I/O, as in LTP's dma_thread_diotest:
 * the child is made while the transfer is under way, and both sides write to the pages they share by copy-on-write.
 * open(2) warns of it; kernels that pin pages for direct I/O do it right.
 */
import { join } from "node:path";
import { call, limits } from "#native";
import { formatBytes, parseInteger } from "../ts/base/numbers.js";
import { engineOption } from "../ts/testcase/engines.js";
import { reportFindings } from "../ts/testcase/finding.js";
import { choice, chooseSeed, seed, size, text } from "../ts/testcase/options.js";
import { testcase } from "../ts/testcase/testcase.js";
import { explainFailure } from "../ts/testcase/verification.js";
import { needDirect, needMultiple, reportOverlap, rounds, TIMEOUT_SECONDS } from "./shared/races.js";

const FILE = "testfile";
const MAPPED = "mapped";

const WORDS = {
  "write-error": "A direct write from memory that changes meanwhile failed",
  "short-write": "A direct write from memory that changes meanwhile ended early",
  "fsync-error": "fsync failed after direct writes from memory that changes meanwhile",
  "read-error":
    "What was written can't be read back: the checksum was computed from pages that changed before they were written",
  "short-read": "What was written can't be read back to its end",
  "foreign-value": "The file holds a value that nobody wrote there during the write",
  "copies-differ": "The page cache and the disk disagree about what was written",
  "child-data": "The file does not hold what the parent wrote from its private memory",
  "lost-at-fork": "What a direct read brought got lost in a page that a fork shared",
};

const options = {
  n: rounds(50),
  s: size({ default: 1_048_576, help: "Size of the memory and the file (default 1M)", invalid: "Invalid size '%s'" }),
  b: size({
    default: 1_048_576,
    help: "Bytes of each transfer; all blocks are under way together (default 1M)",
    invalid: "Invalid block size '%s'",
  }),
  engine: engineOption("sync", "the I/O is", "as in the report"),
  memory: choice({
    default: "shared",
    of: ["shared", "private", "file", "huge", "thp"],
    help: "What is written from: a shared anonymous mapping (default, as in the report), private memory, a shared mapping of another file, reserved huge pages, transparent huge pages",
  }),
  writer: choice({
    default: "fork",
    of: ["fork", "thread"],
    help: "Who changes it: a forked child (default, as in the report) or a thread",
  }),
  "buffer-offset": text({
    default: 0,
    argument: "BYTES",
    help: "Where in its page the memory starts, a multiple of 8 (default 0)",
    invalid: "Invalid buffer offset '%s'",
    read: (word) => {
      const value = parseInteger(word, 0, limits().pageBytes - 1);
      return value !== undefined && value % 8 === 0 ? value : undefined;
    },
  }),
  seed: seed(),
};

export default testcase({
  name: "mmap_fork_dio",
  summary: "Write directly from memory that a child or a thread changes meanwhile",
  options,
  runtimeSeconds: 0,
  timeoutSeconds: TIMEOUT_SECONDS,
  needs: { directory: true },

  setup(test): { seed: bigint } {
    const { s, b, engine, memory, writer, "buffer-offset": offset } = test.options;
    const storage = needDirect(test);
    if (s % b !== 0) test.broken(`The size ${s} is not a multiple of the block size ${b}`);
    needMultiple(test, "The block size", b, storage.dioOffsetAlign);
    needMultiple(test, "The buffer offset", offset, storage.dioMemAlign);
    if (memory === "file" && engine === "io_uring-fixed")
      test.unsupported("The kernel registers no pages of a file's mapping: use --engine io_uring");
    if (memory === "thp" && writer === "fork")
      test.broken("Transparent huge pages are private: use --writer thread with --memory thp");
    if (memory === "private" && writer === "fork" && engine === "sync")
      test.unsupported("A fork during a transfer needs one that goes on meanwhile: use --engine libaio or io_uring");
    const seed = chooseSeed(test.options.seed);
    test.info(
      `Seed 0x${seed.toString(16)}, engine ${engine}, ${formatBytes(s)} of ${memory} memory in blocks of ${formatBytes(b)}, ` +
        `changed by a ${writer === "fork" ? "child" : "thread"}`,
    );
    return { seed };
  },

  async run(test, { seed }) {
    const { n, s, b, engine, memory, writer, "buffer-offset": offsetInPage } = test.options;
    const outcome = await call("mmap-fork", {
      ...{ path: join(test.directory, FILE), mapped: join(test.directory, MAPPED) },
      ...{ bytes: s, blockBytes: b, rounds: n, engine, memory, writer, offsetInPage, seed },
    });
    test.sink.data("race", outcome);
    const { error, findings, overlaps, bytesChanged } = outcome;
    const failed = reportFindings(test, FILE, findings, WORDS);
    const huge = memory === "huge" || memory === "thp";
    if (error?.code === "ENOMEM" && huge && error.step === "buffers") test.unsupported(error.message);
    if (error) test.broken(explainFailure(error));
    if (!failed) {
      test.pass(
        memory === "private" && writer === "fork"
          ? `${outcome.rounds} rounds: no byte of a child's copy got into the file, and none that was read got lost`
          : `${outcome.rounds} rounds: each byte read back is one that was in the memory during its write`,
      );
    }
    reportOverlap(
      test,
      overlaps,
      memory === "private" && writer === "fork"
        ? `${overlaps} children were made while a transfer was under way`
        : `The memory changed during ${overlaps} of ${outcome.rounds} writes, by ${(bytesChanged / 2 ** 20).toFixed(1)} MiB`,
    );
  },
});
