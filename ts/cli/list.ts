/** `aiodio-ltp list`: which runtest files, programs and filesystems there are, and which lines a file has. */
import { VARIANT_NAMES } from "../filesystem/variants.js";
import { filterLines } from "../plan/plan.js";
import { loadRuntest, packagedRuntests } from "../plan/resolve.js";
import { programs } from "../testcase/registry.js";
import type { Flags } from "./flags.js";
import type { System } from "./system.js";

export function list(
  flags: Pick<Flags, "select" | "skip" | "json">,
  operands: readonly string[],
  system: System,
): number {
  const names = operands.length > 0 ? operands : packagedRuntests();
  const files = filterLines(
    names.map((name) => loadRuntest(name, system.cwd)),
    flags,
  );
  if (flags.json) {
    const lines = files.map(({ suite, lines }) => ({
      file: suite,
      lines: lines.map(({ id, command, argv: [program] }) => ({ id, program, command })),
    }));
    const all = {
      programs: [...programs.values()].map(({ name, summary }) => ({ name, summary })),
      filesystems: VARIANT_NAMES,
    };
    system.terminal.out(`${JSON.stringify({ files: lines, ...(operands.length === 0 && all) }, null, 2)}\n`);
    return 0;
  }
  if (operands.length > 0) {
    for (const { lines } of files) {
      for (const { id, command } of lines) system.terminal.out(`${id} ${command}\n`);
    }
    return 0;
  }
  const entries = [...programs.values()];
  const width = Math.max(...files.map(({ suite }) => suite.length), ...entries.map(({ name }) => name.length));
  const rows = (items: [string, string][]) =>
    items.map(([left, right]) => `  ${left.padEnd(width)}  ${right}\n`).join("");
  system.terminal.out(
    `Runtest files:\n${rows(files.map(({ suite, lines }) => [suite, `${lines.length} lines`]))}\n` +
      `Programs:\n${rows(entries.map(({ name, summary }) => [name, summary]))}\n` +
      `Filesystems (--filesystems):\n  ${VARIANT_NAMES.join("\n  ")}\n`,
  );
  return 0;
}
