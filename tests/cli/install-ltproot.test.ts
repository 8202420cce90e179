import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { packaged, version } from "../../ts/base/package.js";
import { command, fakeSystem, temporaryFolder } from "./fixture.js";

const install = (directory: string, cwd = "/") => command(["install-ltproot", directory], fakeSystem({ cwd }));

test("writes what kirk and openQA look for", async () => {
  const root = join(temporaryFolder(), "opt", "ltp");
  const { status, err } = await install(root);
  expect({ status, err }).toEqual({ status: 0, err: "" });
  const read = (path: string) => readFileSync(join(root, path), "utf8");
  expect(read("runtest/ltp-aiodio.part1")).toBe(readFileSync(packaged("runtest/ltp-aiodio.part1"), "utf8"));
  expect(read("version")).toBe(`${version}\n`);
  for (const path of ["testcases/bin/aiocp", "testcases/bin/generate_lvm_runfile.sh", "ver_linux"]) {
    expect(statSync(join(root, path)).mode & 0o777).toBe(0o755);
    execFileSync("sh", ["-n", join(root, path)]);
  }
  expect(statSync(join(root, "testcases/bin/openposix/conformance/interfaces")).isDirectory()).toBe(true);
  execFileSync(join(root, "testcases/bin/generate_lvm_runfile.sh"));
});

test("ver_linux prints the lines that openQA picks", async () => {
  const root = join(temporaryFolder(), "ltp");
  await install(root);
  const out = execFileSync(join(root, "ver_linux"), { encoding: "utf8" });
  expect(out).toMatch(/^Linux C Library\s*>?\s*\S/m);
  if (spawnSync("gcc", ["--version"]).status === 0) expect(out).toMatch(/^Gnu C\s+\S/m);
});

test("a wrapper runs the program with its arguments and without any environment", async () => {
  const root = join(temporaryFolder(), "it's a root");
  await install(root);
  const path = join(root, "testcases/bin/aiocp");
  const wrapper = readFileSync(path, "utf8");
  expect(wrapper).toContain(process.execPath);
  const program = join(temporaryFolder(), "program");
  writeFileSync(program, `#!${process.execPath}\nprocess.stdout.write(JSON.stringify(process.argv.slice(2)))`, {
    mode: 0o755,
  });
  writeFileSync(path, wrapper.replace(/^exec=.*$/m, `exec=${program}`));
  const { stdout } = spawnSync(path, ["-b", "4k", "a b", ""], { env: {}, encoding: "utf8" });
  expect(JSON.parse(stdout)).toEqual([process.execPath, packaged(), "aiocp", "-b", "4k", "a b", ""]);
});

test("a wrapper whose program is gone says so and breaks", async () => {
  const root = join(temporaryFolder(), "ltp");
  await install(root);
  const path = join(root, "testcases/bin/aiocp");
  writeFileSync(path, readFileSync(path, "utf8").replace(/^exec=.*$/m, "exec=/gone/aiodio-exec"));
  const { status, stderr } = spawnSync(path, [], { encoding: "utf8" });
  expect(status).toBe(2);
  expect(stderr).toBe(
    `aiocp.sh:1: TBROK: /gone/aiodio-exec is gone: install aiodio-ltp again and run: aiodio-ltp install-ltproot ${root}\n`,
  );
  // openQA has to see a result line.
  expect(stderr.trimEnd()).toMatch(/^[\w.:/]+\s+(\w+):\s+.*$/);
});

test("again over its own tree: files of an older version go, foreign ones stay", async () => {
  const root = join(temporaryFolder(), "ltp");
  await install(root);
  writeFileSync(join(root, "testcases/bin/older"), "");
  writeFileSync(join(root, "foreign"), "");
  writeFileSync(
    join(root, ".aiodio-ltp"),
    `${readFileSync(join(root, ".aiodio-ltp"), "utf8")}testcases/bin/older\n../outside\n`,
  );
  writeFileSync(join(root, "..", "outside"), "");
  unlinkSync(join(root, "version"));
  symlinkSync(join(root, "foreign"), join(root, "version"));
  expect((await install(root)).status).toBe(0);
  expect(readdirSync(join(root, "testcases/bin"))).not.toContain("older");
  expect(readFileSync(join(root, "foreign"), "utf8")).toBe("");
  expect(readFileSync(join(root, "version"), "utf8")).toBe(`${version}\n`);
  expect(readdirSync(join(root, ".."))).toContain("outside");
  expect(readdirSync(root).filter((name) => name.endsWith(".tmp"))).toEqual([]);
});

test("never writes over a tree that is not its own", async () => {
  const root = temporaryFolder();
  writeFileSync(join(root, "runltp"), "LTP's own");
  const { status, err } = await install(root);
  expect(status).toBe(2);
  expect(err).toMatch(/^aiodio-ltp: .* is not empty and was not made by aiodio-ltp: choose another directory/);
  expect(readdirSync(root)).toEqual(["runltp"]);
});

test("an empty directory is taken, and a relative one is below the working directory", async () => {
  const cwd = temporaryFolder();
  mkdirSync(join(cwd, "ltp"));
  expect((await install("ltp", cwd)).status).toBe(0);
  expect(readdirSync(join(cwd, "ltp"))).toContain("version");
});

test.each([
  [["install-ltproot"], /takes one directory/],
  [["install-ltproot", "a", "b"], /takes one directory/],
  [["install-ltproot", "/dev/null"], /^aiodio-ltp: \/dev\/null is no directory/],
  [["install-ltproot", "/proc/ltp"], /^aiodio-ltp: cannot write \/proc\/ltp \(ENOENT\)/],
])("%j is one clear error", async (args, message) => {
  const { status, err } = await command(args);
  expect(status).toBe(2);
  expect(err).toMatch(message);
});

test.skipIf(process.getuid?.() === 0)("a directory that is not writable is one clear error", async () => {
  const folder = temporaryFolder();
  chmodSync(folder, 0o555);
  expect(await install(join(folder, "ltp"))).toMatchObject({ status: 2, err: expect.stringContaining("EACCES") });
});
