import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { packaged } from "../../ts/base/package.js";
import { loadRuntest, packagedRuntests } from "../../ts/plan/resolve.js";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "resolve-"));
  writeFileSync(join(folder, "mine"), "A aiocp\n");
  writeFileSync(join(folder, "empty"), "# nothing\n");
  writeFileSync(join(folder, "binary"), Buffer.from([0x41, 0x20, 0xff, 0xfe]));
  writeFileSync(join(folder, "secret"), "A aiocp\n");
  chmodSync(join(folder, "secret"), 0);
  mkdirSync(join(folder, "runtest"));
  symlinkSync("/dev/zero", join(folder, "device"));
});
afterAll(() => rmSync(folder, { recursive: true }));

test("a path that exists is taken", () => {
  expect(loadRuntest("mine", folder)).toMatchObject({ path: "mine", suite: "mine", lines: [{ id: "A" }] });
  expect(loadRuntest(join(folder, "mine"), "/")).toMatchObject({ suite: "mine" });
});

test.each(["ltp-aiodio.part1", "runtest/ltp-aiodio.part1", "./runtest/ltp-aiodio.part1"])(
  "%s is looked up in the package from anywhere",
  (name) => {
    const file = loadRuntest(name, folder);
    expect(file).toMatchObject({ path: packaged("runtest", "ltp-aiodio.part1"), suite: "ltp-aiodio.part1" });
    expect(file.lines).toHaveLength(140);
  },
);

test("a file of the user goes before one of the package", () => {
  writeFileSync(join(folder, "ltp-aiodio.part1"), "MINE aiocp\n");
  expect(loadRuntest("ltp-aiodio.part1", folder).lines).toHaveLength(1);
  rmSync(join(folder, "ltp-aiodio.part1"));
});

test.each([
  ["ltp-aiodio.part", /^no runtest file "ltp-aiodio.part" \(did you mean "ltp-aiodio.part1"\?\): .* ltp-aiodio.part1/],
  ["elsewhere/ltp-aiodio.part1", /^no runtest file/],
  ["../runtest/ltp-aiodio.part1", /^no runtest file/],
  ["", /^no runtest file/],
  ["runtest", /^runtest is a directory: name a runtest file in it$/],
  ["empty", /^empty has no test lines/],
  ["binary", /^binary is not UTF-8 text/],
  ["device", /^device is no regular file/],
])("%j is one clear error", (argument, message) => {
  expect(() => loadRuntest(argument, folder)).toThrow(message);
});

test.skipIf(process.getuid?.() === 0)("a file that may not be read is one clear error", () => {
  expect(() => loadRuntest("secret", folder)).toThrow(/^cannot read secret \(EACCES\)/);
});

test("every runtest file of the package is well formed", () => {
  for (const name of packagedRuntests()) expect(loadRuntest(name, "/").lines.length).toBeGreaterThan(0);
});
