/**
 * Copies a file block by block with a number of asynchronous requests in flight, and verifies the copy in the page cache
 * and on the disk.
 *
 * LTP's program of this name was written for direct and synchronous AIO in general. With 64 KiB pages on btrfs it found
 * fsync failing with EIO and "Page cache invalidation failure on direct I/O" (openSUSE bug 1224434): its buffers are
 * aligned to the logical block only, so most of them straddle pages, btrfs falls back to buffered writes for those, and
 * they meet the direct ones in one page. `--buffer-align logical`, the default, keeps that mixture on purpose.
 */
import { join } from "node:path";
import { call, limits, type StorageInfo, storageInfo } from "#native";
import { parseInteger } from "../ts/base/numbers.js";
import { alignOf, engineOption, INTERFACES } from "../ts/testcase/engines.js";
import { choice, chooseSeed, integer, seed, size, text } from "../ts/testcase/options.js";
import { type Test, testcase } from "../ts/testcase/testcase.js";
import {
  explainFailure,
  isBad,
  noteVerified,
  secondLook,
  unreachable,
  verifyAndReport,
  verifyOption,
} from "../ts/testcase/verification.js";

/** The files, where no runtest line names them. */
const sourceOf = (test: AiocpTest) => test.operands[0] ?? "srcfile.bin";
const destinationOf = (test: AiocpTest) => test.operands[1] ?? "dstfile.bin";
/** Which file a stamp says it was made for; the copy carries the source's stamps. */
const SOURCE_ID = 1;

const options = {
  n: integer({ default: 16, help: "Number of AIO control blocks (default 16)", invalid: "Invalid number of I/O '%s'" }),
  b: size({ default: 65_536, help: "Block size (default 64K)", invalid: "Invalid write blocks size '%s'" }),
  s: size({ default: 1_048_576, help: "File size (default 1M)", invalid: "Invalid file size '%s'" }),
  f: text({
    default: "",
    argument: "SYNC|DIRECT",
    help: "O_SYNC on the destination, or O_DIRECT on both files",
    invalid: "Invalid flag '%s'",
    read: (flag) => flag,
    accumulates: true,
  }),
  engine: engineOption("libaio", "the I/O is", "as LTP"),
  "buffer-align": text({
    default: "logical",
    argument: "logical|page|OFFSET",
    help: "Memory alignment of the buffers: to the logical block only, so that most straddle pages (default, as LTP); to the page; or OFFSET bytes into a page",
    invalid: "Invalid buffer alignment '%s': use logical, page or a number of bytes smaller than the page",
    read: (word) =>
      word === "logical" || word === "page" || parseInteger(word, 0, limits().pageBytes - 1) !== undefined
        ? word
        : undefined,
  }),
  fsync: choice({
    default: undefined,
    of: ["batch", "each", "end", "none"],
    help: "fsync after the writes that were reaped together (batch, default with -f DIRECT), after each write (LTP), after the last, or never (default otherwise)",
  }),
  seed: seed(),
  verify: verifyOption("the copy"),
};

interface State {
  bytes: number;
  direct: boolean;
  syncWrites: boolean;
  storage: StorageInfo;
  seed: bigint;
}

export default testcase({
  name: "aiocp",
  summary: "Copy a file with asynchronous or direct I/O and verify the copy down to the disk",
  options,
  runtimeSeconds: 1800,
  timeoutSeconds: 0,
  operands: 2,
  needs: { directory: true },

  async setup(test): Promise<State> {
    const { n, b, s, f, engine } = test.options;
    const { aioMax } = limits();
    if (aioMax !== undefined) test.info(`Maximum AIO blocks: ${aioMax}`);
    if (engine === "libaio" && aioMax !== undefined && n > aioMax) {
      test.conf(`Number of async IO blocks passed the maximum (${aioMax})`);
    }
    const flags = f.split("\n");
    const direct = flags.some((flag) => flag.startsWith("DIRECT"));
    const syncWrites = flags.some((flag) => flag.startsWith("SYNC"));
    if (f !== "" && !direct && !syncWrites) test.info(`Flag '${f}' is neither SYNC nor DIRECT: copying without either`);
    const obstacle = unreachable(test, test.options.verify);
    if (obstacle) test.unsupported(obstacle);
    if (direct && test.filesystem === "tmpfs") test.unsupported("O_DIRECT not supported on tmpfs");

    const storage = storageInfo(test.directory);
    // Without a block device LTP's program would stop here.
    if (storage.strategy in STRATEGY_NAMES) test.info(`Use ${STRATEGY_NAMES[storage.strategy]} strategy`);
    if (direct && b % storage.logicalBlockBytes !== 0) {
      test.unsupported("Block size is not multiple of drive block size");
    }
    const bytes = Math.ceil(s / b) * b;
    if (!Number.isSafeInteger(bytes)) test.broken(`Invalid file size '${s}'`);
    if (bytes !== s) test.info(`Rounded filesize to the next block size multiple: ${bytes}`);

    const runSeed = chooseSeed(test.options.seed);
    test.info(
      `Seed 0x${runSeed.toString(16)}, engine ${engine}, buffer alignment ${test.options["buffer-align"]}, fsync ${fsyncPolicy(test, direct)}`,
    );
    test.info(`Fill ${sourceOf(test)} with random data`);
    const state = { bytes, direct, syncWrites, storage, seed: runSeed };
    await fill(test, state, 1);
    return state;
  },

  async run(test, state) {
    // Each copy gets data of its own: what an earlier one left in the destination must not pass for this one's.
    if (test.iteration > 1) await fill(test, state, test.iteration);
    test.info(`Copy ${sourceOf(test)} -> ${destinationOf(test)}`);
    await copy(test, state);
    test.info(`Comparing ${sourceOf(test)} with ${destinationOf(test)}`);
    await compare(test, state);
  },
});

const STRATEGY_NAMES: Record<string, string> = {
  uevent: "uevent",
  btrfs: "BTRFS specific",
  overlay: "OVERLAYFS specific",
};

type AiocpTest = Test<typeof options>;

function fsyncPolicy(test: AiocpTest, direct: boolean) {
  return test.options.fsync ?? (direct ? "batch" : "none");
}

async function fill(test: AiocpTest, { bytes, seed }: State, generation: number): Promise<void> {
  const path = join(test.directory, sourceOf(test));
  const { error } = await call("fill", { path, bytes, key: { seed, fileId: SOURCE_ID, generation } });
  if (error) test.broken(explainFailure(error));
}

async function copy(test: AiocpTest, { bytes, direct, syncWrites, storage }: State): Promise<void> {
  const { b, n, engine } = test.options;
  const outcome = await call(
    "copy",
    {
      source: join(test.directory, sourceOf(test)),
      destination: join(test.directory, destinationOf(test)),
      bytes,
      blockBytes: b,
      depth: n,
      engine,
      direct,
      syncWrites,
      fsync: fsyncPolicy(test, direct),
      align: alignOf(test.options["buffer-align"], storage.logicalBlockBytes),
    },
    (done) => test.sink.progress(done, bytes, "bytes"),
  );
  test.sink.data("copy", outcome);
  const { shortReads, shortWrites, retriedEintr, retriedEagain } = outcome.stats;
  if (shortReads + shortWrites > 0) test.info(`Resumed ${shortReads} short reads and ${shortWrites} short writes`);
  if (retriedEintr + retriedEagain > 0) {
    test.info(`Retried ${retriedEintr} interrupted and ${retriedEagain} refused (EAGAIN) calls`);
  }
  const { error } = outcome;
  if (!error) return;
  switch (error.step) {
    case "submit":
      return test.broken(`${INTERFACES[engine].submit}${error.write ? " write" : ""} error: ${error.code}`);
    case "reap":
      return test.broken(`${INTERFACES[engine].reap}() failed: ${error.code}`);
    case "read":
      return test.broken(`Read error: ${error.code} at offset ${error.offset} of ${sourceOf(test)}`);
    case "write":
      return test.broken(`Write error: ${error.code} at offset ${error.offset} of ${destinationOf(test)}`);
    case "short-read":
      return test.broken(`Read missing bytes expect ${error.expected} got ${error.got}`);
    case "short-write":
      return test.broken(`Write missing bytes expect ${error.expected} got ${error.got}`);
    case "fsync":
      return test.broken(`fsync(${destinationOf(test)}) failed: ${error.code} (${error.errno})`);
    default:
      return test.broken(explainFailure(error));
  }
}

/** One verdict: every sector of the copy, in the page cache, then on the disk, then after unmounting and mounting. */
async function compare(test: AiocpTest, { bytes, seed }: State): Promise<void> {
  const { verify } = test.options;
  const content = { bytes, key: { seed, fileId: SOURCE_ID, generation: test.iteration } };
  const copy = { ...content, path: join(test.directory, destinationOf(test)) };
  const findings = await verifyAndReport(test, verify, copy, ([cache]) => {
    // One verdict, as in LTP, which does not compare files of different sizes.
    if (cache && cache.bytesFound !== bytes) {
      test.fail(`Expected destination file size ${bytes} but it's ${cache.bytesFound}`);
    } else if (test.results === 0) test.fail("Files are not identical");
  });
  noteVerified(test, findings);
  if (!findings.some(isBad)) {
    test.pass("Files are identical");
    return;
  }
  for await (const text of secondLook(verify, { ...content, path: join(test.directory, sourceOf(test)) }))
    test.info(text);
}
