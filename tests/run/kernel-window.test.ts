/** What a command makes of the kernel's words: of those since it began, about what it uses, and of nothing else. */
import { beforeEach, describe, expect, test } from "vitest";
import { KernelWindow } from "../../ts/run/kernel-window.js";
import { FakeLog } from "../kernel/fixture.js";

const CSUM = "BTRFS warning (device loop77): csum failed root 5 ino 257 off 0 csum 0x1 expected csum 0x2 mirror 1";
const COLLISION =
  "Page cache invalidation failure on direct I/O.  Possible data corruption due to collision with buffered I/O!";
const PLACE = { type: "place", directory: "/nowhere/LTP_aioXXXXXX", pid: process.pid } as const;

let log: FakeLog;
let taint: bigint;
let kernel: KernelWindow;
beforeEach(() => {
  log = new FakeLog();
  taint = 0n;
  kernel = new KernelWindow({ reader: log.reader, taint: () => taint, devicesBehind: () => ["loop77"] });
});

test("a silent kernel judges nothing", async () => {
  kernel.hear(PLACE);
  kernel.poll();
  expect(await kernel.end()).toEqual([]);
});

test("a message of corruption is TFAIL, with what it means", async () => {
  kernel.hear(PLACE);
  log.say(CSUM, CSUM);
  const lines = await kernel.end();
  expect(lines.map(({ result }) => result)).toEqual(["TFAIL", "TINFO", "TFAIL"]);
  expect(lines[0]?.text).toMatch(/^kernel: BTRFS warning \(device loop77\): csum failed/);
  expect(lines[1]?.text).toMatch(/^kernel: btrfs-csum-failed: /);
});

test("an error of the device is told and judges nothing", async () => {
  kernel.hear(PLACE);
  log.say("I/O error, dev loop77, sector 8 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2");
  const lines = await kernel.end();
  expect(lines[0]).toMatchObject({ result: "TINFO", text: expect.stringMatching(/^kernel: I\/O error, dev loop77/) });
  expect(lines.some(({ result }) => result === "TFAIL")).toBe(false);
});

test("what names another device is about somebody else", async () => {
  kernel.hear(PLACE);
  log.say(CSUM.replace("loop77", "loop78"));
  expect(await kernel.end()).toEqual([]);
});

test("what is read on the way counts like what is read at the end", async () => {
  kernel.hear(PLACE);
  log.say(CSUM);
  kernel.poll();
  log.say(COLLISION);
  kernel.poll();
  log.say(CSUM);
  const lines = await kernel.end();
  expect(lines.filter(({ result }) => result === "TFAIL")).toHaveLength(3);
});

test("what the testcase explains judges nothing", async () => {
  kernel.hear(PLACE);
  kernel.hear({ type: "permit", rule: "page-cache-invalidation", because: "it mixes the two" });
  log.say(COLLISION);
  const lines = await kernel.end();
  expect(lines[0]?.text).toMatch(/\(permitted: it mixes the two\)$/);
  expect(lines.some(({ result }) => result === "TFAIL")).toBe(false);
});

test("what was logged for a command that began no testcase is not about it", async () => {
  log.say(CSUM);
  kernel.poll();
  expect(await kernel.end()).toEqual([]);
});

test("a taint is noticed without any message", async () => {
  kernel.hear(PLACE);
  taint = 1n << 7n;
  expect(await kernel.end()).toMatchObject([
    { result: "TFAIL", text: expect.stringMatching(/^kernel: kernel is now tainted: D/) },
    { result: "TINFO" },
  ]);
});

describe("without the log", () => {
  beforeEach(() => {
    kernel = new KernelWindow({ reader: { unreadable: "/dev/kmsg cannot be read" }, taint: () => taint });
    kernel.hear(PLACE);
  });

  test("that is said", async () => {
    kernel.poll();
    expect(await kernel.end()).toEqual([{ result: "TINFO", text: "/dev/kmsg cannot be read" }]);
  });

  test("a taint is noticed all the same", async () => {
    taint = 1n << 5n;
    expect((await kernel.end()).map(({ result }) => result)).toEqual(["TINFO", "TFAIL", "TINFO"]);
  });
});

test("records that were overwritten unread are told", async () => {
  kernel.hear(PLACE);
  log.say("harmless");
  kernel.poll();
  log.lose(5);
  log.say("harmless");
  expect((await kernel.end())[0]?.text).toMatch(/^kernel: 5 kernel messages were overwritten/);
});
