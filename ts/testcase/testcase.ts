/** What a testcase is, and what it may do while it runs. Copy a file under testcases/ to write a new one. */

import { callerOf } from "../base/location.js";
import type { ResultLine, ResultType } from "../events/events.js";
import type { Options, Values } from "./options.js";

/** Ends the testcase (LTP's "brk"): its line has been reported when this is thrown. */
export class Break extends Error {}

/** What a testcase reports besides result lines. */
export interface Sink {
  line(line: ResultLine): void;
  raw(text: string): void;
  data(name: string, value: unknown): void;
  progress(done: number, total: number, unit: string): void;
  permit(rule: string, because: string): void;
}

/** A running testcase's hands: results, options, its directory. */
export class Test<O extends Options = Options> {
  /** Results of the current call of the test function, TINFO and TDEBUG aside. */
  results = 0;
  /** 1-based number of the current call of the test function. */
  iteration = 0;
  /** What LTP calls the runtime: how long each call of the test function may work, in seconds; 0 for no limit. */
  runtimeSeconds = 0;
  /** Files that the command line names, relative to the directory; their own directories are there. */
  operands: readonly string[] = [];

  constructor(
    readonly options: Values<O>,
    /** The temporary directory, absolute; the working directory too. Empty for a testcase that needs none. */
    readonly directory: string,
    /** Filesystem of the directory, as LTP names it. */
    readonly filesystem: string,
    readonly debugLevel: number,
    readonly sink: Sink,
    /**
     * Unmounts and mounts the filesystem that the directory is on; no file there may be open. Absent where it is not
     * the program's own.
     */
    readonly remount?: () => void,
  ) {}

  pass(text: string): void {
    this.report("TPASS", text, this.pass);
  }
  fail(text: string): void {
    this.report("TFAIL", text, this.fail);
  }
  warn(text: string): void {
    this.report("TWARN", text, this.warn);
  }
  info(text: string): void {
    this.report("TINFO", text, this.info);
  }
  debug(text: string): void {
    if (this.debugLevel > 0) this.report("TDEBUG", text, this.debug);
  }
  /**
   * A message of the kernel is explained by what the testcase does, and judges nothing: `rule` is its name in
   * kernel/rules.ts, `because` half a sentence that is shown with it. Say it before the work begins.
   */
  permitKernel(rule: string, because: string): void {
    this.sink.permit(rule, because);
  }
  /** Part of what is tested is not supported here; the testcase goes on. */
  conf(text: string): void {
    this.report("TCONF", text, this.conf);
  }
  /** The testcase itself could not go on. */
  broken(text: string): never {
    this.report("TBROK", text, this.broken, true);
    throw new Break(text);
  }
  /** What is tested is not supported here; the testcase ends. */
  unsupported(text: string): never {
    this.report("TCONF", text, this.unsupported, true);
    throw new Break(text);
  }

  private report(result: ResultType, text: string, above: (...args: never[]) => unknown, ends = false): void {
    if (result !== "TINFO" && result !== "TDEBUG") this.results += 1;
    this.sink.line({ result, ...callerOf(above), text, ...(ends && { ends }) });
  }
}

/** A declaration; `run` calls one workload and turns its outcome into result lines. */
export interface Testcase<O extends Options = Options, State = unknown> {
  /** The command's name. */
  name: string;
  /** One sentence for lists and the help text. */
  summary: string;
  /**
   * The name that LTP's program prints on its result lines when it is one of the old library's: it gives the testcase
   * `--legacy-output`.
   */
  legacyId?: string;
  options: O;
  /** How many files it may be told to use, as LTP's program of the same name was until 2022; absent for none. */
  operands?: number;
  /** LTP's default number of seconds the work may take, part of the timeout; 0 for none. */
  runtimeSeconds: number;
  /** Seconds beside LTP's own 30; -1 is unlimited. */
  timeoutSeconds: number;
  needs: {
    directory: boolean;
    /** Only where root really is needed. */
    root?: boolean;
  };
  /** Filesystems, as LTP names them, on which the testcase is TCONF. */
  skipFilesystems?: readonly string[];
  setup(test: Test<O>): State | Promise<State>;
  /** Called `-i` times; each call must report at least one result. */
  run(test: Test<O>, state: State): void | Promise<void>;
}

/** Gives a declaration its types. */
export function testcase<const O extends Options, State>(declaration: Testcase<O, State>): Testcase<O, State> {
  return declaration;
}
