/** `aiodio-ltp agent`: serves a controller on the standard streams; `--host` starts it by ssh. */
import { realpathSync } from "node:fs";
import { UsageError } from "../base/errors.js";
import { type Part, serve } from "../guest/agent.js";
import type { AgentRun } from "../guest/agent-protocol.js";
import { knownDevicesBehind } from "../linux/devices.js";
import { checkDirectory, chosenDirectory } from "./directory.js";
import { parseCommandLine } from "./flags.js";
import { storageOf } from "./storage.js";
import type { System } from "./system.js";

const STDIN = 0;
const STDOUT = 1;

/** Does not return before its controller is gone. */
export function agent(operands: readonly string[], system: System): Promise<never> {
  if (operands.length > 0) throw new UsageError(`agent takes no arguments: drop ${operands.join(" ")}`);
  serve(STDIN, STDOUT, (request) => place(request, system));
  return new Promise(() => {});
}

/** What this machine would run on if it were asked by the same options here. */
async function place({ plan, filesystems, checkEach, place: given = {} }: AgentRun, system: System): Promise<Part[]> {
  const { env, cwd } = system;
  const { flags } = parseCommandLine([]);
  const { sizeBytes, backing, loopDirectIo = false } = given;
  const asked = {
    ...{ ...flags, loopDirectIo },
    ...(filesystems !== undefined && { filesystems }),
    ...(sizeBytes !== undefined && { sizeBytes }),
    ...(backing !== undefined && { backing }),
    ...(checkEach && { verify: "full" as const }),
  };
  // A login's environment may name a device to format; whoever asks from afar has not confirmed it.
  const storage = await storageOf(asked, cwd, { ...env, LTP_DEV: undefined });
  const directory = chosenDirectory(given.directory, env, cwd);
  if (storage) return [{ plan, directory, devices: [], storage }];
  checkDirectory(directory, 1);
  return [{ plan, directory, devices: knownDevicesBehind(realpathSync(directory)) }];
}
