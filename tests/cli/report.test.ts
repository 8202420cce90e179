/** `--reporter NAME[=FILE]`, several at once, and `report`, which makes of a journal what the run itself has made. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { command, fakeScheduler, fakeSystem, temporaryFolder } from "./fixture.js";

const DOCUMENTS = ["json", "junit", "tap", "markdown", "github", "html", "ltp", "perfetto"];

/** A working directory with a runtest file of three lines, of which one fails and one does not apply. */
function place() {
  const cwd = temporaryFolder();
  writeFileSync(join(cwd, "t"), "A aiocp -b 1k\nB aiocp -b 2k\nC aiocp -b 4k\n");
  mkdirSync(join(cwd, "work"));
  const verdicts = { A: "TPASS", B: "TFAIL", C: "TCONF" } as const;
  const { runPlan } = fakeScheduler(({ id }) => verdicts[id as keyof typeof verdicts]);
  return { cwd, system: (env = {}) => fakeSystem({ cwd, env, runPlan }) };
}

test("all reports of one run, beside what is on the terminal; and the same of its journal", async () => {
  const { cwd, system } = place();
  const wanted = (directory: string) => DOCUMENTS.map((name) => `--reporter ${name}=${directory}/${name}`).join(" ");
  mkdirSync(join(cwd, "run"));
  mkdirSync(join(cwd, "later"));
  const run = await command(`-d work --require C --journal j ${wanted("run")} t`, system());
  expect(run).toMatchObject({
    status: 1,
    out: expect.stringMatching(/\n3 testcases in .*: 1 TFAIL, 1 TCONF, 1 TPASS\n/),
  });
  const later = await command(`report j ${wanted("later")}`, system());
  expect(later).toMatchObject({
    status: 0,
    out: expect.stringMatching(/\n3 testcases in .*: 1 TFAIL, 1 TCONF, 1 TPASS\n/),
  });
  for (const name of DOCUMENTS) {
    const text = readFileSync(join(cwd, "run", name), "utf8");
    expect(text).toMatch(name === "github" ? /::error title=TFAIL B::/ : /\bB\b/);
    expect(readFileSync(join(cwd, "later", name), "utf8")).toBe(text);
  }
});

test("what is alone on standard output is all that is there", async () => {
  const { system } = place();
  const { out } = await command("-d work --no-journal --reporter tap t", system());
  expect(out).toMatch(/^TAP version 14\n1\.\.3\n/);
  expect(out).not.toContain("testcases in");
});

test("github's annotations stand beside the progress, and the job's page has the report", async () => {
  const { cwd, system } = place();
  const summary = join(cwd, "summary");
  writeFileSync(summary, "# An earlier step\n");
  const { out } = await command("-d work --no-journal --reporter github t", system({ GITHUB_STEP_SUMMARY: summary }));
  expect(out).toContain("3 testcases in");
  expect(out).toMatch(/^::error title=TFAIL B::/m);
  expect(readFileSync(summary, "utf8")).toMatch(/^# An earlier step\n## aiodio-ltp\n[\s\S]*### B: TFAIL\n/);
});

test.each([
  ["--reporter tap --reporter junit t", "--reporter: tap and junit both want standard output: give junit=FILE"],
  ["--reporter tap --reporter quiet t", "--reporter: tap and quiet both want standard output: give one of them only"],
  ["--reporter tap=x --reporter junit=./x t", /--reporter: tap and junit both want \S+\/x: name another/],
  ["--reporter tap=work t", /--reporter tap: \S+\/work is a directory/],
  ["--reporter tap=no/x t", /--reporter tap: cannot write \S+\/no\/x \(ENOENT\)/],
  ["--reporter tap= t", /--reporter tap/],
  ["--reporter progress=x t", "--reporter: progress is for the terminal: drop =x"],
  ["report j k", "report takes one journal: report [JOURNAL] --reporter NAME[=FILE]"],
  ["report nothing", /no journal \S+\/nothing/],
  ["report", "no run has been kept: name its journal"],
])("%s is one clear error, and nothing has run", async (line, message) => {
  const { system } = place();
  const { status, out, err } = await command(
    line.startsWith("report") ? line : `-d work --no-journal ${line}`,
    system(),
  );
  expect({ status, out }).toEqual({ status: 2, out: "" });
  expect(err).toMatch(/^aiodio-ltp: [^\n]+\n$/);
  expect(err).toEqual(typeof message === "string" ? `aiodio-ltp: ${message}\n` : expect.stringMatching(message));
});
