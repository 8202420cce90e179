/** What `--guest`, `--host` and their companions ask for, checked before anything is fetched; the scheduler for it. */
import { isAbsolute, resolve } from "node:path";
import { UsageError } from "../base/errors.js";
import { DEFAULT_SIZE_BYTES, defaultBacking, deviceBytes } from "../filesystem/provision.js";
import { parseFilesystems, type Variant } from "../filesystem/variants.js";
import type { HostSettings } from "../guest/agent-protocol.js";
import { Cache, cacheDirectory } from "../guest/cache.js";
import { checkDestination, type GuestName, type OwnKernel, parseGuests } from "../guest/name.js";
import type { GuestRunOptions } from "../guest/scheduler.js";
import type { KnownFacts } from "../kernel/known-issues.js";
import type { RunPlan } from "../run/scheduler.js";
import type { Flags } from "./flags.js";
import { refuseCompanions } from "./storage.js";

/** Where nobody says: the filesystems that people use. */
const DEFAULT_FILESYSTEMS = "ext4,xfs,btrfs";

/** The machines that a run is on, when that is not this one. */
export interface Elsewhere {
  kind: "guest" | "host";
  /** As the plan has them. */
  names: string[];
  /** What `names` are, where they are guests. */
  guests: GuestName[];
  /** The filesystems of the run, made there; absent: it is in a directory of a host. */
  variants?: Map<string, Variant>;
  /** As `--filesystems` has them. */
  filesystems?: string;
}

/**
 * @returns undefined where the run is on this machine
 * @throws UsageError
 */
export function elsewhereOf(flags: Flags, cwd: string): Elsewhere | undefined {
  const { guests, hosts, kernel, modules, diskIops } = flags;
  if (guests.length === 0) {
    const given = { "--kernel": kernel, "--modules": modules, "--disk-iops": diskIops };
    for (const [option, value] of Object.entries(given)) {
      if (value !== undefined) throw new UsageError(`${option} is for a guest: add --guest ARCH[-PAGESIZE]`);
    }
  }
  if (hosts.length > 0) return hostsOf(flags);
  return guests.length > 0 ? guestsOf(flags, cwd) : undefined;
}

function guestsOf(flags: Flags, cwd: string): Elsewhere {
  const { filesystems = DEFAULT_FILESYSTEMS } = flags;
  const guests = parseGuests(flags.guests, ownKernel(flags, cwd));
  refuse("--guest runs in a guest", {
    "--directory": flags.directory !== undefined,
    "--device": flags.devices.length > 0,
    "--erase": flags.erase.length > 0,
    "--loop-direct-io": flags.loopDirectIo,
  });
  const variants = variantsOf(filesystems, flags);
  return { kind: "guest", names: guests.map(({ text }) => text), guests, variants, filesystems };
}

function hostsOf(flags: Flags): Elsewhere {
  const { directory, backing, filesystems } = flags;
  const names = [...new Set(flags.hosts)].map(checkDestination);
  refuse("--host runs on another", { "--device": flags.devices.length > 0, "--erase": flags.erase.length > 0 });
  if (flags.guests.length > 0) throw new UsageError("--host and --guest are two places: drop one of them");
  if (flags.workers > 1) throw new UsageError("--host runs one line at a time: drop -j");
  for (const [option, path] of Object.entries({ "--directory": directory, "--backing": backing })) {
    if (path !== undefined && !isAbsolute(path)) {
      throw new UsageError(`${option} is on the host, and "${path}" is relative: write an absolute path`);
    }
  }
  if (filesystems === undefined) {
    refuseCompanions(flags);
    return { kind: "host", names, guests: [] };
  }
  return { kind: "host", names, guests: [], variants: variantsOf(filesystems, flags), filesystems };
}

function refuse(why: string, options: Record<string, boolean>): void {
  for (const [option, is] of Object.entries(options)) {
    if (is) throw new UsageError(`${option} is about this machine, and ${why}: drop one of them`);
  }
}

function variantsOf(list: string, { sizeBytes }: Flags): Map<string, Variant> {
  const variants = parseFilesystems(list);
  for (const variant of variants) deviceBytes(variant, sizeBytes);
  return new Map(variants.map((variant) => [variant.name, variant]));
}

export function ownKernel({ kernel, modules }: Flags, cwd: string): OwnKernel | undefined {
  if (kernel === undefined && modules !== undefined) throw new UsageError("--modules belongs to --kernel: add that");
  if (kernel === undefined) return undefined;
  return { kernel: resolve(cwd, kernel), ...(modules !== undefined && { modules: resolve(cwd, modules) }) };
}

export function guestCache(env: NodeJS.ProcessEnv): Cache {
  return new Cache(resolve(cacheDirectory(env), "guest"));
}

/** The disks of a guest. @throws UsageError when there is no room for them */
export function diskOf({ backing, sizeBytes = DEFAULT_SIZE_BYTES, diskIops }: Flags, cwd: string) {
  return {
    backing: backing === undefined ? defaultBacking(sizeBytes) : resolve(cwd, backing),
    bytes: Math.floor(sizeBytes / 65_536) * 65_536,
    ...(diskIops !== undefined && { iops: diskIops }),
  };
}

/** Machines that can be started or reached. */
export interface Prepared {
  runPlan: RunPlan;
  /** What is known of each before the run begins. */
  facts: Map<string, KnownFacts>;
}

interface Around {
  cwd: string;
  env: NodeJS.ProcessEnv;
  tell: (text: string) => void;
}

/**
 * Fetches and builds what guests need, or asks hosts whether they can do it; returns the scheduler that runs a plan
 * there.
 *
 * @throws UsageError that says what is missing
 */
export async function prepareElsewhere(elsewhere: Elsewhere, flags: Flags, around: Around): Promise<Prepared> {
  const [{ runInGuests }, { calibrate }] = await Promise.all([
    import("../guest/scheduler.js"),
    import("../guest/agent-protocol.js"),
  ]);
  const { kind, filesystems } = elsewhere;
  const { env, tell } = around;
  const { facts, start, place } = await (kind === "guest" ? prepareGuests : reachHosts)(elsewhere, flags, around);
  const calibrationMs = calibrate();
  const runPlan: RunPlan = (plan, { workers, bail, defaults = {}, timeoutMul, signal }, emit) =>
    runInGuests(
      plan,
      {
        ...{ workers, bail, signal, calibrationMs, tell, start },
        timeoutMul: timeoutMul ?? (Number(env.LTP_TIMEOUT_MUL) || 1),
        request: {
          ...{ filesystems, defaults, place },
          checkEach: flags.verify === "full",
          trace: flags.trace,
          env: ltpVariables(env),
        },
      },
      emit,
    );
  return { runPlan, facts };
}

type Start = Pick<GuestRunOptions, "start"> & Pick<Prepared, "facts"> & { place?: HostSettings };

async function prepareGuests(
  { guests, variants = new Map() }: Elsewhere,
  flags: Flags,
  { cwd, env, tell }: Around,
): Promise<Start> {
  const [{ prepareGuest }, { VirtualMachine }] = await Promise.all([
    import("../guest/prepare.js"),
    import("../guest/qemu.js"),
  ]);
  const cache = guestCache(env);
  const disk = diskOf(flags, cwd);
  const prepared = new Map<string, Awaited<ReturnType<typeof prepareGuest>>>();
  for (const name of guests) {
    const noted = (text: string) => tell(`${name.text}: ${text}`);
    prepared.set(name.text, await prepareGuest(name, [...variants.values()], "agent", disk, cache, noted));
  }
  return {
    facts: new Map([...prepared].map(([name, { facts }]) => [name, facts])),
    start: (name) => {
      const options = prepared.get(name)?.machine;
      if (!options) throw new Error(`nobody asked for the guest ${name}`);
      return { machine: new VirtualMachine(options), accelerator: options.accelerator };
    },
  };
}

/** A first connection to each shows, before anything runs, that it is there and has the same version. */
async function reachHosts({ names }: Elsewhere, flags: Flags): Promise<Start> {
  const [{ HostMachine }, { BootError, Guest }] = await Promise.all([
    import("../guest/host.js"),
    import("../guest/guest.js"),
  ]);
  const facts: Start["facts"] = new Map();
  for (const name of names) {
    try {
      const host = await Guest.boot(new HostMachine(name), new AbortController().signal);
      facts.set(name, host.facts);
      await host.stop();
    } catch (error) {
      if (error instanceof BootError) throw new UsageError(`--host ${name}: ${error.message}`);
      throw error;
    }
  }
  const { directory, backing, sizeBytes, loopDirectIo } = flags;
  return {
    facts,
    start: (name) => ({ machine: new HostMachine(name) }),
    place: { directory, backing, sizeBytes, loopDirectIo },
  };
}

/** LTP's variables that are about testcases, and not about this machine or this run. */
function ltpVariables(env: NodeJS.ProcessEnv): Record<string, string> {
  const ours = Object.entries(env).filter(
    ([name]) => /^LTP_/.test(name) && !/^LTP_(?:DEV|SINGLE_FS|FORCE_SINGLE_FS|TIMEOUT_MUL)/.test(name),
  );
  return Object.fromEntries(ours.map(([name, value]) => [name, value ?? ""]));
}
