/** Lines as cells: in a table over two options, or one after another. */
import { useRef } from "preact/hooks";
import type { Line, State } from "./data.js";
import { seconds } from "./format.js";
import type { Matrix } from "./matrix.js";

/** What stands in a cell besides its colour, for those who do not see it. */
export const SIGNS: Record<State, string> = {
  TPASS: "✓",
  TFAIL: "✗",
  TBROK: "‼",
  TWARN: "!",
  expected: "≈",
  TCONF: "–",
  "not run": "·",
};

export const classOf = (state: State) => `s-${state.replace(" ", "-")}`;

export interface Look {
  by: "verdict" | "time";
  /** The longest of all, in seconds. */
  longest: number;
  /** The cells that are drawn, for what changes too often to draw all of them anew. */
  cells: Map<Line, HTMLElement>;
  open(line: Line): void;
}

/** From 0 to 9, on a scale of equal ratios from a millisecond to the longest. */
function heat(value: number, longest: number): number {
  const span = Math.log(Math.max(longest, 0.002) / 0.001);
  return Math.min(9, Math.max(0, Math.floor((10 * Math.log(Math.max(value, 0.001) / 0.001)) / span)));
}

export function describe(line: Line): string {
  const often = line.ran === undefined ? "" : `, ${line.bad ?? 0} of ${line.ran} times not passed`;
  const time = line.seconds > 0 ? `, ${seconds(line.seconds)}` : "";
  return `${line.label}: ${line.state}${often}${time}. ${line.command}${line.why === undefined ? "" : `. ${line.why}`}`;
}

function Cell({ line, look, first }: { line: Line; look: Look; first: boolean }) {
  const timed = look.by === "time" && line.seconds > 0;
  const text = timed
    ? seconds(line.seconds).replace(" ", "\u2009")
    : line.ran !== undefined && line.bad
      ? `${line.bad}/${line.ran}`
      : SIGNS[line.state];
  const warmth = timed ? `heat${heat(line.seconds, look.longest)}` : "";
  const told = describe(line);
  return (
    <button
      type="button"
      class={`cell ${classOf(line.state)} ${warmth}`}
      ref={(cell) => {
        if (cell) look.cells.set(line, cell);
        else look.cells.delete(line);
      }}
      title={told}
      aria-label={told}
      tabIndex={first ? 0 : -1}
      onClick={() => look.open(line)}
    >
      {text}
    </button>
  );
}

/** One stop for the tab key; arrow keys move among the cells. */
function useArrows() {
  const place = useRef<HTMLDivElement>(null);
  const onKeyDown = (event: KeyboardEvent) => {
    const cells = [...(place.current?.querySelectorAll<HTMLElement>(".cell") ?? [])];
    const at = cells.indexOf(document.activeElement as HTMLElement);
    const here = cells[at]?.getBoundingClientRect();
    if (!here) return;
    const vertical = (direction: number) =>
      cells
        .map((cell) => ({ cell, box: cell.getBoundingClientRect() }))
        .filter(({ box }) => direction * (box.top - here.top) > 2)
        .sort(
          (a, b) =>
            direction * (a.box.top - b.box.top) || Math.abs(a.box.left - here.left) - Math.abs(b.box.left - here.left),
        )[0]?.cell;
    const keys: Record<string, () => HTMLElement | undefined> = {
      ArrowRight: () => cells[at + 1],
      ArrowLeft: () => cells[at - 1],
      ArrowDown: () => vertical(1),
      ArrowUp: () => vertical(-1),
      Home: () => cells[0],
      End: () => cells.at(-1),
    };
    const next = keys[event.key]?.();
    if (!next) return;
    event.preventDefault();
    for (const cell of cells) cell.tabIndex = cell === next ? 0 : -1;
    next.focus();
  };
  return { ref: place, onKeyDown };
}

export function MatrixTable({ matrix, look }: { matrix: Matrix<Line>; look: Look }) {
  const arrows = useArrows();
  let first = true;
  return (
    <div class="scroll" {...arrows}>
      <table class="matrix">
        <caption>{matrix.title}</caption>
        <thead>
          <tr>
            <th scope="col">
              {matrix.rowOption} ↓ {matrix.columnOption} →
            </th>
            {matrix.columns.map((column) => (
              <th key={column} scope="col">
                {column}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {matrix.rows.map((row, at) => (
            <tr key={row}>
              <th scope="row">{row}</th>
              {matrix.columns.map((column, index) => {
                const line = matrix.cells[at]?.[index];
                const cell = line && <Cell line={line} look={look} first={first} />;
                if (line) first = false;
                return <td key={column}>{cell}</td>;
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

export function CellRow({ lines, look }: { lines: readonly Line[]; look: Look }) {
  const arrows = useArrows();
  return (
    <div class="cells" {...arrows}>
      {lines.map((line, at) => (
        <Cell key={line.label} line={line} look={look} first={at === 0} />
      ))}
    </div>
  );
}
