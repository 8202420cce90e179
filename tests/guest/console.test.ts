import fc from "fast-check";
import { expect, test } from "vitest";
import { Console } from "../../ts/guest/console.js";

function consoleOf(text: string): Console {
  const console = new Console();
  console.push(Buffer.from(text));
  return console;
}

/** As powerpc and x86 kernels write it: stamps, callers, CR LF. */
const BOOT = [
  "\x1b[2J\x1b[HSLOF or a BIOS\r",
  "[    0.000000][    T0] Linux version 6.1.0\r",
  "[    1.120000][    T1] Run /init as init process\r",
  "aiodio-guest: init\r",
  "aiodio-guest: root\r",
  "aiodio-guest: agent\r",
].map((line) => `${line}\n`);

const OOPS = [
  "[   21.000001][  T412] BUG: Kernel NULL pointer dereference on read at 0x00000000",
  "[   21.000002][  T412] Faulting instruction address: 0xc008000003a5f0a4",
  "[   21.000003][  T412] Oops: Kernel access of bad area, sig: 11 [#1]",
  "[   21.000004][  T412] NIP [c008000003a5f0a4] btrfs_dio_end_io+0x24/0x1e0 [btrfs]",
  "[   21.900000][  T412] Kernel panic - not syncing: Fatal exception",
  "[   21.950000][  T412] Rebooting in 10 seconds..",
].map((line) => `${line}\r\n`);

test.each([
  [0, "firmware", "the kernel has said nothing"],
  [2, "kernel", "the kernel has not come to its init"],
  [4, "init", "the root has not been mounted"],
  [5, "root", "Node has not started"],
  [6, "agent", "it was running"],
])("after %i lines the boot is at %s", (lines, stage, words) => {
  const console = consoleOf(BOOT.slice(0, lines).join(""));
  expect(console.stage).toBe(stage);
  expect(console.describe()).toBe(words);
});

test("a panic is told by its reason, and explained from the oops on", () => {
  const console = consoleOf([...BOOT, ...OOPS].join(""));
  expect(console.panic).toBe("Fatal exception");
  expect(console.describe()).toBe("kernel panic: Fatal exception");
  expect(console.explanation()).toEqual([
    "BUG: Kernel NULL pointer dereference on read at 0x00000000",
    "Faulting instruction address: 0xc008000003a5f0a4",
    "Oops: Kernel access of bad area, sig: 11 [#1]",
    "NIP [c008000003a5f0a4] btrfs_dio_end_io+0x24/0x1e0 [btrfs]",
    "Kernel panic - not syncing: Fatal exception",
    "Rebooting in 10 seconds..",
  ]);
});

test.each([
  "[    2.000000] BUG: unable to handle page fault for address: ffff8881",
  "[    2.000000] kernel BUG at fs/iomap/direct-io.c:142!",
  "[    2.000000] Unable to handle kernel paging request at virtual address 0000dead",
  "[    2.000000] Internal error: Oops: 0000000096000004 [#1] SMP",
  "[    2.000000] general protection fault, probably for non-canonical address",
  "[    2.000000] watchdog: BUG: soft lockup - CPU#1 stuck for 26s!",
])("an oops without a panic: %s", (line) => {
  const console = consoleOf(`${BOOT.join("")}${line}\n[    2.1] Call Trace:\n`);
  const text = line.slice(line.indexOf("]") + 2);
  expect(console.panic).toBeUndefined();
  expect(console.describe()).toBe(`kernel: ${text}`);
  expect(console.explanation()).toEqual([text, "Call Trace:"]);
});

test("what init could not do is told", () => {
  const console = consoleOf(`${BOOT.slice(0, 4).join("")}aiodio-guest: failed the package cannot be mounted\n`);
  expect(console.describe()).toBe("the package cannot be mounted");
});

test("only lines that begin with the mark are init's", () => {
  expect(consoleOf("[    1.0] echo aiodio-guest: agent\n").stage).toBe("kernel");
});

test("a hang is explained by the last lines", () => {
  const lines = Array.from({ length: 500 }, (_, index) => `line ${index}`);
  expect(consoleOf(`${lines.join("\n")}\n`).explanation()).toEqual(lines.slice(-20));
});

test("an oops is still whole after hundreds of lines more", () => {
  const console = consoleOf(OOPS.join("") + "noise\n".repeat(5000));
  expect(console.explanation()).toEqual(expect.arrayContaining(["Oops: Kernel access of bad area, sig: 11 [#1]"]));
});

test("bytes in pieces of any size say the same", () => {
  const bytes = Buffer.from([...BOOT, ...OOPS].join(""));
  const whole = consoleOf(bytes.toString());
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: bytes.length }), { maxLength: 20 }), (cuts) => {
      const console = new Console();
      const points = [0, ...cuts.sort((a, b) => a - b), bytes.length];
      for (const [index, end] of points.entries()) console.push(bytes.subarray(points[index - 1] ?? 0, end));
      expect(console.tail(100)).toEqual(whole.tail(100));
    }),
  );
});
