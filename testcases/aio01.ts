/**
 * Asynchronous writes and reads, one at a time, all at the start of one file, through the page cache.
 *
 * LTP never looks at a completion's result: all reads and writes may fail with EIO and it passes. Here every result is
 * checked, everything read is compared with what was written last, and the file is verified down to the disk. LTP's "prep"
 * tests differ from the others in who fills the control block in, which the kernel can't see: it copies it.
 */
import { call, type Finding } from "#native";
import { engineOption } from "../ts/testcase/engines.js";
import { describeFinding, explainFinding } from "../ts/testcase/finding.js";
import { testcase } from "../ts/testcase/testcase.js";
import { explainFailure, unreachable } from "../ts/testcase/verification.js";
import {
  claim,
  complaints,
  type Data,
  dataOptions,
  decimal,
  newData,
  newFile,
  release,
  TIMEOUT_SECONDS,
} from "./shared/data.js";

const FILE_ID = 1;
/** LTP fills its buffer with 'A'. */
const LTP_BYTE = 65;

const TESTS = [
  { round: "write", what: "writes in", digits: 3 },
  { round: "read", what: "reads in", digits: 3 },
  { round: "write", what: "prep,writes in", digits: 3 },
  { round: "read", what: "prep,reads in", digits: 3 },
  { round: "write-read", what: "reads and writes in", digits: 3 },
  { round: "write-read", what: "read,write,verify in", digits: 0 },
] as const;

const options = {
  b: decimal({
    default: 8192,
    min: 1,
    help: "Size of a request in bytes (default 8192)",
    invalid: "Invalid buffer size '%s'",
  }),
  n: decimal({ default: 10, min: 1, help: "Requests (default 10)", invalid: "Invalid number of requests '%s'" }),
  F: newFile("aiofile", "The file"),
  engine: engineOption("libaio", "the I/O is", "as LTP"),
  ...dataOptions,
};

interface State {
  data: Data;
  path: string;
}

export default testcase({
  name: "aio01",
  summary: "Asynchronous writes and reads, one at a time, whose results and data are checked",
  legacyId: "aio01",
  options,
  runtimeSeconds: 0,
  timeoutSeconds: TIMEOUT_SECONDS,
  needs: { directory: true },

  setup(test): State {
    const { F, verify } = test.options;
    const obstacle = unreachable(test, verify);
    if (obstacle) test.unsupported(obstacle);
    const { path, refusal } = claim(test.directory, F);
    if (refusal !== undefined) test.broken(refusal);
    const { words, ...data } = newData(test.options);
    test.info(words);
    return { data, path };
  },

  async run(test, { data, path }) {
    const { b, n, engine, verify } = test.options;
    try {
      const outcome = await call("aio-rounds", {
        ...{ path, read: true, write: true, truncate: false, direct: false, engine, bytes: b, requests: n },
        ...{ together: false, rounds: TESTS.map(({ round }) => round) },
        key: { seed: data.seed, fileId: FILE_ID, generation: data.generation },
        ...(data.ltp && { ltpByte: LTP_BYTE }),
      });
      test.sink.data("rounds", outcome);
      data.generation = outcome.generation;
      if (outcome.error) test.broken(explainFailure(outcome.error));
      let failed = 0;
      for (const [index, { finding, elapsedSeconds }] of outcome.rounds.entries()) {
        const { what = "", digits = 0 } = TESTS[index] ?? {};
        if (!finding) {
          test.pass(`Test ${index + 1}: ${n} ${what} ${seconds(elapsedSeconds, digits)} sec`);
          continue;
        }
        failed += 1;
        test.fail(`Test ${index + 1}: ${failureOf(finding)}`);
        for (const line of describeFinding(`Test ${index + 1}`, finding)) test.info(line);
      }
      if (failed > 0) {
        const rest = TESTS.length - outcome.rounds.length;
        if (rest > 0) test.info(`${rest} tests were left out: what the file holds is not known`);
        return;
      }
      const found = await complaints(test, verify, data, { path, bytes: b, fileId: FILE_ID });
      for (const note of found.notes) test.info(note);
      if (found.lines.length > 0) test.fail("The file does not hold what was written last");
      for (const line of found.lines) test.info(line);
    } finally {
      release(path);
    }
  },
});

/** LTP's form: whole seconds padded to `digits`, and microseconds. */
function seconds(elapsed: number, digits: number): string {
  const microseconds = Math.round(elapsed * 1e6);
  const whole = Math.trunc(microseconds / 1e6);
  return `${String(whole).padStart(digits)}.${String(microseconds % 1e6).padStart(6, "0")}`;
}

/** What LTP says where it says anything. */
function failureOf(finding: Finding): string {
  const { kind, errno = 0 } = finding;
  if (kind === "wrong-data") return "compare failed";
  if (kind !== "submit" && kind !== "submit-write") return explainFinding(finding);
  return `${kind === "submit" ? "" : "write "}io_submit failed - retval=${-errno}, errno=${errno}`;
}
