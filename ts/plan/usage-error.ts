/**
 * Something the user asked for that cannot be done as asked: wrong option, malformed runtest file, unusable directory.
 * Its message is printed alone, without a stack, and says what to do; the exit status is 2.
 */
export class UsageError extends Error {
  override name = "UsageError";
}

/** `ENOENT`, `EACCES`… of a failed system call, or the message where an error carries no code. */
export function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code ?? message ?? String(error);
}
