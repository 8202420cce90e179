/**
 * The keeper process of one provisioned filesystem. It alone holds the loop device and the mounts, so that nothing is
 * left when it is killed: the backing file has no name, the device clears itself, and the mounts go with the namespace.
 *
 * Started by `provision.ts` in a mount namespace of its own; requests come on descriptor 3, answers go to descriptor 4.
 */
import { Socket } from "node:net";
import { createInterface } from "node:readline";
import { jsonLine, writeAll } from "../base/lines.js";
import { SIGNALS } from "../process/interruption.js";
import { shieldFromOom } from "../process/oom.js";
import { Keeper } from "./keeper.js";
import type { FromKeeper, ToKeeper } from "./keeper-protocol.js";
import { UnavailableError, UnusableError } from "./refusal.js";

const REQUESTS_FD = 3;
const ANSWERS_FD = 4;

// A service manager signals all processes of its group at once: the controller's signal decides, by the stream's end.
for (const signal of SIGNALS) process.on(signal, () => {});
shieldFromOom();

let keeper: Keeper | undefined;

async function answer(request: ToKeeper): Promise<FromKeeper> {
  if (request.type === "provision") {
    keeper = await Keeper.provision(request);
    // What it stored is gone with it.
    void keeper.faultfs?.death.then(() => process.exit(1));
    return { type: "provisioned", ...keeper.provisioned };
  }
  if (!keeper) throw new Error("nothing is provisioned");
  if (request.type === "check") return { type: "checked", result: await keeper.check(request.level) };
  if (request.type === "set-faults") {
    keeper.setFaults(request.rules);
    return { type: "faults-set" };
  }
  if (request.type === "faults-fired") return { type: "faults-fired", report: keeper.faultsFired() };
  keeper.remount();
  return { type: "remounted" };
}

function failure(error: unknown): FromKeeper {
  const { message, stack } = error as Error;
  if (error instanceof UnavailableError) return { type: "unavailable", reason: message };
  const usage = error instanceof UnusableError;
  // A message of ours says enough; anything else is a bug that needs its place.
  const own = usage || (error as Error).constructor !== Error;
  return { type: "failed", message: own ? message : (stack ?? message), usage };
}

let waiting = 0;
let work: Promise<void> = Promise.resolve();
const requests = createInterface({ input: new Socket({ fd: REQUESTS_FD, readable: true, writable: false }) });
requests.on("line", (line) => {
  waiting += 1;
  work = work.then(async () => {
    const message = await answer(JSON.parse(line)).catch(failure);
    waiting -= 1;
    writeAll(ANSWERS_FD, jsonLine(message));
  });
});
requests.on("close", () => {
  // Nobody waits for what is under way: mkfs or a checker dies with this process, the kernel cleans up the rest.
  if (waiting > 0) process.exit(1);
  try {
    keeper?.release();
    process.exit(0);
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    process.exit(1);
  }
});
