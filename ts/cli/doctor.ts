/** `aiodio-ltp doctor`: what this machine can test, and for each thing missing the command that brings it. */
import { accessSync, constants, statfsSync } from "node:fs";
import { machine, release } from "node:os";
import { delimiter, dirname } from "node:path";
import { UsageError } from "../base/errors.js";
import { EXIT } from "../base/exit.js";
import { version } from "../base/package.js";
import { pageBytes } from "../linux/machine.js";
import { filesystemName } from "../linux/magic.js";
import { findTool, packageOf, TOOLS } from "../process/tools.js";
import { paint } from "../report/ltp.js";
import { programs } from "../testcase/registry.js";
import { checkDirectory, chosenDirectory, freeBytes, mebibytes } from "./directory.js";
import type { Flags } from "./flags.js";
import { programFolders, shadows } from "./shadows.js";
import type { System } from "./system.js";

/** One thing looked at. `bad` keeps the main job from running, `less` only takes something away. */
export interface CheckedItem {
  state: "ok" | "less" | "bad";
  name: string;
  text: string;
  /** What brings it. */
  remedy?: string;
}

const INSTALL = {
  "apt-get": "apt-get install",
  zypper: "zypper install",
  dnf: "dnf install",
  apk: "apk add",
  pacman: "pacman -S",
} as const;

/** Looks at everything. */
export async function examine(wanted: Flags["directory"], { env, cwd }: System): Promise<CheckedItem[]> {
  const directory = chosenDirectory(wanted, env, cwd);
  return [
    ...kernelFindings(),
    ...directoryFindings(directory),
    ...(await addonFindings(directory)),
    ...permissionFindings(),
    ...toolFindings(env),
    ...shadowFindings(env),
  ];
}

/** Prints the findings; status 1 when the main job cannot run here. */
export async function doctor(flags: Flags, operands: readonly string[], system: System): Promise<number> {
  if (operands.length > 0) throw new UsageError("doctor takes no files: use -d DIR to name the directory to test in");
  const { terminal } = system;
  const findings = await examine(flags.directory, system);
  const bad = findings.filter(({ state }) => state === "bad");
  const status = bad.length === 0 ? EXIT.ok : EXIT.failed;
  if (flags.json) {
    terminal.out(`${JSON.stringify({ usable: bad.length === 0, findings }, null, 2)}\n`);
    return status;
  }
  const words = { ok: ["TPASS", "ok"], less: ["TCONF", "less"], bad: ["TFAIL", "BAD"] } as const;
  const width = Math.max(...findings.map(({ name }) => name.length));
  for (const { state, name, text, remedy } of findings) {
    const [colour, word] = words[state];
    terminal.out(`${paint(colour, word.padEnd(4), terminal.colour)}  ${name.padEnd(width)}  ${text}\n`);
    if (remedy !== undefined) terminal.out(`${" ".repeat(width + 8)}-> ${remedy}\n`);
  }
  terminal.out(
    bad.length === 0
      ? "\nThe runtest files can run here.\n"
      : `\nThe runtest files cannot run here: see ${bad.map(({ name }) => name).join(", ")}.\n`,
  );
  return status;
}

function kernelFindings(): CheckedItem[] {
  return [
    { state: "ok", name: "aiodio-ltp", text: `${version}, Node ${process.version}` },
    { state: "ok", name: "kernel", text: `Linux ${release()} ${machine()}, pages of ${pageBytes()} bytes` },
  ];
}

function directoryFindings(directory: string): CheckedItem[] {
  try {
    checkDirectory(directory, 1);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return [{ state: "bad", name: "directory", text: error.message }];
  }
  const filesystem = filesystemName(statfsSync(directory).type);
  const text = `${directory}: ${filesystem} filesystem, ${mebibytes(freeBytes(directory))} free`;
  if (filesystem === "tmpfs" || filesystem === "ramfs") {
    const remedy = "name a directory on a disk with -d DIR";
    return [{ state: "less", name: "directory", text: `${text}; nothing here reaches a disk`, remedy }];
  }
  return [{ state: "ok", name: "directory", text }];
}

async function addonFindings(directory: string): Promise<CheckedItem[]> {
  let native: typeof import("#native");
  try {
    native = await import("#native");
  } catch (error) {
    const [reason] = (error as Error).message.split("\n");
    const remedy = "in a clone: npm ci; as a package: install aiodio-ltp again, with optional dependencies";
    return [{ state: "bad", name: "addon", text: `does not load (${reason})`, remedy }];
  }
  const { aioMax, aioInUse, aioError, ioUringError, memlockBytes, crc32cHardware } = native.limits();
  const findings: CheckedItem[] = [directFinding(native, directory)];
  if (aioError) {
    const remedy = "boot a kernel with CONFIG_AIO=y, or run with --engine io_uring or --engine sync";
    findings.push({ state: ioUringError ? "bad" : "less", name: "aio", text: aioError.message, remedy });
  } else if (aioMax === undefined) {
    findings.push({ state: "ok", name: "aio", text: "available" });
  } else {
    const free = aioMax - (aioInUse ?? 0);
    const text = `fs.aio-nr ${aioInUse ?? "unknown"} of fs.aio-max-nr ${aioMax}`;
    // The deepest line of part1 wants 64 control blocks, and the kernel counts more than it is asked for.
    if (free < 1024) findings.push({ state: "bad", name: "aio", text, remedy: "sysctl fs.aio-max-nr=1048576" });
    else findings.push({ state: "ok", name: "aio", text });
  }
  if (!ioUringError) findings.push({ state: "ok", name: "io_uring", text: "available" });
  else {
    const remedy = "sysctl kernel.io_uring_disabled=0; in a container, allow io_uring in its seccomp profile";
    findings.push({ state: "less", name: "io_uring", text: `not available (${ioUringError.message})`, remedy });
  }
  const memlock = memlockBytes === undefined ? "unlimited" : mebibytes(memlockBytes);
  findings.push({ state: "ok", name: "memlock", text: `${memlock} may be locked (fixed buffers of io_uring)` });
  findings.push({
    state: "ok",
    name: "crc32c",
    text: crc32cHardware ? "in hardware" : "in software: verifying is slower",
  });
  return findings;
}

function directFinding({ storageInfo }: typeof import("#native"), directory: string): CheckedItem {
  try {
    const info = storageInfo(directory);
    const text =
      `logical blocks of ${info.logicalBlockBytes} bytes${info.device ? ` (${info.device})` : ""}; direct I/O aligned to ` +
      `${info.dioMemAlign} in memory and ${info.dioOffsetAlign} in the file (${info.dioSource})`;
    const supported = info.strategy !== "unsupported";
    const message = info.message ? `; ${info.message}` : "";
    return supported
      ? { state: "ok", name: "direct I/O", text: `${text}${message}` }
      : {
          state: "less",
          name: "direct I/O",
          text: info.message ?? "this filesystem has no block device behind it",
          remedy: "name a directory on a disk with -d DIR",
        };
  } catch (error) {
    return { state: "less", name: "direct I/O", text: `not known here (${(error as Error).message})` };
  }
}

function permissionFindings(): CheckedItem[] {
  const root = process.geteuid?.() === 0;
  const can = (mode: number) => {
    try {
      accessSync("/dev/kmsg", mode);
      return true;
    } catch {
      return false;
    }
  };
  const [readable, writable] = [can(constants.R_OK), can(constants.W_OK)];
  const kmsg = `/dev/kmsg is ${readable ? "" : "not "}readable and ${writable ? "" : "not "}writable`;
  return [
    root
      ? { state: "ok", name: "user", text: "root" }
      : { state: "less", name: "user", text: "not root: enough for aiocp, not for loop devices", remedy: "sudo" },
    readable && writable
      ? { state: "ok", name: "kernel log", text: kmsg }
      : { state: "less", name: "kernel log", text: `${kmsg}: no marks there`, remedy: "run as root" },
  ];
}

function shadowFindings(env: NodeJS.ProcessEnv): CheckedItem[] {
  const found = shadows(programs.keys(), programFolders(env));
  const [one] = found;
  if (!one)
    return [{ state: "ok", name: "PATH", text: "hides no program of LTP's behind one of ours, nor the reverse" }];
  const more = found.length > 1 ? ` (and ${found.length - 1} more)` : "";
  const text = `${one.name} is ${one.first}, ${one.ours ? "ours" : "not ours"}, and hides ${one.hidden}${more}`;
  const remedy = one.ours
    ? `a comparison with LTP would be with ourselves: take ${dirname(one.first)} out of PATH, or install aiodio-ltp again`
    : `start ours by aiodio-ltp exec ${one.name}`;
  return [{ state: "less", name: "PATH", text, remedy }];
}

function toolFindings(env: NodeJS.ProcessEnv): CheckedItem[] {
  // Where mkfs lies is often missing from a user's PATH.
  const folders = [env.PATH, "/usr/sbin", "/sbin"].filter(Boolean).join(delimiter);
  const find = (command: string) => findTool(command, folders);
  const managers = Object.keys(INSTALL) as (keyof typeof INSTALL)[];
  const manager = managers.find((name) => find(name) !== undefined);
  return Object.entries(TOOLS).map(([program, [, purpose]]): CheckedItem => {
    const path = find(program);
    if (path !== undefined) return { state: "ok", name: program, text: path };
    const name = packageOf(program, manager);
    const remedy = manager ? `${INSTALL[manager]} ${name}` : `install the package ${name}`;
    return { state: "less", name: program, text: `missing; wanted to ${purpose}`, remedy };
  });
}
