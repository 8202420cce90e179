/** What diotest2, 3, 5 and 6 do: three blocks of writing and reading back, with direct I/O on one side or on both. */
import { call, probeDirect, storageInfo } from "#native";
import { describeFinding } from "../../ts/testcase/finding.js";
import type { Option } from "../../ts/testcase/options.js";
import { type Test, type Testcase, testcase } from "../../ts/testcase/testcase.js";
import { type DeepestLevel, explainFailure, unreachable } from "../../ts/testcase/verification.js";
import {
  bufferSize,
  claim,
  complaints,
  type Data,
  dataOptions,
  decimal,
  errnoOf,
  fileOffset,
  newData,
  newFile,
  type Obstacle,
  type Report,
  release,
  TIMEOUT_SECONDS,
} from "./data.js";

const FILE_ID = 1;
/** Children whose finding is told; all are counted. */
const FINDINGS_SHOWN = 3;

interface Block {
  /** LTP's words for the verdict. */
  text: string;
  directWrite: boolean;
  directRead: boolean;
}

const BLOCKS: readonly Block[] = [
  { text: "Read with Direct IO, Write without", directWrite: false, directRead: true },
  { text: "Write with Direct IO, Read without", directWrite: true, directRead: false },
  { text: "Read, Write with Direct IO", directWrite: true, directRead: true },
];

/** What each block transfers. */
interface Segments {
  /** Where the first child's segment begins. */
  offset: number;
  bufferBytes: number;
  /** Buffers in a segment. */
  buffers: number;
  vectored: boolean;
  iterations: number;
  children: number;
  syncBeforeDirectRead: boolean;
}

/** What these programs have between setup and run. */
interface State {
  data: Data;
  path: string;
}

interface BlockOutcome {
  /** Why it could not start. */
  broken?: string;
  /** What is wrong; none: the block passes. */
  complaints: string[];
  notes: string[];
  transfers: number;
  overlapping: number;
  atOnce: number;
}

type SegmentsTest = Pick<Test, "directory" | "filesystem" | "permitKernel" | "remount" | "sink">;

/** What one of the programs is. */
interface Program extends Required<Pick<Testcase, "name" | "summary" | "legacyId">> {
  file: string;
  /** The default of `-i`. */
  iterations: number;
  /** As many work at the same time as `-n` says, and direct reads follow an fsync. */
  children?: true;
  /** A transfer is of a vector of as many buffers as `-v` says. */
  vectored?: true;
  /** Where the first segment begins, counted in buffers from the offset, given the iterations. */
  begin?(iterations: number): number;
  /** LTP's words where the file can't be opened with O_DIRECT, given why. */
  noDirect(file: string, why: string): string;
  /** LTP's words for the good end, behind the number of iterations. */
  done(children: number, buffers: number): string;
}

type SegmentsOptions = typeof dataOptions & {
  b: Option<number>;
  o: Option<number>;
  i: Option<number>;
  n?: Option<number>;
  v?: Option<number>;
  f: Option<string>;
};

/** Reports a line from the program's own file, which the line then names. */
type Tell = (test: Test<SegmentsOptions>, line: Report | Obstacle) => void;

export function segmentsTestcase(program: Program, tell: Tell): Testcase<SegmentsOptions, State> {
  const { name, summary, legacyId, file, iterations, children, vectored, begin } = program;
  return testcase<SegmentsOptions, State>({
    ...{ name, summary, legacyId, runtimeSeconds: 0, timeoutSeconds: TIMEOUT_SECONDS, needs: { directory: true } },
    options: {
      b: bufferSize(4096),
      o: fileOffset(),
      i: decimal({
        ...{ default: iterations, min: 1, help: `Iterations (default ${iterations})` },
        invalid: "Invalid number of iterations '%s'",
      }),
      ...(children && {
        n: decimal({
          ...{ default: 1, min: 1, max: 10_000, help: "Children that work at the same time (default 1)" },
          invalid: "Invalid number of children '%s': use 1 to 10000",
        }),
      }),
      ...(vectored && {
        v: decimal({
          ...{ default: 20, min: 1, max: 1024, help: "Buffers in a vector (default 20)" },
          invalid: "Invalid number of vectors '%s': use 1 to 1024",
        }),
      }),
      f: newFile(file, "The file"),
      ...dataOptions,
    },

    setup(test): State {
      const { b, o, f, verify } = test.options;
      const { path, refusal } = claim(test.directory, f);
      const { words, ...data } = newData(test.options);
      const obstacle = unreachable(test, verify) ?? misaligned(test.directory, o, b);
      if (obstacle !== undefined) tell(test, { as: "unsupported", text: obstacle });
      if (refusal !== undefined) tell(test, { as: "broken", text: refusal });
      const failure = probeDirect(path);
      if (failure?.code === "EINVAL") tell(test, { as: "unsupported", text: program.noDirect(f, errnoOf(failure)) });
      if (failure) tell(test, { as: "broken", text: explainFailure(failure) });
      tell(test, { as: "info", text: words });
      return { data, path };
    },

    async run(test, state) {
      const { b, o, i, n = 1, v = 1, verify } = test.options;
      const segments = {
        ...{ offset: o + (begin?.(i) ?? 0) * b, bufferBytes: b, buffers: v, vectored: vectored === true },
        ...{ iterations: i, children: n, syncBeforeDirectRead: children === true },
      };
      const summary = `3 testblocks ${i} iterations ${program.done(n, v)}`;
      for await (const line of threeBlocks(test, verify, state, segments, summary)) tell(test, line);
    },
  });
}

/** Why direct I/O can't be as asked for; undefined where it can. */
function misaligned(directory: string, offset: number, bytes: number): string | undefined {
  const { device, logicalBlockBytes } = storageInfo(directory);
  if (device === undefined || (offset % logicalBlockBytes === 0 && bytes % logicalBlockBytes === 0)) return undefined;
  return `Offset and buffer size must be multiples of ${logicalBlockBytes}, the drive's block size`;
}

/** The three blocks, one verdict each, and `summary` when none of them failed. */
async function* threeBlocks(
  test: SegmentsTest,
  deepest: DeepestLevel,
  { data, path }: State,
  segments: Segments,
  summary: string,
): AsyncGenerator<Report> {
  if (segments.children > 1)
    test.permitKernel("page-cache-invalidation", "children use direct I/O and the page cache at once");
  const outcomes: BlockOutcome[] = [];
  try {
    for (const block of BLOCKS) {
      const outcome = await transfer(test, deepest, data, path, segments, block);
      if (outcome.broken !== undefined) yield { as: "broken", text: outcome.broken };
      for (const text of outcome.notes) yield { as: "info", text };
      yield { as: outcome.complaints.length === 0 ? "pass" : "fail", text: block.text };
      for (const text of outcome.complaints) yield { as: "info", text };
      outcomes.push(outcome);
    }
  } finally {
    release(path);
  }
  if (segments.children > 1) yield race(outcomes);
  const atOnce = Math.min(...outcomes.map((outcome) => outcome.atOnce));
  if (atOnce < segments.children) {
    yield { as: "info", text: `${atOnce} of ${segments.children} children at a time: the memory suffices for no more` };
  }
  const failed = outcomes.filter(({ complaints }) => complaints.length > 0).length;
  yield { as: "info", text: failed > 0 ? `${failed}/${BLOCKS.length} testblocks failed` : summary };
}

/** One block: all iterations of all children, then what the file holds in the end. Advances the generation. */
async function transfer(
  test: SegmentsTest,
  deepest: DeepestLevel,
  data: Data,
  path: string,
  segments: Segments,
  { directWrite, directRead }: Block,
): Promise<BlockOutcome> {
  const { offset, bufferBytes, buffers, children, iterations } = segments;
  const key = { seed: data.seed, fileId: FILE_ID, generation: data.generation };
  const outcome = await call(
    "segments",
    { ...segments, path, directWrite, directRead, key, ltpPattern: data.ltp },
    (done) => test.sink.progress(done, iterations, "iterations"),
  );
  test.sink.data("segments", outcome);
  data.generation += iterations;
  const { transfers, overlapping, atOnce, findings, error } = outcome;
  const result: BlockOutcome = { complaints: [], notes: [], transfers, overlapping, atOnce };
  if (error) return { ...result, broken: explainFailure(error) };
  for (const finding of findings.slice(0, FINDINGS_SHOWN)) {
    const { actor, round } = finding;
    const who = children > 1 ? `Child ${actor}, iteration ${round}` : `Iteration ${round}`;
    result.complaints.push(...describeFinding(who, finding));
  }
  if (findings.length > FINDINGS_SHOWN) {
    result.complaints.push(`${findings.length - FINDINGS_SHOWN} more children did not get through`);
  }
  // Where a child has stopped early, its segment holds an earlier generation: that is told already.
  if (findings.length > 0) return result;
  const bytes = offset + bufferBytes * buffers * children;
  const found = await complaints(test, deepest, data, { path, offset, bytes, fileId: FILE_ID });
  return { ...result, complaints: found.lines, notes: found.notes };
}

/** How hard the children raced; a warning where they did not at all. */
function race(outcomes: readonly BlockOutcome[]): Report {
  const sum = (field: "transfers" | "overlapping") => outcomes.reduce((total, outcome) => total + outcome[field], 0);
  const [transfers, overlapping] = [sum("transfers"), sum("overlapping")];
  return overlapping > 0
    ? { as: "info", text: `${overlapping} of ${transfers} transfers began while another child's was under way` }
    : {
        as: "warn",
        text: `None of ${transfers} transfers began while another child's was under way: nothing has raced`,
      };
}
