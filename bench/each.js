// Each line of LTP's runtest files: how long ours takes in a warm worker, over how long LTP's program takes, in pairs that alternate.
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { join } from "node:path";
import { loadRuntest } from "../dist/library.cjs";
import { installPrograms, LTP_FILES } from "./ltp.js";
import { median, root } from "./measure.js";

/** A line that takes less is repeated until it has taken this long. */
const SECONDS_MIN = 1;
/** More often it is not. */
const REPEATS_MAX = 50;

const linesOf = (file) => loadRuntest(file, root).lines.map(({ id, command }) => ({ file, id, command }));

/** Seconds of LTP's program, one time after another; undefined where it does not pass. */
function theirs({ command }, times, { programs, directory }) {
  const env = { ...process.env, TMPDIR: directory, PATH: `${programs}:${process.env.PATH}` };
  const started = process.hrtime.bigint();
  for (let time = 0; time < times; time += 1) {
    const { status } = spawnSync("sh", ["-c", command], { cwd: directory, env, stdio: "ignore" });
    if (status !== 0) return undefined;
  }
  return Number(process.hrtime.bigint() - started) / 1e9 / times;
}

/** Seconds of ours; the first time, which starts the worker, does not count. Undefined where it does not pass. */
function ours({ file, id }, times, { work, directory }) {
  const journal = join(work, "journal");
  rmSync(journal, { force: true });
  const argv = [file, "-s", `^${id}$`, "--repeat", String(times + 1), "-d", directory, "-j", "1"];
  const { status } = spawnSync(
    process.execPath,
    [join(root, "bin", "aiodio-ltp.js"), ...argv, "--journal", journal, "--reporter", "quiet"],
    { cwd: root, stdio: "ignore" },
  );
  if (status !== 0) return undefined;
  const ends = readFileSync(journal, "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line))
    .filter(({ type }) => type === "test-end");
  if (ends.length !== times + 1) throw new Error(`${id}: ${ends.length} ends of ${times + 1}`);
  return ends.slice(1).reduce((sum, { durationSeconds }) => sum + durationSeconds, 0) / times;
}

/** Both sides of one line; the ratio is that of the medians. */
function measure(line, pairs, place) {
  const first = theirs(line, 1, place);
  if (first === undefined) return { ...line, why: "LTP's program does not pass here" };
  const times = Math.max(1, Math.min(REPEATS_MAX, Math.ceil(SECONDS_MIN / first)));
  const [ltp, own] = [[], []];
  for (let pair = 0; pair < pairs; pair += 1) {
    const sides = { ltp: () => ltp.push(theirs(line, times, place)), own: () => own.push(ours(line, times, place)) };
    // Neither is always the first on a filesystem that the other has just written to.
    for (const side of pair % 2 === 0 ? ["ltp", "own"] : ["own", "ltp"]) sides[side]();
  }
  if (own.includes(undefined)) return { ...line, why: "ours does not pass here" };
  if (ltp.includes(undefined)) return { ...line, why: "LTP's program does not always pass here" };
  return { ...line, times, ltp, ours: own, ratio: median(own) / median(ltp) };
}

/** The programs with their lines' ratios, the slowest first. */
function byProgram(results) {
  const programs = new Map();
  for (const result of results) {
    const [name] = result.command.split(" ", 1);
    programs.set(name, [...(programs.get(name) ?? []), result]);
  }
  return [...programs]
    .map(([program, all]) => {
      const ratios = all.flatMap(({ ratio }) => ratio ?? []);
      return { program, lines: ratios.length, left: all.length - ratios.length, median: median(ratios), ratios };
    })
    .sort((a, b) => b.median - a.median);
}

/**
 * Measures every line, and writes what was measured to `output` after each, so that nothing is lost when it is ended.
 *
 * @param place `directory`: on the filesystem; `filesystem`: its name; `tree`: LTP's, built; `work`: for what is made meanwhile
 */
export function each({ directory, filesystem, tree, work }, { files = LTP_FILES, pattern = /./, pairs, output }) {
  const programs = join(mkdtempSync(join(work, "programs-")), "bin");
  installPrograms(tree, programs);
  const lines = files.flatMap(linesOf).filter(({ id }) => pattern.test(id));
  const machine = { kernel: release(), cpus: cpus().length, model: cpus()[0]?.model, node: process.version };
  const results = [];
  for (const line of lines) {
    const place = mkdtempSync(join(directory, "line-"));
    mkdirSync(join(place, "tmp"));
    const result = measure(line, pairs, { programs, work, directory: join(place, "tmp") });
    rmSync(place, { recursive: true });
    results.push(result);
    console.log(
      `${line.id.padEnd(20)} ${result.ratio === undefined ? result.why : result.ratio.toFixed(2).padStart(6)}   ${line.command}`,
    );
    if (output) {
      const date = new Date().toISOString();
      writeFileSync(output, `${JSON.stringify({ date, machine, filesystem, pairs, lines: results }, null, 1)}\n`);
    }
  }
  console.log(`\n| ${filesystem}: program | lines | median | from | to | above 1 |\n|---|---|---|---|---|---|`);
  for (const { program, lines: count, left, median: middle, ratios } of byProgram(results)) {
    const above = ratios.filter((ratio) => ratio > 1).length;
    const [from, to] = [Math.min(...ratios), Math.max(...ratios)];
    const cells = count === 0 ? ["", "", "", ""] : [middle.toFixed(2), from.toFixed(2), to.toFixed(2), above];
    console.log(`| ${program} | ${count}${left > 0 ? ` (${left} not measured)` : ""} | ${cells.join(" | ")} |`);
  }
}
