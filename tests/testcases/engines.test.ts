/** Every program with `--engine`, where the kernel refuses the engine's interface: TCONF with the reason, before any work. */
import { readdirSync } from "node:fs";
import { constants } from "node:os";
import { beforeEach, describe, expect, test } from "vitest";
import { programs } from "../../ts/testcase/registry.js";
import { commandLine, summaryOf } from "../support/command.js";
import { needs } from "../support/needs.js";
import { CALLS, withoutCalls } from "../support/seccomp.js";
import { temporaryDirectory } from "../support/temporary.js";

const directory = temporaryDirectory("engines");
const { EPERM, ENOSYS } = constants.errno;

const loaded = await Promise.all([...programs.values()].map(({ load }) => load()));
const withEngine = loaded.filter(({ options }) => options.engine).map(({ name }) => name);

beforeEach(() => needs("python3"));

const run = (name: string, argv: string[], calls: number[], errno: number) => {
  const [program, ...words] = commandLine(name, argv);
  return withoutCalls(calls, errno, program, words, { TMPDIR: directory });
};

test("most programs have engines", () => expect(withEngine.length).toBeGreaterThan(12));

describe.each(withEngine)("%s", (name) => {
  test.each([
    ["io_uring", "io_uring_setup", EPERM, /TCONF: io_uring is forbidden here, by a container's seccomp filter/],
    ["io_uring-fixed", "io_uring_setup", ENOSYS, /TCONF: This kernel has no io_uring/],
    ["libaio", "io_setup", ENOSYS, /TCONF: The kernel has no AIO \(CONFIG_AIO\)/],
  ] as const)("--engine %s without %s", async (engine, call, errno, line) => {
    const { all, exitCode } = await run(name, ["--engine", engine], [CALLS[call]], errno);
    expect(all).toMatch(line);
    expect(summaryOf(all)).toEqual({ passed: 0, failed: 0, broken: 0, skipped: 1, warnings: 0 });
    expect(exitCode).toBe(32);
    expect(readdirSync(directory)).toEqual([]);
  });
});

test("a mix goes without what is missing, and says so", async () => {
  const argv = ["-p", "1", "-n", "10", "--engine", "mix"];
  const { all, exitCode } = await run("aio_signal_stress", argv, Object.values(CALLS), EPERM);
  expect(all).toMatch(/TINFO: AIO is forbidden here/);
  expect(all).toMatch(/TINFO: io_uring is forbidden here/);
  expect(all).toMatch(/TINFO: Seed \S+ engines sync,/);
  expect(exitCode).toBe(0);
});

test("the default engine of LTP's programs is refused in the same way", async () => {
  const { all, exitCode } = await run("aiocp", [], [CALLS.io_setup], ENOSYS);
  expect(all).toMatch(/TCONF: The kernel has no AIO/);
  expect(exitCode).toBe(32);
});
