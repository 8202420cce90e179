/** dio_invalidate end to end; what can be wrong with the data is planted beside the core. */
import { expect, test } from "vitest";
import { backingDirectory } from "../filesystem/fixture.js";
import { filesystems } from "../support/filesystems.js";
import { onFaultfs, run, verdicts } from "./races.js";

const backing = backingDirectory();
const places = filesystems();

for (const { name, directory } of places) {
  test(`it passes on ${name} with every collision, and says which is permitted`, async () => {
    for (const collide of ["direct", "buffered", "mmap", "reader", "pinned", "same-range"]) {
      const lines = await run("dio_invalidate", directory, ["-n", "5", "--collide", collide]);
      expect(verdicts(lines)[0]).toMatch(/^TPASS: \d+ direct writes beside/);
      const races = lines.find((line) => /\d+ of \d+ collisions were made during the direct write/.test(line));
      expect(races).toBeDefined();
      if (collide === "same-range") expect(lines.some((line) => line.includes("Permitted (open(2))"))).toBe(true);
    }
    // 4 KiB ranges share no 4 KiB page: there even the strict run passes.
    if ((await import("#native")).limits().pageBytes === 4096) {
      const argv = ["-n", "5", "--unit", "4k", "--collide", "buffered", "--strict"];
      expect(verdicts(await run("dio_invalidate", directory, argv))[0]).toMatch(/^TPASS/);
    }
  });
}

const FAULTS: [rule: string, argv: string[], words: RegExp][] = [
  [
    "eio-fsync:file=testfile.*:count=3",
    [],
    /TFAIL: fsync failed after a direct write met other bytes of its pages[\s\S]*EIO \(5\): .* met direct writes from unaligned memory/,
  ],
  [
    "eio-fsync:file=testfile.*:count=3",
    ["--collide", "buffered", "--strict"],
    /TFAIL: fsync failed after a direct write/,
  ],
  ["eio-once:op=write:file=testfile.*", ["--collide", "reader"], /TFAIL: A direct write failed|TBROK/],
  ["drop-write:file=testfile.*", [], /TFAIL: (A direct write is|Bytes beside a direct write are) lost: the/],
  ["tear:file=testfile.*", [], /TFAIL: (A direct write is|Bytes beside a direct write are) lost: the/],
  ["misdirect-write:file=testfile.*", [], /TFAIL: (A direct write is|Bytes beside a direct write are) lost: the/],
];

test.each(FAULTS)("%s %j is found and named", async (rule, argv, words) => {
  const block = ["-n", "4", "-b", "4k", "--unit", "4k"];
  const { output, counts } = await onFaultfs(backing, [rule], "dio_invalidate", [...block, ...argv]);
  expect(counts[0]).toBeGreaterThan(0);
  expect(output).toMatch(words);
});

test.each([["direct"], ["mmap"]])(
  "EIO of a read in an early round is told, whatever the later ones say: beside %s",
  async (collide) => {
    const argv = ["-n", "4", "-b", "4k", "--unit", "4k", "--collide", collide];
    const rules = ["eio-once:op=read:io=direct:file=testfile.*:count=1"];
    const { output, counts } = await onFaultfs(backing, rules, "dio_invalidate", argv);
    expect(counts[0]).toBe(1);
    expect(output).toContain("TFAIL: What was written can't be read");
    expect(output).toMatch(/round 1: .*: EIO \(5\): 0 of \d+ bytes were read past the page cache/);
  },
);

test("EIO of fsync is permitted and shown where the program mixes direct and buffered writes", async () => {
  const argv = ["-n", "4", "-b", "4k", "--unit", "4k", "--collide", "buffered"];
  const rules = ["eio-fsync:file=testfile.*:count=2"];
  const { output, counts } = await onFaultfs(backing, rules, "dio_invalidate", argv);
  expect(counts[0]).toBeGreaterThan(0);
  expect(output).toMatch(/TINFO: fsync reported [12] collisions by EIO, and 0 rounds had a loss: permitted/);
  expect(output).not.toContain("TFAIL: fsync failed");
});

test("what it can't do is said", async () => {
  const [{ directory } = { directory: "" }] = places;
  const verdict = async (...argv: string[]) => verdicts(await run("dio_invalidate", directory, argv))[0];
  expect(await verdict("-b", "100")).toMatch(/^TCONF: The block size must be a multiple of \d+ bytes here, and is 100/);
  expect(await verdict("--unit", "7")).toMatch(/^TCONF: The unit must be a multiple/);
  expect(await verdict("--collide", "nothing")).toContain("TBROK: 'nothing' is not one of direct, buffered");
});
