/**
 * Appends to a file with asynchronous direct writes while others read its end through the page cache: where the file has
 * grown a reader must see what was written, or zeros while that is under way, never what the blocks held before.
 */
import { engineOption } from "../ts/testcase/engines.js";
import { integer, size } from "../ts/testcase/options.js";
import { testcase } from "../ts/testcase/testcase.js";
import { allRight, checkControlBlocks, prepareRace, race, raceOptions } from "./shared/read-race.js";

/** What LTP's readers read at a time, in bytes. */
const READ_BYTES = 4096;
const FILE = "aiodio_append";

export default testcase({
  name: "aiodio_append",
  summary: "Append to a file with asynchronous direct writes while others read its end",
  options: {
    n: integer({ default: 8, help: "Number of readers (default 8)", invalid: "Invalid number of children '%s'" }),
    s: size({
      default: 65_536,
      help: "Size of one append (default 64K)",
      invalid: "Size of the file to write '%s'",
    }),
    c: integer({ default: 1000, help: "Number of appends (default 1000)", invalid: "Invalid number of appends '%s'" }),
    b: integer({
      default: 16,
      help: "Number of AIO control blocks (default 16)",
      invalid: "Number of async IO blocks '%s'",
    }),
    engine: engineOption("libaio", "writes are", "as LTP"),
    ...raceOptions,
  },
  runtimeSeconds: 1800,
  timeoutSeconds: 0,
  operands: 1,
  needs: { directory: true },
  skipFilesystems: ["tmpfs"],

  setup(test) {
    checkControlBlocks(test, test.options.b);
    return prepareRace(test);
  },

  async run(test, state) {
    const { n, s, c, b } = test.options;
    test.info(`Children 0 to ${n - 1} reading file`);
    test.info("Parent appends to a file");
    const failures = await race(
      test,
      state,
      {
        file: test.operands[0] ?? FILE,
        late: "Test out of runtime, exiting",
        broken({ step, code, errno, offset, got }) {
          if (step === "submit") return `io_submit: ${code}`;
          if (step === "reap") return `io_getevents: ${code}`;
          if (step !== "write" && step !== "short-write") return undefined;
          return `AIO write offset ${offset} expected ${s} got ${got ?? -(errno ?? 0)}`;
        },
      },
      { scene: { append: { appends: c } }, blockBytes: s, depth: Math.min(b, c), readers: n, readBytes: READ_BYTES },
    );
    if (failures.length === 0) test.pass(allRight(test));
    else test.fail(`Non zero bytes read: ${failures.join("; ")}`);
  },
});
