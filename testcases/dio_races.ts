/**
 * Further races of asynchronous and direct I/O that kernels have lost, each a value of `--race`; without it all of them.
 *
 * What each one is, and the xfstests number or kernel commit that it corresponds to, is in one table, beside its code
 * (`TABLE` in crates/aiodio-core/src/workload/races.rs), and is printed when it runs:
 * - append-visible: generic/465, and generic/207 (kernel bugzilla 6831) for the size after a completion;
 * - append-fallocate: generic/586; eof-pieces: generic/114; direct-toggle: generic/036, CVE-2014-8086;
 * - stale-readahead: generic/209 and 418; in btrfs commit acc18e1c1d8c mends what ac325fc2aad5 brought;
 * - own-mmap: generic/647 and 729; unfaulted-buffer: generic/708; exit-in-flight: generic/323;
 * - read-past-end: generic/210 and 450; reflink: no report of its own.
 *
 * Different from the originals: every sector is a stamp, so that a piece that is lost, old or from elsewhere is told
 * apart; each runs for a number of rounds and says in how many both sides really were under way at once; all engines.
 */
import { join } from "node:path";
import { racesRun, raceTable } from "#native";
import { choice, chooseSeed, seed } from "../ts/testcase/options.js";
import { testcase } from "../ts/testcase/testcase.js";
import { explainFailure } from "../ts/testcase/verification.js";
import { ENGINES, needDirect, reportOverlap, reportTroubles, rounds, TIMEOUT_SECONDS } from "./shared/races.js";

const FILE = "testfile";
const OTHER = "other";
const RACES = raceTable();

const TROUBLES = {
  "write-error": "A direct write failed",
  "short-write": "A direct write ended early",
  "read-error": "What was written can't be read",
  "early-size": "A reader saw the new size before the data: not what was appended is below it",
  "size-lost": "The file is not as long as what was written to it and completed",
  "piece-lost": "A piece that was written behind the end is lost",
  "source-changed": "A write to a clone changed the file that it was cloned from",
  "wrong-data": "The file does not hold what was written",
  "stale-cache": "The page cache has old data after a direct write completed",
  child: "The kernel did not accept the child's AIO",
  "late-write": "The file changed after the process with the transfers was gone",
  "read-past-end": "A direct read does not end where the file ends",
};

const options = {
  n: rounds(50),
  race: choice({
    default: undefined,
    of: RACES.map(({ name }) => name),
    help: "Which one (default: all of them)",
  }),
  engine: choice({ default: "libaio", of: ENGINES, help: "How the direct I/O is submitted (default libaio)" }),
  seed: seed(),
};

export default testcase({
  name: "dio_races",
  summary: "Provokes further races of asynchronous and direct I/O, one after another",
  options,
  runtimeSeconds: 0,
  timeoutSeconds: TIMEOUT_SECONDS,
  needs: { directory: true },

  setup(test): { seed: bigint; unitBytes: number } {
    const { dioOffsetAlignBytes, dioMemAlignBytes } = needDirect(test, test.options.engine);
    test.permitKernel("page-cache-invalidation", "most of the races mix direct I/O and the page cache");
    const seed = chooseSeed(test.options.seed);
    test.info(`Seed 0x${seed.toString(16)}, engine ${test.options.engine}`);
    return { seed, unitBytes: Math.max(dioOffsetAlignBytes, dioMemAlignBytes) };
  },

  async run(test, { seed, unitBytes }) {
    const { n, engine, race: wanted } = test.options;
    let overlaps = 0;
    for (const [index, { name, story, proven }] of RACES.entries()) {
      if (wanted !== undefined && wanted !== name) continue;
      test.info(`${name}: ${story}`);
      const path = join(test.directory, `${FILE}.${name}`);
      const other = join(test.directory, `${OTHER}.${name}`);
      const outcome = await racesRun({ race: name, path, other, unitBytes, rounds: n, engine, seed });
      test.sink.data("race", { name, ...outcome });
      if (outcome.unsupported !== undefined) {
        const text = `${name}: ${test.filesystem} has no ${outcome.unsupported}`;
        if (wanted === undefined) test.info(text);
        else test.unsupported(text);
        continue;
      }
      const failed = reportTroubles(test, `${FILE}.${name}`, outcome.troubles, TROUBLES);
      if (outcome.error) test.broken(`${name}: ${explainFailure(outcome.error)}`);
      overlaps += outcome.overlaps;
      const counted = `${name}: both sides were under way ${outcome.overlaps} times in ${outcome.rounds} rounds`;
      // Which of them can meet depends on the filesystem and the engine: one alone that can't is worth a warning.
      const proves = outcome.overlaps > 0 || wanted !== undefined;
      if (!failed && proves) test.pass(`${name}: ${proven}`);
      if (proves) reportOverlap(test, outcome.overlaps, counted);
      else test.info(`${counted}: nothing is wrong and nothing is proven`);
      test.sink.progress(index + 1, RACES.length, "races");
    }
    if (wanted === undefined && overlaps === 0) test.warn("Nothing has raced, so nothing is proven");
  },
});
