/** The programs of LTP's runtest/dio, aio01 and aio02 on sound filesystems: LTP's verdicts, their options, nothing left. */
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { packaged } from "../../ts/base/package.js";
import { programs } from "../../ts/testcase/registry.js";
import { executed } from "../support/execute.js";
import { filesystems } from "../support/filesystems.js";
import { onFirstFilesystem, temporaryDirectory } from "../support/temporary.js";

const load = async (name: string) => (await programs.get(name)?.load()) as unknown;

/** How often LTP's program reports each type with its defaults; diotest4 is another matter. */
const PASSES = { diotest1: 1, diotest2: 3, diotest3: 3, diotest5: 3, diotest6: 3, aio01: 6, aio02: 6 };

describe.each(filesystems())("on $name", ({ name: filesystem, directory }) => {
  test.each(Object.entries(PASSES))("%s passes %i times", async (name, passes) => {
    const { results, texts } = await executed(await load(name), directory, []);
    expect(results, texts.join("\n")).toEqual(Array(passes).fill("TPASS"));
    expect(readdirSync(directory)).toEqual([]);
  });

  test.each(Object.entries(PASSES))("%s passes with LTP's patterns, and to the cache only", async (name, passes) => {
    for (const argv of [["--ltp-pattern"], ["--verify", "cache"]]) {
      const { results, texts } = await executed(await load(name), directory, argv);
      expect(results, texts.join("\n")).toEqual(Array(passes).fill("TPASS"));
    }
  });

  test("diotest4 makes LTP's 17 checks", async () => {
    const { results, texts } = await executed(await load("diotest4"), directory, []);
    expect(results).toHaveLength(17);
    // Measured with LTP's program: btrfs does one-byte and unaligned transfers through the page cache.
    const notSupported =
      filesystem === "btrfs"
        ? ["/dev/null is not supported", "odd count IO", "non-aligned buffer"]
        : ["/dev/null is not supported"];
    const confs = texts.filter((text) => text.startsWith("TCONF"));
    expect(confs).toHaveLength(notSupported.length);
    for (const text of notSupported) expect(confs).toContainEqual(expect.stringContaining(text));
    expect(results.filter((result) => result === "TPASS")).toHaveLength(17 - notSupported.length);
    expect(texts.at(-1)).toBe("TINFO: 15 testblocks completed");
  });

  test.each(["diotest3", "diotest6"])("%s says how hard its children raced", async (name) => {
    const argv = ["-n", "8", "-i", "40", "-o", "1024000", "-b", "8192"];
    const { results, texts } = await executed(await load(name), directory, argv);
    expect(results, texts.join("\n")).toEqual(["TPASS", "TPASS", "TPASS"]);
    const transfers = 3 * 8 * 40 * 2;
    expect(texts).toContainEqual(
      expect.stringMatching(new RegExp(`TINFO: [1-9]\\d* of ${transfers} transfers began while another child's`)),
    );
    expect(texts).toContain("TINFO: 3 testblocks 40 iterations with 8 children completed");
  });

  test("dma_thread_diotest reads unaligned while children are made, and says how many", async () => {
    const argv = ["-a", filesystem === "btrfs" ? "0" : "512", "--files", "2", "--file-size", "2M", "-w", "3"];
    const { results, texts } = await executed(await load("dma_thread_diotest"), directory, argv);
    expect(results, texts.join("\n")).toEqual(["TPASS"]);
    expect(texts).toContain("TPASS: data corruption is not detected");
    expect(texts).toContain("TINFO: using 3 workers.");
    // Two files of two chunks, three readers each, and again until a child was made meanwhile.
    expect(texts).toContainEqual(
      expect.stringMatching(/TINFO: [1-9]\d* of \d+ children were made during \d{2,} reads/),
    );
  });

  test("dma_thread_diotest has LTP's need of room", async () => {
    const { results, texts } = await executed(await load("dma_thread_diotest"), directory, ["--files", "100000"]);
    expect(results).toEqual(["TCONF"]);
    expect(texts.at(-1)).toMatch(/1200100 MiB must be free and \d+ are: choose a larger filesystem/);
  });

  test("-I runs diotest2 more than once, each time on a new file", async () => {
    const { results } = await executed(await load("diotest2"), directory, ["-I", "0.1", "-i", "2"]);
    expect(results.length).toBeGreaterThanOrEqual(3);
    expect(new Set(results)).toEqual(new Set(["TPASS"]));
  });
});

const place = temporaryDirectory("oldlib");
const elsewhere = onFirstFilesystem("oldlib");

test.each([
  ["diotest1", ["-b", "0"], "TBROK: bufsize must be > 0"],
  ["diotest2", ["-b", "-4096"], "TBROK: bufsize must be > 0"],
  ["diotest2", ["-b", "5000"], "TBROK: bufsize must be multiple of 4k"],
  ["diotest4", ["-b", "64k"], "TBROK: Invalid number of blocks '64k'"],
  ["diotest3", ["-b", "64k"], "TBROK: Invalid buffer size '64k': use a decimal number of bytes"],
  ["diotest3", ["-n", "0"], "TBROK: Invalid number of children '0': use 1 to 10000"],
  ["diotest5", ["-v", "1025"], "TBROK: Invalid number of vectors '1025': use 1 to 1024"],
  ["diotest6", ["-o", "100"], "TBROK: Invalid offset '100': use a multiple of 512"],
  ["diotest6", ["-i", "x"], "TBROK: Invalid number of iterations 'x'"],
  [
    "diotest1",
    ["-n", "2147483647", "-b", "2147479552"],
    "TBROK: 2147483647 blocks of 2147479552 bytes are too large a file",
  ],
  ["diotest1", ["-i", "same", "-o", "same"], "TBROK: The files must not be the same"],
  ["aio01", ["-b", "zero"], "TBROK: Invalid buffer size 'zero'"],
  ["aio01", ["-n", "0"], "TBROK: Invalid number of requests '0'"],
  ["aio01", ["-F", ""], "TBROK: Invalid file name ''"],
  ["aio02", ["-n", "3"], "TBROK: Invalid option"],
  ["dma_thread_diotest", ["-a", "-1"], "TCONF: Bad alignment -1."],
  ["dma_thread_diotest", ["-a", "1000000"], "TCONF: Bad alignment 1000000."],
  ["dma_thread_diotest", ["-a", "1x"], "TBROK: Invalid alignment '1x'"],
  ["dma_thread_diotest", ["-w", "1"], /TCONF: Worker count 1 not between 2 and \d+, inclusive/],
  ["dma_thread_diotest", ["-w", "257"], /TCONF: Worker count 257 not between 2 and \d+, inclusive/],
  ["dma_thread_diotest", ["--file-size", "100k"], "TBROK: Invalid file size '102400': use a multiple of 1M"],
  [
    "diotest5",
    ["--verify", "remount"],
    "TCONF: --verify remount needs a filesystem of the run's own: aiodio-ltp --filesystems",
  ],
])("%s %j: %s", async (name, argv, line) => {
  const { texts, results } = await executed(await load(name), place, argv);
  expect(texts.at(-1)).toEqual(typeof line === "string" ? line : expect.stringMatching(line));
  expect(results).toHaveLength(1);
  expect(readdirSync(place)).toEqual([]);
});

test.each([
  ["diotest1", "-i"],
  ["diotest1", "-o"],
  ["diotest2", "-f"],
  ["diotest6", "-f"],
  ["aio01", "-F"],
])("%s %s never writes over a file", async (name, option) => {
  const path = join(mkdtempSync(join(elsewhere, "kept-")), "precious");
  writeFileSync(path, "precious");
  const { results, texts } = await executed(await load(name), place, [option, path]);
  expect(results).toEqual(["TBROK"]);
  expect(texts.at(-1)).toBe(`TBROK: ${path} exists: name a file that does not, it would be written over`);
  expect(readFileSync(path, "utf8")).toBe("precious");
});

test("a file outside of the temporary directory is used and removed", async () => {
  const folder = mkdtempSync(join(elsewhere, "used-"));
  const { results } = await executed(await load("diotest2"), place, ["-f", join(folder, "file"), "-i", "2"]);
  expect(results).toEqual(["TPASS", "TPASS", "TPASS"]);
  expect(readdirSync(folder)).toEqual([]);
});

test.each([
  ["dio", 30, "dio30", "diotest6 -b 65536 -n 100 -i 100 -o 1024000"],
  ["dma_thread_diotest", 7, "dma_thread_diotest7", "dma_thread_diotest -a 3584"],
])("runtest/%s has LTP's %i lines", (file, count, last, command) => {
  const lines = readFileSync(packaged("runtest", file), "utf8")
    .split("\n")
    .filter((line) => /^\w/.test(line));
  expect(lines).toHaveLength(count);
  expect(lines.at(-1)).toBe(`${last} ${command}`);
  for (const line of lines) expect([...programs.keys()]).toContain(line.split(" ")[1]);
});
