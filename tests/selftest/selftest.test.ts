import { execFileSync } from "node:child_process";
import { createReadStream, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { finished } from "node:stream/promises";
import { afterAll, describe, expect, test } from "vitest";
import { checkFaultRule, faultTable } from "#native";
import { parseCommandLine } from "../../ts/cli/flags.js";
import { EXIT } from "../../ts/cli/main.js";
import { selftest } from "../../ts/cli/selftest.js";
import type { Faultfs } from "../../ts/faultfs/faultfs.js";
import { FAULT_CASES, type FaultCase, SUBJECTS } from "../../ts/selftest/cases.js";
import { ltpProgram, ltpRunner, ltpSubject, verdictOfExit } from "../../ts/selftest/ltp.js";
import { type Cell, complaints, judge, type Outcome } from "../../ts/selftest/selftest.js";
import { command, fakeSystem } from "../cli/fixture.js";

const FAULT: FaultCase = { name: "f", rule: "flip-bit", right: /bits differ/ };
const LAWFUL: FaultCase = { ...FAULT, lawful: true };

describe("the table", () => {
  test("has every fault of the filesystem, and each of its rules is one", () => {
    const planted = FAULT_CASES.map(({ rule }) => rule.split(":")[0]);
    expect(new Set(planted)).toEqual(new Set(faultTable().map(({ name }) => name)));
    for (const { rule } of FAULT_CASES) expect(checkFaultRule(`${rule}:file=dstfile.bin`)).toBeNull();
  });

  test("has no name twice", () => {
    for (const names of [FAULT_CASES.map(({ name }) => name), SUBJECTS.map(({ name }) => name)]) {
      expect(new Set(names).size).toBe(names.length);
    }
    const known = SUBJECTS.map(({ name }) => name);
    for (const { except = [] } of FAULT_CASES) expect(known).toEqual(expect.arrayContaining([...except]));
  });
});

describe("a cell", () => {
  const named = ["TINFO: 1 bits differ"];
  test.each<[string, FaultCase | undefined, Parameters<typeof judge>[1], number, string[], Outcome]>([
    ["noticed and named", FAULT, "TFAIL", 1, named, "right"],
    ["noticed as an error and named", FAULT, "TBROK", 2, named, "right"],
    ["noticed only", FAULT, "TFAIL", 1, ["TFAIL: bad"], "detected"],
    ["not noticed", FAULT, "TPASS", 1, named, "missed"],
    ["never applied", FAULT, "TPASS", 0, [], "not applicable"],
    ["a failure without a fault applied", FAULT, "TFAIL", 0, named, "false alarm"],
    ["lived with", LAWFUL, "TPASS", 1, [], "right"],
    ["not lived with", LAWFUL, "TFAIL", 1, named, "false alarm"],
    ["no fault, and none found", undefined, "TPASS", 0, [], "right"],
    ["no fault, and one found", undefined, "TBROK", 0, [], "false alarm"],
    ["no fault, and no test", undefined, "TCONF", 0, [], "not applicable"],
  ])("%s", (_, fault, verdict, fired, lines, outcome) => {
    expect(judge(fault, verdict, fired, lines)).toBe(outcome);
  });
});

test("a fault has to be called by its name once, and is never a false alarm", () => {
  const cells = (...outcomes: Outcome[]): Cell[] =>
    outcomes.map((outcome) => ({ outcome, verdict: "TPASS", fired: 1, lines: [] }));
  const row = (...outcomes: Outcome[]) => complaints([{ fault: FAULT, cells: cells(...outcomes) }]);
  expect(row("missed", "right", "not applicable", "detected")).toEqual([]);
  expect(row("missed", "detected")).toEqual(["f: detected, but never called what it is"]);
  expect(row("missed", "not applicable")).toEqual(["f: detected by nothing"]);
  expect(row("not applicable")).toEqual(["f: never happened, so it proves nothing"]);
  expect(row("right", "false alarm")).toEqual(["f: a false alarm"]);
});

describe("LTP's programs", () => {
  const directory = mkdtempSync(join(tmpdir(), "aiodio-ltp-"));
  afterAll(() => rmSync(directory, { recursive: true }));

  test("get LTP's options only, and are left out where there are none", () => {
    const [direct, , uring] = SUBJECTS;
    expect(direct && ltpSubject(direct)?.argv).toEqual(["-f", "DIRECT", "-b", "4k"]);
    expect(uring && ltpSubject(uring)).toBeUndefined();
    const theirs = (name: string) => SUBJECTS.filter((subject) => subject.name === name).map(ltpSubject)[0];
    expect(theirs("fsx")?.argv).toEqual(["-N", "200"]);
    // LTP's size can't be chosen, and is too much for the filesystem.
    expect(theirs("dma")).toBeUndefined();
  });

  test("are found where LTP puts them, and judged by their exit status", () => {
    symlinkSync(process.execPath, join(directory, "aiocp"));
    expect(ltpProgram(directory, "aiocp")).toBe(join(directory, "aiocp"));
    expect(ltpProgram(directory, "diotest1")).toBeUndefined();
    expect([0, 1, 2, 3, 4, 32, null].map(verdictOfExit)).toEqual([
      ...["TPASS", "TFAIL", "TBROK", "TBROK", "TWARN", "TCONF", "TBROK"],
    ]);
  });
});

test("LTP's programs leave no process behind when they are ended", async () => {
  const directory = mkdtempSync(join(tmpdir(), "aiodio-ltp-"));
  const held = join(directory, "held");
  execFileSync("mkfifo", [held]);
  const script = `#!/bin/sh\nsetsid sh -c 'echo begun; exec sleep 1000' > ${held} &\nwait\n`;
  writeFileSync(join(directory, "dio_read"), script, { mode: 0o755 });
  const interruption = new AbortController();
  const here = { enter: [], directory } as unknown as Faultfs;
  const run = ltpRunner(here, directory, process.env).run(
    { name: "dio_read", program: "dio_read", argv: [], file: "*" },
    interruption.signal,
  );
  const reader = createReadStream(held);
  reader.once("data", () => interruption.abort());
  await expect(run).rejects.toThrow("aborted");
  // Nobody has the pipe open any more.
  await finished(reader);
  rmSync(directory, { recursive: true });
});

describe("the command", () => {
  const system = () => fakeSystem({ env: process.env });

  test("believes nothing when the canary lives on", { timeout: 60_000 }, async () => {
    const { flags } = parseCommandLine(["selftest", "--faults", "tear"]);
    const deaf = {
      run: async () => ({ verdict: "TPASS" as const, lines: ["TPASS: all is well"] }),
      close: async () => {},
    };
    const given = system();
    expect(await selftest(flags, [], given, () => deaf)).toBe(EXIT.failed);
    expect(given.terminal.written.out).toMatch(/^The canary lives on: .* it says TPASS\.\n {2}TPASS: all is well\n$/);
  });

  test("says what is wrong with its options", async () => {
    expect(await command(["selftest", "--faults", "tears"])).toMatchObject({
      status: EXIT.usage,
      err: expect.stringContaining("--faults: there is no 'tears' (did you mean \"tear\"?); there are: drop-write, "),
    });
    expect(await command(["selftest", "--testcases", "aiocp"])).toMatchObject({ status: EXIT.usage });
    expect(await command(["selftest", "--ltp", "/nonexistent"])).toMatchObject({
      status: EXIT.usage,
      err: expect.stringContaining("is no directory"),
    });
    expect(await command(["selftest", "file"])).toMatchObject({ status: EXIT.usage });
    expect(await command(["--faults", "tear", "x"])).toMatchObject({ status: EXIT.usage });
  });

  test("plants faults and shows what is noticed", { timeout: 60_000 }, async () => {
    const { status, out, err } = await command(
      [...["selftest", "--faults", "tear,short-read", "--testcases", "aiocp-direct,aiocp-source"]],
      system(),
    );
    expect(err).toBe("");
    expect(out).toMatch(/^canary: aiocp-direct fails with a bit flipped, as it must\n/);
    const rows = out.split("\n").map((line) => line.split(/ {2,}/));
    expect(rows).toContainEqual(["", "aiocp-direct", "aiocp-source"]);
    expect(rows).toContainEqual(["no fault", "right", "right"]);
    expect(rows).toContainEqual(["tear", "right", "right"]);
    expect(rows).toContainEqual(["short-read", "right", "right"]);
    expect(status).toBe(EXIT.ok);
  });

  test("fails when a fault is noticed by nothing", { timeout: 60_000 }, async () => {
    // The source of a copy is not looked at again when the copy is good.
    const { status, out } = await command(
      [...["selftest", "--faults", "corrupt-after-remount", "--testcases", "aiocp-source"]],
      system(),
    );
    expect(out).toContain("corrupt-after-remount: detected by nothing");
    expect(status).toBe(EXIT.failed);
  });
});
