/**
 * The stand-alone programs of docs/bugs: they build, see nothing where the bug can't be, and see what is planted. Whether
 * the kernel at hand has the bug is not asserted.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { root } from "../../ts/base/package.js";
import { Faultfs } from "../../ts/filesystem/faultfs.js";
import { KnownIssues, readKnownIssues } from "../../ts/kernel/known-issues.js";
import { parseYaml } from "../../ts/kernel/yaml.js";
import { findTool } from "../../ts/process/tools.js";
import { backingDirectory } from "../filesystem/fixture.js";
import { filesystems } from "../support/filesystems.js";
import { needs } from "../support/needs.js";

const BUGS = join(root, "docs", "bugs");
const PROGRAMS = readdirSync(BUGS)
  .filter((name) => name.endsWith(".c"))
  .map((name) => basename(name, ".c"));

const directories = filesystems();
const backing = backingDirectory();
const built = mkdtempSync(join(tmpdir(), "aiodio-bugs-"));
afterAll(() => rmSync(built, { recursive: true, force: true }));

beforeEach(() => needs("gcc"));

beforeAll(async () => {
  if (findTool("gcc") === undefined) return;
  const flags = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O2", "-pthread"];
  for (const name of PROGRAMS) await execa("gcc", [...flags, "-o", join(built, name), join(BUGS, `${name}.c`)]);
});

/** Runs one of them to its end. */
function run(name: string, argv: readonly string[], enter: readonly string[] = []) {
  const [program = "", ...words] = [...enter, join(built, name), ...argv];
  return execa(program, words, { all: true, reject: false });
}

test.each(PROGRAMS)("%s: is MIT's, short, has a page, and refuses wrong usage", async (name) => {
  const source = readFileSync(join(BUGS, `${name}.c`), "utf8");
  expect(source).toMatch(/^\/\/ SPDX-License-Identifier: MIT\n/);
  expect(source.split("\n").length).toBeLessThan(250);
  const page = readFileSync(join(BUGS, `${name}.md`), "utf8");
  expect(page).toContain(`${name}.c`);
  for (const argv of [[], ["/", "0"], ["/", "1", "2", "3"]]) {
    const { exitCode, all } = await run(name, argv);
    expect([exitCode, all]).toEqual([2, expect.stringMatching(/^usage: /)]);
  }
});

describe.each([
  { name: "ext4-stale-blocks", elsewhere: /^(?!ext)/, rounds: "100", clean: /^0 of 100 rounds ended with wrong data/ },
  { name: "xfs-truncate-up", elsewhere: /^(?!xfs)/, rounds: "100", clean: /^0 of 100 completed writes were lost/ },
])("$name", ({ name, elsewhere, rounds, clean }) => {
  test("sees nothing on other filesystems, and leaves nothing", async ({ skip }) => {
    const others = directories.filter((filesystem) => elsewhere.test(filesystem.name) && filesystem.name !== "tmpdir");
    if (others.length === 0) skip("npm test has mounted no other filesystem");
    for (const { directory } of others) {
      const { exitCode, all } = await run(name, [directory, rounds]);
      expect([directory, exitCode, all]).toEqual([directory, 0, expect.stringMatching(clean)]);
      expect(readdirSync(directory)).toEqual([]);
    }
  });

  test("says which directory it can't use", async () => {
    const { exitCode, all } = await run(name, ["/nowhere"]);
    expect([exitCode, all]).toEqual([2, expect.stringContaining(`${name}: /nowhere/${name}.file: No such file`)]);
  });

  test("sees data that a filesystem loses", async () => {
    const faultfs = await Faultfs.start({ rules: ["drop-write:count=1"], backing });
    try {
      const { exitCode, all } = await run(name, [faultfs.directory, "10"], faultfs.enter);
      expect([exitCode, all]).toEqual([1, expect.stringMatching(/^1 of 10 /m)]);
    } finally {
      await faultfs.stop();
    }
  });
});

test("fuse-stale-page: a synchronous write leaves nothing stale, and nothing stays mounted", async ({ skip }) => {
  if (process.getuid?.() !== 0 || !existsSync("/dev/fuse")) skip("needs root and /dev/fuse");
  const { exitCode, all } = await run("fuse-stale-page", ["sync", "20"]);
  expect([exitCode, all]).toEqual([0, expect.stringMatching(/^sync: \d+ of 20 writes met a read; .* 0 .* stale/)]);
  expect(readFileSync("/proc/self/mounts", "utf8")).not.toContain("fuse-stale-page");
});

describe("known-issues.yaml", () => {
  const { issues, notes } = readKnownIssues(join(BUGS, "known-issues.yaml"), parseYaml);
  const known = (kernel: string) => {
    const all = new KnownIssues(issues);
    all.describe({ kernel, arch: "x86_64" });
    return all;
  };
  const fsx = { suite: "ltp-aiodio.part3", id: "fsx01" };

  test("is understood whole, hides nothing, and names pages that are there", () => {
    expect(notes).toEqual([]);
    expect(issues.length).toBeGreaterThan(0);
    for (const { skip, message } of issues) {
      expect(skip).toBe(false);
      const page = /^docs\/bugs\/(\S+\.md):/.exec(message ?? "")?.[1];
      expect(readdirSync(BUGS)).toContain(page);
    }
  });

  test("explains a failure of fsx on the kernels that it was seen on, and nothing else", () => {
    expect(known("6.18.44").explain(fsx, "TFAIL", 1)?.message).toContain("ext4-stale-blocks.md");
    expect(known("6.18.44").explain(fsx, "TBROK", 2)).toBeUndefined();
    expect(known("7.2.13+deb14-amd64").explain(fsx, "TFAIL", 1)?.message).toContain("ext4-stale-blocks.md");
    expect(known("7.20.1").explain(fsx, "TFAIL", 1)).toBeUndefined();
    expect(known("6.1.0-40-amd64").explain(fsx, "TFAIL", 1)).toBeUndefined();
    expect(known("6.18.44").explain({ ...fsx, id: "ADSP000" }, "TFAIL", 1)).toBeUndefined();
  });
});
