/**
 * Appends to a file with direct writes, one after the other, while others read its end through the page cache: where the
 * file has grown a reader must see what was written, never what the blocks held before.
 */
import { statfsSync } from "node:fs";
import { engineOption } from "../ts/testcase/engines.js";
import { integer, size } from "../ts/testcase/options.js";
import { testcase } from "../ts/testcase/testcase.js";
import { allRight, prepareRace, race, raceDeclaration, raceOptions, readersOption } from "./shared/read-race.js";

const FILE = "dio_append";

export default testcase({
  name: "dio_append",
  summary: "Append to a file with direct writes while others read its end",
  options: {
    n: readersOption(16),
    w: size({ default: 65_536, help: "Size of one append (default 64K)", invalid: "Invalid write file size '%s'" }),
    c: integer({
      default: 10_000,
      help: "Number of appends (default 10000)",
      invalid: "Invalid number of appends '%s'",
    }),
    engine: engineOption("sync", "writes are", "as LTP"),
    ...raceOptions,
  },
  ...raceDeclaration,

  setup(test) {
    const { c, w } = test.options;
    const { bavail, bsize } = statfsSync(test.directory);
    if (bavail * bsize < c * w) test.unsupported("Not enough space to run the test");
    return prepareRace(test);
  },

  async run(test, state) {
    const { n, w, c } = test.options;
    test.info(`Children 0 to ${n - 1} reading file`);
    test.info("Parent append to file");
    const failures = await race(
      test,
      state,
      { file: FILE },
      { scene: { append: { appends: c } }, blockBytes: w, readers: n },
    );
    if (failures.length === 0) test.pass(allRight(test));
    else test.fail(`Non zero bytes read: ${failures.join("; ")}`);
  },
});
