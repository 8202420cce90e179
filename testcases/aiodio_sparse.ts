/**
 * Fills a sparse file with asynchronous direct writes while others read it through the page cache: a reader must see the
 * hole's zeros or what was written, never what the blocks held before.
 */
import { engineOption } from "../ts/testcase/engines.js";
import { integer, size } from "../ts/testcase/options.js";
import { testcase } from "../ts/testcase/testcase.js";
import {
  aioBroken,
  allRight,
  checkControlBlocks,
  dirtyBlocks,
  prepareRace,
  race,
  raceDeclaration,
  raceOptions,
  readersOption,
} from "./shared/read-race.js";

const FILE = "file.bin";

export default testcase({
  name: "aiodio_sparse",
  summary: "Fill a sparse file with asynchronous direct writes while others read it",
  options: {
    n: readersOption(16),
    w: size({ default: 1024, help: "Size of one write (default 1K)", invalid: "Invalid write blocks size '%s'" }),
    s: size({ default: 100 * 2 ** 20, help: "File size (default 100M)", invalid: "Invalid file size '%s'" }),
    o: integer({
      default: 16,
      help: "Number of AIO control blocks (default 16)",
      invalid: "Invalid number of AIO control blocks '%s'",
    }),
    engine: engineOption("libaio", "writes are", "as LTP"),
    ...raceOptions,
  },
  ...raceDeclaration,

  async setup(test) {
    const { o, w, s } = test.options;
    const depth = o * w > s ? Math.floor(s / w) : o;
    if (depth !== o) test.info(`Numbers of AIO have been reduced to ${depth} so we fit filesize`);
    // What the kernel says to LTP's submission of nothing.
    if (depth === 0) test.broken("io_submit: EINVAL");
    const state = prepareRace(test);
    checkControlBlocks(test, depth);
    await dirtyBlocks(test, state, s);
    return { ...state, depth };
  },

  async run(test, state) {
    const { n, w, s } = test.options;
    test.info(`Children 0 to ${n - 1} reading file`);
    test.info("Parent creates a sparse file");
    const failures = await race(
      test,
      state,
      { file: FILE, broken: aioBroken },
      {
        scene: { sparse: { bytes: s, start: 0 } },
        blockBytes: w,
        depth: state.depth,
        readers: n,
      },
    );
    for (const failure of failures) test.fail(failure);
    if (failures.length === 0) test.pass(allRight(test));
  },
});
