/** proc_pid_mountinfo(5): what is mounted where. */
import { textOf } from "../base/files.js";

/** One mount. */
export interface Mounted {
  /** `major:minor` of the filesystem; btrfs and those without a device have numbers of their own. */
  number: string;
  /** The directory, absolute. */
  point: string;
  type: string;
  /** What was mounted: mostly the path of a device. */
  source: string;
}

/** The mounts that a process sees, in their order; none where `file` (`/proc/PID/mountinfo`) can't be read. */
export function mountsIn(file: string): Mounted[] {
  return (textOf(file) ?? "").split("\n").flatMap((line) => {
    const [left = "", right = ""] = line.split(" - ");
    const [, , number, , point] = left.split(" ");
    const [type, source] = right.split(" ");
    if (number === undefined || point === undefined || type === undefined || source === undefined) return [];
    return [{ number, point: unescapeMount(point), type, source: unescapeMount(source) }];
  });
}

/** Undoes the kernel's `\040` for a blank and so on. */
export function unescapeMount(field: string): string {
  return field.replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** Whether a path is a folder or something in it. */
export function within(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith("/") ? folder : `${folder}/`);
}
