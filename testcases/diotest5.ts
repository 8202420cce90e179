/**
 * Writes a vector of buffers with writev and reads it back with readv, a number of times, with direct I/O on one side or
 * on both.
 */
import { segmentsTestcase } from "./shared/segments.js";

export default segmentsTestcase(
  {
    name: "diotest5",
    summary: "Writes a vector of buffers and reads it back, with direct I/O on one side or on both",
    legacyId: "diotest05",
    file: "testdata-5",
    iterations: 20,
    vectored: true,
    noDirect: (_, why) => `O_DIRECT is not supported by this filesystem. ${why}`,
    done: (_, buffers) => `with ${buffers} vector array completed`,
  },
  (test, { as, text }) => test[as](text),
);
