/**
 * Reads files with direct I/O into ordinary memory, page by page in several threads, while another thread forks without a
 * pause: what a device delivers must not get lost when the kernel copies a page that a child shares.
 *
 * The memory starts inside a page, so that neighbouring reads share one. How many children were made while reads were under
 * way is reported. LTP formats a device of the user's (LTP_BIG_DEV) where there is no room; nothing is formatted here that
 * the run was not told to (`--device`, `--erase`).
 */
import { mkdirSync, statfsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { call, forkDmaWorkersMax, hasRoom, limits, probeDirect, storageInfo } from "#native";
import { formatBytes, parseInteger } from "../ts/base/numbers.js";
import { describeFinding, explainFinding } from "../ts/testcase/finding.js";
import { type Option, seed, size } from "../ts/testcase/options.js";
import { testcase } from "../ts/testcase/testcase.js";
import { explainFailure } from "../ts/testcase/verification.js";
import { type Data, decimal, newData, TIMEOUT_SECONDS } from "./shared/data.js";

/** LTP's name for where its files lie. */
const DIRECTORY = "mntpoint";
const WORKERS_MIN = 2;
/** LTP's limit; where pages are larger, a chunk has fewer of them. */
const WORKERS_MAX = 256;
const MIB = 2 ** 20;
/** What must be free beside the files; with LTP's files it makes LTP's 1300 MiB. */
const SPARE_BYTES = 100 * MIB;

interface State {
  data: Data;
  alignment: number;
  workers: number;
}

export default testcase({
  name: "dma_thread_diotest",
  summary: "Reads files directly, in several threads, while another thread forks",
  legacyId: "dma_thread_diotest",
  options: {
    a: decimal({
      ...{ default: 0, min: -(2 ** 31), help: "Bytes by which the memory misses a page's start (default 0)" },
      invalid: "Invalid alignment '%s'",
    }),
    w: {
      argument: "INT",
      help: "Threads that read (default as many as CPUs)",
      parse(word) {
        if (word === undefined) return { value: undefined };
        const value = parseInteger(word, -(2 ** 31));
        return value === undefined ? { error: `Invalid number of workers '${word}'` } : { value };
      },
    } satisfies Option<number | undefined>,
    files: decimal({ default: 100, min: 1, help: "Files (default 100)", invalid: "Invalid number of files '%s'" }),
    "file-size": size({
      default: 12 * MIB,
      help: "Size of each, a multiple of 1M (default 12M)",
      invalid: "Invalid file size '%s'",
    }),
    seed: seed(),
  },
  runtimeSeconds: 0,
  timeoutSeconds: TIMEOUT_SECONDS,
  needs: { directory: true },

  setup(test): State {
    const { a, w, files, "file-size": fileBytes } = test.options;
    const { pageBytes } = limits();
    const most = Math.min(WORKERS_MAX, forkDmaWorkersMax());
    const workers = w ?? Math.min(most, Math.max(WORKERS_MIN, availableParallelism()));
    if (a < 0 || a > pageBytes) test.unsupported(`Bad alignment ${a}.`);
    if (workers < WORKERS_MIN || workers > most) {
      test.unsupported(`Worker count ${workers} not between ${WORKERS_MIN} and ${most}, inclusive`);
    }
    if (fileBytes % MIB !== 0) test.broken(`Invalid file size '${fileBytes}': use a multiple of 1M`);
    test.info(`using alignment ${a}`);
    test.info(`using ${workers} workers.`);
    const failure = probeDirect(join(test.directory, "probe"));
    if (failure?.code === "EINVAL")
      test.unsupported("O_DIRECT is not supported by this filesystem: use another with -d");
    if (failure) test.broken(explainFailure(failure));
    const unit = storageInfo(test.directory).dioMemAlign;
    if (a % unit !== 0)
      test.unsupported(`Direct I/O needs memory aligned to ${unit} bytes here: use a multiple with -a`);
    const needed = files * fileBytes + SPARE_BYTES;
    const free = () => {
      const { bavail, bsize } = statfsSync(test.directory);
      return bavail * bsize;
    };
    // What earlier testcases have deleted may not be counted as free yet.
    if (free() < needed && !hasRoom(test.directory, needed)) {
      test.unsupported(
        `${Math.ceil(needed / MIB)} MiB must be free and ${Math.floor(free() / MIB)} are: choose a larger filesystem ` +
          "(-d, TMPDIR), a device (--device, --erase), or less data (--files, --file-size)",
      );
    }
    const { words, ...data } = newData({ seed: test.options.seed, "ltp-pattern": false });
    test.info(words);
    mkdirSync(join(test.directory, DIRECTORY));
    return { data, alignment: a % pageBytes, workers };
  },

  async run(test, { data, alignment, workers }) {
    const { files, "file-size": bytes } = test.options;
    data.generation += 1;
    const fileOf = (number: number) => ({
      ...{ path: join(test.directory, DIRECTORY, `file${number}`), bytes },
      key: { seed: data.seed, fileId: number, generation: data.generation },
    });
    test.info(`Writing ${files} files of ${formatBytes(bytes)}`);
    for (let number = 1; number <= files; number += 1) {
      const { error } = await call("fill", fileOf(number));
      if (error) test.broken(explainFailure(error));
      test.sink.progress(number, 2 * files, "files");
    }
    const sum = { reads: 0, forks: 0, during: 0, corrupt: 0 };
    for (let number = 1; number <= files; number += 1) {
      test.info(`Reading file ${number}.`);
      const outcome = await call("fork-dma", { ...fileOf(number), alignment, workers });
      test.sink.data("reads", outcome);
      sum.reads += outcome.reads;
      sum.forks += outcome.forks;
      sum.during += outcome.forksDuringReads;
      for (const finding of outcome.findings) {
        if (finding.kind !== "wrong-data") test.broken(explainFinding(finding));
        sum.corrupt += 1;
        for (const line of describeFinding(`file${number}, worker ${finding.actor}`, finding)) test.info(line);
      }
      if (outcome.error) test.broken(explainFailure(outcome.error));
      test.sink.progress(files + number, 2 * files, "files");
    }
    if (sum.corrupt > 0) test.fail("data corruption is detected");
    else test.pass("data corruption is not detected");
    const race = `${sum.during} of ${sum.forks} children were made during ${sum.reads} reads`;
    if (sum.during > 0) test.info(race);
    else test.warn(`${race}: nothing has raced`);
  },
});
