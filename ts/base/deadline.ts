/** Waiting for another process, but not for ever. */

/** setTimeout's longest delay; a longer one would be over at once. */
export const TIMER_MAX_MS = 2 ** 31 - 1;

/** What came, or why nobody waits any more. */
export type Waited<T> = { value: T } | "late" | "aborted";

/**
 * Waits for a promise until `seconds` have passed or `signal` is aborted. What it settles to later is nobody's concern.
 *
 * @param graceSeconds how much longer it may take when the signal is aborted
 * @throws what the promise rejects with, in time
 */
export async function within<T>(
  promise: Promise<T>,
  seconds: number,
  signal?: AbortSignal,
  graceSeconds = 0,
): Promise<Waited<T>> {
  let timer: NodeJS.Timeout | undefined;
  let grace: NodeJS.Timeout | undefined;
  let abort = () => {};
  const ended = new Promise<"late" | "aborted">((resolve) => {
    timer = setTimeout(() => resolve("late"), Math.min(seconds * 1000, TIMER_MAX_MS));
    abort = () => {
      if (graceSeconds === 0) resolve("aborted");
      else grace = setTimeout(() => resolve("aborted"), graceSeconds * 1000);
    };
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort, { once: true });
  });
  try {
    return await Promise.race([promise.then((value) => ({ value })), ended]);
  } finally {
    clearTimeout(timer);
    clearTimeout(grace);
    signal?.removeEventListener("abort", abort);
  }
}
