/** Hosts by ssh: the agent that it starts, and the run there. An `ssh` of the test's own plays the network. */
import { spawn } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { root, version } from "../../ts/base/package.js";
import { childrenOf, command, emptied, goneOf, printed } from "../support/command.js";
import { needsFilesystems } from "../support/needs.js";

const BIN = join(root, "bin", "aiodio-ltp.js");

/** What comes behind `--` on ssh's command line is the destination and the command; the destination says what happens. */
const SSH = `#!/bin/sh
echo "$*" >>"$0.asked"
while [ "$1" != -- ]; do shift; done
destination=$2
shift 2
case $destination in
away) echo "ssh: connect to host away port 22: No route to host" >&2; exit 255 ;;
bare) PATH=/nowhere; "$@" ;;
old) echo '{"type":"ready","version":"0.0.1"}'; exec sleep 1000 ;;
device) LTP_DEV=/dev/null exec "$@" ;;
torn) "$@" | sed -u /test-end/q ;;
*) echo "Welcome to $destination"; exec "$@" ;;
esac
`;

let folder: string;
let path: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "host-"));
  path = join(folder, "bin");
  mkdirSync(path);
  const program = (name: string, content: string) => {
    writeFileSync(join(path, name), content);
    chmodSync(join(path, name), 0o755);
  };
  program("ssh", SSH);
  program("aiodio-ltp", `#!/bin/sh\nexec ${process.execPath} ${BIN} "$@"\n`);
  return () => rmSync(folder, { recursive: true });
});

const work = () => mkdtempSync(join(folder, "work-"));
const onHost = (host: string, ...argv: string[]) =>
  command("aiodio-ltp", ["ltp-aiodio.part1", `--host=${host}`, ...argv], { PATH: `${path}:${process.env.PATH}` });

/** Several starts of Node, one after the other, beside other tests. */
const TIMEOUT = 120_000;

describe("--host", { timeout: TIMEOUT }, () => {
  test("runs there, in a directory of the host, and tells as if it were here", async () => {
    const directory = work();
    const journal = join(folder, "journal");
    const { exitCode, all } = await onHost("me@there", "-s", "^AD00[12]$", "-d", directory, "--journal", journal);
    expect(exitCode, all).toBe(0);
    expect(all).toMatch(/me@there: Linux .*, up in .* \(ssh/);
    expect(all).toMatch(/me@there\/AD001 +TPASS/);
    expect(all).toMatch(/2 testcases in .*: 2 TPASS/);
    const events = readFileSync(journal, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(events.filter(({ type }) => type === "test-end").map(({ key }) => key)).toEqual([
      "me@there/ltp-aiodio.part1:AD001",
      "me@there/ltp-aiodio.part1:AD002",
    ]);
    expect(readdirSync(directory)).toEqual([]);
    expect(readFileSync(join(path, "ssh.asked"), "utf8")).toMatch(/-o BatchMode=yes .*-- me@there aiodio-ltp agent\n/);
  });

  test.each([
    ["away", /^aiodio-ltp: --host away: ssh cannot reach it, or lost it: .*No route to host\n$/],
    ["bare", new RegExp(`^aiodio-ltp: --host bare: aiodio-ltp is not on the PATH .*aiodio-ltp@${version} on it\n$`)],
    ["old", new RegExp(`^aiodio-ltp: --host old: it has aiodio-ltp 0\\.0\\.1, and this is ${version}: install`)],
    ["-oProxyCommand=x", /^aiodio-ltp: --host: "-oProxyCommand=x" is no destination for ssh/],
  ])("%s is one clear error before anything runs", async (host, message) => {
    const { exitCode, all } = await onHost(host);
    expect(all).toMatch(message);
    expect(exitCode).toBe(2);
  });

  test.each([
    [["-j", "2"], /--host runs one line at a time/],
    [["-d", "somewhere"], /"somewhere" is relative/],
    [["--device", "/dev/nothing"], /--device is about this machine/],
    [["--guest", "amd64"], /drop one of them/],
    [["--verify", "full"], /add --filesystems/],
  ])("with %j is one clear error", async (argv, message) => {
    const { exitCode, all } = await onHost("me@there", ...argv);
    expect(all).toMatch(message);
    expect(exitCode).toBe(2);
  });

  test.skipIf(process.geteuid?.() !== 0)(
    "makes filesystems there, and takes no device from its environment",
    async () => {
      needsFilesystems("ext4");
      const { exitCode, all } = await onHost("device", "-s", "^AD001$", "--filesystems", "ext4", "--size", "300m");
      expect(exitCode, all).toBe(0);
      expect(all).toMatch(/device\/ext4\/AD001 +TPASS/);
    },
  );

  test("what the host can't do ends the run with its words", async () => {
    const { exitCode, all } = await onHost("me@there", "-d", join(folder, "none"));
    expect(all).toContain(`me@there could not go on: no directory ${join(folder, "none")}`);
    expect(exitCode).toBe(3);
  });

  test("a connection that is lost breaks the testcase that it cuts off, and the rest runs over another", async () => {
    const { exitCode, all } = await onHost("torn", "-s", "^AD00[1-3]$", "-d", work());
    expect(exitCode, all).toBe(1);
    expect(all).toMatch(/torn\/AD001 +TPASS/);
    expect(all).toMatch(/torn\/AD002 +TBROK/);
    expect(all).toMatch(/TBROK: the host ended \(exit status 0\): /);
    expect(all).toMatch(/torn\/AD003 +TPASS/);
    expect(all.match(/up in/g)).toHaveLength(2);
  });

  test("goes with its controller, even by SIGKILL, and the agent leaves nothing", async () => {
    const directory = work();
    const run = onHost("me@there", "-s", "^AD001$", "-i", "100", "-d", directory);
    await printed(run, /me@there\/AD001 +TPASS/);
    // What ssh starts has taken its place.
    const [agent = 0] = childrenOf(run.pid);
    expect(readFileSync(`/proc/${agent}/cmdline`, "utf8")).toContain("\0agent\0");
    run.kill("SIGKILL");
    await run;
    await emptied(directory);
    await goneOf(agent);
  });
});

describe("the agent", { timeout: TIMEOUT }, () => {
  /** Writes all of it at once, ends the stream, and returns the messages but for the signs of life. */
  async function told(input: string, ended = 1) {
    const child = spawn(process.execPath, [BIN, "agent"], { stdio: ["pipe", "pipe", "inherit"] });
    onTestFinished(() => void child.kill("SIGKILL"));
    child.stdin.write(input);
    const messages: Record<string, unknown>[] = [];
    let rest = "";
    child.stdout.setEncoding("utf8").on("data", (bytes: string) => {
      const lines = (rest + bytes).split("\n");
      rest = lines.pop() ?? "";
      messages.push(...lines.map((line) => JSON.parse(line)));
      // The end of the stream would end what runs.
      if (messages.filter(({ type }) => type === "ended").length >= ended && messages.length > 0) child.stdin.end();
    });
    const code = await new Promise((resolve) => child.on("close", resolve));
    return { code, messages: messages.filter(({ type }) => type !== "alive") };
  }

  const request = (parts: object) =>
    `${JSON.stringify({
      ...{ type: "run", plan: [], bail: false, checkEach: false, defaults: {}, timeoutMul: 1, trace: false, env: {} },
      ...parts,
    })}\n`;
  const AD001 = {
    ...{ key: "s:AD001", suite: "s", id: "AD001", iteration: 1, program: "aiocp" },
    ...{ argv: ["-b", "4k"], command: "aiocp -b 4k" },
  };

  test("says what it is, and ends with its stream", async () => {
    const { code, messages } = await told("", 0);
    expect(messages).toEqual([expect.objectContaining({ type: "ready", version })]);
    expect(code).toBe(0);
  });

  test("refuses what it does not understand with its reason, and goes on", async () => {
    const { messages } = await told(`garbage\n${request({ plan: [AD001], place: { directory: work() } })}`, 2);
    expect(messages.map(({ type }) => type)).toEqual(expect.arrayContaining(["ready", "ended", "event"]));
    expect(messages[1]).toMatchObject({
      type: "ended",
      error: expect.stringContaining("not a message of the agent protocol"),
    });
    expect(messages.at(-1)).toEqual({ type: "ended" });
    expect(messages).toContainEqual(
      expect.objectContaining({ event: expect.objectContaining({ type: "test-end", verdict: "TPASS" }) }),
    );
  });

  test.each([
    ["a plan that is none", { plan: [{ key: "s:AD001" }] }],
    ["a relative directory", { plan: [AD001], place: { directory: "tmp" } }],
  ])("runs nothing of %s", async (_, parts) => {
    const { messages } = await told(request(parts));
    expect(messages.map(({ type }) => type)).toEqual(["ready", "ended"]);
    expect(messages[1]).toHaveProperty("error");
  });

  test("a torn request before the end of the stream is none", async () => {
    const { code, messages } = await told(request({ plan: [AD001], place: { directory: work() } }).slice(0, -20), 0);
    expect(messages.map(({ type }) => type)).toEqual(["ready"]);
    expect(code).toBe(0);
  });

  test("an interrupt that comes with the request is heard", async () => {
    const plan = Array.from({ length: 50 }, (_, index) => ({ ...AD001, key: `s:AD001#${index}` }));
    const { messages } = await told(`${request({ plan, place: { directory: work() } })}{"type":"interrupt"}\n`);
    expect(messages.map(({ type }) => type)).toEqual(["ready", "ended"]);
  });
});
