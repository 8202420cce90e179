import { expect, test } from "vitest";
import type { RunEvent } from "../../ts/events/events.js";
import type { RecordAnswer, RecordedOperation } from "../../ts/native/types.js";
import { PerfettoReporter } from "../../ts/report/perfetto.js";
import { Results } from "../../ts/report/results.js";
import { plan, play, runEvents } from "./fixture.js";

interface Entry {
  ph: string;
  name: string;
  pid: number;
  tid: number;
  ts: number;
  dur: number;
  args: Record<string, unknown>;
}

const key = plan[1]?.key ?? "";

function operation(id: number, from: number, to?: number): RecordedOperation {
  return {
    ...{ id, line: `0.1 libaio#${id} pwrite(dst.bin, 0x1000, 4096) = 4096 <0.001>`, file: "dst.bin", offset: 4096 },
    ...{ bytes: 4096, generation: 1, changes: true, submittedSeconds: from, thread: 7 },
    ...(to !== undefined && { completedSeconds: to, result: 4096 }),
  };
}

/** A run whose second testcase failed: three operations overlap, a fourth never came back, and the kernel complained. */
function traceOf(change: (event: RunEvent) => RunEvent = (event) => event): Entry[] {
  const record: RecordAnswer = {
    ...{ total: 4, lost: 0, matching: 4, beside: [], sharedMemory: [] },
    operations: [operation(1, 100, 100.5), operation(2, 100.2, 100.4), operation(3, 100.45, 100.6)],
    inFlight: [operation(4, 100.55)],
  };
  const finding = {
    ...{ time: "2026-11-21T02:00:01.000Z", seconds: 100.3, level: "err" as const, shared: false },
    text: "BTRFS warning (device loop0): csum failed\nand more",
  };
  const events = runEvents().flatMap((event): RunEvent[] => {
    if (event.type === "run-start") return [{ ...event, monotonicSeconds: 99 }];
    if (event.type !== "test-end" || event.key !== key) return [event];
    return [{ type: "data", key, name: "flight", value: record }, { type: "kernel", key, finding }, event];
  });
  const results = new Results();
  let text = "";
  const reporter = new PerfettoReporter(results, (part) => {
    text += part;
  });
  play(results, reporter, events.map(change));
  return JSON.parse(text).traceEvents;
}

test("testcases, operations and the kernel's words are on the kernel's clock", () => {
  const trace = traceOf();
  const tests = trace.filter(({ ph, args }) => ph === "X" && args.key !== undefined);
  expect(tests.map(({ name }) => name)).toEqual([
    "AD001 TPASS",
    "AD002 TFAIL",
    "AD003 TCONF",
    "AD004 TBROK",
    "AD005 TWARN",
  ]);
  // The run began at 99 s; its testcases have their wall times.
  const starts = runEvents().flatMap((event) => (event.type === "test-start" ? Date.parse(event.time) : []));
  const [begin] = runEvents();
  const origin = begin?.type === "run-start" ? Date.parse(begin.time) : 0;
  expect(tests.map(({ ts }) => ts)).toEqual(starts.map((start) => 99e6 + (start - origin) * 1000));

  const operations = trace.filter(({ ph, args }) => ph === "X" && args.id !== undefined);
  expect(operations.map(({ name, ts, dur, args }) => [name, ts, dur, args.id])).toEqual([
    ["pwrite(dst.bin, 0x1000, 4096)", 100e6, 500_000, 1],
    ["pwrite(dst.bin, 0x1000, 4096)", 100.2e6, 200_000, 2],
    ["pwrite(dst.bin, 0x1000, 4096)", 100.45e6, 150_000, 3],
    // To the last that is known.
    ["pwrite(dst.bin, 0x1000, 4096)", 100.55e6, 50_000, 4],
  ]);
  expect(operations.map(({ args }) => args.inFlight)).toEqual([undefined, undefined, undefined, true]);
  // What overlaps is not on one track, and a track that is free again is used.
  const [first, second, third, fourth] = operations.map(({ tid }) => tid);
  expect(second).not.toBe(first);
  expect(third).toBe(second);
  expect(fourth).toBe(first);

  expect(trace.filter(({ ph }) => ph === "i")).toMatchObject([
    { name: "kernel: BTRFS warning (device loop0): csum failed", ts: 100.3e6, args: { level: "err" } },
  ]);
  // Every track has a name.
  const named = new Set(trace.filter(({ name }) => name === "thread_name").map(({ pid, tid }) => `${pid}/${tid}`));
  for (const { pid, tid } of [...tests, ...operations]) expect(named).toContain(`${pid}/${tid}`);
});

test("a journal without a clock still shows what was recorded", () => {
  const trace = traceOf((event) => {
    if (event.type !== "run-start") return event;
    const { monotonicSeconds: _, ...older } = event;
    return older;
  });
  expect(trace.filter(({ ph, args }) => ph === "X" && args.key !== undefined)).toEqual([]);
  expect(trace.filter(({ ph }) => ph === "X")).toHaveLength(4);
});

test("another machine is a process of its own; a record that can't be read is none", () => {
  const elsewhere = traceOf((event) => {
    if (event.type === "data") return { ...event, value: { error: { message: "gone" } } };
    if (event.type !== "run-start") return event;
    return { ...event, plan: event.plan.map((run) => ({ ...run, guest: "amd64:sid" })) };
  });
  expect(elsewhere.filter(({ name }) => name === "process_name").map(({ args }) => args.name)).toEqual([
    "aiodio-ltp in amd64:sid",
  ]);
  expect(elsewhere.filter(({ ph }) => ph === "X")).toEqual([]);
});
