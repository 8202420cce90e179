// `node bench/soak.js`: no false alarm. Lines chosen at random, on a true fault filesystem and on a real one, in a
// memory cgroup so small that the page cache is always being reclaimed, while every thread of the workers gets signals with a
// handler at random moments, which interrupt its system calls. No line may fail, break or warn. Needs python3, for tgkill(2).
//
//   RUNS=N               lines, half of them on each filesystem (default 1000)
//   SEED=N               repeats a choice (default random, printed)
//   FILES=a,b            runtest files to choose from (default ltp-aiodio.part1); all for each of the package's. What docs/bugs
//                        has of ext4 (fsx) and of FUSE (AIO beside cached pages) fails there as everywhere
//   FILESYSTEMS=a,b      default faultfs,ext4
//   MEMORY_MIB=N         limit for the whole run, runner, keepers and page cache (default 200). With FILES=all 450, as single
//                        lines need 190; on faultfs, which keeps its files in memory, 2500
import { spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const runs = Number(process.env.RUNS ?? 1000);
const files =
  process.env.FILES === "all"
    ? readdirSync(join(root, "runtest"))
    : (process.env.FILES ?? "ltp-aiodio.part1").split(",");
const filesystems = process.env.FILESYSTEMS ?? "faultfs,ext4";
const memoryMib = Number(process.env.MEMORY_MIB ?? 200);
const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
/** Signals every thread of the cgroup's workers, at random moments up to 2 ms apart; says how many when its input ends. */
const STORM = `
import ctypes, os, random, select, signal, sys
libc, sent, procs = ctypes.CDLL(None), 0, sys.argv[1] + "/cgroup.procs"
while not select.select([sys.stdin], [], [], random.random() * 0.002)[0]:
    for pid in open(procs).read().split():
        try:
            if b"worker-main" not in open("/proc/%s/cmdline" % pid, "rb").read(): continue
            # A worker that is still starting has no handler yet and would die.
            status = open("/proc/%s/status" % pid).read()
            caught = int(status.split("SigCgt:")[1].split()[0], 16)
            if not caught >> (signal.SIGUSR2 - 1) & 1: continue
            for thread in os.listdir("/proc/%s/task" % pid):
                sent += libc.tgkill(int(pid), int(thread), signal.SIGUSR2) == 0
        except OSError: pass
print(sent)
`;
/** Has the workers, and everything else that Node starts there, live through the signal. */
const HANDLER = "data:text/javascript,process.on('SIGUSR2',()=>{})";

/** Marsaglia's xorshift32: the same numbers everywhere. */
function randomNumbers(state) {
  let x = state || 1;
  return (below) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % below;
  };
}

/** A memory cgroup with the limit, of whichever version is mounted. */
function makeCgroup() {
  const [v1, v2] = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"];
  const old = existsSync(join(v1, "memory.limit_in_bytes"));
  const path = join(old ? v1 : v2, `aiodio-soak-${process.pid}`);
  mkdirSync(path);
  writeFileSync(join(path, old ? "memory.limit_in_bytes" : "memory.max"), String(memoryMib * 2 ** 20));
  const reclaims = () =>
    old
      ? Number(readFileSync(join(path, "memory.failcnt"), "utf8"))
      : Number(/^max (\d+)$/m.exec(readFileSync(join(path, "memory.events"), "utf8"))?.[1]);
  return { path, reclaims };
}

async function main() {
  const next = randomNumbers(seed);
  const lines = files
    .flatMap((name) => readFileSync(join(root, "runtest", name), "utf8").split("\n"))
    .filter((line) => /^\w/.test(line));
  const work = mkdtempSync(join(tmpdir(), "aiodio-soak-"));
  const cgroup = makeCgroup();
  try {
    const count = Math.ceil(runs / filesystems.split(",").length);
    const chosen = Array.from({ length: count }, (_, index) => {
      const [, ...command] = (lines[next(lines.length)] ?? "").split(/\s+/);
      return `S${index} ${command.join(" ")}\n`;
    });
    const file = join(work, "soak");
    writeFileSync(file, chosen.join(""));
    const options = [
      file,
      "--filesystems",
      filesystems,
      "-j",
      "2",
      "--journal",
      join(work, "journal"),
      "--reporter",
      "quiet",
    ];
    const enter = ["-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', cgroup.path];
    const child = spawn("sh", [...enter, process.execPath, join(root, "bin/aiodio-ltp.js"), ...options], {
      stdio: "inherit",
      env: { ...process.env, NODE_OPTIONS: `--import=${HANDLER}` },
    });
    const storm = spawn("python3", ["-c", STORM, cgroup.path], { stdio: ["pipe", "pipe", "inherit"] });
    let signals = "";
    storm.stdout.on("data", (bytes) => {
      signals += bytes;
    });
    const stormEnd = new Promise((resolve, reject) => storm.on("close", resolve).on("error", reject));
    const status = await new Promise((resolve) => child.on("close", resolve));
    storm.stdin.end();
    await stormEnd;
    const events = readFileSync(join(work, "journal"), "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    const ends = events.filter(({ type }) => type === "test-end");
    const withVerdict = (wanted) => ends.filter(({ verdict }) => verdict === wanted).length;
    const [passed, notApplicable] = [withVerdict("TPASS"), withVerdict("TCONF")];
    const retried = events.reduce((sum, { name, value }) => sum + (name === "copy" ? value.stats.retriedEintr : 0), 0);
    if (status === null) console.log("the runner was killed: by the kernel, for want of memory?");
    console.log(
      `${passed} of ${ends.length} runs TPASS, ${notApplicable} TCONF, on ${filesystems}; seed ${seed}; ${signals.trim()} signals, ` +
        `${retried} calls were interrupted and retried; the limit of ${memoryMib} MiB was hit ${cgroup.reclaims()} times`,
    );
    return status === 0 && passed + notApplicable === ends.length && passed > 0 && ends.length >= runs ? 0 : 1;
  } finally {
    rmSync(work, { recursive: true, force: true });
    // What a killed runner leaves goes by itself, and soon.
    const patience = performance.now() + 30_000;
    while (readFileSync(join(cgroup.path, "cgroup.procs"), "utf8") !== "" && performance.now() < patience) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    rmdirSync(cgroup.path);
  }
}

process.exitCode = await main();
