/**
 * Children write neighbouring blocks of one file and read them back at the same time, with direct I/O on one side or on
 * both. Where pages are larger than the blocks, the children share pages.
 *
 * LTP's children are processes, which the kernel's I/O paths can't tell from the threads that they are here.
 */
import { testcase } from "../ts/testcase/testcase.js";
import { bufferSize, dataOptions, decimal, fileOffset, newFile, TIMEOUT_SECONDS } from "./shared/data.js";
import { prepare, type State, threeBlocks } from "./shared/segments.js";

export default testcase({
  name: "diotest3",
  summary: "Children write and read back neighbouring blocks, with direct I/O on one side or on both",
  legacyId: "diotest03",
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
    f: newFile("testdata-3", "The file"),
    ...dataOptions,
  },
  runtimeSeconds: 0,
  timeoutSeconds: TIMEOUT_SECONDS,
  needs: { directory: true },

  setup(test): State {
    const { state, note, obstacle } = prepare(test, test.options, () => `open(${test.options.f}, O_DIRECT, ..) failed`);
    if (obstacle) test[obstacle.as](obstacle.text);
    test.info(note);
    return state;
  },

  async run(test, state) {
    const { b, o, i, n, verify } = test.options;
    const segments = {
      ...{ offset: o, bufferBytes: b, buffers: 1, vectored: false, iterations: i, children: n },
      syncBeforeDirectRead: true,
    };
    const summary = `3 testblocks ${i} iterations with ${n} children completed`;
    for await (const { as, text } of threeBlocks(test, verify, state, segments, summary)) test[as](text);
  },
});
