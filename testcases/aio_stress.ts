/**
 * Sequential and random writes and reads with many requests in flight, on several files, from several threads.
 *
 * LTP's aio-stress checks neither what a write completes with nor what a read returns, and 39 of its 54 runtest lines
 * read files that are empty. Here every completion and every byte read is checked, a stage that reads what no stage has
 * written gets files that were laid out with stamps, and what was written is verified on the disk at the end. All stages
 * asked for are done: LTP ends the run, and passes, at the first one that -a cuts short.
 */
import { basename, join } from "node:path";
import {
  type AioStressLatency,
  type AioStressOutcome,
  type AioStressStage,
  call,
  forgetExpectations,
  limits,
  storageInfo,
} from "#native";
import { formatBytes, parseInteger } from "../ts/base/numbers.js";
import { engineOption } from "../ts/testcase/engines.js";
import { chooseSeed, flag, integer, seed, size, text } from "../ts/testcase/options.js";
import { type Test, testcase } from "../ts/testcase/testcase.js";
import {
  describeRanges,
  explainFailure,
  type LevelFinding,
  noteVerified,
  unreachable,
  verifyAndReport,
  verifyOption,
} from "../ts/testcase/verification.js";

const STAGES = ["write", "read", "random write", "random read"] as const;
const MIB = 2 ** 20;
/** Of all buffers: leaves a worker well below 200 MiB. */
const MEMORY_BYTES = 64 * MIB;
const RANGES_SHOWN = 8;

const options = {
  a: integer({
    default: 500,
    help: "Rounds of requests in each stage (default 500)",
    invalid: "Invalid number of total ayncs I/O '%s'",
  }),
  b: integer({
    default: 0,
    min: 0,
    help: "Requests given to the kernel at one time (default 0: files x -e x -c)",
    invalid: "Invalid number of iocbs '%s'",
  }),
  c: integer({
    default: 1,
    help: "Places in each file that are worked on at the same time (default 1)",
    invalid: "Invalid number of contexts per file '%s'",
  }),
  d: integer({
    default: 64,
    help: "Requests in flight for each file (default 64)",
    invalid: "Invalid number of pending aio requests '%s'",
  }),
  e: integer({
    default: 8,
    help: "Requests for each file before the next one's turn (default 8)",
    invalid: "Invalid number of I/O per file '%s'",
  }),
  f: integer({
    default: 1,
    help: "Files (default 1)",
    invalid: "Invalid number of files to generate '%s'",
  }),
  g: size({
    default: 2 * MIB,
    help: "Offset between the places of -c (default 2M)",
    invalid: "Invalid offset between contexts '%s'",
  }),
  l: flag({ help: "Print how long submitting took" }),
  L: flag({ help: "Print how long requests took" }),
  m: flag({ help: "LTP's option for shared memory, which LTP refuses always, and so does this program" }),
  n: flag({ help: "No fsync after the stages that write" }),
  o: text({
    default: undefined,
    argument: "INT",
    help: "One stage: 1 read, 2 random write, 3 random read; 0, as for LTP, is all of them, sequential write first (default)",
    invalid: "Invalid stage number '%s'",
    read: (word) => parseInteger(word, 0, 3),
  }),
  O: flag({ help: "O_DIRECT instead of O_SYNC" }),
  r: size({ default: 65_536, help: "Record size (default 64K)", invalid: "Invalid record size '%s'" }),
  s: size({ default: 1024 * MIB, help: "File size in bytes (default 1G)", invalid: "Invalid file size '%s'" }),
  t: integer({ default: 1, help: "Threads (default 1)", invalid: "Invalid number of threads '%s'" }),
  u: flag({ help: "No effect: the files are removed in any case" }),
  v: flag({ help: "No effect: everything is verified in any case" }),
  layout: size({
    default: 64 * MIB,
    help: "What is laid out at most, in all files together, for a stage that reads what no stage has written (default 64M)",
    invalid: "Invalid layout size '%s'",
  }),
  engine: engineOption("libaio", "the I/O is", "as LTP"),
  seed: seed(),
  verify: verifyOption("what was written"),
};

type StressTest = Test<typeof options>;

interface State {
  seed: bigint;
  stages: AioStressStage["name"][];
  files: string[];
  turn: number;
  threads: number;
  batch: number;
}

export default testcase({
  name: "aio-stress",
  summary: "Write and read files in order and at random with many requests in flight, and verify all of it",
  options,
  runtimeSeconds: 0,
  timeoutSeconds: 1800,
  needs: { directory: true },

  setup(test): State {
    const { b, c, d, e, f, g, m, o, O: direct, r, s, t, engine, verify } = test.options;
    const { aioMax } = limits();
    if (aioMax !== undefined) test.info(`Maximum AIO blocks: ${aioMax}`);
    if (m) test.broken("Invalid shm option ''");
    const obstacle = unreachable(test, verify);
    if (obstacle) test.unsupported(obstacle);
    if (direct && test.filesystem === "tmpfs") test.unsupported("O_DIRECT not supported on tmpfs");
    if (c > 1 && s < c * g) test.broken(`file size ${s} too small for ${c} contexts`);
    const { logicalBlockBytes, dioOffsetAlign } = storageInfo(test.directory);
    if (direct && r % Math.max(logicalBlockBytes, dioOffsetAlign) !== 0)
      test.unsupported("Record size is not multiple of drive block size");
    if (b > (aioMax ?? b)) test.conf(`Number of async IO blocks passed the maximum (${aioMax})`);
    // 0 counts as not given for LTP, whose lines -o0 therefore ask for all stages.
    const one = o ? STAGES[o] : undefined;
    const stages = one ? [one] : [...STAGES];
    if (one) {
      test.info(`Adding stage ${one}`);
      test.info(`starting with ${one}`);
    }
    if (d < e) test.info(`dropping io_iter to ${d}`);
    const turn = Math.min(d, e);
    if (t > f * c) test.info(`Dropping thread count to the number of contexts ${f * c}`);
    const threads = Math.min(t, f * c);
    const batch = b || f * turn * c;
    const seed = chooseSeed(test.options.seed);
    const mib = (bytes: number) => Math.trunc(bytes / MIB);
    test.info(`file size ${mib(s)}MB, record size ${Math.trunc(r / 1024)}KB, depth ${d}, I/O per iteration ${turn}`);
    test.info(`max io_submit ${batch}, buffer alignment set to ${limits().pageBytes / 1024}KB`);
    test.info(`threads ${threads} files ${f} contexts ${c} context offset ${mib(g)}MB verification on`);
    test.info(threads > 1 ? `Running multi thread version num_threads: ${threads}` : "Running single thread version");
    test.info(`Seed 0x${seed.toString(16)}, engine ${engine}`);
    const files = Array.from({ length: f }, (_, number) => join(test.directory, `file${number}.bin`));
    return { seed, stages, files, turn, threads, batch };
  },

  async run(test, state) {
    const outcome = await stress(test, state);
    const { error, finding, failedStage } = outcome;
    if (error && ["options", "open", "setup", "buffers"].includes(error.step)) test.broken(explainFailure(error));
    for (const stage of outcome.stages) describeStage(test, state, stage);
    if (error) {
      test.fail("Test did not pass");
      test.info(`io err in stage ${failedStage}: ${explainFailure(error)}`);
    } else if (finding) {
      test.fail("Test did not pass");
      const { file = "", offset, ranges, rangesTotal } = finding;
      test.info(`verify error, file ${file} offset ${offset}, stage ${failedStage}`);
      for (const line of describeRanges(file, ranges, rangesTotal)) test.info(line);
    }
    await verify(test, state, outcome);
    if (test.results === 0) test.pass("Test passed");
    forgetExpectations();
  },
});

async function stress(test: StressTest, state: State): Promise<AioStressOutcome> {
  const { a, c, d, g, n, O: direct, r, s, layout, engine } = test.options;
  const outcome = await call(
    "aio-stress",
    {
      files: state.files,
      // An iteration's data must not pass for the one's before.
      seed: BigInt.asUintN(64, state.seed + BigInt(test.iteration - 1)),
      stages: state.stages,
      threads: state.threads,
      contexts: c,
      contextOffset: g,
      fileBytes: s,
      recordBytes: r,
      depth: d,
      turn: state.turn,
      rounds: a,
      batch: state.batch,
      layoutBytes: layout,
      memoryBytes: MEMORY_BYTES,
      direct,
      fsync: !n,
      engine,
      rangesMax: RANGES_SHOWN,
    },
    (done) => test.sink.progress(done, state.stages.length * state.files.length * c * a * state.turn, "transfers"),
  );
  test.sink.data("aio-stress", outcome);
  if (outcome.depth < d && !outcome.error) {
    test.info(
      `Depth ${outcome.depth}: buffers of ${formatBytes(MEMORY_BYTES)} and 512 events for a thread suffice for no more`,
    );
  }
  return outcome;
}

/** LTP's lines about throughput, and how much of the stage was done. */
function describeStage(test: StressTest, { files }: State, stage: AioStressStage): void {
  const { l, L } = test.options;
  const { name, laidOut, threads } = stage;
  if (laidOut > 0) test.info(`Laid out ${formatBytes(laidOut)} of each file, which nothing had written`);
  const rate = (bytes: number, seconds: number) =>
    `(${(bytes / MIB / Math.max(seconds, 1e-9)).toFixed(2)} MB/s) ${(bytes / MIB).toFixed(2)} MB in ${seconds.toFixed(2)}s`;
  const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
  for (const [number, { parts, seconds, submit, completion }] of threads.entries()) {
    for (const part of parts) {
      test.info(`${name} on ${basename(files[part.file] ?? "")} ${rate(part.bytes, part.seconds)}`);
    }
    if (l) describeLatency(test, submit);
    if (L) describeLatency(test, completion);
    test.info(`thread ${number} ${name} totals ${rate(sum(parts.map(({ bytes }) => bytes)), seconds)}`);
  }
  const parts = threads.flatMap((thread) => thread.parts);
  const [done, total] = [sum(parts.map((part) => part.done)), sum(parts.map((part) => part.total))];
  test.info(`${name} throughput ${rate(sum(parts.map(({ bytes }) => bytes)), stage.seconds)}`);
  const why = done < total ? `, the limit of -a ${test.options.a}` : "";
  test.info(`${name}: ${done} of ${total} transfers of the stage${why}`);
}

const BUCKETS = [100, 250, 500, 1000, 5000, 10_000];

function describeLatency(test: StressTest, { min, average, max, buckets }: AioStressLatency): void {
  test.info(`latency min ${min.toFixed(2)} avg ${average.toFixed(2)} max ${max.toFixed(2)}`);
  test.info(BUCKETS.map((limit, index) => `${buckets[index]} < ${limit}`).join(" "));
}

/** All files, down the ladder; one verdict. */
async function verify(test: StressTest, { files }: State, { expectations }: AioStressOutcome): Promise<void> {
  const all: LevelFinding[] = [];
  for (const [number, expectation] of expectations.entries()) {
    const path = files[number] ?? "";
    const findings = await verifyAndReport(test, test.options.verify, { path, expectation }, () => {
      if (test.results === 0) test.fail("Test did not pass");
    });
    all.push(...findings);
  }
  noteVerified(test, all);
}
