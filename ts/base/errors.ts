/**
 * Something the user asked for that cannot be done as asked: wrong option, malformed runtest file, unusable directory.
 * Its message is printed alone, without a stack, and says what to do; the exit status is 2.
 */
export class UsageError extends Error {
  override name = "UsageError";
}

/** The first of a list that may be long, and how many more there are: an error must not scroll itself away. */
export function firstOf(list: readonly string[], max: number, what: string): string[] {
  const more = list.length - max;
  return more > 0 ? [...list.slice(0, max), `and ${more} more ${what}`] : [...list];
}

/** `ENOENT`, `EACCES`… of a failed system call, or the message where an error carries no code. */
export function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code ?? message ?? String(error);
}
