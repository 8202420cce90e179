/**
 * Whom the kernel kills when memory is short: a testcase and what it starts, not who watches it. The score is inherited,
 * so it is put back for each process that is started.
 */
import { writeFileSync } from "node:fs";

/** Never, and as likely as any other process (proc_pid_oom_score_adj(5)). */
const [NEVER, AS_OTHERS] = [-1000, 0];

let shielded = false;

/** This process is not to be killed. Only root may ask for that; where it can't be had, all goes on without. */
export function shieldFromOom(): void {
  shielded = process.geteuid?.() === 0 && setScore(NEVER);
}

/** Starts a process that may be killed. `start` must not wait for anything. */
export function unshielded<T>(start: () => T): T {
  if (!shielded) return start();
  setScore(AS_OTHERS);
  try {
    return start();
  } finally {
    setScore(NEVER);
  }
}

function setScore(score: number): boolean {
  try {
    writeFileSync("/proc/self/oom_score_adj", String(score));
    return true;
  } catch {
    return false; // No /proc, or a container without CAP_SYS_RESOURCE.
  }
}
