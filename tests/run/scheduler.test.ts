/** What the scheduler makes of the kernel's words, with real workers and a kernel of the test's own. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import type { KernelFinding, PlannedRun, RunEvent } from "../../ts/events/events.js";
import type { KernelWatch } from "../../ts/kernel/watch.js";
import { runPlan } from "../../ts/run/scheduler.js";

const directory = mkdtempSync(join(tmpdir(), "aiodio-scheduler-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const AIOCP = "aiocp -b 4k -s 4k";
const planned = (id: string, command = AIOCP): PlannedRun => {
  const [program = "", ...argv] = command.split(" ");
  return { key: `t:${id}`, suite: "t", id, iteration: 1, program, argv, command };
};

const finding = (more: Partial<KernelFinding>): KernelFinding => ({
  ...{ time: "2026-01-01T00:00:00.000Z", seconds: 1, level: "err", text: "a message", shared: false },
  ...more,
});

async function run(
  ids: string[],
  findings: Record<string, KernelFinding[]>,
  between: KernelFinding[] = [],
  command = AIOCP,
): Promise<{ events: RunEvent[]; told: string[] }> {
  const events: RunEvent[] = [];
  const told: string[] = [];
  const kernel: KernelWatch = {
    begin() {},
    tell: (key, about) => told.push(`${key} ${about.directories?.[0]?.startsWith(directory)} ${about.pids?.length}`),
    end: (key) => findings[key] ?? [],
    between: () => between.splice(0),
    poll() {},
    close() {},
  };
  const signal = new AbortController().signal;
  await runPlan(
    ids.map((id) => planned(id, command)),
    { directory, workers: 1, marker() {}, kernel, signal },
    (event) => events.push(event),
  );
  return { events, told };
}

test("a message of corruption makes TFAIL of a testcase that passed, with the explanation", async () => {
  const { events, told } = await run(["A", "B"], {
    "t:A": [
      finding({
        text: "BTRFS warning: csum failed",
        rule: "btrfs-csum-failed",
        class: "corruption",
        verdict: "TFAIL",
        explanation: "Why.",
      }),
    ],
  });
  const ends = events.filter((event) => event.type === "test-end");
  expect(ends.map(({ key, verdict, exit }) => [key, verdict, exit])).toEqual([
    ["t:A", "TFAIL", 1],
    ["t:B", "TPASS", 0],
  ]);
  expect(ends[0]?.counters).toMatchObject({ passed: 1, failed: 1 });
  const lines = events
    .filter((event) => event.type === "line")
    .map(({ key, result, text }) => `${key} ${result} ${text}`);
  expect(lines).toContain("t:A TFAIL kernel: BTRFS warning: csum failed");
  expect(lines).toContain("t:A TINFO kernel: btrfs-csum-failed: Why.");
  expect(told).toEqual(["t:A true 1", "t:B true 1"]);
});

test("other messages are kept, and judge nothing", async () => {
  const { events } = await run(
    ["A"],
    {
      "t:A": [
        finding({ text: "an unknown message" }),
        finding({ text: "a disk error", rule: "block-error", class: "device" }),
        finding({ text: "of another disk", rule: "btrfs-csum-failed", class: "corruption", elsewhere: true }),
      ],
    },
    [finding({ text: "before the first" })],
  );
  const kept = events.filter((event) => event.type === "kernel").map(({ key, finding: { text } }) => [key, text]);
  expect(kept).toEqual([
    [undefined, "before the first"],
    ["t:A", "an unknown message"],
    ["t:A", "a disk error"],
    ["t:A", "of another disk"],
  ]);
  const lines = events.filter((event) => event.type === "line").map(({ result, text }) => `${result} ${text}`);
  expect(lines).toContain("TINFO kernel: a disk error");
  expect(lines.some((line) => line.includes("unknown") || line.includes("another disk"))).toBe(false);
  expect(events.find((event) => event.type === "test-end")).toMatchObject({ verdict: "TPASS", exit: 0 });
});

test("what a rule means is said once for each testcase, whatever the number of messages", async () => {
  const message = (text: string) =>
    finding({ text, rule: "btrfs-csum-failed", class: "corruption", verdict: "TFAIL", explanation: "Why." });
  const { events } = await run(["A", "B"], { "t:A": [message("one"), message("two")], "t:B": [message("three")] });
  const lines = events.flatMap((event) => (event.type === "line" ? [`${event.key} ${event.text}`] : []));
  expect(lines.filter((line) => /^t:\w kernel: /.test(line))).toEqual([
    ...["t:A kernel: one", "t:A kernel: btrfs-csum-failed: Why.", "t:A kernel: two"],
    ...["t:B kernel: three", "t:B kernel: btrfs-csum-failed: Why."],
  ]);
});

test("what the testcase does itself explains a message: it is told, and judges nothing", async () => {
  const message = finding({
    ...{ text: "Page cache invalidation failure", rule: "page-cache-invalidation", class: "corruption" },
    ...{ verdict: "TFAIL", explanation: "Why." },
  });
  const verdictWith = async (options: string) => {
    const command = `dio_invalidate -n 1 -b 4k --unit 4k ${options}`;
    const { events } = await run(["A"], { "t:A": [message] }, [], command);
    const texts = events.flatMap((event) => (event.type === "line" ? [`${event.result} ${event.text}`] : []));
    const kept = events.find((event) => event.type === "kernel")?.finding;
    return { end: events.find((event) => event.type === "test-end"), texts, kept };
  };
  const mixed = await verdictWith("--collide buffered");
  // A warning that both sides did not meet in one round is possible, and not the matter here.
  expect(mixed.end).toMatchObject({ counters: { failed: 0, broken: 0 } });
  const because = "the program itself mixes direct and other I/O";
  expect(mixed.texts).toContain(`TINFO kernel: Page cache invalidation failure (permitted: ${because})`);
  expect(mixed.kept).toMatchObject({ permitted: because, rule: "page-cache-invalidation" });
  expect(mixed.kept).not.toHaveProperty("verdict");
  for (const options of ["--collide buffered --strict", "--collide direct"]) {
    expect((await verdictWith(options)).end).toMatchObject({ verdict: "TFAIL", counters: { failed: 1 } });
  }
});
