/** Lines of LTP's own files of 2020 to 2022, whose programs were told where their files go. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { startRecord } from "#native";
import { parseRuntest } from "../../ts/plan/runtest.js";
import { programs } from "../../ts/testcase/registry.js";
import { executed } from "../support/execute.js";

/** The files that workloads were given, and whether their directory was there. */
const used: { path: string; placed: boolean }[] = [];
let flags: { direct: boolean; sync: boolean } | undefined;
const use = (path: string) => used.push({ path, placed: existsSync(join(path, "..")) });
vi.mock("#native", async (original) => {
  const { watched } = await import("../support/native.js");
  return watched(original, {
    copy: {
      before({ source, destination, direct, syncWrites: sync }) {
        use(source);
        use(destination);
        flags = { direct, sync };
      },
    },
    fsx: { before: ({ run }) => void use(run.path) },
  });
});

let base: string;
let parent: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "operands-"));
  parent = join(base, "work");
  mkdirSync(parent);
  used.length = 0;
  startRecord({});
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

async function ran(line: string) {
  const [{ argv } = expect.fail("no line")] = parseRuntest(line, "f");
  const [program, ...args] = argv;
  const found = await executed(await programs.get(program)?.load(), parent, args);
  // Whatever a line says, nothing stays and nothing is made elsewhere.
  expect(readdirSync(parent)).toEqual([]);
  expect(readdirSync(base)).toEqual(["work"]);
  return found;
}

test.each([
  [
    "AD002 time aiocp -b 1k -n 1 -f SYNC -s 64k $TMPDIR/aiodio.$$/junkfile $TMPDIR/aiodio.$$/ff2",
    [`aiodio.${process.pid}/junkfile`, `aiodio.${process.pid}/ff2`],
  ],
  [
    "AD302 aiocp -b 128k -n 32 -s 128k $TMPDIR/aiodio.$$/ff1 $TMPDIR/aiodio.$$/junkdir/ff1",
    [`aiodio.${process.pid}/ff1`, `aiodio.${process.pid}/junkdir/ff1`],
  ],
  ["FSX035 fsx-linux -N 100 $TMPDIR/aiodio.$$/junkfile", [`aiodio.${process.pid}/junkfile`]],
])("%s", async (line, files) => {
  const { results, texts } = await ran(line);
  expect(results, texts.join("\n")).toEqual(["TPASS"]);
  expect(used.map(({ path }) => path.replace(/^.*\/LTP_[^/]+\//, ""))).toEqual(files);
  for (const { path, placed } of used) {
    expect(path.startsWith(`${parent}/LTP_`) && placed, basename(path)).toBe(true);
  }
});

test.each([
  ["-f DIRECT -f SYNC", { direct: true, sync: true }],
  ["-f SYNC -f DIRECT", { direct: true, sync: true }],
  ["-f CREAT -f DIRECT", { direct: true, sync: false }],
])("of such a line all of %s count", async (words, expected) => {
  const { texts } = await ran(`A aiocp -b 64k -s 64k ${words} $TMPDIR/a $TMPDIR/b`);
  expect(texts.filter((text) => text.startsWith("TWARN"))).toEqual([]);
  expect(flags).toEqual(expected);
  // As LTP's program of today, which takes no files.
  const { texts: now } = await ran(`A aiocp -b 64k -s 64k ${words}`);
  expect(now).toContain("TWARN: Option -f passed multiple times");
});

test.each([
  ["A aiocp $TMPDIR/../ff1 $TMPDIR/ff2", "TBROK: '$TMPDIR/../ff1' is no file in the temporary directory"],
  ["A aiocp $TMPDIR/a/../../ff1", "TBROK: '$TMPDIR/a/../../ff1' is no file in the temporary directory"],
  ["A aiocp $TMPDIR/a/", "TBROK: '$TMPDIR/a/' is no file in the temporary directory"],
  ["A aiocp $TMPDIR/", "TBROK: '$TMPDIR/' is no file in the temporary directory"],
  ["A aiocp /etc/passwd", "TBROK: Unexpected argument(s) '/etc/passwd'..."],
  ["A aiocp $TMPDIR/a $TMPDIR/b $TMPDIR/c", "TBROK: Unexpected argument(s) '$TMPDIR/a $TMPDIR/b $TMPDIR/c'..."],
  ["A dio_append $TMPDIR/a.$$", "TBROK: Unexpected argument(s) '$TMPDIR/a.$$'..."],
  ["A fsx-linux --log $TMPDIR/log", "TBROK: '$TMPDIR/log': only files may be in $TMPDIR"],
])("%s is refused", async (line, text) => {
  expect((await ran(line)).texts).toContainEqual(text);
  expect(used).toEqual([]);
});
