/** Real devices (`--device /dev/X --erase`): everything that must be true before one is formatted. */
import { closeSync, constants, openSync, readlinkSync, realpathSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { reasonOf, UsageError } from "../base/errors.js";
import { namesIn, textOf } from "../base/files.js";
import { formatBytes } from "../base/numbers.js";
import { deviceNumber } from "../linux/devices.js";
import { mountsIn, unescapeMount } from "../linux/mountinfo.js";
import { numbersIn } from "../linux/proc.js";
import { runTool } from "../process/run.js";
import { findTool, missingTool } from "../process/tools.js";

/** A device that may be formatted. */
export interface ClaimedDevice {
  path: string;
  /**
   * What it was when it was claimed: device number, sequence number of the disk (a new one whenever a medium or a backing
   * file comes or goes; Linux 5.15), size, and the disk's world-wide name where it has one.
   */
  identity: string;
  /** Model, size and content, for people. */
  description: string;
}

/** A block device and its partitions; paths in sysfs. */
interface Device {
  path: string;
  /** What the user said to mean it, for messages. */
  named: string;
  sysfs: string;
  /** Names in /dev of its partitions. */
  partitions: string[];
  /** `major:minor` of itself and its partitions. */
  numbers: Set<string>;
}

/**
 * Makes sure that a device may be formatted, and changes nothing.
 *
 * @param erase what the user gave `--erase`: devices by name, and "" where it stood alone, which is enough for a device
 *   that is blank and was named by an option
 * @param variable the environment variable that names the device, where no option does
 * @throws UsageError that says why not, and what would be destroyed
 */
export async function claimDevice(path: string, erase: readonly string[], variable?: string): Promise<ClaimedDevice> {
  const option = variable === undefined ? `--device ${path}` : `${variable}=${path}`;
  if (process.geteuid?.() !== 0) throw new UsageError(`${option} needs root: run it with sudo`);
  const device = findDevice(path, option);
  refuseIfUsed(device);
  const content = await contentOf(device);
  const named = erase.some((name) => name !== "" && isSame(name, path));
  if (variable !== undefined && !named) {
    const lost = content.length > 0 ? `, which would destroy ${content.join(", ")}` : "";
    throw new UsageError(
      `${option} asks for the device to be formatted${lost}: say so with --erase=${path}, or unset ${variable} to use loop devices`,
    );
  }
  if (content.length > 0 && !named) {
    throw new UsageError(
      `${path} is not blank: formatting it would destroy ${content.join(", ")}. If that may go, say so with --erase=${path}`,
    );
  }
  if (!named && !erase.includes("")) {
    throw new UsageError(`${option} formats the device, which looks blank: confirm it with --erase`);
  }
  const model = ["device/vendor", "device/model"].map((file) => ofDisk(device, file)).filter(Boolean);
  const about = [...model, content.join(", ") || `blank, ${formatBytes(bytesOf(device))}`];
  return { path, identity: identityOf(device), description: `${path} (${about.join(" ")})` };
}

/** A disk that the program has made itself, for a guest: nobody has to be asked. */
export function ownDevice(path: string): ClaimedDevice {
  return { path, identity: identityOf(findDevice(path, path)), description: path };
}

/**
 * Whether the path still means the device that was claimed: a disk that was unplugged leaves its name to the next one.
 * Ask before each format.
 *
 * @returns a sentence where it does not
 */
export function changedDevice({ path, identity }: ClaimedDevice): string | undefined {
  let now: string;
  try {
    now = identityOf(findDevice(path, path));
  } catch (error) {
    return `${path} is gone, or no longer what it was, and is not formatted: ${(error as Error).message}`;
  }
  if (now === identity) return undefined;
  return `${path} is another device than at the start of the run (${now}; it was ${identity}), and is not formatted`;
}

function identityOf(device: Device): string {
  const facts = {
    number: deviceNumber(device.path),
    diskseq: ofDisk(device, "diskseq"),
    bytes: String(bytesOf(device)),
    wwid: ofDisk(device, "wwid") ?? ofDisk(device, "device/wwid"),
  };
  return Object.entries(facts)
    .flatMap(([name, value]) => (value === undefined ? [] : [`${name} ${value}`]))
    .join(", ");
}

/** A file of the disk's directory in sysfs, which a partition's lies in. */
function ofDisk({ sysfs }: Device, file: string): string | undefined {
  return textOf(join(sysfs, file)) ?? textOf(join(sysfs, "..", file));
}

function bytesOf({ sysfs }: Device): number {
  return Number(textOf(join(sysfs, "size")) ?? 0) * 512;
}

/**
 * Makes sure that devices may be formatted at the same time, each by another worker.
 *
 * @throws UsageError where two of them are one, by whatever names, or one is a partition of the other
 */
export function refuseSharing(paths: readonly string[]): void {
  const devices = paths.map((path) => findDevice(path, `--device ${path}`));
  for (const [index, one] of devices.entries()) {
    for (const other of devices.slice(0, index)) {
      if (![...one.numbers].some((number) => other.numbers.has(number))) continue;
      throw new UsageError(
        `--device ${other.path} and --device ${one.path} have the same blocks: name each device once`,
      );
    }
  }
}

/** Size in bytes. @throws UsageError where there is no such device */
export function bytesOfDevice(path: string): number {
  return bytesOf(findDevice(path, `--device ${path}`));
}

/** Logical sector size in bytes. */
export function sectorBytesOf(path: string): number {
  return Number(ofDisk(findDevice(path, `--device ${path}`), "queue/logical_block_size") ?? 512);
}

function isSame(a: string, b: string): boolean {
  const number = deviceNumber(a);
  return number !== undefined && number === deviceNumber(b);
}

function findDevice(path: string, named: string): Device {
  let stat: ReturnType<typeof statSync>;
  try {
    stat = statSync(path);
  } catch (error) {
    throw new UsageError(`${named}: there is no such device: ${reasonOf(error)}`);
  }
  if (stat?.isDirectory()) {
    throw new UsageError(`${named} is a directory: to run there use -d, to put filesystems there --backing`);
  }
  if (!stat?.isBlockDevice()) {
    throw new UsageError(`${named} is not a block device: give one like /dev/sdb or /dev/nvme1n1`);
  }
  const number = deviceNumber(path) ?? "";
  let sysfs: string;
  try {
    sysfs = realpathSync(`/sys/dev/block/${number}`);
  } catch {
    throw new UsageError(`${named}: the kernel knows no block device ${number}`);
  }
  const partitions = namesIn(sysfs).filter((name) => textOf(join(sysfs, name, "partition")) !== undefined);
  const numbers = [number, ...partitions.map((name) => textOf(join(sysfs, name, "dev")) ?? "")];
  return { path, named, sysfs, partitions, numbers: new Set(numbers) };
}

/** @throws UsageError */
function refuseIfUsed({ path, named, sysfs, partitions, numbers }: Device): void {
  if (textOf(join(sysfs, "size")) === "0") throw new UsageError(`${named} has no medium: its size is 0`);
  if (textOf(join(sysfs, "ro")) === "1") throw new UsageError(`${named} is read-only`);
  const mounted = mountOf(numbers);
  if (mounted !== undefined) throw new UsageError(`${named} is mounted at ${mounted}: unmount it first`);
  const swap = (textOf("/proc/swaps") ?? "").split("\n").slice(1);
  for (const [name = ""] of swap.map((line) => line.split(/\s/))) {
    if (numbers.has(deviceNumber(unescapeMount(name)) ?? "")) {
      throw new UsageError(`${named} is used as swap (${name}): run swapoff first`);
    }
  }
  for (const part of ["", ...partitions]) {
    const [holder] = namesIn(join(sysfs, part, "holders"));
    if (holder !== undefined) {
      throw new UsageError(`${named} is used by ${holder} (device mapper, RAID or such): remove that first`);
    }
  }
  try {
    closeSync(openSync(path, constants.O_RDWR | constants.O_EXCL));
  } catch (error) {
    const reason = reasonOf(error);
    const why = reason === "EBUSY" ? "something else uses it (EBUSY), perhaps a filesystem of several devices" : reason;
    throw new UsageError(`${named} cannot be had alone: ${why}`);
  }
}

/** Where one of these devices is mounted, in any mount namespace that can be seen. */
function mountOf(numbers: ReadonlySet<string>): string | undefined {
  const namespaces = new Set<string>();
  for (const pid of numbersIn("/proc")) {
    try {
      const namespace = readlinkSync(`/proc/${pid}/ns/mnt`);
      if (namespaces.has(namespace)) continue;
      namespaces.add(namespace);
    } catch {
      continue; // The process is gone.
    }
    for (const { number, point, source } of mountsIn(`/proc/${pid}/mountinfo`)) {
      // btrfs has device numbers of its own; its source is one of its devices.
      if (!numbers.has(number) && !numbers.has(deviceNumber(source) ?? "")) continue;
      return namespaces.size === 1 ? point : `${point} (of process ${pid}: ${textOf(`/proc/${pid}/comm`) ?? "?"})`;
    }
  }
  return undefined;
}

/** What formatting would destroy; empty for a blank device. */
async function contentOf(device: Device): Promise<string[]> {
  if (findTool("wipefs") === undefined) return [`what it holds, which is unknown: ${missingTool("wipefs")}`];
  const { wipefsOutput } = await import("./wipefs.js");
  const { path, partitions } = device;
  const found: string[] = [];
  for (const node of [path, ...partitions.map((name) => join("/dev", basename(name)))]) {
    const { exit, output } = await runTool("wipefs", ["--no-act", "--json", node]);
    if (exit !== 0) {
      found.push(`what ${node} holds, which is unknown: wipefs says ${output}`);
    } else if (output !== "") {
      const parsed = wipefsOutput.safeParse(jsonOf(output));
      if (!parsed.success) found.push(`what ${node} holds, which is unknown: wipefs says ${output}`);
      for (const { type, label, uuid } of parsed.data?.signatures ?? []) {
        const names = [label && `label "${label}"`, uuid && `UUID ${uuid}`].filter(Boolean).join(", ");
        const text = `${type}${names === "" ? "" : ` (${names})`} on ${node}`;
        // Several copies of one signature, as GPT and btrfs have, are one content.
        if (!found.includes(text)) found.push(text);
      }
    }
  }
  return found.length === 0 ? [] : [`${found.join(", ")} (${formatBytes(bytesOf(device))})`];
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
