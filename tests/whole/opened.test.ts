/** How many files each start opens: a start that people wait for is one file, and what it is asked for. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { command } from "../support/command.js";
import { temporaryDirectory } from "../support/temporary.js";

const base = temporaryDirectory("opened");

/** The files that Node has run, by process: V8 tells of each script. */
function scriptsIn(directory: string): string[][] {
  return readdirSync(directory).map((name) => {
    const { result } = JSON.parse(readFileSync(join(directory, name), "utf8")) as { result: { url: string }[] };
    return result.map(({ url }) => url).filter((url) => url.startsWith("file:"));
  });
}

test.each([
  // bin/, and dist/ with the options, the errors and where the package lies.
  ["aiodio-ltp", ["--version"], 8],
  ["aiodio-ltp", ["list", "ltp-aiodio.part1"], 14],
  // The command's one file and the addon's.
  ["aiocp", ["-V"], 2],
  ["aiocp", ["-b", "1k", "-n", "1", "-s", "64k", "-f", "SYNC"], 2],
])("%s %j", async (name, argv, most) => {
  const directory = join(base, `${name}${argv.join("")}`.replaceAll(/\W/g, "_"));
  const { exitCode, all } = await command(name, argv, { NODE_V8_COVERAGE: directory, TMPDIR: base });
  expect(exitCode, all).toBe(0);
  const opened = scriptsIn(directory);
  expect(opened).not.toEqual([]);
  for (const scripts of opened) expect(scripts.length, scripts.join("\n")).toBeLessThanOrEqual(most);
});

test("a worker opens its own file and the addon's", async () => {
  const directory = join(base, "run");
  const line = ["ltp-aiodio.part1", "-s", "^AD001$", "--no-journal", "-d", base];
  const { all } = await command("aiodio-ltp", line, { NODE_V8_COVERAGE: directory });
  expect(all).toMatch(/1 testcases in/);
  const workers = scriptsIn(directory).filter((scripts) => scripts.some((url) => url.endsWith("/worker-main.cjs")));
  expect(workers.map(({ length }) => length)).toEqual([2]);
});
