/**
 * What is left to do for a testcase that is a command of its own (`command-main.ts`) and whose process did not come to its end: says
 * what became of it, removes its directory, judges what the kernel said, and prints the Summary.
 *
 * `aiodio-exec` starts it. Its arguments are the descriptors of `command-main.ts`, of the kernel's log where the testcase began (-1 for
 * none), the process's number, how it ended (`signal N`, `exit N`, or `killed 1`, `killed 0` where it could not be), and its last state.
 */
import { constants } from "node:os";
import { callerOf } from "../base/location.js";
import { surroundingSeconds } from "../base/timing.js";
import { count, type ResultType } from "../events/events.js";
import { sessionStacks } from "../linux/stacks.js";
import { ProgramOutput } from "../report/program-output.js";
import { type CommandState, freshState, Teller } from "./command-protocol.js";
import { WORDS_OF_KILL, wordsOfDeath, wordsOfUnkillable } from "./ending.js";
import { flightLines, readFlight } from "./flight.js";
import { KernelWindow, kernelSources } from "./kernel-window.js";
import { leaveSignals } from "./orphan.js";
import { endForSure, removeLeftover, stopForSure } from "./supervise.js";
import { Worker } from "./worker.js";

const [, , , tell = "", flight = "", log = "", pid = "", how, number = "", last = ""] = process.argv;

leaveSignals();
// Nobody listens any more: what is begun here is brought to its end all the same.
const teller = new Teller(Number(tell), () => process.exit());
const { counters, legacy, directory, permitted, taint }: CommandState = last === "" ? freshState() : JSON.parse(last);
const output = new ProgramOutput();
if (legacy !== undefined) output.show({ type: "legacy", id: legacy });

const raw = (text: string) => output.show({ type: "raw", text });
const say = ({ result, text }: { result: ResultType; text: string }) => {
  count(counters, result);
  output.show({ type: "line", result, ...callerOf(say), text });
};

const killed = how !== "killed" || number === "1";

async function run(): Promise<number> {
  if (how === "exit") say({ result: "TBROK", text: wordsOfDeath({ code: Number(number), signal: null }) });
  else if (how === "signal")
    say({ result: "TBROK", text: wordsOfDeath({ code: null, signal: signalName(Number(number)) }) });
  else if (killed) for (const [result, text] of WORDS_OF_KILL) say({ result, text });
  else {
    for (const text of wordsOfUnkillable(sessionStacks(Number(pid)))) raw(text);
    counters.failed += 1;
  }
  if (Number(flight) >= 0) {
    for (const text of flightLines(await readFlight(Number(flight)), true)) say({ result: "TINFO", text });
  }
  // What can't be killed still uses its directory.
  if (killed && directory !== undefined) await removeDirectory(directory);

  const kernel = new KernelWindow({
    ...kernelSources(Number(log)),
    ...(taint !== undefined && { taintBefore: BigInt(taint) }),
  });
  if (directory !== undefined) kernel.hear({ type: "place", directory, pid: Number(pid) });
  for (const [rule, because] of Object.entries(permitted)) kernel.hear({ type: "permit", rule, because });
  for (const line of await kernel.end()) say(line);
  const status = output.end(counters, killed);
  teller.done(status);
  return status;
}

function signalName(signal: number): NodeJS.Signals {
  const known = Object.entries(constants.signals).find(([, value]) => value === signal);
  return (known?.[0] ?? `signal ${signal}`) as NodeJS.Signals;
}

/** By a process of its own, which may hang in the kernel without this one. */
async function removeDirectory(path: string): Promise<void> {
  const worker = new Worker(process.env);
  const removal = await removeLeftover(worker, path, surroundingSeconds(process.env));
  if (removal.error !== undefined) say({ result: "TWARN", text: removal.error });
  for (const text of removal.stacks) raw(text);
  const gone = removal.hung ? await stopForSure(worker) : await endForSure(worker);
  if (!gone) worker.abandon();
}

void run().then(process.exit);
