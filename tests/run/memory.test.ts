/** What the events of a run say about memory. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import type { PlannedRun, RunEvent } from "../../ts/events/events.js";
import { peakBytes, restartPeak } from "../../ts/linux/memory.js";
import { runPlan } from "../../ts/run/scheduler.js";

const MIB = 2 ** 20;
const directory = mkdtempSync(join(tmpdir(), "aiodio-memory-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const planned = (id: string, program: string, argv: string[]): PlannedRun => ({
  ...{ key: `t:${id}`, suite: "t", id, iteration: 1, program, argv },
  command: [program, ...argv].join(" "),
});

test("a testcase's peak is its own, not that of the one before in the same worker", async () => {
  const plan = [
    // 64 buffers of 1 MiB in flight, all of them read into.
    planned("fat", "aio-stress", ["-o1", "-r", "1m", "-d", "64", "-s", "64m", "--verify", "cache"]),
    planned("thin", "aiocp", ["-b", "4k", "-s", "4k"]),
  ];
  const ends: Extract<RunEvent, { type: "test-end" }>[] = [];
  const signal = new AbortController().signal;
  await runPlan(plan, { directory, workers: 1, marker() {}, signal }, (event) => {
    if (event.type === "test-end") ends.push(event);
  });
  expect(ends.map(({ verdict }) => verdict)).toEqual(["TPASS", "TPASS"]);
  const [fat = 0, thin = 0] = ends.map(({ peakBytes }) => peakBytes);
  expect(thin).toBeGreaterThan(16 * MIB);
  expect(fat).toBeGreaterThan(thin + 32 * MIB);
});

test("the peak of a process rises with what it touches", () => {
  restartPeak();
  const before = peakBytes() ?? 0;
  const memory = Buffer.alloc(256 * MIB, 1);
  expect(peakBytes()).toBeGreaterThan(before + 128 * MIB);
  expect(memory.at(-1)).toBe(1);
});
