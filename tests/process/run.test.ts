/** Programs that are run whatever becomes of them: how they end, and those that come to no end. */
import { chmodSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { checkUnmounted } from "../../ts/filesystem/checkers.js";
import { dyingWithUs, runTool } from "../../ts/process/run.js";
import { findTool } from "../../ts/process/tools.js";
import { temporaryDirectory } from "../support/temporary.js";

const directory = temporaryDirectory("tools");
const path = process.env.PATH;

// It is loaded when the first program is started, which takes a time that is not the clock's.
beforeAll(() => import("execa"));
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

describe("its end", () => {
  test.each([
    ["echo no >&2; exit 4", 4, "no"],
    ["echo before; kill -TERM $$", undefined, "before\n\nkilled by SIGTERM"],
  ])("%s", async (script, exit, output) => {
    program("mkfs.none", script);
    expect(await runTool("mkfs.none", [])).toEqual({ exit, output, seconds: expect.any(Number) });
  });

  test("one that is not there is named, with the package that brings it", async () => {
    process.env.PATH = directory;
    expect(await runTool("mkfs.xfs", [])).toMatchObject({
      exit: undefined,
      output: "mkfs.xfs is not in PATH: install it (Debian package xfsprogs)",
    });
  });

  test("one that can't be started says why", async () => {
    const { exit, output } = await runTool("true", ["x".repeat(2 ** 20)]);
    expect(exit).toBeUndefined();
    expect(output).toContain("E2BIG");
  });

  test("of one that says too much the beginning and the end are kept", async () => {
    program("mkfs.none", "echo first; head -c 20M /dev/zero | tr '\\0' x; echo; echo last >&2");
    const { exit, output } = await runTool("mkfs.none", []);
    expect(exit).toBe(0);
    expect(output).toMatch(/^first\nx+\n\[…\]\nx+\nlast$/);
    expect(output.length).toBeLessThanOrEqual(16_384);
  });

  test("one that nobody wants any more is killed", async () => {
    program("mkfs.none", "exec sleep 1000");
    const abort = new AbortController();
    const running = runTool("mkfs.none", [], 90, { signal: abort.signal });
    await vi.advanceTimersByTimeAsync(1_000);
    abort.abort();
    await expect(running).rejects.toThrow("aborted");
    expect(vi.getTimerCount()).toBe(0);
  });

  test("it dies with this process, where it is started at all by then, and without a shell too", () => {
    const [guard = "", ...rest] = dyingWithUs(["mkfs.none", "-f"]);
    expect([guard, ...rest].slice(0, 5)).toEqual(["setpriv", "--pdeathsig", "KILL", "--", "sh"]);
    symlinkSync(findTool("setpriv") ?? "", join(directory, "setpriv"));
    process.env.PATH = directory;
    expect(dyingWithUs(["mkfs.none", "-f"])).toEqual(["setpriv", "--pdeathsig", "KILL", "--", "mkfs.none", "-f"]);
  });
});
