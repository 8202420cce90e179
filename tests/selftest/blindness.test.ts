/**
 * What LTP's programs were written to catch, or pass over, and what ours once passed over: for each such blindness a fault on the filesystem that lies, which
 * the program here must notice and tell.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Verdict } from "../../ts/events/events.js";
import { Faultfs } from "../../ts/filesystem/faultfs.js";
import type { FaultCase } from "../../ts/selftest/cases.js";
import { type Cell, ourRunner, plant, type Runner } from "../../ts/selftest/selftest.js";

let faultfs: Faultfs;
let runner: Runner;
beforeAll(async () => {
  faultfs = await Faultfs.start();
  runner = ourRunner(faultfs, process.env);
});
afterAll(async () => {
  await runner?.close();
  await faultfs?.stop();
});

/** Runs `line` with the fault planted in the files of that name. */
function planted(line: string, file: string, rule: string): Promise<Cell> {
  const [program = "", ...argv] = line.split(" ");
  const fault: FaultCase = { name: rule, rule, right: /./ };
  return plant(faultfs, runner, fault, { name: line, program, argv, file }, new AbortController().signal);
}

/** What LTP does not see, the command, the fault and its file, the verdict here, and what some line says. */
type Row = [blindness: string, line: string, file: string, rule: string, verdict: Verdict, ...said: RegExp[]];

const APPEND = "-n 2 -c 20";
/** Where the last of 20 appends of 64 KiB begins. */
const LAST = "range=0x130000-";
// FUSE leaves a hole's page in the page cache after an asynchronous direct write, and the first reader that sees it ends the run.
const SPARSE = "-n 2 -s 256k -w 4k --engine sync";
const STRESS = "aio-stress -s 2m -r 16k -O";

const ROWS: Row[] = [
  [
    "the copied data repeat every 4 KiB, so that any block looks right in any place",
    "aiocp -f DIRECT -b 4k",
    "dstfile.bin",
    "swap-blocks:range=0x2000-",
    "TFAIL",
    /another offset's stamp/,
  ],
  [
    "aiodio_append does not look at what its writes complete with",
    `aiodio_append ${APPEND}`,
    "*",
    "eio-once",
    "TBROK",
    /AIO write offset \d+ expected 65536 got -5/,
    /EIO \(5\)/,
  ],
  [
    "aiodio_append does not wait for the last requests",
    `aiodio_append ${APPEND}`,
    "*",
    `eio-once:${LAST}`,
    "TBROK",
    /AIO write offset 1245184 expected 65536 got -5/,
  ],
  [
    "aiodio_append writes zeros, so that the last write may be lost",
    `aiodio_append ${APPEND}`,
    "*",
    `drop-write:${LAST}`,
    "TFAIL",
    /at offset 0x130000: zeros/,
  ],
  [
    "dio_append writes zeros, so that the last write may be lost",
    `dio_append ${APPEND}`,
    "*",
    `drop-write:${LAST}`,
    "TFAIL",
    /at offset 0x130000: zeros/,
  ],
  [
    "aiodio_sparse writes zeros, so that the last write may be lost",
    `aiodio_sparse ${SPARSE}`,
    "file.bin",
    "drop-write:range=0x3f000-",
    "TFAIL",
    /4 KiB at offset 0x3f000: zeros/,
  ],
  [
    "dio_sparse writes zeros, so that the last write may be lost",
    "dio_sparse -n 2 -s 256k -w 4k",
    "dio_sparse",
    "drop-write:range=0x3f000-",
    "TFAIL",
    /4 KiB at offset 0x3f000: zeros/,
  ],
  [
    "dio_read leaves out the last block, and so all of a file of one block",
    "dio_read -n 2 -s 512k -w 64k -r 512k --verify cache",
    "file.bin",
    "corrupt-direct-reads:range=0x7f000-",
    "TFAIL",
    /Reader 0 read 524288 bytes at offset 0 /,
    /disk: .* at offset 0x7f.*: mutated: /,
  ],
  [
    "aio01 does not look at what its writes complete with",
    "aio01",
    "*",
    "eio-once",
    "TFAIL",
    /TFAIL: Test 1: .*EIO \(5\)/,
  ],
  [
    "aio01 writes the same byte each time, so that a write may be lost",
    "aio01",
    "*",
    "drop-write",
    "TFAIL",
    /: zeros|another generation/,
  ],
  [
    "aio02 does not look at what it has read",
    "aio02",
    "*",
    "flip-bit:op=read:io=direct:count=1",
    "TFAIL",
    /: mutated: 1 bits/,
  ],
  [
    "aio-stress does not look at what its writes complete with",
    STRESS,
    "*",
    "eio-once",
    "TFAIL",
    /io err in stage write: file0.bin: .*EIO \(5\)/,
  ],
  [
    "aio-stress -v compares with one letter, so that any block looks right in any place",
    `${STRESS} -v`,
    "*",
    "misdirect-write:range=0x40000-:count=1:by=-0x20000",
    "TFAIL",
    /another offset's stamp/,
  ],
  [
    "aio-stress -v passes after a mismatch",
    `${STRESS} -v -o 1`,
    "*",
    "flip-bit:op=read:io=direct:count=1",
    "TFAIL",
    /verify error, file file0.bin offset \d+, stage read/,
    /: mutated: 1 bits/,
  ],
  [
    "aio-stress -o 3 reads a file that is empty",
    `${STRESS} -o 3`,
    "*",
    "flip-bit:op=read:io=direct:count=1",
    "TFAIL",
    /Laid out 2 MiB of each file/,
    /verify error, file file0.bin offset \d+, stage random read/,
  ],
  [
    "dma_thread_diotest writes one byte repeated, so that any block looks right in any place",
    "dma_thread_diotest --files 2 --file-size 1m -w 2",
    "file2",
    "swap-blocks:range=0x2000-",
    "TFAIL",
    /file2, worker [12]: .*another offset's stamp/,
  ],
  [
    "dma_thread_diotest must see one foreign byte",
    "dma_thread_diotest --files 2 --file-size 1m -w 2",
    "file2",
    "flip-bit:op=read:count=1",
    "TFAIL",
    /file2, worker [12]: 512 bytes at offset .*: mutated: 1 bits in 1 bytes differ/,
  ],
  [
    "diotest4 does not compare the data of the calls that work",
    "diotest4 -b 2",
    "testdata-4",
    "flip-bit:range=0-4096:io=direct",
    "TFAIL",
    /TFAIL: read, write to a mmaped file/,
    /TFAIL: read, write for file with O_SYNC/,
    /read: .*: mutated: 1 bits/,
  ],
  [
    "a race that can't read its file has not found out that it does not apply",
    "dio_races --race exit-in-flight -n 10",
    "*",
    "eio-once:op=read:io=direct:count=always",
    "TFAIL",
    /TFAIL: exit-in-flight: What was written can't be read/,
    /EIO \(5\): on the disk/,
  ],
];

// A race that was over too early is run again: what it writes must be lost each time, not once.
test.each(ROWS)("%s (%s)", async (_, line, file, rule, verdict, ...said) => {
  const cell = await planted(line, file, rule);
  expect(cell.fired, cell.lines.join("\n")).toBeGreaterThan(0);
  expect(cell.verdict, cell.lines.join("\n")).toBe(verdict);
  for (const words of said) expect(cell.lines).toContainEqual(expect.stringMatching(words));
});

describe("--ltp-pattern checks no less than LTP", () => {
  const CACHED = "corrupt-cached-reads";
  const DIRECT = "corrupt-direct-reads";
  const READER = /TINFO: Reader \d read \d+ bytes/;

  test.each<[string, string, string, ...RegExp[]]>([
    [`aiodio_sparse ${SPARSE}`, "file.bin", CACHED, READER],
    ["dio_sparse -n 2 -s 256k -w 4k", "dio_sparse", CACHED, READER],
    [`aiodio_append ${APPEND}`, "*", CACHED],
    [`dio_append ${APPEND}`, "*", CACHED],
    ["dio_truncate -n 2 -a 4 -c 20", "file.bin", DIRECT, READER],
    ["dio_read -n 2 -s 512k -w 64k -r 64k", "file.bin", DIRECT, READER],
    ["diotest1", "outfile", CACHED, /TFAIL: file compare failed/],
    ["diotest2 -i 3", "*", "flip-bit", /TFAIL: Read with Direct IO, Write without/],
    ["diotest3 -i 3 -n 2", "*", "flip-bit", /TFAIL: Write with Direct IO, Read without/],
    ["diotest5 -i 3", "*", "flip-bit", /TFAIL: Read, Write with Direct IO/],
    ["diotest6 -i 3 -n 2", "*", "flip-bit", /TFAIL: Read, Write with Direct IO/],
  ])("%s", async (line, file, rule, ...said) => {
    const cell = await planted(`${line} --ltp-pattern --verify cache`, file, rule);
    expect(cell.fired, cell.lines.join("\n")).toBeGreaterThan(0);
    expect(cell.verdict, cell.lines.join("\n")).toBe("TFAIL");
    for (const words of said) expect(cell.lines).toContainEqual(expect.stringMatching(words));
  });
});
