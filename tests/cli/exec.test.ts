/** `aiodio-ltp exec PROGRAM` is that program's own command. */
import { readdirSync } from "node:fs";
import { expect, test } from "vitest";
import { programs } from "../../ts/testcase/registry.js";
import { childrenOf, printed, command as started } from "../support/command.js";
import { temporaryDirectory } from "../support/temporary.js";
import { command } from "./fixture.js";

const directory = temporaryDirectory("exec");
const env = { TMPDIR: directory };

/** What differs from one run to the next. */
const plain = (text: string) => text.replaceAll(/LTP_(\w{3})\w{6}/g, "LTP_$1");

test.each([
  ["a pass", ["aiocp", "-b", "4k", "-s", "4k", "--seed", "7"], 0],
  ["TCONF", ["aiocp", "-b", "300", "-f", "DIRECT", "--seed", "7"], 32],
  ["options that aiodio-ltp has too, in its sense", ["aiocp", "-s", "8k", "-i", "2", "--seed", "7"], 0],
  ["a wrong option", ["fsx-linux", "--bail"], 2],
  ["the help", ["aio-stress", "-h"], 0],
  ["the version", ["aiocp", "-V"], 0],
  ["the old library's output, on standard output", ["aio01", "--legacy-output", "--seed", "7", "-n", "1"], 0],
])("%s: its status and its output", async (_, [program = "", ...argv], status) => {
  const [own, through] = await Promise.all([
    started(program, argv, env),
    started("aiodio-ltp", ["exec", program, ...argv], env),
  ]);
  expect(through.exitCode).toBe(status);
  expect(own.exitCode).toBe(status);
  const untimed = (text: string) => plain(text).replaceAll(/[\d.]+ sec/g, "sec");
  expect(untimed(through.stderr)).toBe(untimed(own.stderr));
  expect(untimed(through.stdout)).toBe(untimed(own.stdout));
});

test("a signal ends the testcase as its own command would", async () => {
  const running = started("aiodio-ltp", ["exec", "aiocp", "-b", "1k", "-n", "1", "-s", "128m", "-f", "DIRECT"], env);
  await printed(running, /Copy srcfile/);
  expect(childrenOf(running.pid)).toHaveLength(1);
  running.kill("SIGINT");
  const { all, exitCode } = await running;
  expect(all).toContain("TBROK: Test killed! (timeout?)\n");
  expect(exitCode).toBe(2);
  expect(readdirSync(directory)).toEqual([]);
});

test.each([
  ["exec", /^aiodio-ltp: exec: name a program, for example [^\n]+\n$/],
  ["exec aiocpp -b 4k", /^aiodio-ltp: exec: no "aiocpp" \(did you mean "aiocp"\?\): [^\n]+\n$/],
  ["exec ../aiocp", /^aiodio-ltp: exec: no "\.\.\/aiocp"/],
  ["exec aiodio-ltp", /^aiodio-ltp: exec: no "aiodio-ltp"/],
  ["--bail exec aiocp", /^aiodio-ltp: (?:exec comes first|--bail does nothing in `exec`)/],
  ["-i 2 exec aiocp", /^aiodio-ltp: (?:exec comes first|-i does nothing in `exec`)/],
])("%s is one clear error", async (line, message) => {
  const { all, exitCode } = await started("aiodio-ltp", line.split(" "));
  expect(all).toMatch(message);
  expect(exitCode).toBe(2);
});

test("--help behind exec is the runner's", async () => {
  expect(await command("exec --help")).toMatchObject({ status: 0, out: expect.stringContaining("exec PROGRAM") });
});

test("every program can be named", async () => {
  for (const name of programs.keys()) {
    const { exitCode, stderr } = await started("aiodio-ltp", ["exec", name, "-V"]);
    expect(`${name} ${exitCode} ${stderr}`).toMatch(new RegExp(`^${name} 0 aiodio-ltp version: `));
  }
});
