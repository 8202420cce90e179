/**
 * A testcase as a command of its own (`aiocp -b 4k`), all of it in this one process: LTP's output on standard error, LTP's exit
 * status; with `--legacy-output` those of LTP's old library, on standard output. `aiodio-exec` (crates/aiodio-exec) starts it and
 * watches: it has the time limit and takes Ctrl-C, and where this process does not come to its end, `aftermath-main.ts` tells the rest.
 *
 * Its arguments are the descriptors of a pipe that ends when nobody watches, of one to tell things, of the file to record operations
 * into and of the kernel's log at its present end (-1 for none), then the program and its arguments.
 */
import { queryRecord, startRecord } from "#native";
import { callerOf } from "../base/location.js";
import { count, type ResultType, verdictOf } from "../events/events.js";
import { ProgramOutput } from "../report/program-output.js";
import { execute } from "../testcase/execute.js";
import { programs } from "../testcase/registry.js";
import { freshState, Teller } from "./command-protocol.js";
import { flightLines, KEPT_OPERATIONS } from "./flight.js";
import { KernelWindow, kernelSources } from "./kernel-window.js";
import { abandon, leaveSignals, mustRemove, watchLife } from "./orphan.js";

/** The kernel's log is a ring: it is read this often, so that nothing is overwritten unread. */
const KERNEL_POLL_MS = 1_000;

const [life, tell, flight, log] = process.argv.slice(2, 6).map(Number) as [number, number, number, number];
const [program = "", ...words] = process.argv.slice(6);

leaveSignals();
watchLife(life);
const teller = new Teller(tell, abandon);
const output = new ProgramOutput();
const kernel = new KernelWindow(kernelSources(log));
const state = freshState();
if (kernel.taintBefore !== undefined) state.taint = String(kernel.taintBefore);
teller.state(state);
setInterval(() => kernel.poll(), KERNEL_POLL_MS).unref();

const show = (line: { result: ResultType; file: string; line: number; text: string; ends?: boolean }) => {
  count(state.counters, line.result);
  teller.state(state);
  output.show({ type: "line", ...line });
};
const say = ({ result, text }: { result: ResultType; text: string }) => show({ result, ...callerOf(say), text });

const argv = words.filter((word) => word !== "--trace");
const failure = startRecord({
  ...(flight >= 0 && { fd: flight }),
  ...(argv.length < words.length && { traceFd: process.stderr.fd }),
});
if (failure) output.show({ type: "raw", text: `${failure.message}; nothing is recorded` });
async function run(): Promise<number> {
  const testcase = await programs.get(program)?.load();
  if (!testcase) throw new Error(`no program named ${program}`);
  const { summary } = await execute(
    testcase,
    { argv, env: process.env },
    {
      line: show,
      raw: (text) => output.show({ type: "raw", text }),
      data: () => {},
      progress: () => {},
      permit: (rule, because) => {
        state.permitted[rule] = because;
        teller.state(state);
        kernel.hear({ type: "permit", rule, because });
      },
      legacy: (id) => {
        state.legacy = id;
        teller.state(state);
        output.show({ type: "legacy", id });
      },
      deadline: (seconds, over) => teller.deadline(seconds, over ? "while its directory was removed" : undefined),
      directory: (directory) => {
        mustRemove(directory);
        state.directory = directory;
        teller.state(state);
        if (directory !== undefined) kernel.hear({ type: "place", directory, pid: process.pid });
      },
    },
  );
  const verdict = verdictOf(state.counters);
  if (verdict !== "TPASS" && verdict !== "TCONF") {
    for (const text of flightLines(queryRecord({ max: KEPT_OPERATIONS }), false)) say({ result: "TINFO", text });
  }
  for (const line of await kernel.end()) say(line);
  const status = output.end(state.counters, summary);
  teller.done(status);
  return status;
}

void run().then(process.exit);
