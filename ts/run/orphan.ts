/** What a process does that touches the filesystem under test when nobody watches it any more: it leaves nothing. */
import { Socket } from "node:net";
import { becomeProgram } from "#native";
import { programPath } from "../base/package.js";
import { SIGNALS } from "../process/interruption.js";
import { removeTmpdir } from "../testcase/tmpdir.js";

let directory: string | undefined;

/** Whoever watches decides when this process ends. A service manager signals all processes of its group at once. */
export function leaveSignals(): void {
  for (const signal of SIGNALS) process.on(signal, () => {});
}

/** The directory that must not stay; undefined once it is gone. */
export function mustRemove(path: string | undefined): void {
  directory = path;
}

/** Abandons all when the stream on this descriptor ends, which is when its writer is gone. */
export function watchLife(fd: number): void {
  const life = new Socket({ fd, readable: true, writable: false });
  life.on("error", abandon).on("close", abandon).resume();
}

/** Nobody listens any more: removes the directory and ends this process. */
export function abandon(): never {
  if (directory === undefined) process.exit(0);
  try {
    process.chdir("/");
    removeTmpdir(directory);
  } catch {
    // The workload in libuv's thread pool still makes files or holds them open. A new program has no such threads.
    becomeProgram(process.execPath, [programPath("remove"), directory]);
  }
  // exit() would wait for the workload; the kernel ends it now.
  process.kill(process.pid, "SIGKILL");
  throw new Error("unreachable");
}
