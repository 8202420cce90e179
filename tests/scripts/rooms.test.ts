/** What `scripts/rooms.js` complains of: each rule broken once, in a package of a few lines. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { execaSync } from "execa";
import { expect, test } from "vitest";
import { packaged } from "../../ts/base/package.js";
import { temporaryDirectory } from "../support/temporary.js";

const directory = temporaryDirectory("rooms");
let count = 0;

/** Its complaints about a package of these files. */
function complaints(files: Readonly<Record<string, string>>): string[] {
  const root = join(directory, String(count++));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(root, dirname(path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  const { exitCode, stderr } = execaSync(process.execPath, [packaged("scripts", "rooms.js"), root], { reject: false });
  const lines = stderr.split("\n").filter(Boolean);
  expect(exitCode).toBe(lines.length > 0 ? 1 : 0);
  return lines;
}

test("a room knows those below it, testcases what they are written against, and one file all of them", () => {
  expect(
    complaints({
      "ts/cli/run.ts": 'import { UsageError } from "../base/errors.js";\n',
      "ts/testcase/registry.ts": 'export const load = () => import("../../testcases/aiocp.js");\n',
      "testcases/aiocp.ts":
        'import {\n  testcase,\n} from "../ts/testcase/testcase.js";\n// import "../ts/run/slot.js";\n',
    }),
  ).toEqual([]);
});

test.each([
  ["ts/base/errors.ts", 'import { run } from "../cli/run.js";', "ts/cli/run.ts"],
  ["ts/plan/plan.ts", 'import type { Summary } from "../report/summary.js";', "ts/report/summary.ts"],
  ["ts/kernel/judge.ts", 'import {\n  results,\n} from "../report/results.js";', "ts/report/results.ts"],
  ["ts/events/events.ts", 'export { Watch } from "../kernel/watch.js";', "ts/kernel/watch.ts"],
  ["ts/filesystem/keeper.ts", 'const slot = await import("../run/slot.js");', "ts/run/slot.ts"],
  ["ts/testcase/options.ts", 'import "../../testcases/aiocp.js";', "testcases/aiocp.ts"],
  ["testcases/aiocp.ts", 'import { Slot } from "../ts/run/slot.js";', "ts/run/slot.ts"],
])("%s may not say %s", (file, line, to) => {
  expect(complaints({ [file]: `${line}\n` })).toEqual([
    `${file} imports ${to}: that room is not below it (scripts/rooms.js, ARCHITECTURE.md)`,
  ]);
});

test("no files import each other, be it by others, later or for a type", () => {
  const files = {
    "ts/cli/guests.ts": 'import type { System } from "./system.js";\n',
    "ts/cli/system.ts": 'export { a } from "./a.js";\n',
    "ts/cli/a.ts": 'import { b } from "../base/b.js";\nconst later = () => import("./guests.js");\n',
    "ts/base/b.ts": "",
    "ts/cli/run.ts": 'import { System } from "./system.js";\nimport { b } from "../base/b.js";\n',
  };
  expect(complaints(files)).toEqual([
    "ts/cli/a.ts > ts/cli/guests.ts > ts/cli/system.ts > ts/cli/a.ts: a circle of imports; what both need goes below them",
  ]);
});

test("a room that nobody has given a place", () => {
  expect(complaints({ "ts/attic/old.ts": "" })).toEqual(["ts/attic is no room of scripts/rooms.js"]);
});

test("only report/ writes to the terminal, and processes of our own into their pipes", () => {
  const text = 'process.stdout.write("x");\n';
  expect(complaints({ "ts/report/terminal.ts": text, "ts/run/worker-main.ts": text, "ts/run/slot.ts": text })).toEqual([
    "ts/run/slot.ts writes to the terminal, which only ts/report/ may",
  ]);
  expect(complaints({ "ts/guest/guest.ts": "this.console.push(bytes); console.log(1);\n" })).toHaveLength(1);
});

test("what takes long to load is not loaded at a start, by whatever way", () => {
  const files = {
    "ts/cli/main.ts": 'import { run } from "./run.js";\nimport type { z } from "zod";\n',
    "ts/cli/run.ts": 'import { z } from "zod";\nconst later = await import("execa");\n',
  };
  expect(complaints(files)).toEqual([
    "ts/cli/main.ts > ts/cli/run.ts > zod: zod is loaded at the start; import it where it is needed",
  ]);
});
