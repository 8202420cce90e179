/** `aiodio-ltp selftest`: plants each known fault under each testcase and prints what was noticed. */
import { statSync } from "node:fs";
import { resolve } from "node:path";
import { UsageError } from "../base/errors.js";
import { EXIT } from "../base/exit.js";
import { didYouMean } from "../base/suggest.js";
import { Faultfs } from "../filesystem/faultfs.js";
import { SIGNALS } from "../process/interruption.js";
import { subjects as allSubjects, FAULT_CASES, isMeant, type Subject } from "../selftest/cases.js";
import { ltpProgram, ltpRunner, ltpSubject } from "../selftest/ltp.js";
import {
  CANARY,
  type Cell,
  complaints,
  excused,
  ourRunner,
  plant,
  type Row,
  type Runner,
} from "../selftest/selftest.js";
import type { Flags } from "./flags.js";
import { checkOutput, writeOutput } from "./output.js";
import { details, heading, line, markdown, type Table } from "./selftest-table.js";
import type { System } from "./system.js";

/**
 * Prints the table; status 1 when it does not prove that every fault is detected and called by its name.
 *
 * @param makeRunner what runs our testcases; for tests
 */
export async function selftest(
  flags: Flags,
  operands: readonly string[],
  system: System,
  makeRunner: typeof ourRunner = ourRunner,
): Promise<number> {
  if (operands.length > 0) throw new UsageError("selftest takes no files: choose with --faults and --testcases");
  const { terminal, env, signals, cwd } = system;
  const output = flags.output === undefined ? undefined : checkOutput("--output", resolve(cwd, flags.output));
  const faults = chosen("--faults", flags.faults, FAULT_CASES);
  const all = await allSubjects();
  const subjects = chosen("--testcases", flags.testcases, all);
  const ltp = flags.ltp === undefined ? undefined : resolve(cwd, flags.ltp);
  const theirs = ltp === undefined ? [] : ltpSubjects(ltp, subjects);

  const interruption = new AbortController();
  const interrupt = () => interruption.abort();
  for (const signal of SIGNALS) signals.on(signal, interrupt);
  const faultfs = await Faultfs.start();
  const runner = makeRunner(faultfs, env);
  const columns: { subject: Subject; runner: Runner }[] = [
    ...subjects.map((subject) => ({ subject, runner })),
    ...theirs.map((subject) => ({ subject, runner: ltpRunner(faultfs, ltp ?? "", env) })),
  ];
  try {
    const [first] = all;
    if (!first) throw new Error("there are no testcases to test");
    const canary = await plant(faultfs, runner, CANARY, first, interruption.signal);
    if (canary.outcome !== "right") {
      terminal.out(`The canary lives on: ${first.name} must fail with a bit flipped, and it says ${canary.verdict}.\n`);
      for (const line of canary.lines) terminal.out(`  ${line}\n`);
      return interruption.signal.aborted ? EXIT.interrupted : EXIT.failed;
    }
    terminal.out(`canary: ${first.name} fails with a bit flipped, as it must\n\n`);

    const rows: Row[] = [];
    const table: Table = { subjects, ltp: theirs, rows };
    terminal.out(heading(table));
    for (const fault of [undefined, ...faults]) {
      const cells: Cell[] = [];
      for (const [index, { subject, runner }] of columns.entries()) {
        const plain = rows[0]?.cells[index];
        // What can't run here without a fault is not run with one.
        const cell =
          plain?.verdict === "TCONF" ? plain : await plant(faultfs, runner, fault, subject, interruption.signal);
        if (interruption.signal.aborted) return EXIT.interrupted;
        cells.push(index < subjects.length ? excused(cell, fault, subject) : cell);
      }
      rows.push({ fault, cells });
      terminal.out(line(table, rows.length - 1, terminal.colour));
    }
    // LTP's testcases are there to compare, and not judged.
    const found = complaints(rows, subjects, faults.length === FAULT_CASES.length);
    terminal.out(details(table, found, terminal.columns()));
    if (output !== undefined) writeOutput(output, markdown(table));
    return found.length === 0 ? EXIT.ok : EXIT.failed;
  } finally {
    for (const signal of SIGNALS) signals.off(signal, interrupt);
    await runner.close();
    await faultfs.stop();
  }
}

/** Those that a list of names is about; all without one. */
function chosen<T extends { name: string }>(option: string, list: string | undefined, all: readonly T[]): readonly T[] {
  if (list === undefined) return all;
  const names = all.map(({ name }) => name);
  return list.split(",").flatMap((name) => {
    const found = all.filter((each) => isMeant(each.name, name));
    if (found.length === 0) {
      throw new UsageError(
        `${option}: there is no '${name}'${didYouMean(name, names)}; there are: ${names.join(", ")}`,
      );
    }
    return found;
  });
}

/** What LTP's programs can take part in. */
function ltpSubjects(directory: string, subjects: readonly Subject[]): Subject[] {
  if (!statSync(directory, { throwIfNoEntry: false })?.isDirectory()) {
    throw new UsageError(`--ltp: ${directory} is no directory: name the one that LTP is installed or built in`);
  }
  const found = subjects.flatMap((subject) => ltpSubject(subject) ?? []);
  const there = found.filter(({ program }) => ltpProgram(directory, program) !== undefined);
  if (there.length === 0) throw new UsageError(`--ltp: ${directory} has none of LTP's programs that are wanted`);
  return there;
}
