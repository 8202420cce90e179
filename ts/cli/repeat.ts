/** What of the command line matters for running one line of a run again. */
import type { RunStart } from "../events/events.js";
import type { Flags } from "./flags.js";

/**
 * The options, without those that choose among lines, order them or show them. `--erase` is never among them: whoever
 * repeats a run on a device says anew that it may be formatted.
 *
 * @param devices paths of those that are formatted, however they were named
 * @param directory where testcases work; absent where that is not on this machine, or on filesystems made for the run
 */
export function repeatOf(
  flags: Flags,
  devices: readonly string[],
  directory: string | undefined,
  files: Record<string, string>,
): NonNullable<RunStart["repeat"]> {
  const values: [option: string, value: string | number | undefined][] = [
    ["-d", directory ?? flags.directory],
    ["--engine", flags.engine],
    ["--verify", flags.verify],
    ["--timeout-mul", flags.timeoutMul],
    ["--backing", flags.backing],
    ["--size", flags.sizeBytes],
    ...devices.map((device): [string, string] => ["--device", device]),
    ["--kernel", flags.kernel],
    ["--modules", flags.modules],
    ["--disk-iops", flags.diskIops],
  ];
  return {
    options: [
      ...values.flatMap(([option, value]) => (value === undefined ? [] : [option, String(value)])),
      ...(flags.loopDirectIo ? ["--loop-direct-io"] : []),
    ],
    files,
    ...(flags.hosts.length > 0 ? { machines: "--host" } : flags.guests.length > 0 ? { machines: "--guest" } : {}),
  };
}
