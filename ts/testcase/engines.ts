/** The interfaces of the kernel that I/O is submitted through, and what keeps a kernel from having one: for all programs. */
import type { Align, Failure, Limits } from "#native";

/** The values of `--engine`. */
export const ENGINES = ["libaio", "io_uring", "io_uring-fixed", "sync"] as const;
export type Engine = (typeof ENGINES)[number];

/** Not built in, or forbidden: by kernel.io_uring_disabled, or by a container's seccomp filter. */
const ABSENT: ReadonlySet<string | undefined> = new Set(["ENOSYS", "EPERM", "EACCES"]);

/**
 * Why this process can't have the engine, in one sentence; undefined where it can, for a value that is no single engine
 * (`mix`), and where only a limit stands in the way, which the run itself tells with what raises it.
 */
export function absence(
  engine: unknown,
  { aioError, ioUringError }: Pick<Limits, "aioError" | "ioUringError">,
): string | undefined {
  const needed: Record<Engine, Failure | undefined> = {
    libaio: aioError,
    io_uring: ioUringError,
    "io_uring-fixed": ioUringError,
    sync: undefined,
  };
  const known = ENGINES.find((name) => name === engine);
  const error = known && needed[known];
  return ABSENT.has(error?.code) && error ? error.message : undefined;
}

/** Where buffers lie in their pages, from a value of `--buffer-align`: logical, page, or a number of bytes. */
export function alignOf(word: string, logicalBlockBytes: number): Align {
  return word === "logical" ? { step: logicalBlockBytes } : { offset: word === "page" ? 0 : Number(word) };
}
