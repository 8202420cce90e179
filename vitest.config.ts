import { chmodSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { defineConfig } from "vitest/config";

/** Runs every line there is, for minutes, with as many workers as the machine has cores: after the others, not beside them. */
const LONGEST = "tests/whole/suites.test.ts";

/** Needs nothing but Node: no Rust, no root, nothing built. */
const UNIT_ROOMS = [
  "base",
  "cli",
  "events",
  "guest",
  "kernel",
  "linux",
  "page",
  "plan",
  "report",
  "scripts",
  "testcase",
];
/** In the same rooms, and of the addon (it locks journals) or of what is built. */
const NOT_UNIT = [
  "tests/cli/exec.test.ts",
  "tests/cli/guests.test.ts",
  "tests/cli/install-ltproot.test.ts",
  "tests/cli/kept-runs.test.ts",
  "tests/cli/merge.test.ts",
  "tests/cli/report.test.ts",
  "tests/cli/run.test.ts",
  "tests/cli/shadows.test.ts",
  "tests/guest/cache.test.ts",
  "tests/guest/host.test.ts",
  "tests/guest/real.test.ts",
  "tests/kernel/reader.test.ts",
  "tests/page/browser.test.ts",
  "tests/report/journal.test.ts",
  "tests/scripts/new-testcase.test.ts",
  "tests/testcase/diagnosis.test.ts",
];

const BUILT = "./tests/support/built.js";

const ROOMS = readdirSync("tests");
const testsOf = (room: string) => `tests/${room}/**/*.test.ts`;

/** Where all tests work: what one of them leaves there is a failure (`closing-line.ts`). */
const TMPDIR = mkdtempSync(join(tmpdir(), "aiodio-tests-"));
// Some of them run as another user.
chmodSync(TMPDIR, 0o1777);
/** Where runs are kept that nobody has asked to keep: not at home. */
const XDG_STATE_HOME = mkdtempSync(join(tmpdir(), "aiodio-tests-state-"));
process.on("exit", () => {
  for (const directory of [TMPDIR, XDG_STATE_HOME]) rmSync(directory, { recursive: true, force: true });
});

export default defineConfig({
  test: {
    env: { TMPDIR, XDG_STATE_HOME },
    setupFiles: ["./tests/support/coverage.ts"],
    // The closing line of CI's log is read by tools: it comes from the runner's own results.
    reporters: ["default", "./tests/support/closing-line.ts"],
    // Only for what hangs: a slow machine under load is no failure.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    // Tests of the command line start processes of their own: more files at once than cores only adds noise.
    maxWorkers: 2,
    projects: [
      {
        extends: true,
        test: { name: "unit", include: UNIT_ROOMS.map(testsOf), exclude: NOT_UNIT, sequence: { groupOrder: 0 } },
      },
      {
        extends: true,
        test: {
          name: "whole",
          include: [...NOT_UNIT, ...ROOMS.filter((room) => !UNIT_ROOMS.includes(room)).map(testsOf)],
          exclude: [LONGEST],
          globalSetup: BUILT,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: { name: "suites", include: [LONGEST], globalSetup: BUILT, sequence: { groupOrder: 1 } },
      },
    ],
  },
});
