import fc from "fast-check";
import { expect, test } from "vitest";
import { packaged } from "../../ts/base/package.js";
import { compareValues, matricesOf, optionsOf } from "../../ts/page/matrix.js";
import { loadRuntest } from "../../ts/plan/resolve.js";

const commandsOf = (suite: string) => loadRuntest(suite, packaged("runtest")).lines.map(({ command }) => ({ command }));

test("LTP's part1 is two full tables, of block sizes and queue depths", () => {
  const lines = commandsOf("ltp-aiodio.part1");
  const { matrices, others } = matricesOf(lines);
  expect(others).toEqual([]);
  expect(matrices.map(({ title, rowOption, columnOption }) => [title, rowOption, columnOption])).toEqual([
    ["aiocp -f DIRECT", "-b", "-n"],
    ["aiocp -f SYNC", "-b", "-n"],
  ]);
  for (const { rows, columns, cells } of matrices) {
    expect(rows).toEqual(["1k", "2k", "4k", "8k", "16k", "32k", "64k", "128k", "256k", "512k"]);
    expect(columns).toEqual(["1", "2", "4", "8", "16", "32", "64"]);
    expect(cells.flat().filter((line) => line === undefined)).toEqual([]);
  }
});

test("what is repeated, or has few values in common, is no table", () => {
  expect(matricesOf(commandsOf("ltp-aiodio.part4").filter(({ command }) => command === "dio_append"))).toMatchObject({
    matrices: [],
    others: { length: 10 },
  });
  const scattered = ["a -b 1 -n 1", "a -b 2 -n 2", "a -b 3 -n 3"].map((command) => ({ command }));
  expect(matricesOf(scattered)).toEqual({ matrices: [], others: scattered });
});

test.each([
  ["aio-stress -o2 -r4k -O", { "": "aio-stress", "-o": "2", "-r": "4k", "-O": "" }],
  [
    "dio_races --engine io_uring --race=x -n 20",
    { "": "dio_races", "--engine": "io_uring", "--race": "x", "-n": "20" },
  ],
  ["aiocp", { "": "aiocp" }],
])("the options of %s", (command, options) => {
  expect(Object.fromEntries(optionsOf(command))).toEqual(options);
});

test("sizes are ordered by their size", () => {
  expect(["1m", "512", "64k", "4k"].sort(compareValues)).toEqual(["512", "4k", "64k", "1m"]);
});

test("every line is in one table, in the cell of its values, or among the others", () => {
  const word = fc.constantFrom("-b", "-n", "-f", "1", "2", "4k", "64k", "DIRECT", "--engine", "-n4");
  const commands = fc.array(fc.array(word, { maxLength: 6 }), { maxLength: 30 });
  fc.assert(
    fc.property(commands, (all) => {
      const lines = all.map((words) => ({ command: ["aiocp", ...words].join(" ") }));
      const { matrices, others } = matricesOf(lines);
      const cells = matrices.flatMap((matrix) =>
        matrix.cells.flatMap((row, at) =>
          row.flatMap((line, index) => (line ? [{ line, matrix, row: at, column: index }] : [])),
        ),
      );
      expect(new Set([...cells.map(({ line }) => line), ...others]).size).toBe(lines.length);
      expect(cells.length + others.length).toBe(lines.length);
      for (const { line, matrix, row, column } of cells) {
        const options = optionsOf(line.command);
        expect(options.get(matrix.rowOption)).toBe(matrix.rows[row]);
        expect(options.get(matrix.columnOption)).toBe(matrix.columns[column]);
      }
    }),
  );
});
