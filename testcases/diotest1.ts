/**
 * Writes a file with direct I/O, copies it block by block with direct I/O, and compares.
 *
 * In LTP the block number modulo 256 is repeated over a block, so that a block looks right 256 blocks further on too;
 * here every sector says where it belongs. The copy is compared in the page cache and on the disk.
 */
import { join } from "node:path";
import { call, probeDirect, storageInfo } from "#native";
import { describeFinding } from "../ts/testcase/finding.js";
import { type Test, testcase } from "../ts/testcase/testcase.js";
import { explainFailure, unreachable } from "../ts/testcase/verification.js";
import {
  bufferSize,
  claim,
  complaints,
  type Data,
  dataOptions,
  decimal,
  errnoOf,
  newData,
  newFile,
  release,
  TIMEOUT_SECONDS,
} from "./shared/data.js";

const FILE_ID = 1;

const options = {
  b: bufferSize(8192),
  n: decimal({ default: 20, min: 1, help: "Blocks (default 20)", invalid: "Invalid number of blocks '%s'" }),
  i: newFile("infile", "The file that is written first"),
  o: newFile("outfile", "The file that it is copied to"),
  ...dataOptions,
};

interface State {
  data: Data;
  from: string;
  to: string;
}

export default testcase({
  name: "diotest1",
  summary: "Writes and copies a file with direct I/O, block by block",
  legacyId: "diotest01",
  options,
  runtimeSeconds: 0,
  timeoutSeconds: TIMEOUT_SECONDS,
  needs: { directory: true },

  setup(test): State {
    const { b, n, i, o, verify } = test.options;
    if (!Number.isSafeInteger(b * n)) test.broken(`${n} blocks of ${b} bytes are too large a file`);
    const obstacle = unreachable(test, verify);
    if (obstacle) test.unsupported(obstacle);
    const { path: from, refusal } = claim(test.directory, i);
    const { path: to, refusal: second } = claim(test.directory, o);
    const refused = refusal ?? second ?? (from === to ? "The files must not be the same" : undefined);
    if (refused !== undefined) test.broken(refused);
    const failure = probeDirect(join(test.directory, "probe"));
    if (failure?.code === "EINVAL") test.unsupported("O_DIRECT not supported by FS");
    if (failure) test.broken(`O_DIRECT: ${errnoOf(failure)}`);
    const { device, logicalBlockBytes } = storageInfo(test.directory);
    if (device !== undefined && b % logicalBlockBytes !== 0) {
      test.unsupported(`Buffer size must be a multiple of ${logicalBlockBytes}, the drive's block size`);
    }
    const { words, ...data } = newData(test.options);
    test.info(words);
    return { data, from, to };
  },

  async run(test, state) {
    try {
      await copy(test, state);
    } finally {
      release(state.from);
      release(state.to);
    }
  },
});

async function copy(test: Test<typeof options>, { data, from, to }: State): Promise<void> {
  const { b, n, verify } = test.options;
  data.generation += 1;
  const key = { seed: data.seed, fileId: FILE_ID, generation: data.generation };
  const blocks = { blockBytes: b, blocks: n, key, ltpPattern: data.ltp };
  const { error } = await call("write-blocks", { path: from, ...blocks });
  if (error) test.broken(explainFailure(error));
  const bytes = b * n;
  const outcome = await call(
    "copy",
    {
      ...{ source: from, destination: to, bytes, blockBytes: b, depth: 1, engine: "sync", direct: true },
      ...{ syncWrites: false, fsync: "none", align: { offset: 0 } },
    },
    (done) => test.sink.progress(done, bytes, "bytes"),
  );
  test.sink.data("copy", outcome);
  if (outcome.error) test.broken(explainFailure(outcome.error));
  const wrong = data.ltp ? await call("check-blocks", { path: to, ...blocks }) : null;
  const found = await complaints(test, verify, data, { path: to, bytes, fileId: FILE_ID });
  for (const note of found.notes) test.info(note);
  const lines = [...(wrong ? describeFinding("page cache", wrong) : []), ...found.lines];
  if (lines.length === 0) {
    test.pass("Test passed");
    return;
  }
  test.fail(`file compare failed for ${test.options.i} and ${test.options.o}`);
  for (const line of lines) test.info(line);
}
