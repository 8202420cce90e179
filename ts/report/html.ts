/**
 * One page with all of a run, for people: it needs no network and no other file. What is shown lies in it as JSON (`page/data.ts`); the
 * page's own script (`page/`) draws it, and is put together with it by the build.
 */
import { readFileSync } from "node:fs";
import type { BadRange, Extent, RecordAnswer, RecordedOperation } from "#native";
import { groupBy } from "../base/group.js";
import { packaged } from "../base/package.js";
import { type KernelFinding, lineOf, type Reporter, type RunEvent } from "../events/events.js";
import type { BadFile, Failure, KernelMessage, Line, Operation, PageData, Place, Range, State } from "../page/data.js";
import { STATES } from "../page/data.js";
import { median } from "./compare.js";
import { isBad, isExpected, type Judged, judged } from "./judged.js";
import { repeatCommand, repeatRunCommand } from "./repeat.js";
import { operationsIn, placeOf, type Results } from "./results.js";
import { elapsedSeconds, formatTotals } from "./summary.js";

/** Where in the page the build leaves room for the data. */
const MARK = "{{DATA}}";
/** So many failures are told in full: who has more of them does not look at each. */
const TOLD_MAX = 1000;
/** Of the result lines of a failure, in characters. */
const OUTPUT_MAX = 16_384;
const OPERATIONS_MAX = 64;
const MESSAGES_MAX = 50;
const RANGES_MAX = 8;

/** What the journal has of a bad range (`testcase/verification.ts`). */
interface Diagnosis extends Pick<BadRange, "offset" | "bytes" | "kind" | "right"> {
  file: string;
  copies: { cacheBad: boolean; diskBad?: boolean };
  extents?: Extent[];
  operations: RecordedOperation[];
  beside: RecordedOperation[];
  sentence: string;
}

/** What it has of a copy that was verified. */
interface Verified {
  bytesExpected: number;
  bytesFound: number;
  ranges: (Omit<BadRange, "found" | "expected"> & { found?: { data: number[] }; expected?: { data: number[] } })[];
}

/** What a testcase that may yet fail has told besides its lines. */
interface Details {
  diagnoses: Diagnosis[];
  verified: Verified[];
  operations: RecordedOperation[];
  kernel: KernelFinding[];
}

export class HtmlReporter implements Reporter {
  readonly #details = new Map<string, Details>();

  constructor(
    private readonly results: Results,
    private readonly write: (text: string) => void,
  ) {}

  event(event: RunEvent): void {
    switch (event.type) {
      case "test-start":
        this.#details.delete(event.key);
        break;
      case "data":
        this.#data(this.#of(event.key), event.name, event.value);
        break;
      case "kernel": {
        const kernel = event.key === undefined ? undefined : this.#of(event.key).kernel;
        if (kernel && kernel.length < MESSAGES_MAX) kernel.push(event.finding);
        break;
      }
      case "test-end":
        // Memory stays as it is, however many lines there are.
        if (event.verdict === "TPASS" || event.verdict === "TCONF" || this.#details.size > TOLD_MAX) {
          this.#details.delete(event.key);
        }
        break;
    }
  }

  end(): void {
    this.write(page(pageData(this.results, this.#details)));
  }

  #of(key: string): Details {
    let details = this.#details.get(key);
    if (!details) {
      details = { diagnoses: [], verified: [], operations: [], kernel: [] };
      this.#details.set(key, details);
    }
    return details;
  }

  #data(details: Details, name: string, value: unknown): void {
    if (name === "diagnosis" && Array.isArray(value)) details.diagnoses.push(...(value as Diagnosis[]));
    if (name === "verify" && Array.isArray(value)) details.verified.push(...(value as Verified[]));
    if (name === "flight") details.operations = operationsIn(value as Partial<RecordAnswer>);
  }
}

/** @throws Error the package was not built */
function page(data: PageData): string {
  const [before, after] = readFileSync(packaged("dist", "page.html"), "utf8").split(MARK);
  // Whatever a testcase says, it does not end the element that holds it.
  return `${before}${JSON.stringify(data).replaceAll("<", "\\u003c")}${after}`;
}

function stateOf(one: Judged, results: Results): State {
  if (one.as === "passed") return "TPASS";
  if (one.as === "expected") return "expected";
  if (one.as !== "skipped") return one.verdict;
  return results.endedAs(one.run.key) ? "TCONF" : "not run";
}

/** Numbers for what is said many times. */
class Names<T> {
  readonly all: T[] = [];
  readonly #indexes = new Map<string, number>();

  of(name: string, make: () => T): number {
    let index = this.#indexes.get(name);
    if (index === undefined) {
      index = this.all.push(make()) - 1;
      this.#indexes.set(name, index);
    }
    return index;
  }
}

/** @param told what the testcases that did not pass have told besides their lines, by key */
export function pageData(results: Results, told: ReadonlyMap<string, Details>): PageData {
  const [suites, programs, places] = [new Names<string>(), new Names<string>(), new Names<Place>()];
  const lines: Line[] = [];
  const failures: Failure[] = [];
  let untold = 0;
  for (const iterations of groupBy(judged(results), ({ run }) => lineOf(run)).values()) {
    const [{ run }] = iterations as [Judged];
    const line: Line = {
      ...{ label: results.label({ ...run, key: lineOf(run) }), id: run.id, command: run.command },
      suite: suites.of(run.suite, () => run.suite),
      program: programs.of(run.program, () => run.program),
      place: places.of(placeOf(run), () => placeFacts(run, results)),
      ...summed(iterations, results),
    };
    const bad = iterations.filter((one) => isBad(one) || isExpected(one));
    const own = bad.slice(0, Math.max(0, TOLD_MAX - failures.length));
    untold += bad.length - own.length;
    if (own.length > 0) line.failures = own.map((one) => failures.push(failure(one, lines.length, results, told)) - 1);
    lines.push(line);
  }
  const command = repeatRunCommand(results);
  return {
    version: results.start?.version ?? "",
    time: results.start?.time ?? "",
    totals: formatTotals(results, elapsedSeconds(results), false).trim(),
    facts: facts(results),
    ...(command !== undefined && { command }),
    ...{ suites: suites.all, programs: programs.all, places: places.all, lines, failures, untold },
  };
}

/** What all iterations of a line come to. */
function summed(
  iterations: readonly Judged[],
  results: Results,
): Pick<Line, "state" | "seconds" | "ran" | "bad" | "why"> {
  const states = iterations.map((one) => stateOf(one, results));
  const state = STATES.find((one) => states.includes(one)) ?? "TPASS";
  const worst = iterations[states.indexOf(state)];
  const ran = iterations.filter((one) => results.endedAs(one.run.key));
  return {
    state,
    seconds: median(ran.map(({ seconds }) => seconds)),
    ...(ran.length > 1 && { ran: ran.length, bad: ran.filter(isBad).length }),
    ...(worst && "why" in worst && { why: worst.why }),
  };
}

function placeFacts(run: Judged["run"], results: Results): Place {
  const machine = run.guest === undefined ? results.start?.machine : results.guests.get(run.guest);
  return {
    name: placeOf(run),
    ...(machine && { kernel: machine.kernel, pageBytes: machine.pageBytes }),
  };
}

function facts({ start, machine }: Results): [string, string][] {
  if (!start || !machine) return [];
  const { distribution, distributionVersion, kernel, kernelVersion, cpu, memory, pageBytes } = machine;
  const rows: [string, string | undefined][] = [
    ["kernel", `Linux ${kernel} ${kernelVersion}`],
    ["machine", `${machine.machine}, ${pageBytes / 1024} KiB pages, ${cpu}, ${memory}`],
    ["distribution", `${distribution} ${distributionVersion}`],
    ["Node", machine.node],
    ["workers", String(start.workers)],
    ["engine", start.engine],
    ["verified down to", start.verify],
    ["filesystems of", start.sizeBytes === undefined ? undefined : `${start.sizeBytes / 2 ** 20} MiB`],
    ["devices", start.devices?.join(", ")],
    ["part", start.shard],
    ["shuffled by", start.shuffleSeed],
  ];
  return rows.flatMap(([name, value]): [string, string][] => (value === undefined ? [] : [[name, value]]));
}

function failure(one: Judged, line: number, results: Results, told: ReadonlyMap<string, Details>): Failure {
  const { run } = one;
  const details = told.get(run.key);
  const repeat = repeatCommand(results.endedAs(run.key) ?? { run }, results);
  const output = "details" in one ? one.details : "";
  const files = badFiles(details);
  return {
    ...{ label: results.label(run), line, state: stateOf(one, results), why: "why" in one ? one.why : "" },
    output: output.length > OUTPUT_MAX ? `${output.slice(0, OUTPUT_MAX)}\n… the journal has the rest\n` : output,
    ...(repeat !== undefined && { repeat }),
    files,
    operations: files.length > 0 ? [] : (details?.operations ?? []).slice(-OPERATIONS_MAX).map(operation),
    kernel: (details?.kernel ?? []).map(kernelMessage),
  };
}

function badFiles(details: Details | undefined): BadFile[] {
  if (!details) return [];
  return [...groupBy(details.diagnoses, ({ file }) => file)].map(([name, diagnoses]) => {
    const ends = diagnoses.map(({ offset, bytes }) => offset + bytes);
    const sizes = details.verified.flatMap(({ bytesExpected, bytesFound }) => [bytesExpected, bytesFound]);
    return {
      ...{ name, bytes: Math.max(...ends, ...sizes) },
      ranges: diagnoses.slice(0, RANGES_MAX).map((one) => range(one, details.verified)),
    };
  });
}

function range(diagnosis: Diagnosis, verified: readonly Verified[]): Range {
  const { offset, bytes, kind, sentence, right, copies, extents, operations, beside } = diagnosis;
  const same = verified
    .flatMap(({ ranges }) => ranges)
    .find((other) => other.offset === offset && other.bytes === bytes && other.kind === kind);
  const dump =
    same?.found && same.expected && same.found.data.length > 0
      ? { at: same.shownAt, expected: same.expected.data, found: same.found.data }
      : undefined;
  return {
    ...{ offset, bytes, kind, sentence, right, where: badIn(copies) },
    ...(dump && { dump }),
    ...(extents && { extents }),
    ...{ touched: operations.map(operation), beside: beside.map(operation) },
  };
}

function badIn({ cacheBad, diskBad }: Diagnosis["copies"]): string {
  if (diskBad === undefined) return cacheBad ? "page cache" : "";
  return [cacheBad ? "page cache bad" : "page cache good", diskBad ? "disk bad" : "disk good"].join(", ");
}

function operation({ id, line, submittedSeconds, completedSeconds, changes }: RecordedOperation): Operation {
  return {
    id,
    line,
    begin: submittedSeconds,
    ...(completedSeconds !== undefined && { end: completedSeconds }),
    changes,
  };
}

function kernelMessage({ seconds, text, explanation, link }: KernelFinding): KernelMessage {
  return {
    ...(seconds >= 0 && { seconds }),
    ...{ text },
    ...(explanation !== undefined && { explanation }),
    ...(link !== undefined && { link }),
  };
}
