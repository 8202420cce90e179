/** `npm run new-testcase`, in a copy of the tree: what it begins is built and passes as it is. */
import { cpSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { describe, expect, test } from "vitest";
import { packaged } from "../../ts/base/package.js";
import { plainEnvironment } from "../support/command.js";
import { temporaryDirectory } from "../support/temporary.js";

const root = temporaryDirectory("new-testcase");
for (const name of ["bin", "dist", "native", "runtest", "scripts", "testcases", "ts", "tests/support"]) {
  cpSync(packaged(name), join(root, name), { recursive: true });
}
for (const name of [".gitignore", "biome.json", "package.json", "tsconfig.json"]) {
  cpSync(packaged(name), join(root, name));
}
symlinkSync(packaged("node_modules"), join(root, "node_modules"));

const settings = { cwd: root, extendEnv: false, env: plainEnvironment(), reject: false, all: true } as const;
const started = (...argv: string[]) => execa(process.execPath, argv, settings);
const begin = (...names: string[]) => started("scripts/new-testcase.js", ...names);

describe("refused", () => {
  test.each([
    [[], "takes one name: npm run new-testcase NAME"],
    [["one", "two"], "takes one name: npm run new-testcase NAME"],
    [["../one"], '"../one" is no name for a testcase: use small letters, digits, and _ or - between them'],
    [["One"], '"One" is no name for a testcase: use small letters, digits, and _ or - between them'],
    [["one_"], '"one_" is no name for a testcase: use small letters, digits, and _ or - between them'],
    [["aiocp"], "testcases/aiocp.ts exists: choose another name"],
    [["aio_stress"], "testcases/aio_stress.ts exists: choose another name"],
    [["dio-races"], "testcases/dio_races.ts exists: choose another name"],
    [["old-library"], "tests/testcases/old-library.test.ts exists: choose another name"],
    [["aiodio-ltp"], "bin/aiodio-ltp.js exists: choose another name"],
  ])("%j", async (names, message) => {
    cpSync(packaged("tests/testcases/old-library.test.ts"), join(root, "tests/testcases/old-library.test.ts"));
    const { all, exitCode } = await begin(...names);
    expect(all).toBe(`new-testcase: ${message}`);
    expect(exitCode).toBe(2);
  });
});

test.each(["my_race", "other-race"])("%s is registered, passes, and so does its test", async (name) => {
  const begun = await begin(name);
  expect(begun.all).toContain(`testcases/${name.replace("-", "_")}.ts\n`);
  expect(begun.exitCode).toBe(0);
  expect((await begin(name)).exitCode).toBe(2);
  expect((await started("scripts/registry.js", "--check")).all).toBe("");
  expect(readFileSync(join(root, "runtest/aiodio-regress"), "utf8")).toMatch(new RegExp(`\n${name} ${name}\n$`));

  const style = await started("node_modules/.bin/biome", "check", "testcases", "tests/testcases", "ts/testcase");
  expect(style.exitCode, style.all).toBe(0);
  const built = await started("scripts/bundle.js");
  expect(built.exitCode, built.all).toBe(0);

  const run = await started("bin/aiodio-ltp.js", "aiodio-regress", "-s", `^${name}$`, "--no-journal");
  expect(run.all).toContain("1 TPASS");
  expect(run.exitCode, run.all).toBe(0);
  const alone = await started("bin/aiodio-ltp.js", "exec", name, "-s", "64k");
  expect(alone.all).toMatch(/\.ts:\d+: TPASS: 65536 bytes are what was written$/m);
  const own = await started("node_modules/.bin/vitest", "run", `tests/testcases/${name.replace("_", "-")}.test.ts`);
  expect(own.exitCode, own.all).toBe(0);
});
