/** `aiodio-ltp selftest`: plants each known fault under each testcase and prints what was noticed. */
import { statSync } from "node:fs";
import { resolve } from "node:path";
import { Faultfs } from "../faultfs/faultfs.js";
import { didYouMean } from "../plan/suggest.js";
import { UsageError } from "../plan/usage-error.js";
import { paint } from "../report/ltp.js";
import { FAULT_CASES, type FaultCase, SUBJECTS, type Subject } from "../selftest/cases.js";
import { ltpProgram, ltpRunner, ltpSubject } from "../selftest/ltp.js";
import { CANARY, type Cell, complaints, type Outcome, ourRunner, plant, type Runner } from "../selftest/selftest.js";
import { programs } from "../testcase/registry.js";
import type { Flags } from "./flags.js";
import { EXIT } from "./main.js";
import type { System } from "./system.js";

const COLOURS = {
  right: "TPASS",
  detected: "TWARN",
  missed: "TFAIL",
  "not applicable": "TCONF",
  "false alarm": "TFAIL",
} as const satisfies Record<Outcome, string>;

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
  const { terminal, env, signals } = system;
  const faults = chosen("--faults", flags.faults, FAULT_CASES);
  const subjects = chosen("--testcases", flags.testcases, SUBJECTS).filter(({ program }) => programs.has(program));
  const ltp = flags.ltp === undefined ? undefined : resolve(system.cwd, flags.ltp);
  const theirs = ltp === undefined ? [] : ltpSubjects(ltp, subjects);

  const interruption = new AbortController();
  const interrupt = () => interruption.abort();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) signals.on(signal, interrupt);
  const faultfs = await Faultfs.start();
  const runner = makeRunner(faultfs, env);
  const columns: { subject: Subject; title: string; runner: Runner }[] = [
    ...subjects.map((subject) => ({ subject, title: subject.name, runner })),
    ...theirs.map((subject) => ({
      subject,
      title: `LTP ${subject.name}`,
      runner: ltpRunner(faultfs, ltp ?? "", env),
    })),
  ];
  try {
    const [first] = SUBJECTS;
    if (!first) throw new Error("there are no testcases to test");
    const canary = await plant(faultfs, runner, CANARY, first, interruption.signal);
    if (canary.outcome !== "right") {
      terminal.out(`The canary lives on: ${first.name} must fail with a bit flipped, and it says ${canary.verdict}.\n`);
      for (const line of canary.lines) terminal.out(`  ${line}\n`);
      return interruption.signal.aborted ? EXIT.interrupted : EXIT.failed;
    }
    terminal.out(`canary: ${first.name} fails with a bit flipped, as it must\n\n`);

    const names = ["", "no fault", ...faults.map(({ name }) => name)];
    const width = Math.max(...names.map((name) => name.length));
    const widths = columns.map(({ title }) => Math.max(title.length, "not applicable".length));
    const print = (name: string, texts: readonly string[]) =>
      terminal.out(`${name.padEnd(width)}  ${texts.join("  ")}`.trimEnd().concat("\n"));
    print(
      "",
      columns.map(({ title }, index) => title.padEnd(widths[index] ?? 0)),
    );
    const rows: { fault: FaultCase | undefined; cells: Cell[] }[] = [];
    for (const fault of [undefined, ...faults]) {
      const cells: Cell[] = [];
      for (const { subject, runner } of columns) {
        cells.push(await plant(faultfs, runner, fault, subject, interruption.signal));
        if (interruption.signal.aborted) return EXIT.interrupted;
      }
      rows.push({ fault, cells });
      const texts = cells.map(({ outcome }, index) =>
        paint(COLOURS[outcome], outcome.padEnd(widths[index] ?? 0), terminal.colour),
      );
      print(fault?.name ?? "no fault", texts);
    }
    return conclude(rows, subjects.length, system);
  } finally {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) signals.off(signal, interrupt);
    await runner.close();
    await faultfs.stop();
  }
}

/** Only our own testcases are judged; LTP's are there to compare. */
function conclude(
  rows: readonly { fault: FaultCase | undefined; cells: readonly Cell[] }[],
  ours: number,
  { terminal }: System,
): number {
  const own = rows.map(({ fault, cells }) => ({ fault, cells: cells.slice(0, ours) }));
  const found = complaints(own.flatMap(({ fault, cells }) => (fault ? [{ fault, cells }] : [])));
  if (own.some(({ fault, cells }) => !fault && cells.some(({ outcome }) => outcome === "false alarm"))) {
    found.unshift("no fault: a false alarm");
  }
  const faults = own.length - 1;
  terminal.out(`\n${faults} faults, ${ours} testcases\n`);
  for (const text of found) terminal.out(`${text}\n`);
  for (const { fault, cells } of own) {
    for (const { lines } of cells.filter(({ outcome }) => outcome === "false alarm")) {
      terminal.out(`\nFalse alarm, ${fault?.name ?? "no fault"}:\n${lines.map((line) => `  ${line}\n`).join("")}`);
    }
  }
  return found.length === 0 ? EXIT.ok : EXIT.failed;
}

/** Those that a list of names is about; all without one. */
function chosen<T extends { name: string }>(option: string, list: string | undefined, all: readonly T[]): readonly T[] {
  if (list === undefined) return all;
  const names = all.map(({ name }) => name);
  return list.split(",").flatMap((name) => {
    // `eio-once` stands for `eio-once of a read` too.
    const found = all.filter((each) => each.name === name || each.name.startsWith(`${name} `));
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
