import { execFileSync } from "node:child_process";
import { createReadStream, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { finished } from "node:stream/promises";
import { afterAll, describe, expect, onTestFinished, test } from "vitest";
import { checkFaultRule, faultTable, raceTable } from "#native";
import { EXIT } from "../../ts/base/exit.js";
import { parseCommandLine } from "../../ts/cli/flags.js";
import { selftest } from "../../ts/cli/selftest.js";
import { details, heading, line, markdown, type Table } from "../../ts/cli/selftest-table.js";
import type { Faultfs } from "../../ts/filesystem/faultfs.js";
import {
  covers,
  EXCUSES,
  excuse,
  FAMILIES,
  FAULT_CASES,
  type FaultCase,
  isMeant,
  type Subject,
  subjects,
} from "../../ts/selftest/cases.js";
import { ltpProgram, ltpRunner, ltpSubject, verdictOfExit } from "../../ts/selftest/ltp.js";
import { type Cell, type CellOutcome, complaints, excused, judge, type Row } from "../../ts/selftest/selftest.js";
import { programs } from "../../ts/testcase/registry.js";
import { command, fakeSystem } from "../cli/fixture.js";

const FAULT: FaultCase = { name: "f", rule: "flip-bit", right: /bits differ/ };
const LAWFUL: FaultCase = { ...FAULT, lawful: true };
const SUBJECTS = await subjects();
const cell = (outcome: CellOutcome): Cell => ({ outcome, verdict: "TPASS", fired: 1, lines: [] });
const subject = (name: string): Subject => ({ name, program: "aiocp", argv: [], file: "*" });

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

  test("has every program, and a subject for each race, collider, space and memory", async () => {
    expect(new Set(SUBJECTS.map(({ program }) => program))).toEqual(new Set(programs.keys()));
    const options = await Promise.all(
      [...programs.values()].map(async ({ name, load }) => ({ name, options: (await load()).options })),
    );
    // Whatever says what a testcase is to provoke; the words are read from the text of its help.
    const kinds = ["race", "collide", "space", "memory"];
    const declared = options.flatMap(({ name, options }) =>
      kinds.flatMap((kind) =>
        (options[kind]?.argument ?? "")
          .split("|")
          .flatMap((word) => (word === "" ? [] : [`${name} --${kind} ${word}`])),
      ),
    );
    expect(declared.length).toBeGreaterThan(25);
    const planted = SUBJECTS.map(({ program, argv }) => `${program} ${argv.join(" ")} `);
    for (const line of declared) {
      const [program = "", option, word] = line.split(" ");
      expect(
        planted.filter((words) => words.startsWith(`${program} `) && words.includes(` ${option} ${word} `)),
        line,
      ).toHaveLength(1);
    }
    expect(raceTable().map(({ name }) => `races ${name}`)).toEqual(
      SUBJECTS.map(({ name }) => name).filter((name) => name.startsWith("races ")),
    );
    for (const { program, option, also = {} } of FAMILIES) {
      const words = options.find(({ name }) => name === program)?.options[option]?.choices ?? [];
      expect(words).toEqual(expect.arrayContaining(Object.keys(also)));
    }
  });

  test("excuses what there is, once, and says why", () => {
    const faults = FAULT_CASES.map(({ name }) => name);
    const pairs = EXCUSES.flatMap((one) => {
      expect(faults).toEqual(expect.arrayContaining([...one.faults]));
      expect(one.why).toMatch(/^[a-z].{20,}[^.]$/);
      const given = [...(one.subjects === "all" ? [] : one.subjects), ...(one.but ?? [])];
      for (const each of given)
        expect(
          SUBJECTS.filter(({ name }) => isMeant(name, each)),
          each,
        ).not.toEqual([]);
      const meant = SUBJECTS.filter(({ name }) => covers(one, name)).map(({ name }) => name);
      return meant.flatMap((name) => one.faults.map((fault) => `${name} ${fault}`));
    });
    expect(new Set(pairs).size).toBe(pairs.length);
    for (const { name, lawful } of FAULT_CASES) {
      const able = SUBJECTS.filter((each) => excuse(each.name, name) === undefined);
      if (!lawful) expect(able.length, name).toBeGreaterThan(0);
    }
  });
});

describe("a cell", () => {
  const named = ["TINFO: 1 bits differ"];
  test.each<[string, FaultCase | undefined, Parameters<typeof judge>[1], number, string[], CellOutcome]>([
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

test("a fault has to be called by its name once, is never missed without an excuse, and is never a false alarm", () => {
  const row = (...outcomes: CellOutcome[]) =>
    complaints([{ fault: FAULT, cells: outcomes.map(cell) }], [..."abcd"].map(subject), false);
  expect(row("excused", "right", "not applicable", "detected")).toEqual([]);
  expect(row("missed", "right", "missed")).toEqual(["f: missed by a, c"]);
  expect(row("excused", "detected")).toEqual(["f: detected, but never called what it is"]);
  expect(row("excused", "not applicable")).toEqual(["f: detected by nothing"]);
  expect(row("not applicable")).toEqual(["f: never happened, so it proves nothing"]);
  expect(row("right", "false alarm")).toEqual(["f: a false alarm of b"]);
});

test("a testcase has to call one fault by its name, if it can run here", () => {
  const row = (fault: FaultCase | undefined, ...outcomes: CellOutcome[]): Row => ({ fault, cells: outcomes.map(cell) });
  const rows = [
    row(undefined, "right", "right", "not applicable", "false alarm"),
    row(FAULT, "right", "detected", "not applicable", "right"),
    row(LAWFUL, "right", "right", "not applicable", "right"),
  ];
  const those = [..."abcd"].map(subject);
  expect(complaints(rows, those, true)).toEqual(["no fault: a false alarm of d", "b: calls no fault by its name"]);
  expect(complaints(rows, those, false)).toEqual(["no fault: a false alarm of d"]);
});

test("only what is missed is excused", () => {
  const one = EXCUSES.find(({ subjects }) => subjects !== "all");
  const fault = FAULT_CASES.find(({ name }) => name === one?.faults[0]);
  const meant = SUBJECTS.find(({ name }) => one !== undefined && covers(one, name));
  if (!fault || !meant) throw new Error("there is no excuse");
  const outcome = (given: CellOutcome, of: FaultCase | undefined, who: Subject) =>
    excused(cell(given), of, who).outcome;
  expect(outcome("missed", fault, meant)).toBe("excused");
  for (const other of ["right", "detected", "not applicable", "false alarm"] as const) {
    expect(outcome(other, fault, meant)).toBe(other);
  }
  expect(outcome("missed", FAULT, meant)).toBe("missed");
  expect(outcome("missed", fault, subject("nobody"))).toBe("missed");
  expect(outcome("missed", undefined, meant)).toBe("missed");
});

describe("what is shown", () => {
  const [one] = EXCUSES;
  const fault = FAULT_CASES.find(({ name }) => name === one?.faults[0]) ?? FAULT;
  const blind = SUBJECTS.find(({ name }) => one !== undefined && covers(one, name)) ?? subject("none");
  const those = [...SUBJECTS.filter((each) => each !== blind).slice(0, 9), blind];
  const all = (outcome: CellOutcome) => those.map(() => cell(outcome));
  const table: Table = {
    subjects: those,
    ltp: those.slice(0, 3),
    rows: [
      {
        fault: undefined,
        cells: [
          ...all("right").slice(2),
          cell("not applicable"),
          ...all("false alarm").slice(0, 1),
          ...all("right").slice(0, 3),
        ],
      },
      {
        fault,
        cells: [...all("right").slice(1), cell("excused"), cell("missed"), cell("detected"), cell("false alarm")],
      },
      {
        fault: LAWFUL,
        cells: [...all("detected").slice(3), ...all("missed").slice(0, 3), ...all("missed").slice(0, 3)],
      },
    ],
  };
  const shown = (given: Table, columns: number) =>
    `${heading(given)}${given.rows.map((_, index) => line(given, index, false)).join("")}${details(given, complaints(given.rows, those, true), columns)}`;

  test("on a terminal of 80 columns", () => {
    const text = shown(table, 80);
    for (const each of text.split("\n")) expect(each.length, each).toBeLessThanOrEqual(80);
    expect(text).toMatchSnapshot();
  });

  test("on one of 40 columns, but for the table itself", () => {
    for (const each of details(table, [], 40).split("\n")) expect(each.length, each).toBeLessThanOrEqual(40);
  });

  test("in 80 columns with every fault and every testcase", () => {
    const whole: Table = {
      subjects: SUBJECTS,
      ltp: SUBJECTS,
      rows: [undefined, ...FAULT_CASES].map((each) => ({
        fault: each,
        cells: [...SUBJECTS, ...SUBJECTS].map(() => cell("detected")),
      })),
    };
    for (const each of shown(whole, 80).split("\n")) expect(each.length, each).toBeLessThanOrEqual(80);
  });

  test("as a table in Markdown", () => {
    expect(markdown(table)).toMatchSnapshot();
    const without = markdown({ ...table, ltp: [] }).split("\n");
    expect(without[0]).toBe("| fault | here: named rightly | only detected | missed | excused | false alarm |");
  });
});

describe("LTP's programs", () => {
  const directory = mkdtempSync(join(tmpdir(), "aiodio-ltp-"));
  afterAll(() => rmSync(directory, { recursive: true }));

  test("get LTP's options only, and are left out where there are none", () => {
    const [direct, , uring] = SUBJECTS;
    expect(direct && ltpSubject(direct)?.argv).toEqual(["-f", "DIRECT", "-b", "4k"]);
    expect(uring && ltpSubject(uring)).toBeUndefined();
    const theirs = (name: string) => SUBJECTS.filter((each) => each.name === name).map(ltpSubject)[0];
    expect(theirs("fsx")?.argv).toEqual(["-N", "200"]);
    // LTP's size can't be chosen, and is too much for the filesystem.
    expect(theirs("dma")).toBeUndefined();
  });

  test("are found where LTP puts them, and judged by their exit status", () => {
    symlinkSync(process.execPath, join(directory, "aiocp"));
    expect(ltpProgram(directory, "aiocp")).toBe(join(directory, "aiocp"));
    expect(ltpProgram(directory, "diotest1")).toBeUndefined();
    expect([0, 1, 2, 3, 4, 32, undefined].map(verdictOfExit)).toEqual([
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

test("LTP's programs may talk as long as they like", async () => {
  const directory = mkdtempSync(join(tmpdir(), "aiodio-ltp-"));
  const script = "#!/bin/sh\nyes 'dio_read TFAIL' | head -c 20000000\nexit 1\n";
  writeFileSync(join(directory, "dio_read"), script, { mode: 0o755 });
  const here = { enter: [], directory } as unknown as Faultfs;
  const subject = { name: "dio_read", program: "dio_read", argv: [], file: "*" };
  const { verdict, lines } = await ltpRunner(here, directory, process.env).run(subject, new AbortController().signal);
  expect(verdict).toBe("TFAIL");
  expect(lines[0]).toBe("dio_read TFAIL");
  expect(lines.join("\n").length).toBeLessThan(1_000_000);
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
    const output = join(mkdtempSync(join(tmpdir(), "aiodio-selftest-")), "table.md");
    onTestFinished(() => rmSync(dirname(output), { recursive: true }));
    const { status, out, err } = await command(
      [..."selftest --faults tear,short-read --testcases aiocp-direct,aiocp-source --output".split(" "), output],
      system(),
    );
    expect(err).toBe("");
    expect(out).toMatch(/^canary: aiocp-direct fails with a bit flipped, as it must\n/);
    const rows = out.split("\n").map((line) => line.split(/ +/));
    expect(rows).toContainEqual(["", "named", "seen", "missed", "excused", "n/a", "alarm"]);
    expect(rows).toContainEqual(["no", "fault", ..."2·····"]);
    expect(rows).toContainEqual(["tear", ..."2·····"]);
    expect(rows).toContainEqual(["short-read", ..."2·····"]);
    expect(readFileSync(output, "utf8")).toContain("\n| tear | 2 | · | · | · | · |\n");
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
