/** What the page of `--reporter html` is given: the run, as one JSON object in the page. Short, since it may hold 20,000 lines. */

/** What a line has come to: a verdict, or that a known issue explains it, or that it was not run. */
export type State = "TPASS" | "TFAIL" | "TBROK" | "TWARN" | "TCONF" | "expected" | "not run";

/** Worst first. */
export const STATES: readonly State[] = ["TBROK", "TFAIL", "TWARN", "expected", "TCONF", "not run", "TPASS"];

/** States that want somebody to look. */
export const BAD: readonly State[] = ["TBROK", "TFAIL", "TWARN"];

export interface PageData {
  /** Of aiodio-ltp. */
  version: string;
  /** When it began, ISO 8601. */
  time: string;
  /** The closing line of the run. */
  totals: string;
  /** What is known of machine and run: name and value, in the order to show them. */
  facts: [string, string][];
  /** The command that runs all of it again, where there is one. */
  command?: string;
  suites: string[];
  programs: string[];
  places: Place[];
  lines: Line[];
  failures: Failure[];
  /** How many more did not pass than `failures` tells of: only the first ones are told in full. */
  untold: number;
}

/** Where lines ran. */
export interface Place {
  /** Guest and filesystem; empty for a directory of this machine. */
  name: string;
  kernel?: string;
  pageBytes?: number;
}

/** A runtest line in all its iterations. */
export interface Line {
  /** Its name among others, unique. */
  label: string;
  id: string;
  /** Indexes into the lists of {@link PageData}. */
  suite: number;
  program: number;
  place: number;
  command: string;
  /** The worst of its iterations. */
  state: State;
  /** Median of its iterations, in seconds; of one that was not run 0. */
  seconds: number;
  /** How often it ran, and in how many of these it did not pass; where it ran more than once. */
  ran?: number;
  bad?: number;
  /** Why, where it did not pass. */
  why?: string;
  /** Indexes into `failures`. */
  failures?: number[];
}

/** One testcase that did not pass. */
export interface Failure {
  /** As the line's, with the number of its iteration. */
  label: string;
  line: number;
  state: State;
  why: string;
  /** Its result lines, from the first sign of trouble on. */
  output: string;
  /** The command that repeats just this. */
  repeat?: string;
  files: BadFile[];
  /** What was recorded last, where no bad range says what to look at. */
  operations: Operation[];
  kernel: KernelMessage[];
}

/** A file of which something is wrong. */
export interface BadFile {
  name: string;
  /** How long it is, or should be. */
  bytes: number;
  ranges: Range[];
}

export interface Range {
  offset: number;
  bytes: number;
  /** As the core names it (`words.ts` has what it means). */
  kind: string;
  /** What usually looks like this, in one sentence. */
  sentence: string;
  /** Generations that would have been right, or zeros. */
  right: (number | "zeros")[];
  /** Which copies are bad, in words. */
  where: string;
  dump?: { at: number; expected: number[]; found: number[] };
  /** Undefined where the filesystem can't tell; empty for a hole. */
  extents?: Extent[];
  /** What touched it, and what was in flight meanwhile. */
  touched: Operation[];
  beside: Operation[];
}

export interface Extent {
  offset: number;
  bytes: number;
  /** On the device; 0 where there is none yet. */
  physical: number;
  states: string[];
}

/** Times in seconds of the kernel's clock. */
export interface Operation {
  id: number;
  /** In strace's way. */
  line: string;
  begin: number;
  /** Absent while it is in flight. */
  end?: number;
  /** Whether it changes the file. */
  changes: boolean;
}

export interface KernelMessage {
  /** Absent where it has no stamp. */
  seconds?: number;
  text: string;
  explanation?: string;
  link?: string;
}
