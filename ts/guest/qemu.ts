/** The emulator: its command line, its process, and whether KVM truly works. */
import type { ChildProcess } from "node:child_process";
import {
  accessSync,
  closeSync,
  constants,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { availableParallelism, release, tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex, Readable } from "node:stream";
import { within } from "../base/deadline.js";
import { UsageError } from "../base/errors.js";
import { jsonLine } from "../base/lines.js";
import { abandonChild, type Death, deathOf } from "../process/line-process.js";
import { runCommand, startPeer } from "../process/run.js";
import { findTool, missingTool } from "../process/tools.js";
import type { Architecture } from "./architectures.js";
import { type Cache, daysSince, OLD_DAYS } from "./cache.js";
import { Console } from "./console.js";
import { LIMITS } from "./guest.js";
import { initramfs, PACKAGE_TAG, ROOT_TAG } from "./init.js";
import { isHost } from "./root.js";

export type Accelerator = "kvm" | "tcg";

/** Name of the port that carries the protocol. */
export const PORT_NAME = "aiodio-ltp";

/** Descriptors that the emulator inherits. Files need no name then, so that none can be left. */
const FD = { port: 3, initramfs: 4, disk512: 5, disk4096: 6 } as const;

const CPUS_MAX = 4;
/** A guest has this many bytes of memory, unless told otherwise. */
export const MEMORY_BYTES = 2 * 2 ** 30;

export interface MachineOptions {
  architecture: Architecture;
  accelerator: Accelerator;
  /** Path of the kernel. */
  kernel: string;
  initramfs: Uint8Array;
  /** Directories of the host that the guest reads. */
  root: string;
  package: string;
  memoryBytes: number;
  disk: DiskOptions;
  /** The console is the terminal of this process. */
  interactive?: boolean;
}

export interface DiskOptions {
  /** Directory of the nameless files behind the disks. */
  backing: string;
  bytes: number;
  /** Writes a second at most: keeps I/O in flight. */
  iops?: number;
}

/** What a machine without disks and shares is started with: for the probe. */
type BareOptions = Pick<MachineOptions, "architecture" | "accelerator" | "kernel" | "memoryBytes">;

function bareArguments({ architecture, accelerator, kernel, memoryBytes }: BareOptions): string[] {
  return [
    ...architecture.machine(accelerator === "kvm"),
    ...["-accel", accelerator === "kvm" ? "kvm" : "tcg,thread=multi"],
    ...["-smp", String(Math.min(CPUS_MAX, availableParallelism())), "-m", `${Math.floor(memoryBytes / 2 ** 20)}M`],
    // No device that is not asked for: above all no network.
    ...["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
    ...["-kernel", kernel, "-initrd", `/proc/self/fd/${FD.initramfs}`],
    // A panic or an oops ends the machine at once; the console has its words.
    ...["-append", `console=${architecture.console} panic=-1 oops=panic loglevel=6`],
  ];
}

/** The emulator's arguments; pure, for the tests. */
export function qemuArguments(options: MachineOptions): string[] {
  const { disk, interactive = false } = options;
  const share = (path: string, tag: string) => [
    "-virtfs",
    // Commas in a value are doubled.
    `local,path=${path.replaceAll(",", ",,")},mount_tag=${tag},security_model=none,readonly=on,multidevs=remap`,
  ];
  const throttle = disk.iops === undefined ? "" : `,throttling.iops-write=${disk.iops}`;
  const drive = (fd: number, id: string, sectorBytes: number) => [
    ...["-drive", `file=/proc/self/fd/${fd},format=raw,if=none,id=${id},cache=unsafe,file.locking=off${throttle}`],
    "-device",
    `virtio-blk-pci,drive=${id},serial=${id},logical_block_size=${sectorBytes},physical_block_size=${sectorBytes}`,
  ];
  const port = ["-device", "virtio-serial-pci", "-chardev", `socket,id=port,fd=${FD.port}`];
  return [
    ...bareArguments(options),
    ...["-serial", interactive ? "mon:stdio" : "stdio"],
    ...share(options.root, ROOT_TAG),
    ...share(options.package, PACKAGE_TAG),
    ...drive(FD.disk512, "d512", 512),
    ...drive(FD.disk4096, "d4096", 4096),
    ...(interactive ? [] : [...port, "-device", `virtserialport,chardev=port,name=${PORT_NAME}`]),
  ];
}

/** @throws UsageError when it is not installed */
export function findQemu({ qemu }: Architecture): string {
  const path = findTool(qemu);
  if (path === undefined) throw new UsageError(missingTool(qemu));
  return path;
}

/** One running emulator. It dies with this process, and its disks with it. */
export class VirtualMachine {
  readonly kind = "guest";
  readonly console = new Console();
  /** Settles when it is gone and all its console's words have been delivered. */
  readonly end: Promise<Death>;
  /** What the emulator itself complained of. */
  words = "";
  private readonly child: ChildProcess;

  constructor(options: MachineOptions) {
    const files = [namelessFile(options.disk.backing, options.initramfs)];
    try {
      for (let disk = 0; disk < 2; disk += 1) files.push(namelessFile(options.disk.backing, options.disk.bytes));
      const { interactive = false } = options;
      const console = interactive ? "inherit" : "pipe";
      this.child = start(options.architecture, qemuArguments(options), [
        interactive ? "inherit" : "ignore",
        console,
        interactive ? "inherit" : "pipe",
        interactive ? "ignore" : "pipe",
        ...files,
      ]);
    } finally {
      for (const fd of files) closeSync(fd);
    }
    this.end = deathOf(this.child);
    this.child.stdout?.on("data", (bytes: Buffer) => this.console.push(bytes));
    this.child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.words = `${this.words}${text}`.slice(-2000);
    });
  }

  /** Calls back for all that comes on the console. */
  onConsole(heard: () => void): void {
    this.child.stdout?.on("data", heard);
  }

  get pid(): number {
    return this.child.pid ?? -1;
  }

  /** The byte stream to and from the agent. */
  get port(): Duplex {
    return this.child.stdio[FD.port] as Duplex;
  }

  kill(): void {
    this.child.kill("SIGKILL");
  }

  abandon(): void {
    abandonChild(this.child);
  }
}

function start(architecture: Architecture, args: readonly string[], stdio: (string | number)[]): ChildProcess {
  // A session of its own unless the terminal is its own: Ctrl-C is for the controller.
  const detached = stdio[0] !== "inherit";
  return startPeer([architecture.qemu, ...args], { stdio: stdio as never, detached, cwd: "/" });
}

/** A file that nothing names any more: with this content, or sparse of this many bytes. */
function namelessFile(parent: string, content: Uint8Array | number): number {
  const directory = mkdtempSync(join(parent, "aiodio-guest-"));
  let fd: number;
  try {
    fd = openSync(join(directory, "file"), "wx+", 0o600);
  } finally {
    rmSync(directory, { recursive: true });
  }
  if (typeof content === "number") ftruncateSync(fd, content);
  else for (let done = 0; done < content.length; ) done += writeSync(fd, content, done);
  return fd;
}

/** A Debian kernel comes to its init well within this, where KVM works. */
const PROBE_MS = 20_000;
const KVM = "/dev/kvm";
/** Where the answer is, in the cache. */
const VERDICT = "kvm.json";

/**
 * KVM when a guest truly comes up under it, which the existence of /dev/kvm does not tell (nested virtualisation). The
 * answer is remembered in the cache for this kernel and emulator, for {@link OLD_DAYS}: a busy host may be at fault.
 */
export async function chooseAccelerator(
  architecture: Architecture,
  boot: { kernel: string; busybox: string },
  cache: Cache,
  tell: (text: string) => void,
): Promise<Accelerator> {
  if (!isHost(architecture)) return "tcg";
  try {
    accessSync(KVM, constants.R_OK | constants.W_OK);
  } catch {
    return "tcg";
  }
  const emulator = (await runCommand([architecture.qemu, "--version"])).split("\n")[0] ?? "";
  const machine = `${release()} ${emulator} ${architecture.name}`;
  const known = knownVerdict(cache);
  if (known?.machine === machine && cache.counts(known.time) && daysSince(known.time) < OLD_DAYS)
    return known.accelerator;
  tell(`trying whether KVM works here (${PROBE_MS / 1000} s at most)`);
  const works = await comesUp(architecture, boot);
  const accelerator = works ? "kvm" : "tcg";
  tell(works ? "KVM works" : "KVM does not bring up a guest here, so it is emulated (TCG)");
  mkdirSync(cache.directory, { recursive: true });
  const verdict: KvmVerdict = { machine, accelerator, time: new Date().toISOString() };
  writeFileSync(cache.path(VERDICT), jsonLine(verdict));
  return accelerator;
}

/** What was found out about KVM. */
export interface KvmVerdict {
  /** The host's kernel, the emulator and the architecture. */
  machine: string;
  accelerator: Accelerator;
  /** ISO 8601; absent in what earlier versions wrote. */
  time?: string;
}

/** The last answer, which may be about another kernel or emulator; undefined when there is none. */
export function knownVerdict(cache: Cache): KvmVerdict | undefined {
  try {
    const known = JSON.parse(readFileSync(cache.path(VERDICT), "utf8"));
    return known.accelerator === "kvm" || known.accelerator === "tcg" ? known : undefined;
  } catch {
    return undefined;
  }
}

async function comesUp(
  architecture: Architecture,
  { kernel, busybox }: { kernel: string; busybox: string },
): Promise<boolean> {
  const archive = initramfs({ busybox, modules: [], purpose: { is: "probe" } });
  const fd = namelessFile(tmpdir(), archive);
  const bare = bareArguments({ architecture, accelerator: "kvm", kernel, memoryBytes: 512 * 2 ** 20 });
  const child = start(architecture, [...bare, "-serial", "stdio"], ["ignore", "pipe", "ignore", "ignore", fd]);
  closeSync(fd);
  const console = new Console();
  const end = deathOf(child);
  let timer: NodeJS.Timeout | undefined;
  const waited = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, PROBE_MS);
    (child.stdout as Readable).on("data", (bytes: Buffer) => {
      console.push(bytes);
      if (console.stage === "init") resolve();
    });
  });
  await Promise.race([end, waited]);
  clearTimeout(timer);
  child.kill("SIGKILL");
  if (typeof (await within(end, LIMITS.gone / 1000)) === "string") abandonChild(child);
  return console.stage === "init";
}
