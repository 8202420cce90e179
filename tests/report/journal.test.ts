import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  fdatasyncSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { Journal } from "../../ts/report/journal.js";
import { eventsOf } from "../support/journal.js";
import { runEvents } from "./fixture.js";

vi.mock("node:fs", async (original) => {
  const real = await original<typeof import("node:fs")>();
  return { ...real, fdatasyncSync: vi.fn(real.fdatasyncSync) };
});

const folder = mkdtempSync(join(tmpdir(), "journal-"));
const path = join(folder, "j");
beforeEach(() => rmSync(path, { force: true }));
afterAll(() => rmSync(folder, { recursive: true }));

async function write(events = runEvents()): Promise<void> {
  const journal = await Journal.create(path);
  for (const event of events) journal.append(event);
  journal.close();
}

test("brings back every event but progress, and each is in the file when append returns", async () => {
  const journal = await Journal.create(path);
  let lines = 0;
  for (const event of runEvents()) {
    journal.append(event);
    if (event.type !== "progress") lines += 1;
    expect(readFileSync(path, "utf8").split("\n")).toHaveLength(lines + 1);
  }
  journal.close();
  const { events, start, wholeBytes } = await eventsOf(path);
  expect(events).toEqual(runEvents().filter(({ type }) => type !== "progress"));
  expect(start).toEqual(runEvents()[0]);
  expect(wholeBytes).toBe(readFileSync(path).length);
});

test("holds what JSON has no number for", async () => {
  const journal = await Journal.create(path);
  const [start] = runEvents();
  if (start) journal.append(start);
  journal.append({ type: "data", key: "part1:AD001", name: "seed", value: { seed: 2n ** 64n - 1n } });
  journal.close();
  expect((await eventsOf(path)).events[1]).toMatchObject({ value: { seed: "18446744073709551615" } });
});

test("is never overwritten, but an empty file is taken", async () => {
  writeFileSync(path, "");
  await write();
  const before = readFileSync(path, "utf8");
  await expect(Journal.create(path)).rejects.toThrow(/exists: go on with it by --resume, or name another file/);
  expect(readFileSync(path, "utf8")).toBe(before);
});

test("that cannot be written is one clear error", async () => {
  await expect(Journal.create("/nowhere/j")).rejects.toThrow(
    /^cannot write the journal \/nowhere\/j \(ENOENT\): name a file/,
  );
});

test("is on the disk before a testcase is begun, and at the end; not for each line", async () => {
  const done: string[] = [];
  vi.mocked(fdatasyncSync).mockImplementation(() => {
    done.push(`sync with ${readFileSync(path, "utf8").trimEnd().split("\n").length} lines`);
  });
  onTestFinished(() => void vi.mocked(fdatasyncSync).mockReset());
  const journal = await Journal.create(path);
  let lines = 0;
  const wanted: string[] = [];
  for (const event of runEvents()) {
    journal.append(event);
    if (event.type !== "progress") lines += 1;
    if (event.type === "test-start" || event.type === "run-end") wanted.push(`sync with ${lines} lines`);
    expect(done).toEqual(wanted);
  }
  journal.close();
  expect(wanted).toHaveLength(6);
});

test("of two runs only one may write, and the other is told so", async () => {
  await write();
  const before = readFileSync(path);
  const { journal } = await Journal.resume(path, () => {});
  const refusal = `another run is writing the journal ${path}: wait for its end, or name another file`;
  await expect(Journal.resume(path, () => {})).rejects.toThrow(refusal);
  await expect(Journal.create(path)).rejects.toThrow(refusal);
  journal.close();
  journal.close();
  (await Journal.resume(path, () => {})).journal.close();
  expect(readFileSync(path)).toEqual(before);
});

test("a run that was killed holds its journal no longer", async () => {
  await write();
  const addon = JSON.stringify(createRequire(import.meta.url).resolve("#addon"));
  const holder = `
    import { openSync } from "node:fs";
    const { lockFile } = await import(${addon});
    console.log(lockFile(openSync(process.argv[1], "a")));
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", holder, path], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [held] = await once(child.stdout, "data");
  expect(String(held)).toBe("true\n");
  await expect(Journal.resume(path, () => {})).rejects.toThrow(/another run is writing/);
  child.kill("SIGKILL");
  await once(child, "exit");
  (await Journal.resume(path, () => {})).journal.close();
});

test("larger than any buffer is read", async () => {
  await write();
  const { size } = statSync(path);
  // What a crash has left: room that was never written to, which costs no disk.
  truncateSync(path, 2 ** 31 + 2 ** 20);
  const { events, wholeBytes } = await eventsOf(path);
  expect(events).toHaveLength(runEvents().filter(({ type }) => type !== "progress").length);
  expect(wholeBytes).toBe(size);
});

describe("after a crash", () => {
  test("wherever the last line was torn, the lines before it count and writing goes on behind them", async () => {
    await write();
    const whole = readFileSync(path);
    const [start] = runEvents();
    if (start?.type !== "run-start") throw new Error("no start");
    const first = whole.indexOf(0x0a) + 1;
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: first, max: whole.length }), fc.nat(300), async (cut, zeros) => {
        // A crash of the machine leaves zeros where the data never reached the disk.
        writeFileSync(path, Buffer.concat([whole.subarray(0, cut), Buffer.alloc(zeros)]));
        const history = await eventsOf(path);
        const complete = whole.subarray(0, cut).toString().split("\n").length - 1;
        expect(history.events).toHaveLength(complete);
        const { journal } = await Journal.resume(path, () => {});
        journal.append(start);
        journal.close();
        expect((await eventsOf(path)).events).toEqual([...history.events, start]);
      }),
      { numRuns: 50 },
    );
  });

  test("a torn first line holds no run", async () => {
    writeFileSync(path, '{"type":"run-st');
    await expect(eventsOf(path)).rejects.toThrow(/holds no run: remove it and drop --resume/);
  });
});

describe("garbage is one clear error with its line, and nothing is changed", () => {
  test.each([
    ["not JSON", "hello"],
    ["no event", '{"type":"nonsense"}'],
    ["a field of the wrong kind", '{"type":"test-start","time":"x","key":"part1:AD001","worker":"1"}'],
    ["a key outside the plan", '{"type":"test-start","time":"x","key":"other:AD001","worker":1}'],
    ["an empty line", ""],
  ])("%s", async (_name, text) => {
    await write(runEvents().slice(0, 1));
    appendFileSync(path, `${text}\n${JSON.stringify(runEvents()[1])}\n`);
    const before = readFileSync(path);
    await expect(eventsOf(path)).rejects.toThrow(new RegExp(`^${path}:2: is no line of a journal \\(`));
    expect(readFileSync(path)).toEqual(before);
  });

  test("a journal without its start", async () => {
    writeFileSync(path, `${JSON.stringify(runEvents()[1])}\n`);
    await expect(eventsOf(path)).rejects.toThrow(/:1: is no line of a journal \(a journal begins with run-start\)/);
  });

  test("a missing file", async () => {
    await expect(eventsOf(path)).rejects.toThrow(/^no journal .*: name another$/);
  });
});
