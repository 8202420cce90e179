/**
 * The programs that read a file while it changes: LTP's verdicts on sound filesystems, their options and words, and faults
 * planted between the race and the verification, or into what the race reports.
 */
import { appendFileSync, readdirSync, truncateSync } from "node:fs";
import { afterEach, describe, expect, test, vi } from "vitest";
import type { ReadersOptions, ReadersOutcome } from "#native";
import { programs } from "../../ts/testcase/registry.js";
import { writeAt } from "../support/damage.js";
import { executed } from "../support/execute.js";
import { filesystems } from "../support/filesystems.js";

/** Called with what a race was given and has found; it may change the file and the outcome. */
let after: (options: ReadersOptions, outcome: ReadersOutcome) => void = () => {};
let races: ReadersOptions[] = [];

vi.mock("#native", async (original) => {
  const { watched } = await import("../support/native.js");
  return watched(original, {
    readers: {
      after(options, outcome) {
        races.push(options);
        after(options, outcome);
      },
    },
  });
});

afterEach(() => {
  after = () => {};
  races = [];
});

const run = async (name: string, directory: string, argv: string[]) =>
  await executed((await programs.get(name)?.load()) as unknown, directory, argv);

/** Short forms of the lines of LTP's runtest files. */
const LINES: [string, ...string[]][] = [
  ["aiodio_sparse", "-s", "180k"],
  ["aiodio_sparse", "-s", "1751k", "-w", "11k", "-n", "3"],
  ["aiodio_sparse", "-o", "9", "-s", "180k", "-w", "18k", "-n", "3"],
  ["aiodio_sparse", "-o", "2", "-w", "2k", "-s", "4k", "-n", "2"],
  ["aiodio_sparse", "-o", "4", "-w", "1024k", "-s", "4096k", "-n", "40"],
  ["dio_sparse", "-s", "180k", "-n", "3"],
  ["dio_sparse", "-w", "2k", "-s", "2k", "-n", "2"],
  ["dio_sparse", "-w", "4k", "-s", "2k", "-n", "2"],
  ["aiodio_append", "-c", "100"],
  ["dio_append", "-c", "100", "-n", "3"],
  ["dio_truncate", "-n", "1", "-c", "5", "-a", "20"],
  ["dio_truncate", "-c", "5", "-a", "20"],
  ["dio_read", "-n", "1", "-r", "512k", "-w", "512k", "-s", "4M"],
  ["dio_read", "-n", "10", "-r", "512k", "-w", "512k", "-s", "4M"],
];

describe.each(filesystems())("on $name", ({ directory }) => {
  test.each(LINES)("%s %s %s %s %s %s %s passes, races, and leaves nothing", async (name, ...argv) => {
    const { results, texts } = await executed((await programs.get(name)?.load()) as unknown, directory, argv);
    expect(results, texts.join("\n")).toEqual(["TPASS"]);
    expect(texts).toContain("TPASS: All bytes read were zeroed or as written");
    expect(texts).toContainEqual(
      expect.stringMatching(/TINFO: [1-9]\d* writes in \d+ rounds; [1-9]\d* of \d+ reads overlapped a write/),
    );
    expect(readdirSync(directory)).toEqual([]);
  });

  test("each call of the test function is a race of its own, with stamps of its own", async () => {
    const { results } = await run("aiodio_sparse", directory, ["-s", "64k", "-n", "2", "-i", "3"]);
    expect(results).toEqual(["TPASS", "TPASS", "TPASS"]);
    expect(races.map(({ readers, depth, blockBytes }) => [readers, depth, blockBytes])).toEqual(
      Array(3).fill([2, 16, 1024]),
    );
    expect(new Set(races.map(({ key }) => key.generation)).size).toBe(3);
  });

  test("io_uring and LTP's pattern on request", async () => {
    const argv = ["-c", "20", "--ltp-pattern", "--verify", "cache"];
    for (const engine of ["io_uring", "io_uring-fixed", "sync", "libaio"]) {
      const { results, texts } = await run("aiodio_append", directory, [...argv, "--engine", engine]);
      expect(results, texts.join("\n")).toEqual(["TPASS"]);
      expect(texts).toContain("TPASS: All bytes read were zeroed");
      expect(texts).toContain("TINFO: Zeros are written, as LTP does: a lost write can't be seen");
    }
  });
});

describe("LTP's words for what can't be", () => {
  const [{ directory } = { directory: "" }] = filesystems().filter(({ name }) => name !== "btrfs");

  test.each([
    ["aiodio_sparse", ["-n", "x"], "TBROK: Invalid number of children 'x'"],
    ["aiodio_sparse", ["-w", "0"], "TBROK: Invalid write blocks size '0'"],
    ["aiodio_sparse", ["-s", "4kk"], "TBROK: Invalid file size '4kk'"],
    ["aiodio_sparse", ["-o", "0"], "TBROK: Invalid number of AIO control blocks '0'"],
    ["aiodio_sparse", ["-w", "8k", "-s", "4k"], "TBROK: io_submit: EINVAL"],
    ["aiodio_sparse", ["-w", "300", "-s", "30000"], "TBROK: AIO write offset 0 expected 300 got -22"],
    ["dio_sparse", ["-o", "x"], "TBROK: Invalid file offset 'x'"],
    ["dio_sparse", ["-w", "300", "-s", "30000"], "TBROK: write(dio_sparse,300) failed: EINVAL (22)"],
    ["aiodio_append", ["-b", "0"], "TBROK: Number of async IO blocks '0'"],
    ["aiodio_append", ["-s", "0"], "TBROK: Size of the file to write '0'"],
    ["aiodio_append", ["-c", "x"], "TBROK: Invalid number of appends 'x'"],
    ["aiodio_append", ["-s", "300", "-b", "1"], "TBROK: AIO write offset 0 expected 300 got -22"],
    ["dio_append", ["-w", "x"], "TBROK: Invalid write file size 'x'"],
    ["dio_append", ["-c", "2147483647"], "TCONF: Not enough space to run the test"],
    ["dio_truncate", ["-s", "x"], "TBROK: Invalid file size 'x'"],
    ["dio_truncate", ["-c", "x"], "TBROK: Invalid number of truncate/append 'x'"],
    ["dio_read", ["-r", "x"], "TBROK: Invalid read blocks size 'x'"],
    ["dio_read", ["-w", "x"], "TBROK: Invalid write blocks size 'x'"],
    ["dio_read", ["-r", "300", "-s", "1M", "-w", "1M"], "TBROK: pread: EINVAL"],
    ["dio_read", ["--engine", "sync"], "TBROK: Invalid option"],
  ])("%s %j", async (name, argv, words) => {
    const { texts } = await run(name, directory, argv);
    expect(texts.at(-1)).toBe(words);
  });

  test("fewer control blocks where they don't fit the file", async () => {
    const { texts, results } = await run("aiodio_sparse", directory, ["-o", "9", "-w", "1k", "-s", "4k"]);
    expect(texts).toContain("TINFO: Numbers of AIO have been reduced to 4 so we fit filesize");
    expect(results).toEqual(["TPASS"]);
    expect(races[0]?.depth).toBe(4);
  });

  test.each([
    ["2k", "2k"],
    ["4k", "6k"],
  ])("a file of %s and a start at %s: nothing is written, as in LTP, and that is said", async (s, o) => {
    const { texts, results } = await run("dio_sparse", directory, ["-w", "4k", "-s", s, "-o", o, "-n", "2"]);
    expect(texts).toContainEqual(expect.stringMatching(/TINFO: Nothing to write, as in LTP: offset \d+ is not inside/));
    expect(results).toEqual(["TPASS"]);
  });

  test("a runtime that is used up ends the work, not the verdict", async () => {
    const argv = ["-I", "1", "-c", "100000000", "-a", "8", "-n", "2"];
    const { texts, results } = await run("dio_truncate", directory, argv);
    expect(texts).toContain("TINFO: Test out of runtime, exiting");
    expect(results).toEqual(["TPASS"]);
  });
});

describe.each(filesystems())("faults on $name", ({ directory }) => {
  const SHORT: [string, string[], string][] = [
    ["aiodio_sparse", ["-s", "64k", "-n", "2"], "file.bin does not hold what was written"],
    ["dio_sparse", ["-s", "64k", "-n", "2"], "dio_sparse does not hold what was written"],
    ["aiodio_append", ["-c", "4"], "Non zero bytes read: aiodio_append does not hold what was written"],
    ["dio_append", ["-c", "4"], "Non zero bytes read: dio_append does not hold what was written"],
    [
      "dio_read",
      ["-s", "1M", "-w", "512k", "-r", "512k", "-n", "2"],
      "Non zero bytes read: file.bin does not hold what was written",
    ],
  ];

  test.each(SHORT)("%s: a lost write, garbage, a wrong size", async (name, argv, words) => {
    const faults: [(path: string) => void, RegExp][] = [
      [(path) => writeAt(path, 512, Buffer.alloc(512)), /512 bytes at offset 0x200: zeros/],
      [(path) => writeAt(path, 1024, Buffer.alloc(512, 0xaa)), /512 bytes at offset 0x400: garbage/],
      [(path) => truncateSync(path, 4096), /missing: the file ends before it/],
      [(path) => appendFileSync(path, "x"), /beyond the end that the file should have/],
    ];
    for (const [fault, named] of faults) {
      after = ({ path }) => fault(path);
      const { results, texts } = await run(name, directory, argv);
      expect(results, texts.join("\n")).toEqual(["TFAIL"]);
      expect(texts).toContain(`TFAIL: ${words}`);
      expect(texts).toContainEqual(expect.stringMatching(named));
    }
    expect(readdirSync(directory)).toEqual([]);
  });

  test("dio_truncate: a file that is not empty in the end", async () => {
    after = ({ path }) => appendFileSync(path, "x");
    const { results, texts } = await run("dio_truncate", directory, ["-c", "2", "-a", "3"]);
    expect(results, texts.join("\n")).toEqual(["TFAIL"]);
  });

  test.each(SHORT)("%s: a race that nobody ran is TWARN", async (name, argv) => {
    after = (_, { tally }) => {
      tally.overlapping = 0;
    };
    const { results, texts } = await run(name, directory, argv);
    expect(results, texts.join("\n")).toEqual(["TWARN", "TPASS"]);
    expect(texts).toContain("TWARN: No read overlapped a write: nothing was raced");
  });
});

describe("what a reader saw", () => {
  const [{ directory } = { directory: "" }] = filesystems();
  const range = (kind: "zeros" | "garbage") => ({
    ...{ offset: 4096, bytes: 512, kind, right: ["stamp"], shownAt: 4096 },
    ...{ expected: Buffer.from([1]), found: Buffer.from([0]) },
  });
  const seen = (kind?: "zeros" | "garbage") =>
    ({
      ...{ reader: 3, offset: 4096, bytes: 4096, direct: false, sizeMin: 9000, sizeMax: 9000 },
      found: {
        ...{ bytesExpected: 0, bytesFound: 4096, sectors: 8, sectorsBad: 1, direct: false },
        ...{ ranges: kind ? [range(kind)] : [], rangesTotal: kind ? 1 : 0 },
      },
    }) as unknown as NonNullable<ReadersOutcome["bad"]>;

  test.each([
    ["aiodio_sparse", seen("garbage"), "TFAIL: non-zero read at offset 4096"],
    ["dio_sparse", seen("zeros"), "TFAIL: zeros read at offset 4096, where data had been written"],
    [
      "dio_append",
      seen(),
      "TFAIL: Non zero bytes read: read at offset 4096 ended at 8192, but the file had from 9000 to 9000 bytes",
    ],
    ["dio_truncate", seen("garbage"), "TFAIL: Non zero bytes read: non-zero read at offset 4096"],
  ] as const)("%s fails", async (name, bad, words) => {
    after = (_, outcome) => {
      outcome.bad = bad;
    };
    const short = { aiodio_sparse: ["-s", "64k"], dio_sparse: ["-s", "64k"], dio_append: ["-c", "4"] };
    const argv = name === "dio_truncate" ? ["-c", "2", "-a", "3"] : short[name];
    const { results, texts } = await run(name, directory, argv);
    expect(results, texts.join("\n")).toEqual(["TFAIL"]);
    expect(texts).toContain(words);
    expect(texts).toContainEqual(expect.stringMatching(/TINFO: Reader 3 read 4096 bytes at offset 4096 of /));
  });
});
