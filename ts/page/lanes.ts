/** Where the bars of a timeline go. */
import type { Operation } from "./data.js";

export interface Bar {
  operation: Operation;
  lane: number;
  /** From 0 to 1, over the whole of the time shown. */
  begin: number;
  end: number;
}

/** Operations that overlap in time lie in lanes of their own; what is still in flight goes to the end. `place`: from 0 to 1, as bars have it. */
export function barsOf(
  operations: readonly Operation[],
  moments: readonly number[] = [],
): { bars: Bar[]; from: number; to: number; place(time: number): number } {
  const sorted = [...operations].sort((a, b) => a.begin - b.begin || a.id - b.id);
  const times = [...sorted.flatMap(({ begin, end }) => [begin, end ?? begin]), ...moments];
  const [from, to] = [Math.min(...times), Math.max(...times)];
  const place = (time: number) => (time - from) / (to - from || 1e-6);
  /** When each lane is free again. */
  const free: number[] = [];
  const bars = sorted.map((operation): Bar => {
    const end = operation.end ?? to;
    let lane = free.findIndex((time) => time <= operation.begin);
    if (lane < 0) lane = free.length;
    free[lane] = end;
    return { operation, lane, begin: place(operation.begin), end: place(end) };
  });
  return { bars, from, to, place };
}
