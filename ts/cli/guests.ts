/** What `--guest` and its companions ask for, checked before anything is fetched; and the scheduler for it. */
import { resolve } from "node:path";
import { DEFAULT_SIZE_BYTES, defaultBacking, deviceBytes } from "../filesystem/provision.js";
import { parseFilesystems, type Variant } from "../filesystem/variants.js";
import { Cache, cacheDirectory } from "../guest/cache.js";
import { type GuestName, type OwnKernel, parseGuests } from "../guest/name.js";
import type { KnownFacts } from "../kernel/known-issues.js";
import { UsageError } from "../plan/usage-error.js";
import type { Flags } from "./flags.js";
import type { RunPlan } from "./system.js";

/** Where nobody says: the filesystems that people use. */
const DEFAULT_FILESYSTEMS = "ext4,xfs,btrfs";

export interface Guests {
  names: GuestName[];
  /** The filesystems of the run, made in the guests. */
  variants: Map<string, Variant>;
  /** As `--filesystems` has them. */
  filesystems: string;
}

/**
 * @returns undefined where the run is on this machine
 * @throws UsageError
 */
export function guestsOf(flags: Flags, cwd: string): Guests | undefined {
  const { guests, kernel, modules, diskIops, filesystems = DEFAULT_FILESYSTEMS } = flags;
  if (guests.length === 0) {
    const given = { "--kernel": kernel, "--modules": modules, "--disk-iops": diskIops };
    for (const [option, value] of Object.entries(given)) {
      if (value !== undefined) throw new UsageError(`${option} is for a guest: add --guest ARCH[-PAGESIZE]`);
    }
    return undefined;
  }
  const names = parseGuests(guests, ownKernel(flags, cwd));
  const refused = {
    "--directory": flags.directory !== undefined,
    "--device": flags.devices.length > 0,
    "--erase": flags.erase.length > 0,
    "--loop-direct-io": flags.loopDirectIo,
  };
  for (const [option, is] of Object.entries(refused)) {
    if (is) throw new UsageError(`${option} is about this machine, and --guest runs in a guest: drop one of them`);
  }
  const variants = parseFilesystems(filesystems);
  for (const variant of variants) deviceBytes(variant, flags.sizeBytes);
  return { names, variants: new Map(variants.map((variant) => [variant.name, variant])), filesystems };
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

/** Guests that can be started. */
export interface PreparedGuests {
  runPlan: RunPlan;
  /** What is known of each before it is up. */
  facts: Map<string, KnownFacts>;
}

/**
 * Fetches and builds what the guests need, and returns the scheduler that runs a plan in them.
 *
 * @throws UsageError that says what is missing
 */
export async function prepareGuests(
  { names, variants, filesystems }: Guests,
  flags: Flags,
  { cwd, env, tell }: { cwd: string; env: NodeJS.ProcessEnv; tell: (text: string) => void },
): Promise<PreparedGuests> {
  const [{ prepareGuest }, { Machine }, { runInGuests }, { calibrate }] = await Promise.all([
    import("../guest/prepare.js"),
    import("../guest/qemu.js"),
    import("../guest/scheduler.js"),
    import("../guest/agent-protocol.js"),
  ]);
  const cache = guestCache(env);
  const disk = diskOf(flags, cwd);
  const prepared = new Map<string, Awaited<ReturnType<typeof prepareGuest>>>();
  for (const name of names) {
    const noted = (text: string) => tell(`${name.text}: ${text}`);
    prepared.set(name.text, await prepareGuest(name, [...variants.values()], "agent", disk, cache, noted));
  }
  const calibrationMs = calibrate();
  const runPlan: RunPlan = (plan, { workers, bail, defaults = {}, timeoutMul, signal }, emit) =>
    runInGuests(
      plan,
      {
        ...{ workers, bail, signal, calibrationMs, tell },
        timeoutMul: timeoutMul ?? (Number(env.LTP_TIMEOUT_MUL) || 1),
        request: {
          filesystems,
          defaults,
          checkEach: flags.verify === "full",
          trace: flags.trace,
          env: ltpVariables(env),
        },
        start: (name) => {
          const options = prepared.get(name)?.machine;
          if (!options) throw new Error(`nobody asked for the guest ${name}`);
          return { machine: new Machine(options), accelerator: options.accelerator };
        },
      },
      emit,
    );
  return { runPlan, facts: new Map([...prepared].map(([name, { facts }]) => [name, facts])) };
}

/** LTP's variables that are about testcases, and not about this machine or this run. */
function ltpVariables(env: NodeJS.ProcessEnv): Record<string, string> {
  const ours = Object.entries(env).filter(
    ([name]) => /^LTP_/.test(name) && !/^LTP_(?:DEV|SINGLE_FS|FORCE_SINGLE_FS|TIMEOUT_MUL)/.test(name),
  );
  return Object.fromEntries(ours.map(([name, value]) => [name, value ?? ""]));
}
