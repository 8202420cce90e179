import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { Cache, cacheDirectory } from "../../ts/guest/cache.js";

function newCache(): Cache {
  const directory = mkdtempSync(join(tmpdir(), "cache-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return new Cache(directory);
}

/** Fills an entry with one checked file, and counts. */
function maker(content = "content") {
  let made = 0;
  const make = async (directory: string) => {
    made += 1;
    writeFileSync(join(directory, "file"), content);
    return { check: ["file"], fetched: { "a.deb": "00" }, facts: { release: "6.1" } };
  };
  return { make, made: () => made };
}

test("an entry is made once and found again", async () => {
  const cache = newCache();
  const { make, made } = maker();
  const { directory, manifest } = await cache.entry("kernel/x", make);
  expect(readFileSync(join(directory, "file"), "utf8")).toBe("content");
  expect(manifest).toMatchObject({ fetched: { "a.deb": "00" }, facts: { release: "6.1" } });
  expect((await cache.entry("kernel/x", make)).manifest).toEqual(manifest);
  expect(made()).toBe(1);
});

test("a file that has changed since makes the entry anew", async () => {
  const cache = newCache();
  const { make, made } = maker();
  const { directory } = await cache.entry("x", make);
  writeFileSync(join(directory, "file"), "other");
  expect(await cache.find("x")).toBeUndefined();
  await cache.entry("x", make);
  expect(made()).toBe(2);
  expect(readFileSync(join(directory, "file"), "utf8")).toBe("content");
});

test("an entry whose making fails is not there, and nothing of it stays", async () => {
  const cache = newCache();
  await expect(
    cache.entry("x", async (directory) => {
      writeFileSync(join(directory, "half"), "");
      throw new Error("no network");
    }),
  ).rejects.toThrow("no network");
  expect(readdirSync(cache.directory)).toEqual([]);
});

test("what a killed process left is not trusted, and removed", async () => {
  const cache = newCache();
  const { pid } = spawnSync("true");
  const abandoned = join(cache.directory, `x.${pid}.making`);
  mkdirSync(abandoned);
  writeFileSync(join(abandoned, "manifest.json"), '{"files":{}}');
  const running = join(cache.directory, `y.${process.ppid}.making`);
  mkdirSync(running);
  expect(await cache.find("x")).toBeUndefined();
  const { make, made } = maker();
  await cache.entry("x", make);
  expect(made()).toBe(1);
  expect(existsSync(abandoned)).toBe(false);
  expect(existsSync(running)).toBe(true);
});

test("of two that make the same entry the first one's stays", async () => {
  const cache = newCache();
  const slow = maker("second");
  const first = await cache.entry("x", async (directory) => {
    // Another process finishes first: its directory has the name by now.
    mkdirSync(join(cache.directory, "x"));
    writeFileSync(join(cache.directory, "x", "file"), "first");
    writeFileSync(join(cache.directory, "x", "manifest.json"), '{"files":{},"fetched":{},"facts":{}}');
    return slow.make(directory);
  });
  expect(readFileSync(join(first.directory, "file"), "utf8")).toBe("first");
  expect(readdirSync(cache.directory)).toEqual(["x"]);
});

test("the cache is where the XDG specification puts it", () => {
  expect(cacheDirectory({ XDG_CACHE_HOME: "/c", HOME: "/h" })).toBe("/c/aiodio-ltp");
  expect(cacheDirectory({ XDG_CACHE_HOME: "relative", HOME: "/h" })).toBe("/h/.cache/aiodio-ltp");
  expect(cacheDirectory({ HOME: "/h" })).toBe("/h/.cache/aiodio-ltp");
});
