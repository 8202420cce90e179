/**
 * Fills a sparse file with direct writes, one after the other, while others read it through the page cache: a reader must
 * see the hole's zeros or what was written, never what the blocks held before.
 */
import { engineOption } from "../ts/testcase/engines.js";
import { size } from "../ts/testcase/options.js";
import { testcase } from "../ts/testcase/testcase.js";
import {
  allRight,
  dirtyBlocks,
  prepareRace,
  race,
  raceDeclaration,
  raceOptions,
  readersOption,
} from "./shared/read-race.js";

/** LTP dirties as much for every size of the file. */
const DIRTY_BYTES = 100 * 2 ** 20;
const FILE = "dio_sparse";

export default testcase({
  name: "dio_sparse",
  summary: "Fill a sparse file with direct writes while others read it",
  options: {
    n: readersOption(16),
    w: size({ default: 1024, help: "Size of one write (default 1K)", invalid: "Invalid write blocks size '%s'" }),
    s: size({ default: 100 * 2 ** 20, help: "File size (default 100M)", invalid: "Invalid file size '%s'" }),
    o: size({ default: 0, help: "Offset of the first write (default 0)", invalid: "Invalid file offset '%s'", min: 0 }),
    engine: engineOption("sync", "writes are", "as LTP"),
    ...raceOptions,
  },
  ...raceDeclaration,

  async setup(test) {
    const { o, s } = test.options;
    const state = prepareRace(test);
    if (o >= s) test.info(`Nothing to write, as in LTP: offset ${o} is not inside the file of ${s} bytes`);
    await dirtyBlocks(test, state, DIRTY_BYTES);
    return state;
  },

  async run(test, state) {
    const { n, w, s, o } = test.options;
    test.info(`Children 0 to ${n - 1} reading file`);
    test.info("Parent creates a sparse file");
    const failures = await race(
      test,
      state,
      { file: FILE, late: "Test runtime is over, exiting" },
      { scene: { sparse: { bytes: s, start: o } }, blockBytes: w, readers: n },
    );
    for (const failure of failures) test.fail(failure);
    if (failures.length === 0) test.pass(allRight(test));
  },
});
