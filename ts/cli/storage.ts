/** What `--filesystems` and its companions ask for, checked before the first filesystem is made. */
import { resolve } from "node:path";
import { UsageError } from "../base/errors.js";
import { type ClaimedDevice, claimDevice, refuseSharing } from "../filesystem/device.js";
import { KeeperError } from "../filesystem/keeper-process.js";
import { DEFAULT_SIZE_BYTES, defaultBacking, deviceBytes, Filesystem } from "../filesystem/provision.js";
import { ltpFilesystems, parseFilesystems, type Variant } from "../filesystem/variants.js";
import type { Storage } from "../run/scheduler.js";
import type { Flags } from "./flags.js";

/**
 * @returns undefined where the run is to work in a directory
 * @throws UsageError
 */
export async function storageOf(flags: Flags, cwd: string, env: NodeJS.ProcessEnv): Promise<Storage | undefined> {
  if (flags.filesystems === undefined && flags.devices.length === 0) {
    refuseCompanions(flags);
    return undefined;
  }
  if (process.geteuid?.() !== 0) throw new UsageError("--filesystems and --device need root: run it with sudo");
  const ltp = ltpFilesystems(env);
  const variants = chosenVariants(flags.filesystems ?? ltp.defaultFamily, ltp.onlyFamily);
  const devices: ClaimedDevice[] = [];
  for (const path of flags.devices) devices.push(await claimDevice(path, flags.erase));
  refuseSharing(flags.devices);
  // LTP formats the device that LTP_DEV names without another question; a shell's environment may be an old one.
  if (devices.length === 0 && ltp.device !== undefined) {
    devices.push(await claimDevice(ltp.device, flags.erase, "LTP_DEV"));
  }
  if (devices.length === 0 && flags.erase.length > 0)
    throw new UsageError("--erase confirms --device: name the device");

  const sizeBytes = flags.sizeBytes ?? DEFAULT_SIZE_BYTES;
  if (devices.length === 0) for (const variant of variants) deviceBytes(variant, sizeBytes);
  return {
    variants: new Map(variants.map((variant) => [variant.name, variant])),
    provision: {
      backing: flags.backing === undefined ? defaultBacking(sizeBytes) : resolve(cwd, flags.backing),
      sizeBytes,
      directIo: flags.loopDirectIo,
    },
    devices,
    checkEach: flags.verify === "full",
  };
}

/**
 * Makes each filesystem for which the user has written settings of mkfs or mount, on a loop device and for nothing else
 * than to hear whether they are accepted.
 *
 * @throws UsageError with the words of mkfs or the kernel
 */
export async function refuseBadSettings({ variants, provision }: Storage): Promise<void> {
  for (const variant of [...variants.values()].filter(({ own }) => own)) {
    const made = await Filesystem.provision(variant, { ...provision, dirtyBytes: 0 }).catch((error: unknown) => {
      // What breaks for another reason will be some testcase's TBROK, if it breaks again.
      if (error instanceof KeeperError) return undefined;
      throw error;
    });
    if (made instanceof Filesystem) await made.release().catch(() => {});
  }
}

function chosenVariants(list: string, only: string | undefined): Variant[] {
  const variants = parseFilesystems(list);
  if (only === undefined) return variants;
  const left = variants.filter(({ family }) => family === only);
  if (left.length === 0) {
    throw new UsageError(
      `LTP_SINGLE_FS_TYPE is ${only}, and --filesystems ${list} has none of it: unset it, or add ${only}`,
    );
  }
  return left;
}

/** @throws UsageError for an option that means nothing without filesystems made for the run */
export function refuseCompanions({ backing, sizeBytes, loopDirectIo, erase, verify }: Flags): void {
  const given = {
    "--backing": backing !== undefined,
    "--size": sizeBytes !== undefined,
    "--loop-direct-io": loopDirectIo,
    "--erase": erase.length > 0,
    [`--verify ${verify}`]: verify === "remount" || verify === "full",
  };
  for (const [option, is] of Object.entries(given)) {
    if (is) throw new UsageError(`${option} is about filesystems made for the run: add --filesystems LIST`);
  }
}
