/** /proc's directories of processes. */
import { namesIn, textOf } from "../base/files.js";

/** The numbers among a directory's names: processes in /proc, threads in /proc/PID/task. */
export function numbersIn(directory: string): number[] {
  return namesIn(directory)
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/**
 * The fields of proc_pid_stat(5) from the third on, the first one here: the second is a name that may hold anything, blanks and
 * parentheses included. Undefined when the process is gone.
 */
export function statFields(pid: number | string): string[] | undefined {
  const stat = textOf(`/proc/${pid}/stat`);
  return stat?.slice(stat.lastIndexOf(")") + 2).split(" ");
}
