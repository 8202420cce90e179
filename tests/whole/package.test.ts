/** The packed npm packages, installed from their tarballs into an empty directory: no Rust, no repository. */
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { packaged } from "../../ts/base/package.js";
import { programs } from "../../ts/testcase/registry.js";
import { plainEnvironment } from "../support/command.js";

const SINGLE = ["exec", "aiocp", "-b", "4k", "-n", "4", "-f", "DIRECT"];

const base = mkdtempSync(join(tmpdir(), "aiodio-package-"));
const home = join(base, "home");
const work = join(base, "work");
afterAll(() => rmSync(base, { recursive: true, force: true }));

/** A PATH without cargo: what is installed must not want to build anything. */
function environment(): Record<string, string> {
  const path = (process.env.PATH ?? "")
    .split(":")
    .filter((part) => !part.includes("cargo") && !part.includes("node_modules"));
  const kept = Object.entries(plainEnvironment()).filter(([name]) => !/^(npm_|INIT_CWD$|CARGO|RUST)/.test(name));
  return { ...Object.fromEntries(kept), PATH: path.join(":"), TMPDIR: work, npm_config_update_notifier: "false" };
}

const settings = () => ({ cwd: home, env: environment(), extendEnv: false, reject: false, all: true }) as const;

beforeAll(async () => {
  const tarballs = join(base, "tarballs");
  await execa(process.execPath, [packaged("scripts", "pack.js"), tarballs], { cwd: packaged() });
  mkdirSync(home);
  mkdirSync(work);
  writeFileSync(join(home, "package.json"), '{ "name": "empty", "private": true }');
  const files = readdirSync(tarballs).map((name) => join(tarballs, name));
  expect(files).toHaveLength(2);
  const { exitCode, all } = await execa("npm", ["install", "--no-audit", "--no-fund", ...files], settings());
  expect(exitCode, all).toBe(0);
  // The users of the machine may look in.
  for (const directory of [base, home]) chmodSync(directory, 0o755);
  chmodSync(work, 0o1777);
});

describe("installed from the tarballs", () => {
  test("npx aiodio-ltp ltp-aiodio.part1", async () => {
    const { exitCode, all } = await execa("npx", ["aiodio-ltp", "ltp-aiodio.part1"], settings());
    expect(all).toContain("140 TPASS");
    expect(exitCode).toBe(0);
  });

  test("npx aiodio-ltp exec aiocp -b 4k -n 4 -f DIRECT", async () => {
    const { exitCode, all } = await execa("npx", ["aiodio-ltp", ...SINGLE], settings());
    expect(all).toMatch(/^aiocp\.ts:\d+: TPASS: Files are identical$/m);
    expect(exitCode).toBe(0);
  });

  test("no name of LTP's gets on PATH", () => {
    const commands = readdirSync(join(home, "node_modules", ".bin"));
    expect(commands).toContain("aiodio-ltp");
    expect(commands.filter((name) => programs.has(name))).toEqual([]);
  });

  test.runIf(process.getuid?.() === 0)("as another user than root, without a word about root", async () => {
    const command = [
      "--reuid=65534",
      "--regid=65534",
      "--clear-groups",
      process.execPath,
      "node_modules/.bin/aiodio-ltp",
    ];
    const { exitCode, all } = await execa("setpriv", [...command, "ltp-aiodio.part1", "-s", "AD03"], settings());
    expect(all).toContain("10 TPASS");
    expect(exitCode).toBe(0);
    expect(readdirSync(work)).toEqual([]);
  });

  // The `node` package brings the binaries of other versions.
  test.each(["22", "24"])("on Node %s", async (major) => {
    const place = join(base, `node${major}`);
    mkdirSync(place);
    writeFileSync(join(place, "package.json"), '{ "name": "node", "private": true }');
    const installed = await execa("npm", ["install", "--no-audit", "--no-fund", `node@${major}`], {
      ...settings(),
      cwd: place,
    });
    expect(installed.exitCode, installed.all).toBe(0);
    const node = join(place, "node_modules", "node", "bin", "node");
    const version = await execa(node, ["--version"], settings());
    expect(version.stdout).toMatch(new RegExp(`^v${major}\\.`));
    const run = await execa(
      node,
      ["node_modules/.bin/aiodio-ltp", "ltp-aiodio.part1", "-j", "2", "-s", "AD0[0-4]"],
      settings(),
    );
    expect(run.all).toContain("49 TPASS");
    expect(run.exitCode).toBe(0);
    const single = await execa(node, ["node_modules/.bin/aiodio-ltp", ...SINGLE], settings());
    expect(single.exitCode, single.all).toBe(0);
    expect(readdirSync(work)).toEqual([]);
  });
});
