/** The page of a real failure: what the workloads, the verification and the flight record tell of it reaches the page. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { PageData } from "../../ts/page/data.js";
import { command } from "../support/command.js";
import { temporaryDirectory } from "../support/temporary.js";

test("a misdirected write, on a filesystem that lies", async () => {
  const file = join(temporaryDirectory("html"), "report.html");
  const { exitCode } = await command("aiodio-ltp", [
    ...["--no-journal", "--reporter", `html=${file}`, "-s", "^AD062$"],
    ...[
      "--filesystems",
      "faultfs:fault=misdirect-write\\:file=dstfile.bin\\:range=0x10000-0x11000",
      "ltp-aiodio.part1",
    ],
  ]);
  expect(exitCode).toBe(1);
  const json = /<script type="application\/json" id="data">(.*)<\/script>/.exec(readFileSync(file, "utf8"))?.[1];
  const { lines, failures, places, command: repeat }: PageData = JSON.parse(json ?? "null");
  expect(lines).toMatchObject([{ id: "AD062", state: "TFAIL", failures: [0] }]);
  expect(places).toMatchObject([{ pageBytes: expect.any(Number) }]);
  expect(repeat).toMatch(/^aiodio-ltp --filesystems '?faultfs.* ltp-aiodio\.part1$/);
  const [failure] = failures;
  expect(failure?.repeat).toMatch(/ -s '\^AD062\$' --seed 0x[0-9a-f]+ ltp-aiodio\.part1$/);
  expect(failure?.files).toMatchObject([{ name: "dstfile.bin", bytes: 1_048_576 }]);
  const ranges = failure?.files[0]?.ranges ?? [];
  const lost = ranges.find(({ offset }) => offset === 65_536);
  expect(lost).toMatchObject({ where: "page cache good, disk bad", right: [1], sentence: expect.any(String) });
  expect(lost?.dump?.found).toHaveLength(lost?.dump?.expected.length ?? -1);
  expect(lost?.dump?.found).not.toEqual(lost?.dump?.expected);
  expect(lost?.touched.map(({ line }) => line).join()).toMatch(/pwrite\(dstfile\.bin, 0x10000, /);
  for (const { begin, end } of lost?.touched ?? []) expect(end).toBeGreaterThanOrEqual(begin);
});
