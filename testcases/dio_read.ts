/**
 * Reads a file directly while several writers fill it through the page cache, where other data used to be before the file
 * was truncated: the reader must see the hole's zeros or what was written, never the old data.
 */
import { integer, size } from "../ts/testcase/options.js";
import { testcase } from "../ts/testcase/testcase.js";
import { allRight, prepareRace, race, raceDeclaration, raceOptions } from "./shared/read-race.js";

const FILE = "file.bin";
const MIB = 2 ** 20;

export default testcase({
  name: "dio_read",
  summary: "Read a file directly while others fill its holes through the page cache",
  options: {
    n: integer({ default: 8, help: "Number of writers (default 8)", invalid: "Invalid number of children '%s'" }),
    w: size({ default: 32 * MIB, help: "Size of one write (default 32M)", invalid: "Invalid write blocks size '%s'" }),
    r: size({ default: 32 * MIB, help: "Size of one read (default 32M)", invalid: "Invalid read blocks size '%s'" }),
    s: size({ default: 128 * MIB, help: "File size (default 128M)", invalid: "Invalid file size '%s'" }),
    ...raceOptions,
  },
  ...raceDeclaration,

  setup: (test) => prepareRace(test),

  async run(test, state) {
    const { n, w, r, s } = test.options;
    test.info(`Children 0 to ${n - 1} writing file`);
    const failures = await race(
      test,
      state,
      {
        file: FILE,
        broken({ step, code, expected, got }) {
          if (step === "write") return `pwrite: ${code}`;
          if (step === "short-write") return `pwrite: wrote ${got} bytes out of ${expected}`;
          return step === "read" ? `pread: ${code}` : undefined;
        },
      },
      {
        scene: { overwrite: { bytes: s, writers: n } },
        blockBytes: Math.min(w, s),
        readers: 1,
        readBytes: Math.min(r, s),
      },
    );
    if (failures.length === 0) test.pass(allRight(test));
    else test.fail(`Non zero bytes read: ${failures.join("; ")}`);
  },
});
