/** Programs that come to no end: nobody waits for them for ever. */
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { checkUnmounted } from "../../ts/filesystem/checkers.js";
import { runTool } from "../../ts/process/run.js";
import { temporaryDirectory } from "../support/temporary.js";

const directory = temporaryDirectory("tools");
const path = process.env.PATH;

beforeEach(() => {
  process.env.PATH = `${directory}:${path}`;
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
});
afterEach(() => {
  vi.useRealTimers();
  process.env.PATH = path;
});

/** A program that does this under another's name. */
function program(name: string, script: string): void {
  writeFileSync(join(directory, name), `#!/bin/sh\n${script}\n`);
  chmodSync(join(directory, name), 0o755);
}

test("one that hangs is killed when its time is up, and told with where it was", async () => {
  program("mkfs.none", "exec sleep 1000");
  const running = runTool("mkfs.none", [], 90);
  await vi.advanceTimersByTimeAsync(89_000);
  expect(vi.getTimerCount()).toBe(1);
  await vi.advanceTimersByTimeAsync(1_000);
  const { exit, hung } = await running;
  expect(exit).toBeUndefined();
  expect(hung).toMatch(/^not done within 90 s, and killed:\nthread \d+ \(.*\) waits in /);
});

test("one that ends keeps no timer", async () => {
  program("mkfs.none", "echo done");
  expect(await runTool("mkfs.none", [], 90)).toMatchObject({ exit: 0, output: "done" });
  expect(vi.getTimerCount()).toBe(0);
});

test("a checker that hangs proves nothing", async () => {
  program("xfs_repair", "exec sleep 1000");
  const checking = checkUnmounted("xfs", "/dev/no-such-device", "data", 30);
  await vi.advanceTimersByTimeAsync(30_000);
  expect(await checking).toMatchObject([{ verdict: "failed", output: expect.stringMatching(/^not done within 30 s/) }]);
});
