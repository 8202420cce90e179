/**
 * Extends and truncates a file with direct I/O, again and again, while another file takes the blocks that become free and
 * others read directly: a reader must see what was written to the file itself, never the other file's data.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { engineOption } from "../ts/testcase/engines.js";
import { integer, size } from "../ts/testcase/options.js";
import { testcase } from "../ts/testcase/testcase.js";
import { allRight, prepareRace, race, raceDeclaration, raceOptions, readersOption } from "./shared/read-race.js";

/** What LTP's readers read at a time, in bytes. */
const READ_BYTES = 65_536;
const FILE = "file.bin";
const JUNK = "junkfile";
/** Only kernels with PREEMPT_RT have it. */
const REALTIME = "/sys/kernel/realtime";

export default testcase({
  name: "dio_truncate",
  summary: "Extend and truncate a file with direct I/O while others read it directly",
  options: {
    n: readersOption(16),
    s: size({ default: 65_536, help: "Size of one append (default 64K)", invalid: "Invalid file size '%s'" }),
    a: integer({ default: 100, help: "Number of appends (default 100)", invalid: "Invalid number of appends '%s'" }),
    c: integer({
      default: 100,
      help: "Number of times the file is extended and truncated (default 100)",
      invalid: "Invalid number of truncate/append '%s'",
    }),
    engine: engineOption("sync", "writes are", "as LTP"),
    ...raceOptions,
  },
  ...raceDeclaration,

  setup(test) {
    if (test.options.n > 2 && existsSync(REALTIME)) {
      test.info("Warning: This test may deadlock on RT kernels");
      test.info("If it does, reduce number of threads to 2");
    }
    return prepareRace(test);
  },

  async run(test, state) {
    const { n, s, a, c } = test.options;
    test.info(`Children 0 to ${n - 1} reading file`);
    test.info("Parent writes/truncates the file");
    const failures = await race(
      test,
      state,
      { file: FILE },
      {
        scene: { truncate: { appends: a, rounds: c, junk: join(test.directory, JUNK) } },
        blockBytes: s,
        readers: n,
        readBytes: READ_BYTES,
      },
    );
    if (failures.length === 0) test.pass(allRight(test));
    else test.fail(`Non zero bytes read: ${failures.join("; ")}`);
  },
});
