import { describe, expect, test } from "vitest";
import { FLAGS, helpText, optionsMarkdown, parseCommandLine } from "../../ts/cli/flags.js";

const parse = (line: string) => parseCommandLine(line.split(" ").filter(Boolean));

describe("a command line", () => {
  test("without options runs with the defaults", () => {
    expect(parse("f1 f2")).toEqual({
      command: "run",
      operands: ["f1", "f2"],
      flags: {
        ...{
          select: [],
          skip: [],
          iterate: 1,
          repeat: 1,
          workers: 1,
          bail: false,
          require: [],
          forbidConf: false,
          noJournal: false,
          resume: false,
          trace: false,
          refresh: false,
          loopDirectIo: false,
          devices: [],
          guests: [],
          hosts: [],
          erase: [],
          json: false,
          durations: 0,
        },
        ...{ reporters: [], version: false, help: false },
      },
    });
  });

  test.each([
    ["-d /x -s A -s B --skip=C f", { directory: "/x", select: ["A", "B"], skip: ["C"] }],
    ["-j4 -i 3 --repeat 5 --bail f", { workers: 4, iterate: 3, repeat: 5, bail: true }],
    ["--engine io_uring --timeout-mul .5 f", { engine: "io_uring", timeoutMul: 0.5 }],
    [
      "--journal j --resume --reporter ltp --output o f",
      { journal: "j", resume: "same", reporters: [{ name: "ltp" }], output: "o" },
    ],
    ["--journal j --resume=force f", { journal: "j", resume: "force" }],
    ["--shuffle f", { shuffle: {} }],
    ["--shuffle=007 f", { shuffle: { seed: "7" } }],
    ["--select=-b f", { select: ["-b"] }],
  ])("%s", (line, flags) => {
    const parsed = parse(line);
    expect(parsed.flags).toMatchObject(flags);
    expect(parsed.operands).toEqual(["f"]);
  });

  test("options may come last, and -- ends them", () => {
    expect(parse("f --bail -- --odd").operands).toEqual(["f", "--odd"]);
  });

  test.each([
    ["list -s A f", "list", ["f"]],
    ["-d /x doctor", "doctor", []],
    ["install-ltproot /opt/ltp", "install-ltproot", ["/opt/ltp"]],
    ["./list", "run", ["./list"]],
    ["run f", "run", ["f"]],
    ["run f -- --odd", "run", ["f", "--odd"]],
    ["./run", "run", ["./run"]],
  ])("%s is the command %s", (line, command, operands) => {
    expect(parse(line)).toMatchObject({ command, operands });
  });
});

test("run -- takes a line, whose options are the program's", () => {
  expect(parse("run --seed 5 -- dio_races --race truncate-up -n 20")).toMatchObject({
    ...{ command: "run", operands: [], flags: { seed: "5" } },
    line: ["dio_races", "--race", "truncate-up", "-n", "20"],
  });
  expect(parse("f").line).toBeUndefined();
});

test.each([
  "--jounral x f",
  "--frobnicate f",
  "-x f",
  "-J 2 f",
  "-j f",
  "-j 0 f",
  "-j 1.5 f",
  "-i many f",
  "-d",
  "-d -s x f",
  "--directory= f",
  "--bail=yes f",
  "--bail --bail f",
  "--engine uring f",
  "--engine iouring f",
  "--reporter jsno f",
  "--timeout-mul 0 f",
  "--timeout-mul 1e9 f",
  "--shuffle=x f",
  "--journal= f",
  "list --bail",
  "doctor -j 2",
  "install-ltproot --resume x",
])("%s is one clear error", (line) => {
  expect(() => parse(line)).toThrowErrorMatchingSnapshot();
});

test("every message of a usage error is one line", () => {
  for (const line of ["--nope", "-j x", "--engine x", "--resume=1"]) expect(() => parse(line)).toThrow(/^[^\n]+$/);
});

describe("the table", () => {
  test("gives the help", () => {
    expect(helpText()).toMatchSnapshot();
    for (const line of helpText().split("\n")) expect(line.length).toBeLessThanOrEqual(80);
  });

  test("gives the markdown, one row for each option", () => {
    expect(optionsMarkdown().match(/^\| `/gm)).toHaveLength(FLAGS.length);
    expect(optionsMarkdown()).toContain("| `-d`, `--directory DIR` | where the tests work");
  });

  test("has no name twice", () => {
    const names = FLAGS.flatMap(({ name, short }) => (short ? [name, short] : [name]));
    expect(new Set(names).size).toBe(names.length);
  });
});
