/** Makes and keeps one filesystem, in the mount namespace of this process. */
import {
  accessSync,
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statfsSync,
  unlinkSync,
} from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import {
  attachLoop,
  call,
  checkFaultRule,
  type FaultReport,
  limits,
  mountFilesystem,
  STALE_DISK_FILE,
  unmountFilesystem,
} from "#native";
import { reasonOf } from "../base/errors.js";
import { formatBytes } from "../base/numbers.js";
import { root } from "../base/package.js";
import type { CheckReport, CheckResult } from "../events/events.js";
import { FaultfsServer } from "../faultfs/server.js";
import { FAULTFS, type Mount, MountError, mountAll, remountAll, unmountAll } from "../linux/mounts.js";
import { runTool } from "../process/run.js";
import { findTool, missingTool } from "../process/tools.js";
import { type CheckLevel, checkUnmounted, mountedChecker } from "./checkers.js";
import { sectorBytesOf } from "./device.js";
import { featureArguments, mkfsFacts } from "./features.js";
import type { Provisioned, Store, ToKeeper } from "./keeper-protocol.js";
import { findMountPoint, MOUNT_POINTS } from "./mount-point.js";
import { BrokenError, refusedByMkfs, refusedByMount, UnavailableError, UnusableError } from "./refusal.js";
import { type Family, familyOf, type Variant } from "./variants.js";

/** btrfs scrub leaves a file for each filesystem here. */
const BTRFS_STATE = "/var/lib/btrfs";
/** The same in every run, so that what is found on a disk explains itself. */
const STALE_STAMPS = { seed: 0n, fileId: STALE_DISK_FILE, generation: 0 };
/** A third of the free space: the rest is for the tests, and for filesystems that copy what they write. */
const DIRTY_SHARE = 3;
/** Lines of mkfs's complaint that are shown; its usage text follows them. */
const MKFS_LINES_SHOWN = 3;
const FUSE_DEVICE = "/dev/fuse";
/** Beside the mount points: where a filesystem that lies is told what to do. */
const CONTROL = "faultfs.control";

type ProvisionRequest = Omit<Extract<ToKeeper, { type: "provision" }>, "type">;

interface Device {
  path: string;
  backing?: string;
  directIo: boolean;
}

export class Keeper {
  private constructor(
    readonly provisioned: Provisioned,
    /** Kernel name of the filesystem on the device. */
    private readonly deviceType: string,
    /** For one run of a checker. */
    private readonly toolSeconds: number,
    /** Of a filesystem that lies. */
    readonly faultfs?: FaultfsServer,
  ) {}

  /**
   * @throws UnavailableError
   * @throws UnusableError
   * @throws MountError
   */
  static async provision(request: ProvisionRequest): Promise<Keeper> {
    const { variant, store, dirtyBytes, toolSeconds } = request;
    const family = familyOf(variant);
    const label = variant.name.replaceAll(/[^\w.-]+/g, "-").slice(0, 64);
    // Nothing else can be written beside the mount points: a test whose filesystem is gone must not go on below it.
    const directories = family.below === undefined ? [label] : [label, `${label}-${family.below}`];
    const base = cover(directories, "backing" in store ? [store.backing] : []);
    probe(family, base);
    if (family.lies && "device" in store) {
      throw new UnusableError(`${variant.family} stores nothing on a device: leave out --device`);
    }
    const device = family.mkfs || family.lies ? openStore(variant, store) : undefined;
    if (family.lies && device) return Keeper.lie(request, device, base, join(base, label));
    if (device) await format(variant, family, device.path, toolSeconds);

    const [target = "", lower = ""] = directories.map((directory) => join(base, directory));
    const own = { target, type: family.kernelName };
    const options = (...words: string[]) => [...family.mount, ...variant.mount, ...words].join(",");
    const mounts: Mount[] = [];
    if (!device) {
      const bytes = "sizeBytes" in store ? [`size=${store.sizeBytes}`] : [];
      mounts.push({ ...own, source: family.kernelName, options: options(...bytes) });
    } else if (family.below === undefined) {
      mounts.push({ ...own, source: device.path, options: options() });
    } else {
      const bottom = { target: lower, type: family.below, source: device.path, options: "" };
      tryMount([bottom], variant, family);
      const [lowerdir, upperdir, workdir] = ["lower", "upper", "work"].map((name) => {
        mkdirSync(join(lower, name));
        return `${name}dir=${join(lower, name)}`;
      });
      unmountAll([bottom]);
      mounts.push(bottom, { ...own, source: "overlay", options: options(`${lowerdir},${upperdir},${workdir}`) });
    }
    tryMount(mounts, variant, family);
    const dirtiedBytes = device ? await dirty(target, dirtyBytes) : 0;
    // What was freed can be used again when that is on the disk, too: after unmounting at the latest.
    if (device) remountAll(mounts);
    return new Keeper(
      {
        directory: target,
        mounts,
        ...(device && { device: device.path }),
        ...(device?.backing !== undefined && { backing: device.backing }),
        directIo: device?.directIo ?? false,
        dirtiedBytes,
      },
      mounts[0]?.type ?? "",
      toolSeconds,
    );
  }

  /** A filesystem of our own, whose server is a process of its own. */
  private static async lie(
    { variant, store, toolSeconds }: ProvisionRequest,
    device: Device,
    base: string,
    directory: string,
  ): Promise<Keeper> {
    const { faults: rules = [] } = variant;
    refuseBadRules(rules);
    const control = join(base, CONTROL);
    const capacityBytes = "sizeBytes" in store ? store.sizeBytes : 0;
    const faultfs = await FaultfsServer.start({ control, device: device.path, capacityBytes, rules });
    const mounts: Mount[] = [{ source: control, target: directory, type: FAULTFS, options: "" }];
    mountAll(mounts);
    const { path, backing, directIo } = device;
    const provisioned = { directory, mounts, device: path, directIo, dirtiedBytes: 0 };
    return new Keeper({ ...provisioned, ...(backing !== undefined && { backing }) }, FAULTFS, toolSeconds, faultfs);
  }

  /** @throws UnusableError when a rule is wrong, or the filesystem does not lie */
  setFaults(rules: readonly string[]): void {
    refuseBadRules(rules);
    this.liar.setRules(rules);
  }

  /** @throws UnusableError when the filesystem does not lie */
  faultsFired(): FaultReport {
    return this.liar.fired();
  }

  private get liar(): FaultfsServer {
    if (!this.faultfs) throw new UnusableError("this filesystem does not lie; faultfs does");
    return this.faultfs;
  }

  /** @throws MountError */
  remount(): void {
    const { device, mounts } = this.provisioned;
    if (device === undefined) throw new UnusableError("tmpfs has no disk: what is unmounted is lost");
    remountAll(mounts);
  }

  /** Unmounts, checks and mounts again. @throws MountError when it is in use */
  async check(level: CheckLevel): Promise<CheckResult> {
    const started = performance.now();
    const { device, mounts } = this.provisioned;
    const seconds = () => (performance.now() - started) / 1000;
    if (device === undefined) return { clean: true, reports: [], note: "tmpfs has no checker", seconds: seconds() };
    // What is checked must be on the disk, and read from there.
    unmountAll(mounts);
    const reports: CheckReport[] = [];
    const mounted = mountedChecker(this.deviceType, level, this.toolSeconds);
    if (mounted && mountFails(mounts) === undefined) {
      reports.push(await mounted(mounts[0]?.target ?? ""));
      unmountAll(mounts);
    }
    reports.push(...(await checkUnmounted(this.deviceType, device, level, this.toolSeconds)));
    const unmountable = mountFails(mounts);
    return {
      clean: unmountable === undefined && reports.every(({ verdict }) => verdict === "clean"),
      reports,
      ...(reports.length === 0 && { note: `${this.deviceType} has no checker` }),
      ...(unmountable !== undefined && { unmountable }),
      seconds: seconds(),
    };
  }

  /** @throws MountError when it is in use */
  release(): void {
    unmountAll(this.provisioned.mounts);
  }
}

/** @throws UnusableError */
function refuseBadRules(rules: readonly string[]): void {
  for (const rule of rules) {
    const reason = checkFaultRule(rule);
    if (reason !== null) throw new UnusableError(reason);
  }
}

/**
 * Makes directories for mount points in a small filesystem in memory, mounted over a directory that nobody misses, so
 * that none is left when the namespace is gone.
 */
function cover(directories: readonly string[], needed: readonly string[]): string {
  // Workers start programs, and may be given files by paths from the user's working directory.
  const { PATH = "", TMPDIR } = process.env;
  const ours = [root, process.execPath, process.cwd(), ...PATH.split(":"), ...(TMPDIR ? [TMPDIR] : []), ...needed];
  const base = findMountPoint(ours);
  if (base === undefined) {
    throw new UnusableError(`To mount on, one of ${MOUNT_POINTS} must exist, with nothing below it that the run needs`);
  }
  const memory = (target: string, options: string) => {
    const failure = mountFilesystem({ source: "aiodio-ltp", target, type: "tmpfs", options });
    if (failure) throw new MountError(failure);
  };
  memory(base, `mode=755,size=64k,nr_inodes=${2 + directories.length}`);
  for (const directory of directories) mkdirSync(join(base, directory));
  if (isDirectory(BTRFS_STATE)) memory(BTRFS_STATE, "mode=755");
  return base;
}

function exists(path: string): boolean {
  try {
    accessSync(path);
    return true;
  } catch {
    return false;
  }
}

function isDirectory(path: string): boolean {
  try {
    readdirSync(path);
    return true;
  } catch {
    return false;
  }
}

/** Looks for what is missing before anything is made. @throws UnavailableError that names all of it */
function probe(family: Family, directory: string): void {
  const missing: string[] = [];
  if (!kernelHas(family.kernelName, directory)) {
    missing.push(`The kernel has no ${family.kernelName}: it needs ${family.kernelOption}`);
  }
  if (family.lies && !exists(FUSE_DEVICE)) {
    missing.push(`There is no ${FUSE_DEVICE}: it needs ${family.kernelOption} (modprobe fuse)`);
  }
  const { mkfs } = family;
  if (mkfs && findTool(mkfs.command) === undefined) missing.push(missingTool(mkfs.command));
  if (missing.length > 0) throw new UnavailableError(missing.join("; "));
}

/** /proc/filesystems shows what is loaded; an attempt to mount makes the kernel load its module. */
function kernelHas(type: string, directory: string): boolean {
  if (readFileSync("/proc/filesystems", "utf8").split(/\s/).includes(type)) return true;
  const failure = mountFilesystem({ source: "/nonexistent", target: directory, type, options: "" });
  if (!failure) unmountFilesystem(directory, 0);
  return failure?.code !== "ENODEV";
}

/** @throws UnusableError, UnavailableError */
function openStore(variant: Variant, store: Store): Device {
  if ("device" in store) return openDevice(variant, store.device);
  const { backing, sizeBytes, directIo } = store;
  const logicalBlockBytes = variant.sectorBytes ?? 512;
  const attached = attachLoop({ directory: backing, bytes: sizeBytes, logicalBlockBytes, directIo });
  if (attached.error || attached.device === undefined) {
    throw new UnusableError(attached.error ? new MountError(attached.error).message : "no loop device");
  }
  return {
    path: attached.device,
    backing: `/proc/${process.pid}/fd/${attached.backingFd}`,
    directIo: attached.directIo === true,
  };
}

/** Once more at the last moment: nobody else may have it. */
function openDevice(variant: Variant, path: string): Device {
  try {
    closeSync(openSync(path, constants.O_RDWR | constants.O_EXCL));
  } catch (error) {
    throw new UnusableError(`${path} cannot be had alone: ${reasonOf(error)}`);
  }
  const sectorBytes = sectorBytesOf(path);
  if (variant.sectorBytes !== undefined && variant.sectorBytes !== sectorBytes) {
    throw new UnavailableError(
      `${path} has sectors of ${formatBytes(sectorBytes)}, and ${variant.name} needs ${formatBytes(variant.sectorBytes)}`,
    );
  }
  return { path, directIo: false };
}

/** @throws with mkfs's own words: by {@link refusedByMkfs}, or BrokenError where it came to no end */
async function format(variant: Variant, family: Family, device: string, limitSeconds: number): Promise<void> {
  const { mkfs } = family;
  if (!mkfs) return;
  const block = variant.blockBytes === undefined ? [] : (mkfs.block?.(variant.blockBytes) ?? []);
  const given = [...block, ...variant.mkfs];
  const features = featureArguments(mkfs.command, release(), given, await mkfsFacts(mkfs.command));
  const args = [...mkfs.args, ...features, ...given, device];
  const { exit, output, hung } = await runTool(mkfs.command, args, limitSeconds);
  if (exit === 0) return;
  if (hung !== undefined) throw new BrokenError(`${mkfs.command} ${args.join(" ")}: ${hung}`);
  const words = output.split("\n").slice(0, MKFS_LINES_SHOWN).join(" / ");
  throw refusedByMkfs(variant, `${mkfs.command} ${args.join(" ")} failed: ${words}`, exit, output);
}

/** Mounts, or says why it can't. */
function mountFails(mounts: readonly Mount[]): string | undefined {
  try {
    mountAll(mounts);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** @throws by {@link refusedByMount}, or MountError where it fails otherwise */
function tryMount(mounts: readonly Mount[], variant: Variant, family: Family): void {
  try {
    mountAll(mounts);
  } catch (error) {
    if (!(error instanceof MountError)) throw error;
    throw refusedByMount(variant, family, error, limits().pageBytes);
  }
}

/** Fills free space with stale stamps and frees it again; returns how many bytes. */
async function dirty(directory: string, bytesMax: number): Promise<number> {
  const { bavail, bsize } = statfsSync(directory);
  const bytes = Math.floor(Math.min(bytesMax, (bavail * bsize) / DIRTY_SHARE) / bsize) * bsize;
  if (bytes === 0) return 0;
  const path = join(directory, ".aiodio-stale");
  const { error } = await call("fill", { path, bytes, key: STALE_STAMPS });
  if (error) throw new MountError(error);
  unlinkSync(path);
  return bytes;
}
