/** Collects what the kernel says while testcases run, and gives every message to the testcase that it is about. */
import { existsSync } from "node:fs";
import type { KernelFinding } from "../events/events.js";
import { within } from "../linux/mountinfo.js";
import { newTaints, readTaint } from "../linux/taint.js";
import { KernelClock, type KernelReader, type KernelRecord, openKernelReader } from "./reader.js";
import { CLASS_VERDICT, Classifier, linkOf, type Message } from "./rules.js";

/** What a testcase uses, as far as it is known. */
export interface About {
  /** Where its files are: absolute, without symbolic links. */
  directories?: readonly string[];
  /** All devices that hold them, as {@link knownDevicesBehind} gives them: empty where there are none, absent where unknown. */
  devices?: readonly string[];
  pids?: readonly number[];
}

export interface KernelWatch {
  /** Why the kernel log cannot be read, in one sentence for the user; absent when it can. */
  readonly note?: string;
  /** From here on messages may be about this testcase. */
  begin(key: string, about?: About): void;
  /** Adds what has become known since: its temporary directory, a new worker's process. */
  tell(key: string, about: About): void;
  /** What the kernel said since `begin`. */
  end(key: string): KernelFinding[];
  /** What it said while no testcase ran, since this was last asked. */
  between(): KernelFinding[];
  /** Reads on, so that nothing is overwritten during a long testcase. */
  poll(): void;
  close(): void;
}

export interface WatchOptions {
  /** /dev/kmsg. */
  path?: string;
  /** Instead of the path's; for tests. */
  reader?: Pick<KernelReader, "drain" | "close">;
  clock?: KernelClock;
  taint?: () => bigint | undefined;
  /** Whether a thread belongs to a process. */
  isThreadOf?: (pid: number, thread: number) => boolean;
}

/** A kernel that floods its log is told to do so; from there on only what is new in kind is kept. */
const FINDINGS_MAX = 1000;

/** A kernel that prints on a slow serial line takes milliseconds from one record to the next. */
const HALF_PAUSE_MS = 1;
const HALF_TRIES_MAX = 50;

/** Nothing else can go on meanwhile: what the kernel said of a testcase must be known when it ends. */
function pause(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

interface Running {
  directories: string[];
  /** Absent while it is not known. */
  devices: string[] | undefined;
  pids: number[];
  taint: bigint | undefined;
  /** Others have run at the same time. */
  accompanied: boolean;
  findings: KernelFinding[];
  /** Findings beyond the limit. */
  more: number;
}

/** Opens the kernel log at its present end. Nothing of it ever throws, and without the log it finds only taints. */
export function openKernelWatch(options: WatchOptions = {}): KernelWatch {
  const opened = options.reader ?? openKernelReader(options.path ?? "/dev/kmsg");
  const reader = "unreadable" in opened ? undefined : opened;
  const clock = options.clock ?? new KernelClock();
  const taint = options.taint ?? (() => readTaint());
  const isThreadOf = options.isThreadOf ?? ((pid, thread) => existsSync(`/proc/${pid}/task/${thread}`));
  const classifier = new Classifier<KernelRecord>();
  const running = new Map<string, Running>();
  const idle = newRunning({});

  const keep = (finding: KernelFinding, to: Running): void => {
    const known = ({ rule }: KernelFinding) => rule === finding.rule;
    if (to.findings.length < FINDINGS_MAX || !to.findings.some(known)) to.findings.push(finding);
    else to.more += 1;
  };

  const give = (finding: KernelFinding, names: Names): void => {
    const { owners, elsewhere } = attribute([...running.values()], names, isThreadOf);
    const { verdict, ...judgesNothing } = finding;
    for (const owner of owners) {
      keep(
        {
          ...judgesNothing,
          ...(verdict && !elsewhere && { verdict }),
          shared: owners.length > 1,
          ...(elsewhere && { elsewhere }),
        },
        owner,
      );
    }
    if (running.size === 0) keep(finding, idle);
  };

  const tell = (messages: readonly Message<KernelRecord>[]): void => {
    for (const message of messages) give(findingOf(message, clock), namesIn(message.records));
  };

  const drain = (): void => {
    if (!reader) return;
    const { records, lost } = reader.drain();
    clock.learn(records);
    if (lost > 0) give(lostMessages(lost, clock.time(-1)), NO_NAMES);
    tell(classifier.messages(records));
  };

  /** Reads up to now: the second half of a message, which the kernel prints a moment later, too. */
  const drainAll = (): void => {
    drain();
    for (let tries = 0; classifier.incomplete && tries < HALF_TRIES_MAX; tries += 1) {
      pause(HALF_PAUSE_MS);
      drain();
    }
    tell(classifier.halves());
  };

  return {
    ...("unreadable" in opened && { note: opened.unreadable }),
    begin(key, about = {}) {
      drain();
      for (const other of running.values()) other.accompanied = true;
      running.set(key, { ...newRunning(about), taint: taint(), accompanied: running.size > 0 });
    },
    tell(key, { directories = [], devices, pids = [] }) {
      const one = running.get(key);
      one?.directories.push(...directories);
      if (one && devices) one.devices = [...(one.devices ?? []), ...devices];
      one?.pids.push(...pids);
    },
    end(key) {
      drainAll();
      const one = running.get(key);
      if (!one) return [];
      running.delete(key);
      const findings = taken(one, clock);
      const after = taint();
      if (one.taint !== undefined && after !== undefined) {
        const finding = taintFinding(one.taint, after, one.accompanied, clock.time(-1));
        if (finding) findings.push(finding);
      }
      return findings;
    },
    between() {
      drainAll();
      return taken(idle, clock);
    },
    poll: drain,
    close: () => reader?.close(),
  };
}

function newRunning({ directories = [], devices, pids = [] }: About): Running {
  return {
    directories: [...directories],
    devices: devices && [...devices],
    pids: [...pids],
    taint: undefined,
    accompanied: false,
    findings: [],
    more: 0,
  };
}

/** The findings so far; none are left. */
function taken(one: Running, clock: KernelClock): KernelFinding[] {
  const { findings, more } = one;
  one.findings = [];
  one.more = 0;
  if (more > 0) {
    findings.push({
      time: clock.time(-1),
      seconds: -1,
      level: "warning",
      text: `${more} more kernel messages are not kept`,
      rule: "messages-lost",
      class: "warning",
      explanation: `Only the first ${FINDINGS_MAX} messages of a testcase are kept, and the first of each rule. The whole log is in dmesg.`,
      shared: false,
    });
  }
  return findings;
}

function findingOf({ records, rule, continued }: Message<KernelRecord>, clock: KernelClock): KernelFinding {
  const seconds = records[0]?.seconds ?? -1;
  const verdict = rule && CLASS_VERDICT[rule.class];
  return {
    time: clock.time(seconds),
    seconds,
    level: records[0]?.level ?? "unknown",
    text: records.map(({ text, properties }) => [text, ...properties].join("\n ")).join("\n"),
    ...(rule && { rule: rule.name, class: rule.class }),
    // The rest of a message whose beginning has already judged.
    ...(rule && !continued && { ...(verdict && { verdict }), explanation: rule.means, link: linkOf(rule) }),
    shared: false,
  };
}

function lostMessages(lost: number, time: string): KernelFinding {
  return {
    time,
    seconds: -1,
    level: "warning",
    text: `${lost} kernel messages were overwritten before they could be read`,
    rule: "messages-lost",
    class: "warning",
    explanation:
      "The kernel logged more than its buffer holds, so that what happened here is not fully known. Boot with a larger log_buf_len= to see all.",
    shared: false,
  };
}

function taintFinding(before: bigint, after: bigint, shared: boolean, time: string): KernelFinding | undefined {
  const taints = newTaints(before, after);
  const [gravest] = taints;
  if (!gravest) return undefined;
  const verdict = CLASS_VERDICT[gravest.class];
  const flags = taints.map(({ letter, text }) => `${letter} (${text})`).join(", ");
  return {
    time,
    seconds: -1,
    level: gravest.class === "corruption" ? "alert" : "warning",
    text: `kernel is now tainted: ${flags}; /proc/sys/kernel/tainted went from ${before} to ${after}`,
    rule: "taint",
    class: gravest.class,
    ...(verdict && { verdict }),
    explanation:
      "The kernel marks itself when something happens that makes its later behaviour doubtful. A mark stays until the next boot, so that only the first time shows.",
    link: "https://docs.kernel.org/admin-guide/tainted-kernels.html",
    shared,
  };
}

/** What a message names. */
export interface Names {
  text: string;
  devices: string[];
  paths: string[];
  threads: number[];
}

const NO_NAMES: Names = { text: "", devices: [], paths: [], threads: [] };

/** Block devices as the kernel calls them, partitions included; a journal adds the number of its inode (`sda1-8`). */
const DEVICES =
  /(?<![\w.-])(?:(?:loop|nvme\d+(?:c\d+)?n|mmcblk|md|nbd|ublkb|pmem)\d+(?:p\d+)?|(?:xv|[sv])d[a-z]{1,2}\d*|dasd[a-z]+\d*|(?:dm-|zram|ram|sr|bcache|drbd|rbd|nullb)\d+)(?!\w)/g;
const PATHS = /^File: (\/.*) PID: \d+ Comm: /gm;
const THREADS = /\bPID: (\d+)|INFO: task .*?:(\d+) blocked|, CPU#\d+: .*\/(\d+)$|stuck for .*\[.*:(\d+)\]/gm;

/** What the records of one message name. */
export function namesIn(records: readonly KernelRecord[]): Names {
  const text = records.map((record) => record.text).join("\n");
  const all = (pattern: RegExp) => [...text.matchAll(pattern)].map(([, ...groups]) => groups.find(Boolean) ?? "");
  const threads = all(THREADS).map(Number);
  for (const { thread } of records) if (thread !== undefined) threads.push(thread);
  return {
    text,
    devices: [...new Set(text.match(DEVICES))],
    // "(deleted)" is the kernel's.
    paths: all(PATHS).map((path) => path.replace(/ \(deleted\)$/, "")),
    threads,
  };
}

/**
 * Whose message it is. What it names decides: files and threads before devices, because testcases share a device more
 * often than a directory. A message that names nothing may be about any; one that names only what nobody has is
 * about none.
 */
function attribute(
  running: readonly Running[],
  { devices, paths, threads }: Names,
  isThreadOf: (pid: number, thread: number) => boolean,
): { owners: readonly Running[]; elsewhere?: true } {
  const byPath = running.filter((one) => one.directories.some((folder) => paths.some((path) => within(path, folder))));
  if (byPath.length > 0) return { owners: byPath };
  const byThread = running.filter(({ pids }) =>
    pids.some((pid) => threads.some((thread) => thread === pid || isThreadOf(pid, thread))),
  );
  if (byThread.length > 0) return { owners: byThread };
  const byDevice = running.filter((one) => one.devices?.some((device) => devices.includes(device)));
  if (byDevice.length > 0) return { owners: byDevice };
  // Who has not said what it uses may use what is named.
  const possible = running.filter(
    (one) =>
      (devices.length === 0 || one.devices === undefined) && (paths.length === 0 || one.directories.length === 0),
  );
  if (possible.length > 0) return { owners: possible };
  return { owners: running, elsewhere: true };
}
