/**
 * 32 asynchronous writes of 64 KiB submitted together, then as many reads, three times: directly and through the page cache,
 * with a file opened for both and for one alone.
 *
 * LTP writes zeros and never compares; here what is read is compared with the stamps written, and after each pair the file is
 * verified down to the disk.
 */
import { join } from "node:path";
import { call } from "#native";
import { engineOption } from "../ts/testcase/engines.js";
import { describeFinding, explainFinding } from "../ts/testcase/finding.js";
import { testcase } from "../ts/testcase/testcase.js";
import { explainFailure, unreachable } from "../ts/testcase/verification.js";
import { complaints, type Data, dataOptions, newData } from "./shared/data.js";

const FILE = "file";
const FILE_ID = 1;
const REQUESTS = 32;
const REQUEST_BYTES = 65_536;
/** What LTP's buffers hold. */
const LTP_BYTE = 0;

const CASES = [
  {
    round: "write",
    read: false,
    write: true,
    truncate: true,
    direct: true,
    flags: "O_WRONLY | O_TRUNC | O_DIRECT | O_LARGEFILE | O_CREAT",
  },
  {
    round: "read",
    read: true,
    write: false,
    truncate: false,
    direct: true,
    flags: "O_RDONLY | O_DIRECT | O_LARGEFILE",
  },
  { round: "write", read: true, write: true, truncate: true, direct: false, flags: "O_RDWR | O_TRUNC" },
  { round: "read", read: true, write: true, truncate: false, direct: false, flags: "O_RDWR" },
  { round: "write", read: false, write: true, truncate: true, direct: false, flags: "O_WRONLY | O_TRUNC" },
  { round: "read", read: true, write: false, truncate: false, direct: false, flags: "O_RDONLY" },
] as const;

const options = {
  engine: engineOption("libaio", "the I/O is", "as LTP"),
  ...dataOptions,
};

interface State {
  data: Data;
  direct: boolean;
}

export default testcase({
  name: "aio02",
  summary: "Asynchronous writes and reads, 32 at once, directly and through the page cache",
  options,
  runtimeSeconds: 0,
  timeoutSeconds: 0,
  needs: { directory: true },

  setup(test): State {
    const obstacle = unreachable(test, test.options.verify);
    if (obstacle) test.unsupported(obstacle);
    const direct = test.filesystem !== "tmpfs";
    if (!direct) test.info("Drop O_DIRECT flag for tmpfs");
    const { words, ...data } = newData(test.options);
    test.info(words);
    return { data, direct };
  },

  async run(test, { data, direct }) {
    const { engine, verify } = test.options;
    const path = join(test.directory, FILE);
    for (const { round, flags, ...one } of CASES) {
      const outcome = await call("aio-rounds", {
        ...{ ...one, path, direct: one.direct && direct, engine, bytes: REQUEST_BYTES, requests: REQUESTS },
        ...{ together: true, rounds: [round] },
        key: { seed: data.seed, fileId: FILE_ID, generation: data.generation },
        ...(data.ltp && { ltpByte: LTP_BYTE }),
      });
      test.sink.data("rounds", outcome);
      data.generation = outcome.generation;
      const { error } = outcome;
      if (error?.code === "EINVAL" && error.step === "open" && one.direct) {
        test.unsupported(`O_DIRECT is not supported by this filesystem: ${explainFailure(error)}`);
      }
      if (error) test.broken(explainFailure(error));
      const text = `${round === "write" ? "WRITE" : "READ "}: ${flags}`;
      const finding = outcome.rounds[0]?.finding;
      if (finding) {
        const wrong = finding.kind === "wrong-data";
        test.fail(`${text}: ${wrong ? "the data read are not what was written" : explainFinding(finding)}`);
        for (const line of describeFinding(text, finding)) test.info(line);
        // What the file holds is not known any more.
        return;
      }
      test.pass(text);
      // Not between a write and its read: that one shall find the page cache as the write has left it.
      if (round === "write") continue;
      const bytes = REQUESTS * REQUEST_BYTES;
      const found = await complaints(test, verify, data, { path, bytes, fileId: FILE_ID });
      for (const note of found.notes) test.info(note);
      if (found.lines.length > 0) test.fail(`${text}: the file does not hold what was written`);
      for (const line of found.lines) test.info(line);
    }
  },
});
