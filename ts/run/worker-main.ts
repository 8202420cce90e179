/**
 * The worker process: the only one that touches the filesystem under test. Reads requests from descriptor 3, answers on
 * descriptor 4, and runs one testcase after the other. When the controller is gone (end of stream) it removes its
 * temporary directory and exits, so that a killed controller leaves nothing behind.
 *
 * Its argument is the user's working directory, which relative paths in a testcase's options are meant from.
 */
import { Socket } from "node:net";
import { createInterface } from "node:readline";
import { startRecord } from "#native";
import { writeAll } from "../base/lines.js";
import { peakBytes, restartPeak } from "../linux/memory.js";
import { execute } from "../testcase/execute.js";
import { programs } from "../testcase/registry.js";
import { removeTmpdir } from "../testcase/tmpdir.js";
import { abandon, leaveSignals, mustRemove } from "./orphan.js";
import { encode, type ToWorker } from "./protocol.js";
import type { FromWorker } from "./protocol-check.js";

const REQUESTS_FD = 3;
const ANSWERS_FD = 4;

function send(message: FromWorker): void {
  try {
    writeAll(ANSWERS_FD, encode(message));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EPIPE") abandon();
    throw error;
  }
}

async function answer(request: ToWorker): Promise<void> {
  if (request.type === "remove") {
    let error: string | undefined;
    try {
      removeTmpdir(request.path);
    } catch (failure) {
      error = (failure as Error).message;
    }
    send({ type: "removed", error });
    return;
  }
  const program = programs.get(request.program);
  if (!program) throw new Error(`no program named ${request.program}`);
  const failure = startRecord(request.record ?? {});
  if (failure) {
    process.stderr.write(
      `${failure.message}${failure.code === undefined ? "" : `: ${failure.code}`}; it goes with the worker\n`,
    );
    const { traceFd } = request.record ?? {};
    startRecord(traceFd === undefined ? {} : { traceFd });
  }
  restartPeak();
  const { summary } = await execute(
    await program.load(),
    { ...request, env: process.env },
    {
      line: (line) => send({ type: "line", ...line }),
      raw: (text) => send({ type: "raw", text }),
      data: (name, value) => send({ type: "data", name, value }),
      progress: (done, total, unit) => send({ type: "progress", done, total, unit }),
      permit: (rule, because) => send({ type: "permit", rule, because }),
      legacy: (id) => send({ type: "legacy", id }),
      deadline: (seconds, over) => send({ type: "deadline", seconds, over }),
      directory: (path) => {
        mustRemove(path);
        send({ type: "directory", path });
      },
    },
  );
  send({ type: "done", summary, peakBytes: peakBytes() });
}

leaveSignals();

const [, , workingDirectory = "/"] = process.argv;
try {
  process.chdir(workingDirectory);
} catch {} // It is gone, as it may be under any process.

let work: Promise<void> = Promise.resolve();
const requests = createInterface({ input: new Socket({ fd: REQUESTS_FD, readable: true, writable: false }) });
requests.on("line", (line) => {
  work = work.then(() => answer(JSON.parse(line)));
});
requests.on("close", abandon);
send({ type: "ready" });
