/** Everything that a guest is started from, fetched and built where it is missing. */
import { realpathSync } from "node:fs";
import { join } from "node:path";
import { root as packageRoot } from "../base/package.js";
import type { Variant } from "../filesystem/variants.js";
import type { KnownFacts } from "../kernel/known-issues.js";
import { distributionOf } from "../linux/machine.js";
import { addonFor } from "./addon.js";
import type { Tell } from "./apt.js";
import { ago, type Cache, daysSince, OLD_DAYS } from "./cache.js";
import { initramfs, PACKAGE_MOUNT, type Purpose } from "./init.js";
import { kernelFor } from "./kernel.js";
import { modulesFor, modulesInOrder } from "./modules.js";
import type { GuestName } from "./name.js";
import { chooseAccelerator, type DiskOptions, findQemu, type MachineOptions, MEMORY_BYTES } from "./qemu.js";
import { isHost, rootFor } from "./root.js";

export interface PreparedGuest {
  /** What a `VirtualMachine` is made from. */
  machine: MachineOptions;
  /** What is known of it before it is up. */
  facts: KnownFacts;
}

/**
 * Has everything that a guest needs, and keeps it from being taken away while this process lives.
 *
 * @param variants the filesystems that the guest's kernel must have
 * @param fetched what of the cache is taken for the kernel, the root and the verdict about KVM: all, unless it is `renewed`
 * @throws UsageError that says what is missing and what brings it
 */
export async function prepareGuest(
  name: GuestName,
  variants: readonly Variant[],
  purpose: "agent" | "shell",
  disk: DiskOptions,
  cache: Cache,
  tell: Tell,
  fetched = cache,
): Promise<PreparedGuest> {
  const { architecture } = name;
  findQemu(architecture);
  cache.use();
  const kernel = await kernelFor(name, fetched, tell);
  const root = await rootFor(architecture, fetched, tell);
  for (const text of oldNote(name, kernel.time, isHost(architecture) ? undefined : root.time)) tell(text);
  const addon = await addonFor(architecture, cache, tell);
  const boot = { kernel: kernel.image, busybox: root.busybox };
  const accelerator = await chooseAccelerator(architecture, boot, fetched, tell);
  const { modules } = await modulesInOrder(kernel.modules, modulesFor(variants, kernel.modules));
  const inGuest = (...path: string[]) => join(PACKAGE_MOUNT, ...path);
  const does: Purpose =
    purpose === "agent"
      ? { is: "agent", node: root.node, path: inGuest("dist", "agent-main.cjs") }
      : { is: "shell", bin: inGuest("bin") };
  const machine: MachineOptions = {
    architecture,
    accelerator,
    kernel: kernel.image,
    initramfs: initramfs({ busybox: root.busybox, modules, purpose: does, addon, config: kernel.config }),
    root: root.directory,
    package: realpathSync(packageRoot),
    memoryBytes: MEMORY_BYTES,
    disk,
    interactive: purpose === "shell",
  };
  const facts = {
    machine: architecture.uname,
    ...(kernel.release !== undefined && { kernel: kernel.release }),
    ...distributionOf(root.directory),
  };
  return { machine, facts };
}

/** What is told of a kernel or root that is old: a bug that is looked for may long be mended, or not be there yet. */
export function oldNote({ text }: GuestName, kernel: string | undefined, root: string | undefined): string[] {
  return Object.entries({ kernel, root }).flatMap(([what, time]) => {
    // Not fetched: the user's own, or the host's.
    if (time === undefined || daysSince(time) < OLD_DAYS) return [];
    const remedy = `\`aiodio-ltp guest prepare ${text} --refresh\` brings today's`;
    return [`its ${what} was fetched ${ago(daysSince(time))}: ${remedy}`];
  });
}
