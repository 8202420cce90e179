/**
 * Writes a vector of buffers with writev and reads it back with readv, a number of times, with direct I/O on one side or
 * on both.
 */
import { testcase } from "../ts/testcase/testcase.js";
import { bufferSize, dataOptions, decimal, fileOffset, newFile, TIMEOUT_SECONDS } from "./shared/data.js";
import { prepare, type State, threeBlocks } from "./shared/segments.js";

export default testcase({
  name: "diotest5",
  summary: "Writes a vector of buffers and reads it back, with direct I/O on one side or on both",
  legacyId: "diotest05",
  options: {
    b: bufferSize(4096),
    o: fileOffset(),
    i: decimal({ default: 20, min: 1, help: "Iterations (default 20)", invalid: "Invalid number of iterations '%s'" }),
    v: decimal({
      ...{ default: 20, min: 1, max: 1024, help: "Buffers in a vector (default 20)" },
      invalid: "Invalid number of vectors '%s': use 1 to 1024",
    }),
    f: newFile("testdata-5", "The file"),
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
    const { b, o, i, v, verify } = test.options;
    const segments = {
      ...{ offset: o, bufferBytes: b, buffers: v, vectored: true, iterations: i, children: 1 },
      syncBeforeDirectRead: false,
    };
    const summary = `3 testblocks ${i} iterations with ${v} vector array completed`;
    for await (const { as, text } of threeBlocks(test, verify, state, segments, summary)) test[as](text);
  },
});
