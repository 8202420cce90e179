#!/usr/bin/env node
// `npm run coverage`: which lines of ts/ the runner's tests reach, in their own process or in those that they start, and whether
// each room has as many as it must. A process that is killed tells nothing.
//
// Arguments go to vitest in place of the runner's tests; the floors are for all of them.
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import coverage from "istanbul-lib-coverage";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
/** Per cent of each room's lines, by the tests of all these rooms. */
const FLOORS = {
  base: 95,
  cli: 79,
  events: 95,
  filesystem: 94,
  guest: 79,
  kernel: 95,
  linux: 92,
  page: 90,
  plan: 95,
  process: 95,
  report: 94,
  run: 92,
};
const TESTS = Object.keys(FLOORS).map((room) => `tests/${room}/`);

/** Ends this program where the command fails. */
function run(command, args, env = process.env) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: "inherit", env });
  if (error) throw error;
  if (status !== 0) throw new Error(`${command} has failed`);
}

/**
 * Adds to each file of ts/, by its path, how often each line was reached. The runner knows which lines can be; what a process tells of
 * others (comments, blank lines) is left out.
 */
function addLines(files, report) {
  for (const [path, data] of Object.entries(JSON.parse(readFileSync(report, "utf8")))) {
    const name = relative(root, path);
    if (!name.startsWith("ts/")) continue;
    const known = files.get(name);
    const lines = known ?? new Map();
    for (const [line, hits] of Object.entries(coverage.createFileCoverage(data).getLineCoverage())) {
      if (!known || known.has(line)) lines.set(line, (lines.get(line) ?? 0) + hits);
    }
    files.set(name, lines);
  }
}

function measure(base) {
  const processes = join(base, "processes");
  mkdirSync(processes);
  // Some of the tests run as another user.
  for (const directory of [base, processes]) chmodSync(directory, 0o1777);
  const more = process.argv.slice(2);
  const files = new Map();
  run(
    process.execPath,
    [
      ...[
        "scripts/test.js",
        "--coverage.enabled",
        "--coverage.reporter=json",
        `--coverage.reportsDirectory=${base}/tests`,
      ],
      ...["--coverage.include=ts/**/*.ts", ...(more.length > 0 ? more : TESTS)],
    ],
    // Not as in CI: real guests take minutes, and what runs in them tells nothing.
    { ...process.env, CI: undefined, AIODIO_COVERAGE: processes },
  );
  addLines(files, `${base}/tests/coverage-final.json`);
  if (readdirSync(processes).length > 0) {
    run(join(root, "node_modules/.bin/c8"), [
      ...["report", "--temp-directory", processes, "--reporter", "json", "--reports-dir", join(base, "children")],
      ...["--include", "dist/**", "--exclude-after-remap=false", "--merge-async"],
    ]);
    addLines(files, `${base}/children/coverage-final.json`);
  }
  return files;
}

/** The rooms that have less than they must. */
function low(files) {
  const rooms = new Map();
  for (const [file, lines] of files) {
    const [, room] = file.split("/");
    const sum = rooms.get(room) ?? { reached: 0, lines: 0 };
    sum.lines += lines.size;
    sum.reached += [...lines.values()].filter((hits) => hits > 0).length;
    rooms.set(room, sum);
  }
  return [...rooms].sort().filter(([room, { reached, lines }]) => {
    const percent = (100 * reached) / lines;
    const isLow = percent < (FLOORS[room] ?? 0);
    const must = isLow ? `: must be ${FLOORS[room]} %` : "";
    console.log(`${room.padEnd(16)} ${percent.toFixed(1).padStart(5)} % of ${lines} lines${must}`);
    return isLow;
  });
}

const base = mkdtempSync(join(tmpdir(), "aiodio-coverage-"));
try {
  process.exitCode = low(measure(base)).length > 0 ? 1 : 0;
} finally {
  rmSync(base, { recursive: true, force: true });
}
