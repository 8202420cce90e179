/** Runs for the page: one with a failure of which everything is known, and a long one. */
import type { PlannedRun, RunEvent } from "../../ts/events/events.js";
import type { RecordedOperation } from "../../ts/native/types.js";
import { plan, runEvents } from "../report/fixture.js";

const operation = (id: number, begin: number, offset: number): RecordedOperation => ({
  ...{ id, line: `0.1 libaio#${id} pwrite(dst.bin, 0x${offset.toString(16)}, 4096) = 4096 <0.001>`, file: "dst.bin" },
  ...{ offset, bytes: 4096, generation: 1, changes: true, thread: 7 },
  ...{ submittedSeconds: begin, completedSeconds: begin + 0.001, result: 4096 },
});

const diagnosis = {
  ...{ file: "dst.bin", offset: 4096, bytes: 4096, kind: "zeros", right: [1] },
  copies: { cacheBad: true, diskBad: true },
  extents: [{ offset: 4096, bytes: 8192, physical: 0x8800000, states: ["unwritten"] }],
  ...{ operations: [operation(1, 100, 4096)], operationsTotal: 1, beside: [operation(2, 100.0005, 8192)] },
  sentence: "a write that was reported as done is missing",
};
const verified = {
  ...{ level: "cache", bytesExpected: 65_536, bytesFound: 65_536, rangesTotal: 1 },
  ranges: [
    {
      ...{ offset: 4096, bytes: 4096, kind: "zeros", right: [1], shownAt: 4096 },
      // As the journal has bytes.
      found: { type: "Buffer", data: new Array(32).fill(0) },
      expected: { type: "Buffer", data: Array.from({ length: 32 }, (_, at) => at) },
    },
  ],
};
const finding = {
  ...{ time: "2026-11-21T02:00:01.000Z", seconds: 100.0004, level: "err" as const, shared: false },
  ...{ text: "BTRFS warning (device loop0): csum failed", explanation: "A checksum does not match." },
};

/** One of each verdict. */
export function failedEvents(): RunEvent[] {
  const key = plan[1]?.key ?? "";
  return runEvents().flatMap((event): RunEvent[] => {
    if (event.type === "run-start") return [{ ...event, repeat: { options: [], files: { part1: "part1" } } }];
    if (event.type !== "test-end" || event.key !== key) return [event];
    return [
      { type: "data", key, name: "diagnosis", value: [diagnosis] },
      { type: "data", key, name: "verify", value: [verified] },
      { type: "kernel", key, finding },
      event,
    ];
  });
}

/** So many lines, of which one in a hundred fails. */
export function manyEvents(lines: number): RunEvent[] {
  const [start, ...rest] = runEvents();
  const [first] = plan as [PlannedRun];
  const end = rest.at(-1) as RunEvent;
  const runs = Array.from({ length: lines }, (_, at): PlannedRun => {
    const [block, depth] = [2 ** (at % 10), 1 + (Math.floor(at / 10) % 20)];
    const id = `M${at}`;
    const suite = `suite${Math.floor(at / 200)}`;
    return { ...first, key: `${suite}:${id}`, suite, id, command: `aiocp -b ${block}k -n ${depth}` };
  });
  const one = (result: "TPASS" | "TFAIL") =>
    rest.filter((event) => "key" in event && event.key === plan[result === "TPASS" ? 0 : 1]?.key);
  const [passes, fails] = [one("TPASS"), one("TFAIL")];
  return [
    { ...start, plan: runs } as RunEvent,
    ...runs.flatMap(({ key }, at) =>
      (at % 100 === 99 ? fails : passes).map((event) => ({ ...event, key }) as RunEvent),
    ),
    end,
  ];
}
