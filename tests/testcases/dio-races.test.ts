/** aio_unwritten and dio_races end to end; what can be wrong is planted beside the core. */
import { expect, test } from "vitest";
import { backingDirectory } from "../filesystem/fixture.js";
import { filesystems } from "../support/filesystems.js";
import { onFaultfs, run, verdicts } from "./races.js";

const backing = backingDirectory();

for (const { name, directory } of filesystems()) {
  test(`aio_unwritten and dio_races pass on ${name}`, async () => {
    for (const space of ["hole", "allocated", "punched", "extended"]) {
      const lines = await run("aio_unwritten", directory, ["-n", "3", "-s", "4m", "--space", space]);
      expect(verdicts(lines)).toEqual([
        "TPASS: 24 completed writes were there at once, and the file was as long as they reach",
      ]);
    }
    const lines = verdicts(await run("dio_races", directory, ["-n", "5"]));
    expect(lines.length).toBeGreaterThan(2);
    expect(lines.filter((line) => !line.startsWith("TPASS"))).toEqual([]);
  });
}

test("zeros until later are an unwritten extent that was not converted", async () => {
  const argv = ["-n", "3", "-s", "4m"];
  const rules = ["zeros-until:file=testfile:ms=200"];
  const { output, counts } = await onFaultfs(backing, rules, "aio_unwritten", argv);
  expect(counts[0]).toBeGreaterThan(0);
  expect(output).toContain("TFAIL: unwritten extent not converted at completion");
});

test("a damaged piece is found by the race of that name", async () => {
  const rules = ["flip-bit:op=write:file=testfile.eof-pieces"];
  const argv = ["-n", "3", "--race", "eof-pieces"];
  const { output, counts } = await onFaultfs(backing, rules, "dio_races", argv);
  expect(counts[0]).toBeGreaterThan(0);
  expect(output).toContain("TFAIL: A piece that was written behind the end is lost");
});
