/**
 * Writes a block and reads it back, a number of times, with direct I/O on one side or on both: direct I/O and the page
 * cache must be coherent.
 *
 * LTP repeats one byte over the block, so that data of another offset look right; here they are stamps of each iteration,
 * and what the file holds in the end is read again from the disk. The block lies at the offset plus the number of
 * iterations times its size, as in LTP.
 */
import { testcase } from "../ts/testcase/testcase.js";
import { bufferSize, dataOptions, decimal, fileOffset, newFile, TIMEOUT_SECONDS } from "./shared/data.js";
import { prepare, type State, threeBlocks } from "./shared/segments.js";

export default testcase({
  name: "diotest2",
  summary: "Writes a block and reads it back, with direct I/O on one side or on both",
  legacyId: "diotest02",
  options: {
    b: bufferSize(4096),
    o: fileOffset(),
    i: decimal({
      default: 100,
      min: 1,
      help: "Iterations (default 100)",
      invalid: "Invalid number of iterations '%s'",
    }),
    f: newFile("testdata-2", "The file"),
    ...dataOptions,
  },
  runtimeSeconds: 0,
  timeoutSeconds: TIMEOUT_SECONDS,
  needs: { directory: true },

  setup(test): State {
    const { state, note, obstacle } = prepare(
      test,
      test.options,
      (why) => `open(${test.options.f}, O_DIRECT, ..) failed: ${why}`,
    );
    if (obstacle) test[obstacle.as](obstacle.text);
    test.info(note);
    return state;
  },

  async run(test, state) {
    const { b, o, i, verify } = test.options;
    const segments = {
      ...{ offset: o + i * b, bufferBytes: b, buffers: 1, vectored: false, iterations: i, children: 1 },
      syncBeforeDirectRead: false,
    };
    const summary = `3 testblocks ${i} iterations completed`;
    for await (const { as, text } of threeBlocks(test, verify, state, segments, summary)) test[as](text);
  },
});
