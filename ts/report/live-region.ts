/** Lines at the bottom of a terminal that are redrawn in place while other lines scroll above them. */
import type { Terminal } from "./terminal.js";

export class LiveRegion {
  #drawn = 0;

  constructor(readonly terminal: Terminal) {}

  /** How many lines there may be: the cursor can't go up beyond the top of the screen. */
  get linesMax(): number {
    return Math.max(1, this.terminal.rows() - 1);
  }

  /** Prints `above` for good, and below it `lines`, which the next call replaces; at most {@link linesMax}. */
  draw(above: string, lines: readonly string[]): void {
    // A line as wide as the terminal would wrap, and the cursor would go up one line too few.
    const width = this.terminal.columns() - 1;
    const cut = lines.map((line) => (line.length > width ? `${line.slice(0, Math.max(0, width - 1))}…` : line));
    const text = cut.map((line) => `${line}\n`).join("");
    this.terminal.out(`${this.#erase()}${above}${text}`);
    this.#drawn = cut.length;
  }

  #erase(): string {
    return this.#drawn > 0 ? `\u001b[${this.#drawn}A\r\u001b[J` : "";
  }
}
