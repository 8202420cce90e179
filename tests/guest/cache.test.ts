import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { ago, Cache, cacheDirectory, daysSince } from "../../ts/guest/cache.js";
import { LIBRARY } from "../support/library.js";

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

test("renewed, what was made before is made again and takes its place, and what is made since counts", async () => {
  const cache = newCache();
  await cache.entry("kernel/x", maker("old").make);
  const path = join(cache.directory, "kernel", "x", "manifest.json");
  const manifest = JSON.parse(readFileSync(path, "utf8"));
  writeFileSync(path, JSON.stringify({ ...manifest, time: "2026-01-01T00:00:00.000Z" }));
  const fresh = cache.renewed();
  expect(await fresh.find("kernel/x")).toBeUndefined();
  const { make, made } = maker("new");
  for (let times = 0; times < 2; times += 1) {
    const { directory } = await fresh.entry("kernel/x", make);
    expect(readFileSync(join(directory, "file"), "utf8")).toBe("new");
  }
  expect(made()).toBe(1);
  expect(readdirSync(join(cache.directory, "kernel"))).toEqual(["x"]);
});

test("renewed, what can't be fetched leaves the old one", async () => {
  const cache = newCache();
  await cache.entry("x", maker("old").make);
  const fresh = new Cache(cache.directory, Number.POSITIVE_INFINITY);
  const fails = async () => {
    throw new Error("no network");
  };
  await expect(fresh.entry("x", fails)).rejects.toThrow("no network");
  expect(readFileSync(join((await cache.find("x"))?.directory ?? "", "file"), "utf8")).toBe("old");
});

describe("what another process uses", () => {
  /** A process that says that it uses the cache and lives until its input ends. */
  const user = async (cache: Cache) => {
    const script = `import(${LIBRARY}).then(({ Cache }) => {
      new Cache(process.argv[1]).use(); console.log("used"); process.stdin.resume(); });`;
    const child = spawn(process.execPath, ["-e", script, cache.directory], { stdio: ["pipe", "pipe", "inherit"] });
    const gone = once(child, "exit");
    onTestFinished(() => void child.kill("SIGKILL"));
    await once(child.stdout, "data");
    return { child, gone };
  };

  test("is not taken away, until that one has ended", async () => {
    const cache = newCache();
    await cache.entry("x", maker().make);
    const { child, gone } = await user(cache);
    expect(() => cache.clear()).toThrow(`guest clean: process ${child.pid} uses what is kept here`);
    expect(await cache.find("x")).toBeDefined();
    child.stdin.end();
    await gone;
    expect(readdirSync(join(cache.directory, "users"))).toEqual([]);
    cache.clear();
    expect(existsSync(cache.directory)).toBe(false);
  });

  test("is free when it was killed", async () => {
    const cache = newCache();
    const { child, gone } = await user(cache);
    child.kill("SIGKILL");
    await gone;
    expect(readdirSync(join(cache.directory, "users"))).toHaveLength(1);
    cache.refuseWhileUsed("x");
    expect(readdirSync(join(cache.directory, "users"))).toEqual([]);
  });

  test("is free when another process has its ID by now, or it is this process", () => {
    const cache = newCache();
    cache.use();
    writeFileSync(join(cache.directory, "users", `${process.ppid}-1`), "");
    cache.clear();
    expect(existsSync(cache.directory)).toBe(false);
  });
});

test.each([
  ["2026-03-01T00:00:00Z", 0, "today"],
  ["2026-02-27T23:00:00Z", 1, "1 day ago"],
  ["2026-01-01T00:00:00Z", 59, "59 days ago"],
  ["2026-03-05T00:00:00Z", 0, "today"],
  [undefined, Number.POSITIVE_INFINITY, "at an unknown time"],
  ["nonsense", Number.POSITIVE_INFINITY, "at an unknown time"],
])("on the first of March, %s is %d days ago", (time, days, words) => {
  const now = Date.parse("2026-03-01T12:00:00Z");
  expect(daysSince(time, now)).toBe(days);
  expect(ago(days)).toBe(words);
});
