import { expect, test } from "vitest";
import { version } from "../../ts/base/package.js";
import { COMMANDS, parseCommandLine } from "../../ts/cli/flags.js";
import { command, fakeSystem, temporaryFolder } from "./fixture.js";

test("--help and --version go to standard output, whatever else is given", async () => {
  const help = await command("list --bail -h nonsense");
  expect(help).toMatchObject({ status: 0, err: "", out: expect.stringMatching(/^Finds, proves and explains/) });
  expect(await command("--version")).toEqual({ status: 0, err: "", out: `${version}\n` });
});

test("a wrong option is one line and status 2", async () => {
  expect(await command("--nope t")).toEqual({
    status: 2,
    out: "",
    err: "aiodio-ltp: no option --nope: `aiodio-ltp --help` lists the options\n",
  });
});

test("help COMMAND says what it is for, with examples and the options that it has", async () => {
  const { status, out } = await command("help compare");
  expect(status).toBe(0);
  expect(out).toMatch(/^Usage: aiodio-ltp compare OLD NEW\n\nShow what .*\n/);
  expect(out).toContain("\nExamples:\n  aiodio-ltp compare old.journal new.journal\n");
  expect(out).toContain("--reporter NAME[=FILE]");
  expect(out).not.toContain("--filesystems");
  expect((await command("help")).out).toBe((await command("--help")).out);
  expect(await command("help compar")).toMatchObject({
    ...{
      status: 2,
      err: expect.stringMatching(/^aiodio-ltp: no command "compar" \(did you mean "compare"\?\): there are/),
    },
  });
});

test("all examples of the help are command lines that there are", () => {
  const examples = COMMANDS.flatMap(({ name, examples = [] }) => examples.map((example) => ({ name, example })));
  expect(examples.length).toBeGreaterThan(COMMANDS.length);
  for (const { name, example } of examples) {
    const words = example
      .replace(/^sudo /, "")
      .replaceAll("'", "")
      .split(" ");
    expect(words.shift()).toBe("aiodio-ltp");
    expect(parseCommandLine(words).command, example).toBe(name);
  }
});

test("list shows runtest files and programs", async () => {
  const { status, out } = await command("list");
  expect(status).toBe(0);
  expect(out).toMatch(/^Runtest files:\n(.*\n)* {2}ltp-aiodio\.part1 +140 lines\n/);
  expect(out).toMatch(/\nPrograms:\n(.*\n)* {2}aiocp +copy a file/);
});

test("list --json is for programs", async () => {
  const { files, programs, filesystems } = JSON.parse((await command("list --json")).out);
  expect(files.find(({ file }: { file: string }) => file === "ltp-aiodio.part1").lines[0]).toEqual({
    ...{ id: "AD001", program: "aiocp", command: "aiocp -b 1k -n 1 -f DIRECT" },
  });
  expect(programs).toContainEqual({ name: "aiocp", summary: expect.any(String) });
  expect(filesystems).toContain("xfs:1k");
  const one = JSON.parse((await command("list --json -s ^AD001$ ltp-aiodio.part1")).out);
  expect(one).toEqual({ files: [{ file: "ltp-aiodio.part1", lines: [expect.objectContaining({ id: "AD001" })] }] });
});

test("doctor --json is for programs", async () => {
  const { status, out } = await command("doctor --json -d /nowhere");
  const { usable, findings } = JSON.parse(out);
  expect({ status, usable }).toEqual({ status: 1, usable: false });
  expect(findings).toContainEqual({ state: "bad", name: "directory", text: expect.stringContaining("/nowhere") });
});

test("list FILE shows its lines, as a runtest file again", async () => {
  const { out } = await command("list -s ^AD00[12]$ ltp-aiodio.part1");
  expect(out).toBe("AD001 aiocp -b 1k -n 1 -f DIRECT\nAD002 aiocp -b 1k -n 1 -f SYNC\n");
});

test("list of a missing file is an error", async () => {
  expect(await command("list nowhere")).toMatchObject({ status: 2, out: "" });
});

test("doctor looks at everything the main job needs", async () => {
  const folder = temporaryFolder();
  const { out, status } = await command(`doctor -d ${folder}`, fakeSystem({ env: { PATH: "/nowhere" } }));
  for (const name of [
    "kernel",
    "directory",
    "user",
    "kernel log",
    "mkfs.ext4",
    "mkfs.xfs",
    "mkfs.btrfs",
    "fio",
    "strace",
  ]) {
    expect(out).toMatch(new RegExp(`^(ok|less|BAD) +${name}  `, "m"));
  }
  expect(out).toContain(`${folder}: `);
  expect(status).toBe(/^BAD/m.test(out) ? 1 : 0);
});

test("doctor says for each thing missing what brings it", async () => {
  const { out } = await command("doctor", fakeSystem({ env: { PATH: "" } }));
  const missing = [...out.matchAll(/^.* missing; .*\n(.*)$/gm)];
  expect(missing.length).toBeGreaterThan(3);
  for (const [, remedy] of missing) expect(remedy).toMatch(/^ +-> /);
});

test("doctor in an unusable directory fails", async () => {
  const { status, out } = await command("doctor -d /nowhere");
  expect(status).toBe(1);
  expect(out).toMatch(/^BAD +directory +no directory \/nowhere/m);
  expect(out).toMatch(/cannot run here: see .*directory/);
});

test("doctor takes no files", async () => {
  expect(await command("doctor x")).toMatchObject({ status: 2, err: expect.stringContaining("use -d DIR") });
});
