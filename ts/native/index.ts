/**
 * The addon, typed. Workloads run on one of Node's worker threads, facts are told at once; both are asked for by name, with
 * options and answers as JSON, whose types are made from the core's (`types.ts`).
 */
import * as addon from "#addon";
import type { Extent, Facts, RecordQuery, StorageInfo, Workloads } from "./types.js";

export type * from "./types.js";
export const { becomeProgram, lockFile } = addon;

/** What is asked: seeds are bigints, which JSON does not have. */
function encode(options: unknown): string {
  return JSON.stringify(options, (_, value) => (typeof value === "bigint" ? { $bigint: String(value) } : value));
}

/** What is answered: what is not there is undefined; bigints and bytes are objects with one key. */
function decode<T>(text: string): T {
  return JSON.parse(text, (key, value) => {
    if (value === null) return key === "" ? null : undefined;
    if (typeof value !== "object") return value;
    if ("$bigint" in value) return BigInt(value.$bigint);
    if ("$hex" in value) return Buffer.from(value.$hex, "hex");
    // Number and name of an error, side by side.
    return typeof value.errno === "object" ? { ...value, ...value.errno } : value;
  });
}

/**
 * Runs a workload; `progress` is told how much is done, in units of the workload's own.
 *
 * @throws Error which option is wrong, or that the core has panicked
 */
export async function call<W extends keyof Workloads>(
  workload: W,
  options: Workloads[W]["options"],
  progress?: (done: number) => void,
): Promise<Workloads[W]["outcome"]> {
  return decode(await addon.call(workload, encode(options), progress));
}

/** @throws Error which option is wrong, or why there is no such fact here */
function ask<F extends keyof Facts>(fact: F, options: Facts[F]["options"]): Facts[F]["outcome"] {
  return decode(addon.ask(fact, encode(options)));
}

/** What the kernel allows this process. */
export const limits = () => ask("limits", null);

/** What a directory lies on. Takes microseconds. */
export const storageInfo = (directory: string): StorageInfo => ask("storage", directory);

/** Why the file cannot be opened, or made, with `O_DIRECT`; null when it can. */
export const probeDirect = (path: string) => ask("probe-direct", path);

/**
 * Whether a file of `bytes` bytes finds room in a directory's filesystem: it is allocated and freed again. False also where
 * the filesystem can't allocate beforehand.
 */
export const hasRoom = (directory: string, bytes: number) => ask("has-room", [directory, bytes]);

/** The extents that touch a range of a file, as they are now, up to `max`; null where the filesystem can't tell. */
export const fileExtents = (path: string, offset: number, bytes: number, max: number): Extent[] | null =>
  ask("extents", [path, offset, bytes, max]);

/** Forgets what workloads have found that their files should be; the numbers are used again. */
export const forgetExpectations = () => ask("forget-expectations", null);

/** The most workers of "fork-dma" that each have a page of what is read in one go. */
export const forkDmaWorkersMax = () => ask("fork-dma-workers-max", null);

/** All races of the workload "races". */
export const raceTable = () => ask("races", null);

/** The file number in the stamps that free space is filled with before a test. */
export const STALE_DISK_FILE = ask("stale-disk-file", null);

/**
 * Begins a new record, for all workloads from now on; null when it has begun. `fd`: an open file to record into, which stays
 * the caller's; by default memory that goes with this process. `traceFd`: where to print each operation when it completes.
 */
export const startRecord = ({ fd, traceFd }: { fd?: number; traceFd?: number }) =>
  decode<Facts["mount"]["outcome"]>(addon.startRecord(fd, traceFd));

/** Asks a record. */
export const queryRecord = (query: RecordQuery) => ask("query-record", query);

/** Attaches a nameless file to a loop device that clears itself when its last user is gone. */
export const attachLoop = (options: Facts["attach-loop"]["options"]) => ask("attach-loop", options);

/** `mount(2)`; null when it is mounted. */
export const mountFilesystem = (options: Facts["mount"]["options"]) => ask("mount", options);

/** `umount2(2)`, which waits so many milliseconds for the last users to go; null when it is unmounted. */
export const unmountFilesystem = (target: string, patienceMilliseconds: number) =>
  ask("unmount", [target, patienceMilliseconds]);

/** Writes back and forgets what the page cache holds of a block device that is not mounted; null when it is done. */
export const flushDevice = (device: string) => ask("flush-device", device);

/** Starts a fault filesystem's server in this process, which must have no other task; null when it serves. */
export const serveFaultfs = (options: Facts["serve-faultfs"]["options"]) => ask("serve-faultfs", options);

/** Mounts what the server with that socket serves, in this mount namespace, which the server must not be in; null when it is mounted. */
export const mountFaultfs = (control: string, target: string) => ask("mount-faultfs", [control, target]);

/** Replaces a server's rules, whose counting starts anew; null when it is done. */
export const setFaultRules = (control: string, rules: string[]) => ask("set-fault-rules", [control, rules]);

/** What a server's rules have done since they were set. */
export const faultsFired = (control: string) => ask("faults-fired", control);

/** Why a text is no fault rule; null when it is one. */
export const checkFaultRule = (rule: string) => ask("check-fault-rule", rule);

/** Every fault that there is. */
export const faultTable = () => ask("fault-table", null);
