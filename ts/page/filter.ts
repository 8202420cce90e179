/** Which lines are wanted to be seen. */
import type { Line, PageData, State } from "./data.js";

export interface Filter {
  /** Empty: all of them. */
  states: ReadonlySet<State>;
  /** Index of a place; undefined: all of them. */
  place?: number;
  /** A part of the name, the command or the reason; upper and lower case are the same. */
  text: string;
}

export const NO_FILTER: Filter = { states: new Set(), text: "" };

export function linesWanted({ lines }: Pick<PageData, "lines">, { states, place, text }: Filter): Line[] {
  const wanted = text.trim().toLowerCase();
  return lines.filter(
    (line) =>
      (states.size === 0 || states.has(line.state)) &&
      (place === undefined || line.place === place) &&
      (wanted === "" || `${line.label} ${line.command} ${line.why ?? ""}`.toLowerCase().includes(wanted)),
  );
}

export function countStates(lines: readonly Pick<Line, "state">[]): Map<State, number> {
  const counts = new Map<State, number>();
  for (const { state } of lines) counts.set(state, (counts.get(state) ?? 0) + 1);
  return counts;
}
