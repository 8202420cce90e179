/** A run with one of each verdict, at fixed times, and a terminal that remembers what was written to it. */

import {
  count,
  exitStatus,
  type PlannedRun,
  type Reporter,
  type ResultType,
  type RunEvent,
  verdictOf,
  zeroCounters,
} from "../../ts/events/events.js";
import { makePlan } from "../../ts/plan/plan.js";
import { parseRuntest } from "../../ts/plan/runtest.js";
import type { Results } from "../../ts/report/results.js";
import type { Terminal } from "../../ts/report/terminal.js";

const LINES = `
AD001 aiocp -b 1k -n 1 -f DIRECT
AD002 aiocp -b 1k -n 1 -f SYNC
AD003 aiocp -b 4k -n 64 -f DIRECT
AD004 aiocp -b 512k -n 2 -f DIRECT
AD005 aiocp -b 2k -n 4 -f DIRECT
`;

export const plan: PlannedRun[] = makePlan(
  [{ path: "part1", suite: "part1", lines: parseRuntest(LINES, "part1") }],
  {},
  ["aiocp"],
);

type Line = [ResultType, string] | string;

const OUTPUT: Line[][] = [
  [
    ["TINFO", "Using /mnt/LTP_aio123456 as tmpdir (xfs filesystem)"],
    ["TPASS", "Files are identical"],
  ],
  [
    ["TINFO", "Using /mnt/LTP_aio123457 as tmpdir (xfs filesystem)"],
    ["TFAIL", "Files are not identical"],
    ["TINFO", "2 of 2048 sectors are bad"],
    ["TINFO", "offset 4096, 1024 bytes: zeros"],
  ],
  [
    ["TINFO", "Using /mnt/LTP_aio123458 as tmpdir (xfs filesystem)"],
    ["TCONF", "O_DIRECT not supported on tmpfs"],
  ],
  [
    ["TINFO", "Using /mnt/LTP_aio123459 as tmpdir (xfs filesystem)"],
    "Test timeouted, sending SIGKILL!",
    ["TINFO", "If you are running on slow machine, try exporting LTP_TIMEOUT_MUL > 1"],
    ["TBROK", "Test killed! (timeout?)"],
  ],
  [
    ["TWARN", "Option -b passed multiple times"],
    ["TPASS", "Files are identical"],
  ],
];

const at = (seconds: number) => new Date(Date.UTC(2026, 10, 21, 2, 0, 0) + seconds * 1000).toISOString();

/** The events of a run on so many workers; those of testcases that run at once are interleaved line by line. */
export function runEvents({ workers = 1, stopAfter = 5, interrupted = false } = {}): RunEvent[] {
  const start: RunEvent = {
    type: "run-start",
    time: at(0),
    version: "0.1.0",
    directory: "/mnt",
    workers,
    machine: {
      kernel: "6.18.44",
      kernelVersion: "#1 SMP",
      machine: "x86_64",
      pageBytes: 4096,
      node: "v20.20.2",
      distribution: "debian",
      distributionVersion: "12",
      cmdline: "root=/dev/vda1",
      cpu: "Example CPU",
      memory: "8145632 kB",
      swap: "0 kB",
    },
    plan,
  };
  const verdicts = { TPASS: 0, TFAIL: 0, TBROK: 0, TWARN: 0, TCONF: 0 };
  const tests = plan.slice(0, stopAfter).map((run, index) => testEvents(run, index, workers));
  for (const events of tests) {
    for (const event of events) if (event.type === "test-end") verdicts[event.verdict] += 1;
  }
  const streams = Array.from({ length: workers }, (_, worker) =>
    tests.filter((_events, index) => index % workers === worker).flat(),
  );
  const middle: RunEvent[] = [];
  while (streams.some((stream) => stream.length > 0)) {
    for (const stream of streams) middle.push(...stream.splice(0, 1));
  }
  if (interrupted) {
    const events = testEvents(plan[stopAfter] as PlannedRun, stopAfter, workers).slice(0, 2);
    const counters = { ...zeroCounters(), broken: 1 };
    const { key } = plan[stopAfter] as PlannedRun;
    middle.push(...events, {
      ...{ type: "test-end", time: at(9), key, verdict: "TBROK", exit: 2, counters, durationSeconds: 0.5 },
      ...{ summary: true, interrupted: true },
    });
  }
  const end: RunEvent = {
    ...{ type: "run-end", time: at(12.5), counters: verdicts, notRun: plan.length - stopAfter, interrupted },
    peakBytes: 70_000_000,
  };
  return [start, ...middle, end];
}

function testEvents({ key }: PlannedRun, index: number, workers: number): RunEvent[] {
  const counters = zeroCounters();
  const lines = (OUTPUT[index] ?? []).map((line, number): RunEvent => {
    if (typeof line === "string") return { type: "raw", key, text: line };
    count(counters, line[0]);
    return { type: "line", key, result: line[0], file: "aiocp.ts", line: 100 + number, text: line[1] };
  });
  return [
    { type: "test-start", time: at(index), key, worker: 1 + (index % workers) },
    { type: "progress", key, done: 512, total: 1024, unit: "KiB" },
    ...lines,
    { type: "data", key, name: "stats", value: { submitted: 2 } },
    {
      type: "test-end",
      time: at(index + 1),
      key,
      verdict: verdictOf(counters),
      exit: exitStatus(counters),
      counters,
      durationSeconds: 0.125 * 10 ** index,
      peakBytes: 60_000_000 + index,
      summary: true,
    },
  ];
}

/** Feeds a reporter as a run does. */
export function play(results: Results, reporter: Reporter, events: readonly RunEvent[]): void {
  for (const event of events) {
    results.add(event);
    reporter.event(event);
  }
  reporter.end?.();
}

export interface FakeTerminal extends Terminal {
  written: { out: string; err: string };
  close(): void;
}

interface FakeTerminalOptions {
  tty?: boolean;
  /** As `tty` when absent. */
  colour?: boolean;
  columns?: number;
  rows?: number;
}

export function fakeTerminal({ tty = false, colour, columns = 80, rows = 24 }: FakeTerminalOptions = {}): FakeTerminal {
  const written = { out: "", err: "" };
  const callbacks: (() => void)[] = [];
  return {
    written,
    out(text) {
      written.out += text;
    },
    err(text) {
      written.err += text;
    },
    tty,
    live: tty,
    colour: colour ?? tty,
    columns: () => columns,
    rows: () => rows,
    onClosed: (callback) => void callbacks.push(callback),
    close() {
      for (const callback of callbacks) callback();
    },
  };
}

/** What a terminal shows after this output: cursor up, return, erase below, and wrapping at the right edge. */
export function screen(output: string, columns = 80): string[] {
  const rows = [""];
  let row = 0;
  let column = 0;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are what it reads
  for (const [piece, up] of output.matchAll(/\u001b\[(\d+)A|\u001b\[J|\u001b\[[\d;]*m|[^\u001b]/gu)) {
    if (up !== undefined) row = Math.max(0, row - Number(up));
    else if (piece === "\u001b[J") rows.splice(row, rows.length, (rows[row] ?? "").slice(0, column));
    else if (piece.startsWith("\u001b")) continue;
    else if (piece === "\r") column = 0;
    else if (piece === "\n") [row, column] = [row + 1, 0];
    else {
      if (column === columns) [row, column] = [row + 1, 0];
      while (rows.length <= row) rows.push("");
      rows[row] = `${(rows[row] ?? "").slice(0, column).padEnd(column)}${piece}${(rows[row] ?? "").slice(column + 1)}`;
      column += 1;
    }
    while (rows.length <= row) rows.push("");
  }
  return rows;
}
