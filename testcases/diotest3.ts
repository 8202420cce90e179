/**
 * Children write neighbouring blocks of one file and read them back at the same time, with direct I/O on one side or on
 * both. Where pages are larger than the blocks, the children share pages.
 *
 * LTP's children are processes, which the kernel's I/O paths can't tell from the threads that they are here.
 */
import { segmentsTestcase } from "./shared/segments.js";

export default segmentsTestcase(
  {
    name: "diotest3",
    summary: "Children write and read back neighbouring blocks, with direct I/O on one side or on both",
    legacyId: "diotest03",
    file: "testdata-3",
    iterations: 100,
    children: true,
    noDirect: (file) => `open(${file}, O_DIRECT, ..) failed`,
    done: (children) => `with ${children} children completed`,
  },
  (test, { as, text }) => test[as](text),
);
