/**
 * Children write neighbouring vectors of buffers of one file with writev and read them back with readv at the same time,
 * with direct I/O on one side or on both.
 */
import { segmentsTestcase } from "./shared/segments.js";

export default segmentsTestcase(
  {
    name: "diotest6",
    summary: "Children write and read back neighbouring vectors, with direct I/O on one side or on both",
    legacyId: "diotest06",
    file: "testdata-6",
    iterations: 100,
    children: true,
    vectored: true,
    noDirect: (_, why) => `O_DIRECT is not supported by this filesystem. ${why}`,
    done: (children) => `with ${children} children completed`,
  },
  (test, { as, text }) => test[as](text),
);
