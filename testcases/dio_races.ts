/**
 * Further races of asynchronous and direct I/O that kernels have lost, each a value of `--race`; without it all of them
 * but truncate-up.
 *
 * What each one is, and the xfstests number or kernel commit that it corresponds to, is in one table, beside its code
 * (`TABLE` in crates/aiodio-core/src/workload/races/), and is printed when it runs:
 * - append-visible: generic/465, and generic/207 (kernel bugzilla 6831) for the size after a completion;
 * - append-fallocate: generic/586, in XFS mended by 249bd9087a52 (Linux 5.5); eof-pieces: generic/114;
 * - direct-toggle: generic/036, CVE-2014-8086;
 * - stale-readahead: generic/209 and 418; in btrfs commit acc18e1c1d8c mends what ac325fc2aad5 brought;
 * - own-mmap: generic/647 and 729; unfaulted-buffer: generic/708; exit-in-flight: generic/323;
 * - read-past-end: generic/210 and 450; reflink: no report of its own;
 * - truncate-up: found by aio_signal_stress. There is no fix yet that we know of, and no xfstest; docs/bugs/xfs-truncate-up.md
 *   tells the cause, and on which kernels.
 *
 * Different from the originals: every sector is a stamp, so that a piece that is lost, old or from elsewhere is told
 * apart; each runs for a number of rounds, says in how many both sides really were under way at once, and goes on until
 * they have been, within a limit; all engines, except where the I/O is not ours to submit (own-mmap, unfaulted-buffer:
 * pwrite(2); exit-in-flight: a child's AIO).
 */
import { join } from "node:path";
import { call, raceTable } from "#native";
import { engineOption } from "../ts/testcase/engines.js";
import { reportFindings } from "../ts/testcase/finding.js";
import { choice, chooseSeed, seed } from "../ts/testcase/options.js";
import { testcase } from "../ts/testcase/testcase.js";
import { explainFailure } from "../ts/testcase/verification.js";
import { needDirect, reportOverlap, rounds, TIMEOUT_SECONDS } from "./shared/races.js";

const FILE = "testfile";
const OTHER = "other";
const RACES = raceTable();

const WORDS = {
  "write-error": "A direct write failed",
  "short-write": "A direct write ended early",
  "read-error": "What was written can't be read",
  "short-read": "A reader saw the new size, and could not read all below it",
  "early-size": "A reader saw the new size before the data: not what was appended is below it",
  "size-lost": "The file is not as long as what was written to it and completed",
  "piece-lost": "A piece that was written behind the end is lost",
  "source-changed": "A write to a clone changed the file that it was cloned from",
  "wrong-data": "The file does not hold what was written",
  "stale-cache": "The page cache has old data after a direct write completed",
  "late-write": "The file changed after the process with the transfers was gone",
  "read-past-end": "A direct read does not end where the file ends",
  "truncated-away": "A completed write is lost to a truncate that made the file longer meanwhile",
};

const options = {
  n: rounds(50),
  race: choice({
    default: undefined,
    of: RACES.map(({ name }) => name),
    help: `Which one (default: all but ${RACES.filter((race) => race.onRequest).map((race) => race.name)})`,
  }),
  engine: engineOption("libaio", "the direct I/O is"),
  seed: seed(),
};

export default testcase({
  name: "dio_races",
  summary: "Provoke further races of asynchronous and direct I/O, one after another",
  options,
  runtimeSeconds: 0,
  timeoutSeconds: TIMEOUT_SECONDS,
  needs: { directory: true },

  setup(test): { seed: bigint; dioAlign: number } {
    const { dioOffsetAlign, dioMemAlign } = needDirect(test);
    test.permitKernel("page-cache-invalidation", "most of the races mix direct I/O and the page cache");
    const seed = chooseSeed(test.options.seed);
    test.info(`Seed 0x${seed.toString(16)}, engine ${test.options.engine}`);
    return { seed, dioAlign: Math.max(dioOffsetAlign, dioMemAlign) };
  },

  async run(test, { seed, dioAlign }) {
    const { n, engine, race: wanted } = test.options;
    const races = RACES.filter(({ name, onRequest }) => (wanted === undefined ? !onRequest : name === wanted));
    for (const [index, { name, story, proven }] of races.entries()) {
      test.info(`${name}: ${story}`);
      const path = join(test.directory, `${FILE}.${name}`);
      const other = join(test.directory, `${OTHER}.${name}`);
      const outcome = await call("races", { race: name, path, other, dioAlign, rounds: n, engine, seed });
      test.sink.data("race", { name, ...outcome });
      if (outcome.unsupported !== undefined) {
        const text = `${name}: ${test.filesystem} has no ${outcome.unsupported}`;
        if (wanted === undefined) test.info(text);
        else test.unsupported(text);
        continue;
      }
      const failed = reportFindings(test, `${FILE}.${name}`, outcome.findings, WORDS, `${name}: `);
      if (outcome.error) test.broken(`${name}: ${explainFailure(outcome.error)}`);
      if (!failed && outcome.overlaps > 0) test.pass(`${name}: ${proven}`);
      const counted = `${name}: both sides were under way ${outcome.overlaps} times in ${outcome.rounds} rounds`;
      if (failed) test.info(counted);
      else reportOverlap(test, outcome.overlaps, counted);
      test.sink.progress(index + 1, races.length, "races");
    }
  },
});
