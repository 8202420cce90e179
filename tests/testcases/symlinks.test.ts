/** A symbolic link that somebody puts in the place of a file of a testcase's: nothing is written through it. */
import { readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import type { Testcase } from "../../ts/testcase/testcase.js";
import { executed } from "../support/execute.js";
import { temporaryDirectory } from "../support/temporary.js";

const directory = temporaryDirectory("symlinks");
const victim = join(directory, "victim");

vi.mock("#native", async (original) => {
  const { watched } = await import("../support/native.js");
  return watched(original, {
    fill: { before: ({ path }) => plant(path) },
    "aio-rounds": { before: ({ path }) => plant(path) },
  });
});

/** Puts the link there a moment before the core opens the file. */
function plant(path: string): void {
  symlinkSync(victim, path);
}

test.each(["aiocp", "aio01", "aio02"])("%s", async (name) => {
  writeFileSync(victim, "somebody's");
  const { programs } = await import("../../ts/testcase/registry.js");
  const testcase = (await programs.get(name)?.load()) as Testcase;
  const { results, texts } = await executed(testcase, directory, []);
  expect(results).toEqual(["TBROK"]);
  expect(texts.at(-1)).toMatch(/^TBROK: .*ELOOP/);
  expect(readFileSync(victim, "utf8")).toBe("somebody's");
});
