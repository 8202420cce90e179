/**
 * Children write neighbouring vectors of buffers of one file with writev and read them back with readv at the same time,
 * with direct I/O on one side or on both.
 */
import { testcase } from "../ts/testcase/testcase.js";
import { bufferSize, dataOptions, decimal, fileOffset, newFile, TIMEOUT_SECONDS } from "./shared/data.js";
import { prepare, type State, threeBlocks } from "./shared/segments.js";

export default testcase({
  name: "diotest6",
  summary: "Children write and read back neighbouring vectors, with direct I/O on one side or on both",
  legacyId: "diotest06",
  options: {
    b: bufferSize(4096),
    o: fileOffset(),
    i: decimal({
      default: 100,
      min: 1,
      help: "Iterations (default 100)",
      invalid: "Invalid number of iterations '%s'",
    }),
    n: decimal({
      ...{ default: 1, min: 1, max: 10_000, help: "Children that work at the same time (default 1)" },
      invalid: "Invalid number of children '%s': use 1 to 10000",
    }),
    v: decimal({
      ...{ default: 20, min: 1, max: 1024, help: "Buffers in a vector (default 20)" },
      invalid: "Invalid number of vectors '%s': use 1 to 1024",
    }),
    f: newFile("testdata-6", "The file"),
    ...dataOptions,
  },
  runtimeSeconds: 0,
  timeoutSeconds: TIMEOUT_SECONDS,
  needs: { directory: true },

  setup(test): State {
    const { state, note, obstacle } = prepare(
      test,
      test.options,
      (why) => `O_DIRECT is not supported by this filesystem. ${why}`,
    );
    if (obstacle) test[obstacle.as](obstacle.text);
    test.info(note);
    return state;
  },

  async run(test, state) {
    const { b, o, i, n, v, verify } = test.options;
    const segments = {
      ...{ offset: o, bufferBytes: b, buffers: v, vectored: true, iterations: i, children: n },
      syncBeforeDirectRead: true,
    };
    const summary = `3 testblocks ${i} iterations with ${n} children completed`;
    for await (const { as, text } of threeBlocks(test, verify, state, segments, summary)) test[as](text);
  },
});
