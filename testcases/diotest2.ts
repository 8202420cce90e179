/**
 * Writes a block and reads it back, a number of times, with direct I/O on one side or on both: direct I/O and the page
 * cache must be coherent.
 *
 * LTP repeats one byte over the block, so that data of another offset look right; here they are stamps of each iteration,
 * and what the file holds in the end is read again from the disk. The block lies at the offset plus the number of
 * iterations times its size, as in LTP.
 */
import { segmentsTestcase } from "./shared/segments.js";

export default segmentsTestcase(
  {
    name: "diotest2",
    summary: "Writes a block and reads it back, with direct I/O on one side or on both",
    legacyId: "diotest02",
    file: "testdata-2",
    iterations: 100,
    begin: (iterations) => iterations,
    noDirect: (file, why) => `open(${file}, O_DIRECT, ..) failed: ${why}`,
    done: () => "completed",
  },
  (test, { as, text }) => test[as](text),
);
