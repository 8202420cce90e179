/** One table of all options: it gives the parser, `--help` and the table of docs/options.md. */
import { parseArgs } from "node:util";
import { UsageError } from "../base/errors.js";
import { parseSeed, parseSize } from "../base/numbers.js";
import { didYouMean } from "../base/suggest.js";
import { parseShard, type Shard } from "../plan/shard.js";
import { checkSeed } from "../plan/shuffle.js";
import { ENGINES } from "../testcase/engines.js";

export type Command =
  | "run"
  | "list"
  | "doctor"
  | "selftest"
  | "guest"
  | "agent"
  | "explain"
  | "report"
  | "compare"
  | "merge"
  | "exec"
  | "install-ltproot"
  | "help";

export interface CommandHelp {
  name: Command;
  usage: string;
  text: string;
  /** Command lines that do what most people want of it. */
  examples?: readonly string[];
}

export const COMMANDS: readonly CommandHelp[] = [
  {
    name: "run",
    usage: "[run] [options] FILE...",
    text: "run the lines of runtest files: paths, or names that `list` shows; or single lines by their IDs (AD033), or programs (aiocp). `run -- PROGRAM [ARG...]` runs one program with options of its own",
    examples: [
      "aiodio-ltp -d /mnt -s '^AD00' ltp-aiodio.part1",
      "sudo aiodio-ltp dio --filesystems ext4,xfs,btrfs --reporter html=dio.html",
      "aiodio-ltp AD033 --repeat 100",
      "aiodio-ltp run -- dio_races --race truncate-up -n 20",
    ],
  },
  {
    name: "list",
    usage: "list [FILE...]",
    text: "show the runtest files and programs there are, or the lines of FILEs",
    examples: ["aiodio-ltp list", "aiodio-ltp list ltp-aiodio.part1"],
  },
  {
    name: "doctor",
    usage: "doctor [-d DIR]",
    text: "show what this machine can test, and what brings the rest",
    examples: ["aiodio-ltp doctor -d /mnt"],
  },
  {
    name: "guest",
    usage: "guest list|prepare|shell|clean [NAME...]",
    text: "the guests for --guest: what there is, fetch ahead of time, a shell in one, delete what was fetched",
    examples: ["aiodio-ltp guest list", "aiodio-ltp guest prepare ppc64le-64k:bookworm"],
  },
  {
    name: "agent",
    usage: "agent",
    text: "what --host starts on the other machine: takes work on standard input, tells on standard output",
  },
  {
    name: "explain",
    usage: "explain [JOURNAL [ID]]",
    text: "tell what a run's journal (default: of the last one that was kept) and flight records hold of what went wrong, or of the testcase ID",
    examples: ["aiodio-ltp explain", "aiodio-ltp explain run.journal AD033 --perfetto trace.json"],
  },
  {
    name: "report",
    usage: "report [JOURNAL] --reporter NAME[=FILE]",
    text: "show a run again, or write its reports, from its journal (default: of the last one that was kept)",
    examples: ["aiodio-ltp report --reporter html=report.html"],
  },
  {
    name: "compare",
    usage: "compare OLD NEW",
    text: "show what the runs of two journals have shown differently; exit status 1 where anything that passed does not any more",
    examples: ["aiodio-ltp compare old.journal new.journal"],
  },
  {
    name: "merge",
    usage: "merge JOURNAL... -o FILE",
    text: "make one journal of those of all parts of a run that --shard has cut",
    examples: ["aiodio-ltp merge part1.journal part2.journal -o whole.journal"],
  },
  {
    name: "selftest",
    usage: "selftest [--faults LIST] [--testcases LIST] [--ltp DIR]",
    text: "plant each known fault under each testcase, on a filesystem that lies, and show what is noticed",
    examples: ["sudo aiodio-ltp selftest", "sudo aiodio-ltp selftest --faults flip-bit --testcases aiocp-direct"],
  },
  {
    name: "exec",
    usage: "exec PROGRAM [ARG...]",
    text: "run one testcase as LTP runs its program of that name: the same options, output and exit status",
    examples: ["aiodio-ltp exec aiocp -b 4k -n 16 -f DIRECT"],
  },
  {
    name: "install-ltproot",
    usage: "install-ltproot DIR",
    text: "write a tree that kirk and openQA run unchanged",
    examples: ["aiodio-ltp install-ltproot /opt/ltp"],
  },
  {
    name: "help",
    usage: "help [COMMAND]",
    text: "show all commands and options, or those of one command, with examples",
  },
];

/** Who draws on the terminal, and what is written when the run is over. */
export const REPORTERS = [
  "progress",
  "quiet",
  "ltp",
  "json",
  "junit",
  "tap",
  "markdown",
  "github",
  "html",
  "perfetto",
] as const;
/** Those that show how the run goes on, and have no place but the terminal. */
export const LIVE: readonly string[] = ["progress", "quiet"];
export const LEVELS = ["cache", "disk", "remount", "full"] as const;

/** `--reporter NAME[=FILE]`; without a file it is for standard output. */
export interface WantedReporter {
  name: (typeof REPORTERS)[number];
  file?: string;
}

/** What the options come to. */
export interface Flags {
  directory?: string;
  select: string[];
  skip: string[];
  iterate: number;
  repeat: number;
  /** `{}` asks for a shuffle with any seed. */
  shuffle?: { seed?: string };
  /** Run one part of the plan. */
  shard?: Shard;
  /** A journal that tells how long lines take. */
  timings?: string;
  workers: number;
  bail: boolean;
  /** Patterns of what must pass: that it could not apply is a failure. */
  require: string[];
  /** Everything must. */
  forbidConf: boolean;
  engine?: string;
  /** As it was given. */
  seed?: string;
  timeoutMul?: number;
  verify?: (typeof LEVELS)[number];
  filesystems?: string;
  backing?: string;
  sizeBytes?: number;
  loopDirectIo: boolean;
  devices: string[];
  /** As the user writes them; `guest/name.ts` reads them. */
  guests: string[];
  /** Destinations for ssh. */
  hosts: string[];
  kernel?: string;
  modules?: string;
  diskIops?: number;
  /** What `--erase` names; "" where it stands alone. */
  erase: string[];
  knownIssues?: string;
  skipFile?: string;
  journal?: string;
  /** Keep nothing of the run. */
  noJournal: boolean;
  /** `force`: although it is another kernel, version or size than before. */
  resume: false | "same" | "force";
  trace: boolean;
  refresh: boolean;
  reporters: WantedReporter[];
  output?: string;
  /** For programs instead of people. */
  json: boolean;
  /** So many of the longest lines are told at the end. */
  durations: number;
  /** Where `explain` writes a trace. */
  perfetto?: string;
  /** For `selftest`. */
  faults?: string;
  testcases?: string;
  ltp?: string;
  version: boolean;
  help: boolean;
}

/** What options are about, as the help orders them. */
const GROUPS = {
  lines: "Which lines, and how often",
  places: "Where",
  running: "How",
  verdicts: "What counts as a failure",
  reports: "What is shown and kept",
  selftest: "The selftest",
  general: "General",
} as const;

export interface Flag {
  name: string;
  group: keyof typeof GROUPS;
  short?: string;
  /** Placeholder of its value; absent for a switch. */
  value?: string;
  /** `--name` alone is fine too; a value then needs the `=`. */
  valueOptional?: boolean;
  repeatable?: boolean;
  /** Commands it applies to; all when absent. */
  commands?: readonly Command[];
  text: string;
  set(flags: Flags, value: string): void;
}

function wholeNumber(option: string, text: string, min: number, max: number): number {
  const number = Number(text);
  if (!/^\d+$/.test(text) || number < min || number > max) {
    throw new UsageError(`${option}: "${text}" is not a whole number from ${min} to ${max}`);
  }
  return number;
}

function oneOf<Choice extends string>(option: string, text: string, choices: readonly Choice[]): Choice {
  const choice = choices.find((candidate) => candidate === text);
  if (choice === undefined) {
    throw new UsageError(`${option}: no "${text}"${didYouMean(text, choices)}: choose ${choices.join(", ")}`);
  }
  return choice;
}

function filled(option: string, text: string): string {
  if (text === "") throw new UsageError(`${option}: the value is empty: give one`);
  return text;
}

export const FLAGS: readonly Flag[] = [
  {
    name: "directory",
    group: "places",
    short: "d",
    value: "DIR",
    commands: ["run", "doctor"],
    text: "where the tests work; default: $TMPDIR, else /tmp",
    set: (flags, value) => {
      flags.directory = filled("--directory", value);
    },
  },
  {
    name: "select",
    group: "lines",
    short: "s",
    value: "PATTERN",
    repeatable: true,
    commands: ["run", "list"],
    text: "only lines whose ID or command matches this regular expression; may be repeated",
    set: (flags, value) => {
      flags.select.push(value);
    },
  },
  {
    name: "skip",
    group: "lines",
    short: "S",
    value: "PATTERN",
    repeatable: true,
    commands: ["run", "list"],
    text: "not the lines whose ID or command matches; may be repeated",
    set: (flags, value) => {
      flags.skip.push(value);
    },
  },
  {
    name: "iterate",
    group: "lines",
    short: "i",
    value: "N",
    commands: ["run"],
    text: "run everything N times",
    set: (flags, value) => {
      flags.iterate = wholeNumber("--iterate", value, 1, 1_000_000);
    },
  },
  {
    name: "repeat",
    group: "lines",
    value: "N",
    commands: ["run"],
    text: "run each line N times in a row, and say at the end how often it did not pass",
    set: (flags, value) => {
      flags.repeat = wholeNumber("--repeat", value, 1, 1_000_000);
    },
  },
  {
    name: "shuffle",
    group: "lines",
    value: "SEED",
    valueOptional: true,
    commands: ["run"],
    text: "run in random order; the seed is shown, and the same seed gives the same order",
    set: (flags, value) => {
      flags.shuffle = value === "" ? {} : { seed: checkSeed(value) };
    },
  },
  {
    name: "shard",
    group: "lines",
    value: "K/N",
    commands: ["run"],
    text: "run the K-th of N parts of it all; each line is in one of them, and `merge` makes one journal of theirs",
    set: (flags, value) => {
      flags.shard = parseShard(value);
    },
  },
  {
    name: "timings",
    group: "lines",
    value: "JOURNAL",
    commands: ["run"],
    text: "make the parts of --shard take equally long, by what each line took in the run of JOURNAL",
    set: (flags, value) => {
      flags.timings = filled("--timings", value);
    },
  },
  {
    name: "workers",
    group: "running",
    short: "j",
    value: "N",
    commands: ["run"],
    text: "run N lines at once; default: 1",
    set: (flags, value) => {
      flags.workers = wholeNumber("--workers", value, 1, 1024);
    },
  },
  {
    name: "bail",
    group: "running",
    commands: ["run"],
    text: "stop after the first line that fails, breaks or warns, and that no known issue explains",
    set: (flags) => {
      flags.bail = true;
    },
  },
  {
    name: "require",
    group: "verdicts",
    value: "PATTERN",
    repeatable: true,
    commands: ["run"],
    text: "lines whose ID or command matches must pass: TCONF makes the exit status 1; may be repeated",
    set: (flags, value) => {
      flags.require.push(filled("--require", value));
    },
  },
  {
    name: "forbid-conf",
    group: "verdicts",
    commands: ["run"],
    text: "no line may be TCONF, as --require for all of them",
    set: (flags) => {
      flags.forbidConf = true;
    },
  },
  {
    name: "engine",
    group: "running",
    value: "ENGINE",
    commands: ["run"],
    text: `how to do the I/O: ${ENGINES.join(", ")}; default: what LTP uses`,
    set: (flags, value) => {
      flags.engine = oneOf("--engine", value, ENGINES);
    },
  },
  {
    name: "seed",
    group: "running",
    value: "NUMBER",
    commands: ["run"],
    text: "seed for all testcases whose line gives none; what did not pass is told with the command that repeats it with its seed",
    set: (flags, value) => {
      if (parseSeed(value) === undefined) {
        throw new UsageError(`--seed: "${value}" is not a number below 2^64, decimal or 0x…`);
      }
      flags.seed = value;
    },
  },
  {
    name: "timeout-mul",
    group: "running",
    value: "FACTOR",
    commands: ["run"],
    text: "multiply the time limits, as LTP_TIMEOUT_MUL does",
    set: (flags, value) => {
      const factor = Number(value);
      // LTP's own limits for LTP_TIMEOUT_MUL.
      if (!/^\d*\.?\d+$/.test(value) || factor < 0.099 || factor > 10_000) {
        throw new UsageError(`--timeout-mul: "${value}" is not a number from 0.099 to 10000`);
      }
      flags.timeoutMul = factor;
    },
  },
  {
    name: "verify",
    group: "running",
    value: "LEVEL",
    commands: ["run"],
    text: "how far down data is verified: cache, disk, remount, full; default: disk. remount and full (which has the filesystem checked after each testcase) need --filesystems",
    set: (flags, value) => {
      flags.verify = oneOf("--verify", value, LEVELS);
    },
  },
  {
    name: "filesystems",
    group: "places",
    value: "LIST",
    commands: ["run", "guest"],
    text: "run everything on each of these filesystems, made for the run: names such as ext4,xfs:1k,btrfs:zstd (`list` shows them), settings as name:key=value (block, sector, size, mkfs, mount), or all",
    set: (flags, value) => {
      flags.filesystems = filled("--filesystems", value);
    },
  },
  {
    name: "backing",
    group: "places",
    value: "DIR",
    commands: ["run", "guest"],
    text: "directory for the (unnamed) files behind the loop devices of --filesystems, or a guest's disks; default: one with room",
    set: (flags, value) => {
      flags.backing = filled("--backing", value);
    },
  },
  {
    name: "size",
    group: "places",
    value: "SIZE",
    commands: ["run", "guest"],
    text: "size of each device of --filesystems and of a guest's disks, with suffix k, m or g; default: 2g, sparse",
    set: (flags, value) => {
      const bytes = parseSize(value);
      if (bytes === undefined || bytes < 2 ** 20) throw new UsageError(`--size: "${value}" is not a size from 1m on`);
      flags.sizeBytes = bytes;
    },
  },
  {
    name: "loop-direct-io",
    group: "places",
    commands: ["run"],
    text: "let the loop devices bypass the page cache of the filesystem below",
    set: (flags) => {
      flags.loopDirectIo = true;
    },
  },
  {
    name: "device",
    group: "places",
    value: "DEVICE",
    repeatable: true,
    commands: ["run"],
    text: "use this block device instead of a loop device, and FORMAT it; may be repeated, one for each worker",
    set: (flags, value) => {
      flags.devices.push(filled("--device", value));
    },
  },
  {
    name: "erase",
    group: "places",
    value: "DEVICE",
    valueOptional: true,
    repeatable: true,
    commands: ["run"],
    text: "confirm --device; a device that is not blank must be named here",
    set: (flags, value) => {
      flags.erase.push(value);
    },
  },
  {
    name: "guest",
    group: "places",
    value: "NAME",
    repeatable: true,
    commands: ["run", "guest"],
    text: "run in a virtual machine: ARCH[-PAGESIZE][:SUITE], such as ppc64le-64k:bookworm (`guest list` shows them), on filesystems made there; may be repeated",
    set: (flags, value) => {
      flags.guests.push(filled("--guest", value));
    },
  },
  {
    name: "host",
    group: "places",
    value: "DEST",
    repeatable: true,
    commands: ["run"],
    text: "run on another machine that has this package, by ssh without a password: user@machine; -d, --filesystems, --backing and --size are meant there; may be repeated",
    set: (flags, value) => {
      flags.hosts.push(filled("--host", value));
    },
  },
  {
    name: "kernel",
    group: "places",
    value: "FILE",
    commands: ["run", "guest"],
    text: "a kernel of your own for --guest ARCH[-PAGESIZE]: vmlinux, vmlinuz or Image",
    set: (flags, value) => {
      flags.kernel = filled("--kernel", value);
    },
  },
  {
    name: "modules",
    group: "places",
    value: "DIR",
    commands: ["run", "guest"],
    text: "the modules of --kernel, as `make modules_install` writes them",
    set: (flags, value) => {
      flags.modules = filled("--modules", value);
    },
  },
  {
    name: "disk-iops",
    group: "places",
    value: "N",
    commands: ["run", "guest"],
    text: "let the guest's disks do N writes a second at most: that keeps I/O in flight",
    set: (flags, value) => {
      flags.diskIops = wholeNumber("--disk-iops", value, 1, 1_000_000_000);
    },
  },
  {
    name: "refresh",
    group: "places",
    commands: ["guest"],
    text: "with `guest prepare`: fetch the kernel and the root anew, and try again whether KVM works",
    set: (flags) => {
      flags.refresh = true;
    },
  },
  {
    name: "known-issues",
    group: "verdicts",
    value: "FILE",
    commands: ["run"],
    text: "failures that FILE (openQA's known issues, JSON or YAML) explains are listed as expected and do not make the exit status 1; what it wants skipped is not run",
    set: (flags, value) => {
      flags.knownIssues = filled("--known-issues", value);
    },
  },
  {
    name: "skip-file",
    group: "verdicts",
    value: "FILE",
    commands: ["run"],
    text: "not the lines that FILE lists: kirk's form (an ID or regular expression a line) or LKFT's (YAML); what is not run is told with its reason",
    set: (flags, value) => {
      flags.skipFile = filled("--skip-file", value);
    },
  },
  {
    name: "journal",
    group: "reports",
    value: "FILE",
    commands: ["run"],
    text: "write every event to FILE as it happens, one JSON object a line; default: the last 5 runs are kept in $XDG_STATE_HOME/aiodio-ltp/runs (~/.local/state/aiodio-ltp/runs)",
    set: (flags, value) => {
      flags.journal = filled("--journal", value);
    },
  },
  {
    name: "no-journal",
    group: "reports",
    commands: ["run"],
    text: "keep nothing of the run",
    set: (flags) => {
      flags.noJournal = true;
    },
  },
  {
    name: "resume",
    group: "running",
    value: "force",
    valueOptional: true,
    commands: ["run"],
    text: "go on with the run in --journal FILE, or else the last one that was kept: what it holds a verdict for is not run again, except what passed on a filesystem that was never checked afterwards. force: although kernel, version, --verify, --size or --device are not the same any more",
    set: (flags, value) => {
      flags.resume = value === "" ? "same" : oneOf("--resume", value, ["force"] as const);
    },
  },
  {
    name: "trace",
    group: "reports",
    commands: ["run"],
    text: "print each I/O operation when it completes, as strace would, io_uring's too",
    set: (flags) => {
      flags.trace = true;
    },
  },
  {
    name: "reporter",
    group: "reports",
    value: "NAME[=FILE]",
    repeatable: true,
    commands: ["run", "report", "compare"],
    text: "progress (default), quiet (failures and one line), ltp (raw result lines), or at the end json (kirk's report), junit (XML), tap (version 14), markdown, github (annotations), html (a page for people), perfetto (a trace for ui.perfetto.dev); with =FILE into a file, beside what is on the terminal; may be repeated. compare has markdown and json",
    set: (flags, value) => {
      const [name = "", ...rest] = value.split("=");
      const reporter = oneOf("--reporter", name, REPORTERS);
      if (rest.length === 0) {
        flags.reporters.push({ name: reporter });
        return;
      }
      if (LIVE.includes(name)) throw new UsageError(`--reporter: ${name} is for the terminal: drop =${rest.join("=")}`);
      flags.reporters.push({ name: reporter, file: filled(`--reporter ${name}`, rest.join("=")) });
    },
  },
  {
    name: "perfetto",
    group: "reports",
    value: "FILE",
    commands: ["explain"],
    text: "write a trace for ui.perfetto.dev: of all testcases, or of the one that ID names",
    set: (flags, value) => {
      flags.perfetto = filled("--perfetto", value);
    },
  },
  {
    name: "durations",
    group: "reports",
    value: "N",
    commands: ["run", "report"],
    text: "with the progress reporter: tell at the end which N lines took longest",
    set: (flags, value) => {
      flags.durations = wholeNumber("--durations", value, 1, 1_000_000);
    },
  },
  {
    name: "output",
    group: "reports",
    short: "o",
    value: "FILE",
    commands: ["run", "selftest", "merge"],
    text: "write kirk's JSON report to FILE too; with --reporter json only there; of selftest, its table in Markdown; of merge, the journal",
    set: (flags, value) => {
      flags.output = filled("--output", value);
    },
  },
  {
    name: "json",
    group: "reports",
    commands: ["list", "doctor"],
    text: "say it as JSON, for programs",
    set: (flags) => {
      flags.json = true;
    },
  },
  {
    name: "faults",
    group: "selftest",
    value: "LIST",
    commands: ["selftest"],
    text: "plant only these faults, separated by commas",
    set: (flags, value) => {
      flags.faults = filled("--faults", value);
    },
  },
  {
    name: "testcases",
    group: "selftest",
    value: "LIST",
    commands: ["selftest"],
    text: "plant faults only under these testcases, separated by commas",
    set: (flags, value) => {
      flags.testcases = filled("--testcases", value);
    },
  },
  {
    name: "ltp",
    group: "selftest",
    value: "DIR",
    commands: ["selftest"],
    text: "plant them under LTP's C programs too, which are installed or built in DIR",
    set: (flags, value) => {
      flags.ltp = filled("--ltp", value);
    },
  },
  {
    name: "version",
    group: "general",
    text: "show the version",
    set: (flags) => {
      flags.version = true;
    },
  },
  {
    name: "help",
    group: "general",
    short: "h",
    text: "show this help",
    set: (flags) => {
      flags.help = true;
    },
  },
];

const appliesTo = ({ commands }: Flag, command: Command) => commands === undefined || commands.includes(command);

export interface CommandLine {
  command: Command;
  flags: Flags;
  /** What is neither command nor option. */
  operands: string[];
  /** The words of `run -- PROGRAM [ARG...]`, a runtest line without a file. */
  line?: string[];
}

/** Parses everything after the program's name. What is wrong is one {@link UsageError}. */
export function parseCommandLine(args: readonly string[]): CommandLine {
  const flags: Flags = {
    select: [],
    skip: [],
    iterate: 1,
    repeat: 1,
    workers: 1,
    bail: false,
    require: [],
    forbidConf: false,
    noJournal: false,
    resume: false,
    trace: false,
    refresh: false,
    loopDirectIo: false,
    devices: [],
    guests: [],
    hosts: [],
    erase: [],
    reporters: [],
    json: false,
    durations: 0,
    version: false,
    help: false,
  };
  const { tokens } = parseArgs({
    // What follows a program's name is for the program.
    args: args[0] === "exec" ? args.slice(0, 2) : [...args],
    // Our own messages say what to do, parseArgs' do not; so it only splits.
    strict: false,
    tokens: true,
    options: Object.fromEntries(
      FLAGS.map(({ name, short, value, valueOptional }) => [
        name,
        { type: value !== undefined && !valueOptional ? "string" : "boolean", ...(short && { short }) } as const,
      ]),
    ),
  });
  const operands: string[] = [];
  /** What follows `--`. */
  let terminated: string[] | undefined;
  const used = new Map<Flag, string>();
  for (const token of tokens) {
    if (token.kind === "option-terminator") terminated = [];
    if (token.kind === "positional") (terminated ?? operands).push(token.value);
    if (token.kind !== "option") continue;
    const flag = FLAGS.find(({ name, short }) => token.rawName === `--${name}` || token.rawName === `-${short}`);
    if (!flag) throw new UsageError(unknownOption(token.rawName));
    if (used.has(flag) && !flag.repeatable) {
      throw new UsageError(`${token.rawName} is given twice: give it once`);
    }
    used.set(flag, token.rawName);
    flag.set(flags, checkedValue(flag, token));
  }
  const named = COMMANDS.find(({ name }) => name === operands[0])?.name;
  if (named !== undefined) operands.shift();
  const command = named ?? "run";
  const line = named === "run" && operands.length === 0 ? terminated : undefined;
  if (!line) operands.push(...(terminated ?? []));
  // Help and version are wanted whatever else is wrong.
  if (!flags.help && !flags.version) {
    for (const [flag, rawName] of used) {
      if (!appliesTo(flag, command)) {
        const commands = (flag.commands ?? []).map((name) => (name === "run" ? "a run" : `\`${name}\``)).join(" and ");
        throw new UsageError(`${rawName} does nothing in \`${command}\`: it is for ${commands}; drop it`);
      }
    }
  }
  return { command, flags, operands, ...(line && { line }) };
}

interface OptionToken {
  rawName: string;
  value: string | undefined;
  inlineValue: boolean | undefined;
}

/** The value that an option came with, empty for a switch. */
function checkedValue(flag: Flag, { rawName, value, inlineValue }: OptionToken): string {
  if (flag.value === undefined) {
    if (value !== undefined) throw new UsageError(`${rawName} takes no value: drop "=${value}"`);
    return "";
  }
  if (flag.valueOptional) return value ?? "";
  // `-d -s X` is a forgotten directory, not one named "-s".
  const looksLikeOption = !inlineValue && value !== undefined && value.length > 1 && value.startsWith("-");
  if (value === undefined || looksLikeOption) {
    throw new UsageError(`${rawName} needs a value: write --${flag.name}=${flag.value}`);
  }
  return value;
}

function unknownOption(rawName: string): string {
  const names = FLAGS.map(({ name }) => `--${name}`);
  // With one dash a single letter was looked at: the other case is the likely slip.
  const short = FLAGS.find((flag) => `-${flag.short}`.toLowerCase() === rawName.toLowerCase())?.short;
  const hint = short ? ` (did you mean "-${short}"?)` : rawName.startsWith("--") ? didYouMean(rawName, names) : "";
  return `no option ${rawName}${hint}: \`aiodio-ltp --help\` lists the options`;
}

/** `-d, --directory DIR`. */
function spelling({ name, short, value, valueOptional }: Flag): string {
  const long = value === undefined ? `--${name}` : valueOptional ? `--${name}[=${value}]` : `--${name} ${value}`;
  return short ? `-${short}, ${long}` : long;
}

const HELP_COLUMNS = 80;
const HELP_INDENT = 28;

/** Lines of at most so many columns, but for a word that is longer. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

function row(left: string, text: string): string {
  // A long spelling has a line of its own.
  const lines = [...(left.length + 3 > HELP_INDENT ? [""] : []), ...wrap(text, HELP_COLUMNS - HELP_INDENT)];
  return lines
    .map((line, index) => `${(index === 0 ? `  ${left}` : "").padEnd(HELP_INDENT)}${line}`.trimEnd())
    .join("\n");
}

/** Options under what they are about. */
function optionsText(flags: readonly Flag[]): string[] {
  return Object.entries(GROUPS).flatMap(([group, title]) => {
    const rows = flags
      .filter((flag) => flag.group === group)
      .map((flag) => row(flag.short ? spelling(flag) : `    ${spelling(flag)}`, flag.text));
    return rows.length > 0 ? ["", `${title}:`, ...rows] : [];
  });
}

/** The text of `--help`. */
export function helpText(): string {
  return [
    "Finds, proves and explains data corruption in asynchronous and direct I/O.",
    "",
    "Usage:",
    ...COMMANDS.flatMap(({ usage, text }) => {
      const line = `  aiodio-ltp ${usage}`;
      return [line, ...wrap(text, HELP_COLUMNS - 6).map((part) => `      ${part}`)];
    }),
    ...optionsText(FLAGS),
    "",
    ...wrap(
      "Exit status: 0 all passed, or could not apply (TCONF) and was not required; 1 something failed, broke or warned; 2 wrong usage; 3 the runner itself could not go on; 5 nothing failed, but nothing passed either; 130 interrupted by SIGINT, SIGTERM or SIGHUP.",
      HELP_COLUMNS,
    ),
    "",
    "Example: aiodio-ltp -d /mnt -s '^AD00' ltp-aiodio.part1",
    "",
  ].join("\n");
}

/** The text of `help COMMAND`. @throws UsageError there is no such command */
export function commandHelp(name: string): string {
  const command = COMMANDS.find((one) => one.name === name);
  if (!command) {
    const names = COMMANDS.map((one) => one.name);
    throw new UsageError(`no command "${name}"${didYouMean(name, names)}: there are ${names.join(", ")}`);
  }
  const { usage, text, examples = [] } = command;
  return [
    `Usage: aiodio-ltp ${usage}`,
    "",
    ...wrap(`${text.charAt(0).toUpperCase()}${text.slice(1)}.`, HELP_COLUMNS),
    ...(examples.length > 0 ? ["", "Examples:", ...examples.map((example) => `  ${example}`)] : []),
    ...optionsText(FLAGS.filter((flag) => appliesTo(flag, command.name))),
    "",
  ].join("\n");
}

/** The table of docs/options.md. */
export function optionsMarkdown(): string {
  const cell = (text: string) => text.replaceAll("|", "\\|");
  const tables = Object.entries(GROUPS).map(([group, title]) => {
    const flags = FLAGS.filter((flag) => flag.group === group);
    const rows = flags.map((flag) => `| \`${spelling(flag).replaceAll(", ", "`, `")}\` | ${cell(flag.text)} |`);
    return [`### ${title}`, "", "| option | what it does |", "|---|---|", ...rows, ""].join("\n");
  });
  return tables.join("\n");
}
