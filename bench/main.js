// `npm run bench`: how much of a run's time is ours. Prints ratios measured in one run, alternating the contenders;
// absolute figures depend on the machine and stand beside them only for orientation. All but the comparison with fio
// runs on one ext4 loop mount.
//
//   LTP_SRC=DIR    LTP's source tree: its C aiocp is built in a copy and measured, alone and under kirk
//   KIRK=FILE      the kirk command (default: the one in PATH)
//   ROUNDS=N       rounds of part1 (default 3)
//   PAIRS=N        pairs of copy throughput (default 5)
//   DISK_DIR=DIR   where copies are compared with fio's (default: the temporary directory). On a loop device the time of
//                  a single request depends on which core its kernel thread wakes up on, for fio as for us: 2:1 and more
//   FILESYSTEM=X   ext4 (default), xfs or btrfs for the loop mount
//   FILES=a,b      runtest files that the sections suites and each compare (default: all of LTP's aio and dio files)
//   LINES=REGEX    the IDs that the section each measures (default: all)
//   OUTPUT=FILE    where the section each writes what it measured
//   ONLY=a,b       sections: part1, copy, fio, overhead, lines, memory, suites (15 minutes for LTP's programs alone), and each,
//                  which is left out unless it is named: every line by itself, in PAIRS pairs, takes hours
import { spawn, spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { call, execPath } from "../dist/library.cjs";
import { provision, release, rerunWithPrivateMounts } from "../scripts/filesystems.js";
import { each } from "./each.js";
import { buildLtp, installPrograms, LTP_FILES } from "./ltp.js";
import { MIB, median, root, row, timed } from "./measure.js";

const self = fileURLToPath(import.meta.url);
/** Nothing kept, and no more said than what went wrong. */
const QUIET = ["--no-journal", "--reporter", "quiet"];
const PART1 = "ltp-aiodio.part1";
const rounds = Number(process.env.ROUNDS ?? 3);
const pairs = Number(process.env.PAIRS ?? 5);
const sections = process.env.ONLY?.split(",");

/** An LTPROOT of LTP's own programs with these runtest files, and kirk to run it; undefined where something is missing. */
function kirkWithLtp(work, tree, files) {
  const kirk = process.env.KIRK ?? "kirk";
  if (!tree || spawnSync(kirk, ["--version"]).error) return undefined;
  const ltproot = mkdtempSync(join(work, "ltproot-"));
  installPrograms(tree, join(ltproot, "testcases/bin"));
  mkdirSync(join(ltproot, "runtest"));
  for (const file of files) copyFileSync(join(root, "runtest", file), join(ltproot, "runtest", file));
  const temporary = join(ltproot, "kirk");
  mkdirSync(temporary);
  // One suite may take longer than kirk's hour on a slow disk, and one line longer than LTP's own limit under load.
  const limits = ["--suite-timeout", "14400", "--exec-timeout", "7200"];
  return (file, directory, ...more) =>
    timed(kirk, ["--run-suite", file, "-d", temporary, ...limits, ...more], { LTPROOT: ltproot, TMPDIR: directory });
}

/** The status of each line of a kirk report, by ID. */
function statuses(report) {
  return new Map(JSON.parse(readFileSync(report, "utf8")).results.map(({ test_fqn, status }) => [test_fqn, status]));
}

/** Every runtest file, by LTP's programs under kirk and by ours: once each, since that takes a quarter of an hour. */
function suites(work, directory, tree) {
  const files = process.env.FILES?.split(",") ?? LTP_FILES;
  const theirs = kirkWithLtp(work, tree, files);
  if (!theirs) {
    console.log("suites: left out, it needs LTP_SRC= and kirk (pip install kirk, KIRK=)");
    return;
  }
  const sums = { ltp: 0, j1: 0, j2: 0 };
  const show = (name, { ltp, j1, j2 }) => {
    row(`${name}, -j 1 / kirk + LTP`, j1 / ltp, `${j1.toFixed(1)} s / ${ltp.toFixed(1)} s`);
    row(`${name}, -j 2 --filesystems ext4 / kirk + LTP`, j2 / ltp, `${j2.toFixed(1)} s / ${ltp.toFixed(1)} s`);
  };
  const ours = (...args) => timed(process.execPath, ["bin/aiodio-ltp.js", ...args, ...QUIET]).seconds;
  const report = (file, whose) => join(work, `${file}.${whose}.json`);
  for (const file of files) {
    const took = {
      ltp: theirs(file, directory, "--json-report", report(file, "ltp")).seconds,
      j1: ours(file, "-d", directory, "-j", "1", "--output", report(file, "ours")),
      j2: ours(file, "--filesystems", "ext4", "-j", "2"),
    };
    show(file, took);
    const [reference, own] = ["ltp", "ours"].map((whose) => statuses(report(file, whose)));
    const different = [...reference].filter(([id, status]) => own.get(id) !== status);
    const list = different.map(([id, status]) => `${id} ${status}/${own.get(id)}`).join(", ");
    console.log(`  verdicts: ${reference.size - different.length} of ${reference.size} as LTP's${list && `; ${list}`}`);
    for (const name of Object.keys(sums)) sums[name] += took[name];
  }
  show("all files", sums);
}

function part1(work, directory, tree) {
  const theirs = kirkWithLtp(work, tree, [PART1]);
  if (!theirs) {
    console.log("part1: left out, it needs LTP_SRC= and kirk (pip install kirk, KIRK=)");
    return;
  }
  const ours = (jobs) => timed(process.execPath, ["bin/aiodio-ltp.js", PART1, "-d", directory, "-j", jobs, ...QUIET]);
  const contenders = {
    kirk: () => theirs(PART1, directory),
    j1: () => ours("1"),
    j2: () => ours("2"),
  };
  const seconds = Object.fromEntries(Object.keys(contenders).map((name) => [name, []]));
  for (let round = 0; round < rounds; round += 1) {
    for (const [name, run] of Object.entries(contenders)) seconds[name].push(run().seconds);
  }
  const reference = median(seconds.kirk);
  for (const name of ["j1", "j2"]) {
    const value = median(seconds[name]);
    row(
      `part1 -j ${name[1]}, --verify disk / kirk + LTP`,
      value / reference,
      `${value.toFixed(1)} s / ${reference.toFixed(1)} s`,
    );
  }
}

/** Bytes a second of the copy loop alone, source and destination laid out before. */
async function ourCopy(directory, options) {
  const outcome = await call("copy", {
    source: join(directory, "source"),
    destination: join(directory, "destination"),
    syncWrites: false,
    direct: true,
    fsync: "none",
    align: { offset: 0 },
    ...options,
  });
  if (outcome.error) throw new Error(outcome.error.message);
  return (2 * options.bytes) / outcome.elapsedSeconds;
}

/**
 * fio moving as many bytes: one job that reads and writes half of them each, in sequence, on two laid-out files. It has
 * no copy; this is its closest, with one thread and the same depth.
 */
function fioMixed(directory, engine, { bytes, blockBytes, depth }) {
  const extra = engine === "io_uring-fixed" ? ["--fixedbufs=1"] : [];
  const { stdout } = timed("fio", [
    ...[
      "--name=copy",
      `--filename=${join(directory, "fio1")}:${join(directory, "fio2")}`,
      `--size=${2 * bytes}`,
      `--io_size=${2 * bytes}`,
    ],
    ...[
      "--rw=rw",
      "--direct=1",
      `--ioengine=${engine.replace("-fixed", "")}`,
      `--bs=${blockBytes}`,
      `--iodepth=${depth}`,
    ],
    ...["--output-format=json", "--thread", ...extra],
  ]);
  const [job] = JSON.parse(stdout.slice(stdout.indexOf("{"))).jobs;
  return (job.read.io_bytes + job.write.io_bytes) / (job.job_runtime / 1000);
}

async function fio(directory) {
  if (spawnSync("fio", ["--version"]).error) {
    console.log("fio: left out, it is not installed");
    return;
  }
  const bytes = 256 * MIB;
  const key = { seed: 1n, fileId: 1, generation: 1 };
  const source = { key, path: join(directory, "source"), bytes };
  await call("fill", source);
  // Its pages leave the cache: fio's files have none there, and each direct read would have to look for them.
  await call("verify", { ...source, level: "disk", rangesMax: 1 });
  for (const engine of ["libaio", "io_uring", "io_uring-fixed"]) {
    for (const blockBytes of [65536, 4096]) {
      for (const depth of [1, 16, 64]) {
        const options = { engine, blockBytes, depth, bytes };
        await ourCopy(directory, options);
        fioMixed(directory, engine, options);
        const measured = [];
        for (let pair = 0; pair < pairs; pair += 1) {
          measured.push([await ourCopy(directory, options), fioMixed(directory, engine, options)]);
        }
        const [ours, theirs] = [0, 1].map((side) => (median(measured.map((pair) => pair[side])) / MIB).toFixed(0));
        const ratios = measured.map(([a, b]) => a / b);
        const spread = `${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)}`;
        row(
          `copy / fio: ${engine} ${blockBytes / 1024}k depth ${depth}`,
          median(ratios),
          `${ours} / ${theirs} MiB/s, ${spread}`,
        );
      }
    }
  }
  await call("verify", { ...source, level: "cache", rangesMax: 1 });
  const started = process.hrtime.bigint();
  const verified = await call("verify", { ...source, level: "cache", rangesMax: 1 });
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  if (verified.sectorsBad > 0) throw new Error("the source does not verify");
  console.log(`verification from the page cache: ${(bytes / seconds / 1e9).toFixed(1)} GB/s`);
}

/** Whole commands on a file large enough that starting them is little of it. */
function copyAgainstLtp(directory, ltpAiocp) {
  if (!ltpAiocp) {
    console.log("copy: left out, it needs LTP_SRC=");
    return;
  }
  for (const [block, bytes, fsync] of [
    ["4k", "8m", "batch"],
    ["4k", "8m", "each"],
    ["64k", "64m", "batch"],
    ["64k", "64m", "each"],
  ]) {
    const args = ["-b", block, "-s", bytes, "-n", "16", "-f", "DIRECT"];
    const ours = [];
    const theirs = [];
    for (let pair = 0; pair < pairs; pair += 1) {
      theirs.push(timed(ltpAiocp, args, { TMPDIR: directory }).seconds);
      ours.push(
        timed(execPath(), [process.execPath, root, "aiocp", ...args, "--fsync", fsync], { TMPDIR: directory }).seconds,
      );
    }
    const [a, b] = [median(ours), median(theirs)];
    row(`aiocp ${args.slice(0, 4).join(" ")} --fsync ${fsync} / LTP's`, a / b, `${a.toFixed(2)} s / ${b.toFixed(2)} s`);
  }
}

/** What a line costs when it has next to nothing to do, from the slope over the number of lines. */
function lines(work) {
  const shm = mkdtempSync("/dev/shm/aiodio-bench-");
  try {
    const wall = (count) => {
      const file = join(work, `lines${count}`);
      writeFileSync(file, Array.from({ length: count }, (_, i) => `L${i} aiocp -b 512 -s 512 -n 1\n`).join(""));
      return timed(process.execPath, ["bin/aiodio-ltp.js", file, "-d", shm, "-j", "1", ...QUIET]).seconds;
    };
    const cost = Array.from({ length: pairs }, () => (wall(520) - wall(20)) / 500);
    console.log(`a line of our own, once warm (aiocp of one block on tmpfs): ${(median(cost) * 1000).toFixed(2)} ms`);
  } finally {
    rmSync(shm, { recursive: true, force: true });
  }
}

/** Peak resident memory of the runner and of its workers over part1. */
async function memory(directory) {
  const child = spawn(process.execPath, ["bin/aiodio-ltp.js", PART1, "-d", directory, "-j", "2", ...QUIET], {
    cwd: root,
    stdio: "ignore",
  });
  const peaks = { runner: 0, worker: 0 };
  const sample = () => {
    const peak = (pid) => Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0);
    try {
      peaks.runner = Math.max(peaks.runner, peak(child.pid));
      for (const pid of readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8")
        .split(" ")
        .filter(Boolean)) {
        peaks.worker = Math.max(peaks.worker, peak(pid));
      }
    } catch {
      // It ended between two looks.
    }
  };
  const timer = setInterval(sample, 20);
  await new Promise((resolve) => child.on("close", resolve));
  clearInterval(timer);
  console.log(
    `peak memory over part1 -j 2: runner ${(peaks.runner / 1024).toFixed(0)} MiB, worker ${(peaks.worker / 1024).toFixed(0)} MiB`,
  );
}

/** What stamps, oracle and flight recorder cost, and how fast memory is verified; measured in Rust, without Node. */
function overhead(directory) {
  const bench = ["bench", "--quiet", "-p", "aiodio-core", "--bench", "overhead", "--", directory];
  process.stdout.write(timed("cargo", bench).stdout);
}

/** Runs a section on the machine's own disk. */
async function withDisk(section) {
  const directory = mkdtempSync(join(process.env.DISK_DIR ?? tmpdir(), "aiodio-bench-"));
  try {
    await section(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function main() {
  if (process.getuid() !== 0) {
    console.error("bench: mounting the ext4 image needs root");
    return 1;
  }
  const work = mkdtempSync(join(tmpdir(), "aiodio-bench-"));
  let directory;
  try {
    const filesystem = process.env.FILESYSTEM ?? "ext4";
    directory = provision(work, filesystem, 2048 * MIB);
    const ltp = process.env.LTP_SRC ? buildLtp(process.env.LTP_SRC, work) : undefined;
    const ltpAiocp = ltp && join(ltp, "testcases/kernel/io/ltp-aiodio/aiocp");
    const wanted = (name) => !sections || sections.includes(name);
    if (wanted("part1")) part1(work, directory, ltp);
    if (wanted("copy")) copyAgainstLtp(directory, ltpAiocp);
    if (wanted("fio")) await withDisk(fio);
    if (wanted("overhead")) await withDisk(overhead);
    if (wanted("lines")) lines(work);
    if (wanted("memory")) await memory(directory);
    if (wanted("suites")) suites(work, directory, ltp);
    if (sections?.includes("each")) {
      if (!ltp) throw new Error("each: it needs LTP_SRC=");
      const { FILES, LINES = ".", OUTPUT } = process.env;
      each(
        { directory, filesystem, tree: ltp, work },
        { files: FILES?.split(","), pattern: new RegExp(LINES), pairs, output: OUTPUT },
      );
    }
    return 0;
  } finally {
    if (directory) release(directory);
    rmSync(work, { recursive: true, force: true });
  }
}

process.exitCode = rerunWithPrivateMounts(self) ?? (await main());
