/** Where in the kernel processes are: what to look at when one does not answer, or can't be killed. */
import { readFileSync } from "node:fs";
import { numbersIn, statFields } from "./proc.js";

/** Of all processes of a session, which is named by its first one; that one comes first, and the others' names precede theirs. */
export function sessionStacks(session: number): string[] {
  const others = numbersIn("/proc").filter((pid) => pid !== session && Number(statFields(pid)?.[3]) === session);
  return [
    ...processStacks(session),
    ...others.flatMap((pid) => [`process ${pid} (${read(`/proc/${pid}/comm`)}):`, ...processStacks(pid)]),
  ];
}

/** Of all threads of a process; empty when it is gone. */
export function processStacks(pid: number): string[] {
  return numbersIn(`/proc/${pid}/task`).flatMap((thread) => {
    const base = `/proc/${pid}/task/${thread}`;
    const state = /^State:\s*(.*)$/m.exec(read(`${base}/status`))?.[1] ?? "unknown";
    const frames = read(`${base}/stack`).split("\n");
    return [`thread ${thread} (${state}) waits in ${read(`${base}/wchan`)}`, ...frames.map((frame) => `  ${frame}`)];
  });
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch (error) {
    return `(${(error as NodeJS.ErrnoException).code})`;
  }
}
