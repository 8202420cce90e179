/** The interfaces of the kernel that I/O is submitted through, and what keeps a kernel from having one: for all programs. */
import type { Align, Engine, Limits } from "#native";
import { choice, type Option } from "./options.js";

/**
 * The values of `--engine`: what a kernel says where it can't give its interface, and the system calls, which LTP's messages
 * name.
 */
export const INTERFACES = {
  libaio: { error: "aioError", submit: "io_submit", reap: "io_getevents" },
  io_uring: { error: "ioUringError", submit: "io_uring_enter", reap: "io_uring_enter" },
  "io_uring-fixed": { error: "ioUringError", submit: "io_uring_enter", reap: "io_uring_enter" },
  sync: { error: undefined, submit: "sync", reap: "sync" },
} as const satisfies Record<Engine, { error: keyof Limits | undefined; submit: string; reap: string }>;

export const ENGINES = Object.keys(INTERFACES) as readonly Engine[];

/** `--engine`, with the help "How the I/O is submitted (default libaio, as LTP)". */
export function engineOption(byDefault: Engine, what: string, why?: string): Option<Engine> {
  const reason = why === undefined ? "" : `, ${why}`;
  return choice({ default: byDefault, of: ENGINES, help: `How ${what} submitted (default ${byDefault}${reason})` });
}

/** Not built in, or forbidden: by kernel.io_uring_disabled, or by a container's seccomp filter. */
const ABSENT: ReadonlySet<string | undefined> = new Set(["ENOSYS", "EPERM", "EACCES"]);

/**
 * Why this process can't have the engine, in one sentence; undefined where it can, for a value that is no single engine
 * (`mix`), and where only a limit stands in the way, which the run itself tells with what raises it.
 */
export function absence(engine: unknown, kernel: Pick<Limits, "aioError" | "ioUringError">): string | undefined {
  const known = ENGINES.find((name) => name === engine);
  const field = known && INTERFACES[known].error;
  const error = field && kernel[field];
  return ABSENT.has(error?.code) && error ? error.message : undefined;
}

/** Where buffers lie in their pages, from a value of `--buffer-align`: logical, page, or a number of bytes. */
export function alignOf(word: string, logicalBlockBytes: number): Align {
  return word === "logical" ? { step: logicalBlockBytes } : { offset: word === "page" ? 0 : Number(word) };
}
