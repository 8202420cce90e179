/**
 * Random operations on one file, each compared with a model of it, and the whole file verified on the disk at the end.
 *
 * LTP's fsx-linux chooses among read, write, truncate, and reading and writing through a mapping; what it reads through a
 * mapping it takes for right. Here that is compared too, and what the filesystem has of fallocate, cloning and copying
 * takes part (`--operations ltp` leaves it out). Three of four writes through a mapping are synced beside the operations
 * that follow, so that pages are read, truncated and overwritten while they are being written back; LTP syncs all of
 * them before it goes on, as the fourth is here.
 */
import { join, resolve } from "node:path";
import { call, type Finding, type FsxKind, type FsxOutcome, forgetExpectations, storageInfo } from "#native";
import { engineOption } from "../ts/testcase/engines.js";
import { chooseSeed, flag, integer, seed, size, text } from "../ts/testcase/options.js";
import { type Test, testcase } from "../ts/testcase/testcase.js";
import {
  describeRanges,
  explainFailure,
  noteVerified,
  unreachable,
  verifyAndReport,
  verifyOption,
} from "../ts/testcase/verification.js";

/** The file, where no runtest line names it. */
const fileOf = (test: FsxTest) => test.operands[0] ?? "ltp-file.bin";
/** Bad ranges shown of what an operation found. */
const RANGES_SHOWN = 8;
const LTP_OPERATIONS: readonly FsxKind[] = ["read", "write", "truncate", "mapread", "mapwrite"];
const OPERATIONS: readonly FsxKind[] = [
  ...LTP_OPERATIONS,
  "allocate",
  "punch",
  "zero",
  "collapse",
  "insert",
  "clone",
  "copy",
];

function operations(words: string): FsxKind[] | undefined {
  if (words === "all") return [...OPERATIONS];
  if (words === "ltp") return [...LTP_OPERATIONS];
  const named = words.split(",").map((name) => OPERATIONS.find((one) => one === name));
  return named.every((one) => one !== undefined) ? named : undefined;
}

const options = {
  l: size({ default: 262_144, help: "Maximum size of the file (default 256K)", invalid: "Invalid file size '%s'" }),
  o: size({
    default: 65_536,
    help: "Maximum size of an operation (default 64K); LTP reads it and lets operations be of any size, and so does this program without --limit-operations",
    invalid: "Invalid maximum size for single operation '%s'",
  }),
  N: integer({
    default: 1000,
    help: "Number of operations (default 1000)",
    invalid: "Invalid number of operations '%s'",
  }),
  w: integer({
    default: 1,
    help: "Writes begin at its multiples (default 1)",
    invalid: "Invalid memory write alignment factor '%s'",
  }),
  r: integer({
    default: 1,
    help: "Reads begin at its multiples (default 1)",
    invalid: "Invalid memory read alignment factor '%s'",
  }),
  t: integer({
    default: 1,
    help: "The file is truncated to its multiples (default 1)",
    invalid: "Invalid memory truncate alignment factor '%s'",
  }),
  "limit-operations": flag({ help: "No operation is longer than -o" }),
  operations: text({
    default: [...OPERATIONS],
    argument: "all|ltp|NAME,...",
    help: `What to choose from: all that the filesystem has (default), what LTP's program has, or some of ${OPERATIONS.join(", ")}`,
    invalid: `Invalid operations '%s': use all, ltp, or some of ${OPERATIONS.join(",")}`,
    read: operations,
  }),
  engine: engineOption("sync", "reads and writes are", "as LTP"),
  direct: flag({ help: "Reads and writes with O_DIRECT, begun and ended at logical blocks" }),
  seed: seed(),
  log: text({
    default: undefined,
    argument: "FILE",
    help: "Write all operations to FILE, for --replay",
    invalid: "Invalid file '%s'",
    read: (path) => resolve(path),
  }),
  replay: text({
    default: undefined,
    argument: "FILE",
    help: "Do the operations of a --log, with its data; of the options, only --engine, --direct and --verify count then",
    invalid: "Invalid file '%s'",
    read: (path) => resolve(path),
  }),
  verify: verifyOption("the file"),
};

type FsxTest = Test<typeof options>;

interface State {
  seed: bigint;
  dioOffsetAlign: number;
}

export default testcase({
  name: "fsx-linux",
  summary: "Do random operations on a file, compare each with a model, and verify the file on the disk",
  options,
  runtimeSeconds: 0,
  timeoutSeconds: 1800,
  operands: 1,
  needs: { directory: true },

  setup(test): State {
    const { o, direct, replay, verify } = test.options;
    const obstacle = unreachable(test, verify);
    if (obstacle) test.unsupported(obstacle);
    if (direct && test.filesystem === "tmpfs") test.unsupported("O_DIRECT not supported on tmpfs");
    if (direct) test.permitKernel("page-cache-invalidation", "mappings of the file are written beside direct I/O");
    const { logicalBlockBytes, dioOffsetAlign } = storageInfo(test.directory);
    const seed = chooseSeed(test.options.seed);
    if (replay) test.info(`Replaying ${replay}`);
    else {
      test.info(
        `Seed 0x${seed.toString(16)}, engine ${test.options.engine}${direct ? ", O_DIRECT" : ""}, operations of ${test.options["limit-operations"] ? `at most ${o} bytes` : "any size"}`,
      );
    }
    return { seed, dioOffsetAlign: Math.max(logicalBlockBytes, dioOffsetAlign) };
  },

  async run(test, state) {
    const outcome = await operate(test, state);
    if (outcome.logError) test.warn(explainFailure(outcome.logError));
    const { error, finding, last } = outcome;
    // LTP's words for one that failed, whatever it was.
    if (error?.step === "options" || error?.step === "setup" || error?.step === "open")
      test.broken(explainFailure(error));
    if (error) {
      test.fail("Some file operations failed");
      test.info(`Operation ${last}: ${explainFailure(error)}`);
    } else if (finding) {
      test.fail("Some file operations failed");
      tellFinding(test, outcome, finding);
    }
    await verify(test, outcome);
    if (test.results > 0) test.info(`To repeat it: ${repeat(test, outcome)}`);
    else test.pass("All file operations succeed");
    forgetExpectations();
  },
});

/** One run over an emptied file; its counts, and what LTP says on the way. */
async function operate(test: FsxTest, { seed, dioOffsetAlign }: State): Promise<FsxOutcome> {
  const { l, o, N, r, w, t, engine, direct, log, replay } = test.options;
  const outcome = await call(
    "fsx",
    {
      run: {
        path: join(test.directory, fileOf(test)),
        // A run that is repeated does something else; its own seed is the first one's plus its number.
        seed: BigInt.asUintN(64, seed + BigInt(test.iteration - 1)),
        operations: N,
        sizeMax: l,
        ...(test.options["limit-operations"] && { bytesMax: o }),
        readAlign: r,
        writeAlign: w,
        truncateAlign: t,
        kinds: test.options.operations,
        engine,
        direct,
        dioOffsetAlign,
        rangesMax: RANGES_SHOWN,
      },
      ...(replay !== undefined && { replay }),
      ...(log !== undefined && { log }),
      list: test.debugLevel > 0,
    },
    (done) => test.sink.progress(done, N, "operations"),
  );
  const { operations: list, ...facts } = outcome;
  test.sink.data("fsx", { ...facts, seed: `0x${facts.seed.toString(16)}` });
  for (const line of list) test.debug(debugLine(line));
  if (outcome.unsupported.length > 0) {
    test.info(`${test.filesystem} has no ${outcome.unsupported.join(", ")}: left out`);
  }
  if (outcome.tooShort > 0) test.info(`Skipping zero size read (${times(outcome.tooShort)})`);
  if (outcome.tooLong > 0) test.info(`Skipping max size write (${times(outcome.tooLong)})`);
  const counts = outcome.counts.map(({ kind, count }) => `${count} ${kind}`);
  test.info(`Seed 0x${outcome.seed.toString(16)}: ${counts.join(", ") || "no operation"}`);
  return outcome;
}

function times(count: number): string {
  return count === 1 ? "once" : `${count} times`;
}

/** LTP's words for its own operations. */
const DEBUG_WORDS: Record<string, string> = {
  read: "Reading at",
  write: "Writing at",
  mapread: "Map reading at",
  mapwrite: "Map writing at",
};

function debugLine(line: string): string {
  const [kind = "", offset, bytes] = line.split(" ");
  if (kind === "truncate") return `Truncating to ${Number(offset)}`;
  const words = DEBUG_WORDS[kind];
  return words === undefined ? line : `${words} offset=${Number(offset)}, size=${Number(bytes)}`;
}

const SEEN: Record<string, string> = {
  read: "what was read",
  mapping: "what the mapping shows",
  "behind-end": "what the mapping shows behind the end of the file",
};

function tellFinding(test: FsxTest, { last, history }: FsxOutcome, finding: Finding): void {
  const { kind, got, least, ranges, rangesTotal } = finding;
  if (kind === "size") {
    test.info(`Operation ${last}: ${got} bytes where ${least} should be`);
  } else {
    test.info(`Operation ${last}: ${SEEN[kind]} is wrong`);
    for (const line of describeRanges(fileOf(test), ranges, rangesTotal)) test.info(line);
  }
  test.info(
    "The last operations that touched the first bad range (the generation of a stamp is the number of its write):",
  );
  for (const line of history) test.info(`  ${line}`);
}

/** The whole file, once nothing is in flight any more. A file that is wrong already is described, not judged again. */
async function verify(test: FsxTest, { expectation, error }: FsxOutcome): Promise<void> {
  // What a failed call has done to the file is unknown.
  if (error) return;
  const path = join(test.directory, fileOf(test));
  const findings = await verifyAndReport(test, test.options.verify, { path, expectation }, () => {
    if (test.results === 0) test.fail("The file is not what the operations have made of it");
  });
  noteVerified(test, findings);
}

/** The command that does the same again. */
function repeat(test: FsxTest, { seed }: FsxOutcome): string {
  const { l, o, N, r, w, t, engine, direct, replay } = test.options;
  const rest = [`--engine ${engine}`, ...(direct ? ["--direct"] : [])];
  if (replay) return ["fsx-linux", `--replay ${replay}`, ...rest].join(" ");
  const numbers = [`-l ${l}`, `-N ${N}`, `-r ${r}`, `-w ${w}`, `-t ${t}`];
  if (test.options["limit-operations"]) numbers.push(`-o ${o} --limit-operations`);
  if (test.options.operations !== OPERATIONS) numbers.push(`--operations ${test.options.operations.join(",")}`);
  return ["fsx-linux", ...numbers, `--seed 0x${seed.toString(16)}`, ...rest].join(" ");
}
