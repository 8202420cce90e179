/** `aiodio-ltp guest list|prepare|shell|clean`. */
import { existsSync } from "node:fs";
import { UsageError } from "../base/errors.js";
import { packaged } from "../base/package.js";
import { didYouMean } from "../base/suggest.js";
import { parseFilesystems } from "../filesystem/variants.js";
import { addonEntry } from "../guest/addon.js";
import { ARCHITECTURES } from "../guest/architectures.js";
import { ago, type Cache, daysSince, OLD_DAYS } from "../guest/cache.js";
import { kernelEntry } from "../guest/kernel.js";
import { type GuestName, parseGuest, parseGuests, SUITES } from "../guest/name.js";
import { knownVerdict } from "../guest/qemu.js";
import { isHost, rootEntries } from "../guest/root.js";
import { runTool } from "../process/run.js";
import type { Flags } from "./flags.js";
import { diskOf, guestCache, ownKernel } from "./guests.js";
import type { System } from "./system.js";

const ACTIONS = ["list", "prepare", "shell", "clean"] as const;

export async function guest(flags: Flags, operands: readonly string[], system: System): Promise<number> {
  const [word = "list", ...names] = operands;
  const action = ACTIONS.find((candidate) => candidate === word);
  if (!action) throw new UsageError(`guest: no "${word}"${didYouMean(word, ACTIONS)}: choose ${ACTIONS.join(", ")}`);
  if (flags.refresh && action !== "prepare")
    throw new UsageError(`guest ${action}: --refresh is for \`guest prepare\``);
  const cache = guestCache(system.env);
  if (action === "list" || action === "clean") {
    if (names.length > 0) throw new UsageError(`guest ${action} takes no names: drop ${names.join(" ")}`);
    if (action === "list") system.terminal.out(listText(cache));
    else cache.clear();
    return 0;
  }
  const guests = parseGuests([...flags.guests, ...names], ownKernel(flags, system.cwd));
  if (guests.length === 0) throw new UsageError(`guest ${action}: name a guest, for example ppc64le-64k:bookworm`);
  const variants = parseFilesystems(flags.filesystems ?? "ext4,xfs,btrfs");
  const disk = diskOf(flags, system.cwd);
  const { prepareGuest } = await import("../guest/prepare.js");
  const tell = (name: GuestName) => (text: string) => system.terminal.err(`${name.text}: ${text}\n`);
  if (action === "prepare") {
    if (flags.refresh) cache.refuseWhileUsed("guest prepare --refresh");
    const fetched = flags.refresh ? cache.renewed() : cache;
    for (const name of guests) {
      await prepareGuest(name, variants, "agent", disk, cache, tell(name), fetched);
      tell(name)("ready");
    }
    return 0;
  }
  const [only, ...others] = guests;
  if (!only || others.length > 0) throw new UsageError("guest shell: name one guest");
  const { machine } = await prepareGuest(only, variants, "shell", disk, cache, tell(only));
  const { VirtualMachine } = await import("../guest/qemu.js");
  // On a terminal of its own settings the guest would see every Ctrl-C, which belongs to its shell.
  // aiodio-exec is this machine's.
  const single = isHost(only.architecture) ? ", or one testcase with aiodio-ltp.js exec aiocp" : "";
  system.terminal.err(
    `${only.text}: disks are /dev/vda (sectors of 512) and /dev/vdb (4096); run lines with aiodio-ltp.js FILE${single}; Ctrl-A X ends the guest\n`,
  );
  const { code } = await new VirtualMachine(machine).end;
  const { output } = await runTool("stty", ["sane"], undefined, { stdin: 0 });
  if (output !== "") system.terminal.err(`${output}\n`);
  return code ?? 3;
}

/** What there is, and what of it needs no network any more. */
function listText(cache: Cache): string {
  const lines = ARCHITECTURES.map((architecture) => {
    const sizes = Object.keys(architecture.pageSizes).map((size) => `${architecture.name}-${size}`);
    return `  ${sizes.join(", ")}${isHost(architecture) ? " (this machine's own root)" : ""}\n`;
  });
  const kept = ARCHITECTURES.flatMap((architecture) =>
    Object.keys(architecture.pageSizes).flatMap((size) =>
      SUITES.map((suite) => parseGuest(`${architecture.name}-${size}:${suite}`)).filter((name) => isKept(name, cache)),
    ),
  );
  const width = Math.max(...kept.map(({ text }) => text.length));
  const ready = kept.map((name) => `  ${name.text.padEnd(width)}  ${keptText(name, cache)}\n`).join("");
  const kvm = knownVerdict(cache);
  return [
    `Guests (--guest ARCH[-PAGESIZE][:SUITE]):\n${lines.join("")}`,
    `Suites of their kernels:\n  ${SUITES.join(", ")}\n`,
    `Ready without network, in ${cache.directory}:\n${ready || "  none yet\n"}`,
    ...(kvm ? [`KVM:\n  ${kvm.accelerator === "kvm" ? "works" : "does not work"}, tried ${age(kvm.time)}\n`] : []),
  ].join("\n");
}

/** `6.1.0-50-amd64, fetched 3 days ago`. */
function keptText(name: GuestName, cache: Cache): string {
  const kernel = cache.manifest(kernelEntry(name) ?? "");
  return `${kernel?.facts.release ?? "kernel"}, fetched ${age(kernel?.time)}`;
}

function age(time: string | undefined): string {
  const days = daysSince(time);
  return `${ago(days)}${days >= OLD_DAYS ? " (old: `guest prepare NAME --refresh`)" : ""}`;
}

function isKept(name: GuestName, cache: Cache): boolean {
  const { architecture } = name;
  // Without the sources the addon is installed as a package, or it is not.
  const built = !isHost(architecture) && existsSync(packaged("Cargo.toml"));
  const has = (entry: string | undefined) => entry === undefined || cache.manifest(entry) !== undefined;
  return has(kernelEntry(name)) && rootEntries(architecture).some(has) && (!built || has(addonEntry(architecture)));
}
