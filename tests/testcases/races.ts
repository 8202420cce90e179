/** Runs a testcase in this process, and on a filesystem that lies. */
import { execa } from "execa";
import { Faultfs } from "../../ts/filesystem/faultfs.js";
import { programs } from "../../ts/testcase/registry.js";
import { commandLine, plainEnvironment } from "../support/command.js";
import { executed } from "../support/execute.js";

/** Result lines as `TPASS: text`, TINFO included. */
export async function run(name: string, parent: string, argv: string[]): Promise<string[]> {
  const testcase = await programs.get(name)?.load();
  if (!testcase) throw new Error(`no testcase ${name}`);
  return (await executed(testcase, parent, argv)).texts;
}

/** The lines that count. */
export function verdicts(lines: readonly string[]): string[] {
  return lines.filter((line) => !line.startsWith("TINFO"));
}

/** What a command prints on a filesystem with these rules, and how often each of them fired. */
export async function onFaultfs(
  backing: string,
  rules: string[],
  name: string,
  argv: string[],
): Promise<{ output: string; counts: number[] }> {
  const faultfs = await Faultfs.start({ rules, backing });
  try {
    const [program = "", ...args] = [...faultfs.enter, ...commandLine(name, argv)];
    const env = plainEnvironment({ TMPDIR: faultfs.directory });
    const { all: output } = await execa(program, args, { extendEnv: false, reject: false, all: true, env });
    return { output, counts: (await faultfs.fired()).counts };
  } finally {
    await faultfs.stop();
  }
}
