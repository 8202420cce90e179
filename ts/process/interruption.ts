/** What Ctrl-C means: the first ends what runs in good order, a later one ends this process at once. */
import type { EventEmitter } from "node:events";

/** The signals by which people, terminals and service managers end a run. */
export const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** One Ctrl-C may arrive twice: from the terminal, and forwarded by npx. Only a later one is meant as another. */
const SAME_SIGNAL_MS = 500;

/**
 * @param nowMs a clock that never goes back, in milliseconds
 * @returns what takes the handlers away again
 */
export function onInterrupt(
  signals: Pick<EventEmitter, "on" | "off">,
  nowMs: () => number,
  { first, again }: { first: () => void; again: () => void },
): () => void {
  let signalledMs: number | undefined;
  const handler = () => {
    if (signalledMs === undefined) {
      signalledMs = nowMs();
      first();
    } else if (nowMs() - signalledMs > SAME_SIGNAL_MS) again();
  };
  for (const name of SIGNALS) signals.on(name, handler);
  return () => {
    for (const name of SIGNALS) signals.off(name, handler);
  };
}
