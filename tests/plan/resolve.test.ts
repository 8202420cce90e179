import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { packaged } from "../../ts/base/package.js";
import { loadRuntest, loadRuntests, packagedRuntests } from "../../ts/plan/resolve.js";

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

describe("words", () => {
  const named = (...words: string[]) => loadRuntests(words, folder, ["aiocp", "dma_thread_diotest"], ["explain"]);

  test("a line's ID is the line; neighbours of one file are one file's", () => {
    expect(named("AD033", "AD010", "dio02")).toMatchObject([
      { suite: "ltp-aiodio.part1", again: "ltp-aiodio.part1", lines: [{ id: "AD033" }, { id: "AD010" }] },
      { suite: "dio", again: "dio", lines: [{ id: "dio02", argv: ["diotest2"] }] },
    ]);
  });

  test("a program is a line without options; a file goes before it", () => {
    expect(named("aiocp")).toMatchObject([
      { suite: "aiocp", again: "aiocp", lines: [{ id: "aiocp", argv: ["aiocp"] }] },
    ]);
    expect(named("dma_thread_diotest")[0]?.lines).toHaveLength(7);
    writeFileSync(join(folder, "aiocp"), "MINE aiocp -b 4k\n");
    expect(named("aiocp")).toMatchObject([{ lines: [{ id: "MINE" }] }]);
    rmSync(join(folder, "aiocp"));
  });

  test("files and lines keep their order", () => {
    const files = named("mine", "AD010", "ltp-aiodio.part1", "AD011");
    expect(files.map(({ suite, lines }) => [suite, lines.length])).toEqual([
      ["mine", 1],
      ["ltp-aiodio.part1", 1],
      ["ltp-aiodio.part1", 140],
      ["ltp-aiodio.part1", 1],
    ]);
  });

  test("every line of the package is found by its ID, or is told to be in several files", () => {
    for (const name of packagedRuntests()) {
      for (const { id, command } of loadRuntest(name, "/").lines) {
        if (packagedRuntests().includes(id)) continue;
        try {
          const [file] = loadRuntests([id], "/", [], []);
          expect(file?.lines.map((line) => line.command)).toContain(command);
        } catch (error) {
          expect((error as Error).message).toMatch(
            /^[\w-]+ is a line of [\w.-]+ and [\w.-]+: name one of them, and add -s '\^[\w-]+\$'$/,
          );
        }
      }
    }
  });

  test.each([
    ["AD999", /^no runtest file "AD999": give a path, a program, the ID of a line, or one of /],
    ["AD001", /^AD001 is a line of ltp-aiodio.part1 and ltp-aiodio.part4: name one of them, and add -s '\^AD001\$'$/],
    ["aiocpp", /^no runtest file "aiocpp" \(did you mean "aiocp"\?\)/],
    ["explian", /^no runtest file "explian" \(did you mean "explain"\?\)/],
  ])("%j is none", (word, message) => {
    expect(() => named(word)).toThrow(message);
  });
});

test("every runtest file of the package is well formed", () => {
  for (const name of packagedRuntests()) expect(loadRuntest(name, "/").lines.length).toBeGreaterThan(0);
});
