/**
 * Appends to a file with asynchronous direct writes while others read its end through the page cache: where the file has
 * grown a reader must see what was written, or zeros while that is under way, never what the blocks held before.
 */
import { engineOption } from "../ts/testcase/engines.js";
import { integer, size } from "../ts/testcase/options.js";
import { testcase } from "../ts/testcase/testcase.js";
import {
  aioBroken,
  allRight,
  checkControlBlocks,
  prepareRace,
  race,
  raceDeclaration,
  raceOptions,
  readersOption,
} from "./shared/read-race.js";

const FILE = "aiodio_append";

export default testcase({
  name: "aiodio_append",
  summary: "Append to a file with asynchronous direct writes while others read its end",
  options: {
    n: readersOption(8),
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
  ...raceDeclaration,
  operands: 1,

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
      { file: test.operands[0] ?? FILE, broken: aioBroken },
      { scene: { append: { appends: c } }, blockBytes: s, depth: Math.min(b, c), readers: n },
    );
    if (failures.length === 0) test.pass(allRight(test));
    else test.fail(`Non zero bytes read: ${failures.join("; ")}`);
  },
});
