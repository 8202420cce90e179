/** The kernel of a guest: Debian's, kept in the cache, or the user's own build. */
import { existsSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { reasonOf, UsageError } from "../base/errors.js";
import { namesIn } from "../base/files.js";
import { Apt, ArchiveError, checksums, firstOf, type Tell, unpack } from "./apt.js";
import type { PageSize } from "./architectures.js";
import type { Cache } from "./cache.js";
import { type ModuleTree, readModuleTree } from "./modules.js";
import type { GuestName, OwnKernel } from "./name.js";

export interface Kernel {
  /** Path of what the emulator loads. */
  image: string;
  modules: ModuleTree;
  /** Path of its configuration, where there is one. */
  config?: string;
  /** What `uname -r` will say, where the package or the modules' directory tell it. */
  release?: string;
  /** When it was fetched, ISO 8601; absent for the user's own. */
  time?: string;
}

/** What of a kernel package stays in the cache: the rest is drivers that no guest has a device for. */
const KEPT = [
  "arch",
  "block",
  "crypto",
  "fs",
  "lib",
  "mm",
  "net/9p",
  "drivers/block",
  "drivers/char",
  "drivers/virtio",
];
const IMAGE = "kernel";
const CONFIG = "config";
const MODULES = "modules";

const NO_MODULES: ModuleTree = { files: new Map(), builtin: new Set() };

/**
 * The kernel of a guest, fetched when it is not in the cache.
 *
 * @throws UsageError when it can't be had
 */
export function kernelFor(name: GuestName, cache: Cache, tell: Tell): Promise<Kernel> {
  return "suite" in name.source ? debianKernel(name, name.source.suite, cache, tell) : ownKernel(name.source);
}

/** Name of a guest's kernel in the cache; undefined for the user's own. */
export function kernelEntry({ architecture, pageSize, source }: GuestName): string | undefined {
  return "suite" in source ? join("kernel", `${architecture.name}-${pageSize}-${source.suite}`) : undefined;
}

async function debianKernel(name: GuestName, suite: string, cache: Cache, tell: Tell): Promise<Kernel> {
  const { architecture, pageSize } = name;
  const flavours = architecture.pageSizes[pageSize]?.flavours ?? [];
  const entry = await cache.entry(kernelEntry(name) ?? "", async (directory) => {
    const work = join(directory, "apt");
    const apt = await Apt.open(work, suite, architecture.debian, tell);
    const known = await apt.names();
    const flavour = flavours.find((one) => known.has(`linux-image-${one}`));
    if (flavour === undefined)
      throw new UsageError(`--guest: ${suite} has no kernel for ${name.text}: choose another suite`);
    const meta = `linux-image-${flavour}`;
    const ofVersion = (needed: string) => /^linux-(?:image|binary|modules)-\d/.test(needed);
    // The archive may list the newest and not hold it, while it still has the one before.
    const fetch = async (version: string) => {
      const packages = await apt.closure([version], ofVersion);
      return apt.download(packages.filter((each) => each !== meta));
    };
    const debs = await firstOf(`the kernel of ${name.text}`, [meta, ...olderKernels(known, flavour)], fetch, tell);
    const tree = join(directory, "tree");
    const fetched = await checksums(debs);
    await unpack(debs, tree);
    const { release } = takeKernel(tree, directory);
    checkPageSize(name, join(directory, CONFIG));
    rmSync(work, { recursive: true });
    rmSync(tree, { recursive: true });
    return { check: [IMAGE], fetched, facts: { release } };
  });
  return {
    image: join(entry.directory, IMAGE),
    modules: readModuleTree(join(entry.directory, MODULES)),
    // Debian's packages hold none since 6.19.
    ...(existsSync(join(entry.directory, CONFIG)) && { config: join(entry.directory, CONFIG) }),
    ...(entry.manifest.facts.release !== undefined && { release: entry.manifest.facts.release }),
    time: entry.manifest.time,
  };
}

/** Kernels of this flavour that a suite lists beside the one that its metapackage means, newest first. */
export function olderKernels(names: Iterable<string>, flavour: string): string[] {
  const image = new RegExp(`^linux-image-\\d.*-${flavour}$`);
  // Debug packages end otherwise; `-64k` must not be taken for the plain flavour.
  const byVersion = new Intl.Collator("en", { numeric: true });
  return [...names].filter((name) => image.test(name)).sort((a, b) => byVersion.compare(b, a));
}

/** Takes the image, the configuration and the useful modules out of unpacked packages. */
function takeKernel(tree: string, to: string): { release: string } {
  const roots = ["lib/modules", "usr/lib/modules"].map((path) => join(tree, path));
  const [base = ""] = roots.flatMap((root) => namesIn(root).map((release) => join(root, release)));
  const release = base.slice(base.lastIndexOf("/") + 1);
  const boot = namesIn(join(tree, "boot"));
  const inBoot = (pattern: RegExp) => {
    const name = boot.find((each) => pattern.test(each));
    return name === undefined ? undefined : join(tree, "boot", name);
  };
  // Since 6.19 the image lies among the modules.
  const image = inBoot(/^vmlinu[xz]-/) ?? [join(base, "vmlinuz"), join(base, "vmlinux")].find(existsSync);
  if (image === undefined || release === "") throw new ArchiveError("the packages of the kernel hold none");
  const config = inBoot(/^config-/) ?? [join(base, "config")].find(existsSync);
  renameSync(image, join(to, IMAGE));
  if (config !== undefined) renameSync(config, join(to, CONFIG));
  prune(join(base, "kernel"), "");
  renameSync(base, join(to, MODULES));
  return { release };
}

function prune(root: string, below: string): void {
  for (const name of namesIn(join(root, below))) {
    const path = below === "" ? name : `${below}/${name}`;
    if (KEPT.includes(path)) continue;
    if (KEPT.some((kept) => kept.startsWith(`${path}/`))) prune(root, path);
    else rmSync(join(root, path), { recursive: true });
  }
}

/** The page size that a kernel's configuration sets; undefined where it does not say. */
export function pageSizeOf(config: string): string | undefined {
  const match = /^CONFIG_(?:PAGE_SIZE_(\d+)KB|PPC_(\d+)K_PAGES|ARM64_(\d+)K_PAGES)=y$/m.exec(config);
  const size = match?.slice(1).find((group) => group !== undefined);
  return size === undefined ? undefined : `${size}k`;
}

function checkPageSize({ text, pageSize }: { text: string; pageSize: PageSize }, path: string): void {
  const found = existsSync(path) ? pageSizeOf(readFileSync(path, "utf8")) : undefined;
  if (found !== undefined && found !== pageSize) {
    throw new UsageError(`--guest: the kernel of ${text} has pages of ${found}, not ${pageSize}: choose another suite`);
  }
}

async function ownKernel({ kernel, modules }: OwnKernel): Promise<Kernel> {
  try {
    if (!statSync(kernel).isFile()) throw new UsageError(`--kernel: ${kernel} is no file`);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`--kernel: cannot read ${kernel} (${reasonOf(error)}): name a vmlinux, vmlinuz or Image`);
  }
  if (modules === undefined) return { image: kernel, modules: NO_MODULES };
  const directory = moduleDirectory(modules);
  const release = /\/lib\/modules\/([^/]+)$/.exec(directory)?.[1];
  return { image: kernel, modules: readModuleTree(directory), ...(release !== undefined && { release }) };
}

/** `--modules`: what `make modules_install` writes, at any of its levels. */
function moduleDirectory(given: string): string {
  const isTree = (path: string) => existsSync(join(path, "kernel")) || existsSync(join(path, "modules.builtin"));
  const roots = [given, join(given, "lib", "modules"), join(given, "usr", "lib", "modules")];
  const candidates = [given, ...roots.flatMap((root) => namesIn(root).map((name) => join(root, name)))];
  const found = candidates.filter(isTree);
  if (found.length === 1 && found[0] !== undefined) return found[0];
  const why = found.length === 0 ? "holds no modules" : "holds modules of several releases";
  throw new UsageError(`--modules: ${given} ${why}: name the directory lib/modules/RELEASE`);
}
