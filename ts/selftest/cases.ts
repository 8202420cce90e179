/** What the selftest plants, under what, and by which words a testcase says rightly what it was. */
import { programs } from "../testcase/registry.js";

/** One planted fault. */
export interface FaultCase {
  /** Unique; the fault's name, with what is particular behind it. */
  name: string;
  /** The rule, without the file that it is about. */
  rule: string;
  /** What some result line says when the testcase knows what it sees; nothing need be said of a lawful one. */
  right: RegExp;
  /** The kernel may do this to every program: it has to live with it, and a failure would be a false alarm. */
  lawful?: true;
  /** Names of subjects under which it is not planted. */
  except?: readonly string[];
}

/** Data of earlier: of a file that is new, zeros. */
const EARLIER = /: zeros$|an earlier write|another generation/;
const MUTATED = /: mutated: /;
/** Longer than a testcase takes to look: what comes by itself must not come in time. */
const LONG = "ms=5000";

/** In the order of the crate's table. */
export const FAULT_CASES: readonly FaultCase[] = [
  { name: "drop-write", rule: "drop-write:count=1", right: EARLIER },
  { name: "delay-visibility", rule: `delay-visibility:count=1:${LONG}`, right: EARLIER },
  {
    name: "misdirect-write",
    // So far back that what belongs there has long been written, and is not written after it.
    rule: "misdirect-write:range=0x40000-:count=1:by=-0x20000",
    right: /another offset's stamp/,
  },
  { name: "swap-blocks", rule: "swap-blocks:range=0x2000-:count=1", right: /another offset's stamp/ },
  { name: "tear", rule: "tear:count=1", right: /: torn, / },
  { name: "flip-bit", rule: "flip-bit:count=1", right: MUTATED },
  { name: "flip-bit in a read", rule: "flip-bit:op=read:count=1", right: MUTATED },
  { name: "mutate-in-flight", rule: "mutate-in-flight:count=1:bytes=16", right: MUTATED },
  // One alone may be lawful: of a read that began before the write was over.
  { name: "stale-read", rule: "stale-read:count=200:probability=500", right: EARLIER },
  { name: "zeros-until", rule: `zeros-until:count=1:${LONG}`, right: /: zeros$/ },
  { name: "stale-disk", rule: "stale-disk:count=1", right: /stale disk content/ },
  {
    name: "stale-disk in a long hole",
    rule: "stale-disk:op=read:range=0x3fc0000-",
    right: /stale disk content/,
  },
  { name: "other-file", rule: "other-file:count=1", right: /the stamp of file \d+/ },
  { name: "short-read", rule: "short-read", right: /./, lawful: true },
  {
    name: "short-write",
    rule: "short-write",
    right: /./,
    lawful: true,
    // Seen in Linux 6.18: io_uring submits the rest of a short write once more, and FUSE (`fuse_direct_IO`) does not advance
    // the position by what was written, so that the rest lands where the write began. That is no fault of ours to plant.
    // And AIO is synchronous where FUSE may write short (`FUSE_ASYNC_DIO`): no child is made during a transfer.
    except: ["aiocp-uring", "stress", "mmap_fork private"],
  },
  { name: "eio-once", rule: "eio-once", right: /\bEIO\b/ },
  { name: "eio-once of a read", rule: "eio-once:op=read:count=1", right: /\bEIO\b/ },
  { name: "eio-fsync", rule: "eio-fsync", right: /\bEIO\b/ },
  { name: "eintr", rule: "eintr", right: /./, lawful: true },
  { name: "enospc", rule: "enospc", right: /\bENOSPC\b/ },
  { name: "wrong-size-after-append", rule: "wrong-size-after-append", right: /file size|missing: the file ends/ },
  { name: "data-before-size", rule: `data-before-size:${LONG}`, right: /file size|missing: the file ends/ },
  { name: "size-before-data", rule: "size-before-data:ms=20", right: /the new size before the data/ },
  {
    name: "corrupt-after-remount",
    rule: "corrupt-after-remount",
    right: /after mounting again: .*: mutated: /,
  },
  { name: "corrupt-direct-reads", rule: "corrupt-direct-reads", right: /, disk: .*: mutated: / },
  { name: "corrupt-cached-reads", rule: "corrupt-cached-reads", right: /, page cache: .*: mutated: / },
];

/** One run of one program, over which each fault is planted. */
export interface Subject {
  /** Unique. */
  name: string;
  program: string;
  argv: readonly string[];
  /** The pattern of the file that it verifies: a fault in what it copies from is none of the copy's. */
  file: string;
  /** One fault alone may be gone before anybody looks, written over or in a page that is not read again: plant many. */
  many?: true;
}

/** Those that are one run of a program; {@link subjects} has them all. */
const SINGLE: readonly Subject[] = [
  {
    name: "aiocp-direct",
    program: "aiocp",
    argv: ["-f", "DIRECT", "-b", "4k", "--verify", "remount"],
    file: "dstfile.bin",
  },
  {
    name: "aiocp-sync",
    program: "aiocp",
    argv: ["-f", "SYNC", "-b", "4k", "--verify", "remount"],
    file: "dstfile.bin",
  },
  {
    name: "aiocp-uring",
    program: "aiocp",
    argv: ["-f", "DIRECT", "-b", "4k", "--verify", "remount", "--engine", "io_uring"],
    file: "dstfile.bin",
  },
  {
    name: "aiocp-source",
    program: "aiocp",
    argv: ["-f", "DIRECT", "-b", "4k", "--verify", "remount"],
    file: "srcfile.bin",
  },
  { name: "diotest1", program: "diotest1", argv: ["--verify", "remount"], file: "*" },
  { name: "diotest2", program: "diotest2", argv: ["--verify", "remount"], file: "*" },
  { name: "aio01", program: "aio01", argv: ["--verify", "remount"], file: "*", many: true },
  { name: "aio02", program: "aio02", argv: ["--verify", "remount"], file: "*" },
  {
    name: "stress",
    program: "aio_signal_stress",
    argv: ["-p", "2", "-n", "200", "-s", "3", "--verify", "remount"],
    file: "*",
    many: true,
  },
  {
    name: "fsx",
    program: "fsx-linux",
    argv: ["-N", "200", "--seed", "3", "--verify", "remount"],
    file: "*",
    many: true,
  },
  {
    name: "append",
    program: "aiodio_append",
    argv: ["-n", "4", "-c", "100", "--verify", "remount"],
    file: "*",
    many: true,
  },
  {
    name: "dio_append",
    program: "dio_append",
    argv: ["-n", "4", "-c", "200", "--verify", "remount"],
    file: "*",
    many: true,
  },
  {
    name: "sparse",
    program: "aiodio_sparse",
    // Seen in Linux 6.18: FUSE does not invalidate the page cache when an asynchronous direct write completes
    // (`fuse_aio_complete`), so that a hole's page that was read meanwhile stays. That is no fault of ours to plant.
    argv: ["-n", "4", "-s", "2m", "-w", "4k", "--engine", "sync", "--verify", "remount"],
    file: "file.bin",
    many: true,
  },
  {
    name: "dio_sparse",
    program: "dio_sparse",
    argv: ["-n", "4", "-s", "2m", "-w", "4k", "--verify", "remount"],
    file: "dio_sparse",
    many: true,
  },
  {
    name: "dio_truncate",
    program: "dio_truncate",
    argv: ["-n", "4", "-a", "4", "-c", "20", "--verify", "remount"],
    file: "file.bin",
    many: true,
  },
  {
    name: "dio_read",
    program: "dio_read",
    // Several writers write the same bytes, and the next one's make good what a fault withheld of the first one's.
    argv: ["-n", "1", "-s", "2m", "-w", "64k", "-r", "64k", "--verify", "remount"],
    file: "file.bin",
    many: true,
  },
  {
    name: "aio-stress",
    program: "aio-stress",
    argv: ["-s", "2m", "-r", "16k", "-O", "-f", "2", "-v", "--verify", "remount"],
    file: "*",
    many: true,
  },
  {
    name: "diotest3",
    program: "diotest3",
    argv: ["-n", "4", "-b", "131072", "-i", "5", "--verify", "remount"],
    file: "*",
  },
  {
    name: "diotest4",
    program: "diotest4",
    argv: ["-b", "128", "--verify", "remount"],
    file: "testdata-4",
    many: true,
  },
  { name: "diotest5", program: "diotest5", argv: ["-b", "16384", "-i", "5", "--verify", "remount"], file: "*" },
  { name: "diotest6", program: "diotest6", argv: ["-n", "4", "-i", "5", "--verify", "remount"], file: "*" },
  {
    name: "dma",
    program: "dma_thread_diotest",
    argv: ["--files", "2", "--file-size", "1m", "-w", "2"],
    file: "file*",
  },
  {
    name: "short_read",
    program: "uring_short_read",
    argv: ["-s", "2m", "-b", "16k", "-n", "8", "--passes", "2"],
    file: "short_read",
    many: true,
  },
];

/** A program with an option that chooses what it does: a subject for each of the option's words, named `NAME WORD`. */
export interface Family {
  name: string;
  program: string;
  /** The option, whose declaration in the program has the words. */
  option: string;
  argv: readonly string[];
  /** What some words need beside. */
  also?: Readonly<Record<string, readonly string[]>>;
  file: string;
  /** {@link Subject.many}, in all of them. */
  many?: true;
}

export const FAMILIES: readonly Family[] = [
  {
    name: "races",
    program: "dio_races",
    option: "race",
    argv: ["-n", "10"],
    // As for aiodio_sparse.
    also: { "stale-readahead": ["--engine", "sync"] },
    file: "*",
    many: true,
  },
  {
    name: "invalidate",
    program: "dio_invalidate",
    option: "collide",
    // As for aiodio_sparse.
    argv: ["-n", "20", "-b", "1k", "--engine", "sync", "--verify", "remount"],
    file: "testfile*",
    many: true,
  },
  {
    name: "unwritten",
    program: "aio_unwritten",
    option: "space",
    // Where it writes follows from the seed: not in the last 256 KiB.
    argv: ["-n", "5", "-s", "64m", "--seed", "3", "--verify", "remount"],
    file: "*",
    many: true,
  },
  {
    name: "mmap_fork",
    program: "mmap_fork_dio",
    option: "memory",
    // Who changes the memory must meet the write at least once.
    argv: ["-n", "40"],
    also: {
      // So long that the fork is done first.
      private: ["--engine", "libaio", "-s", "4m", "-b", "64k"],
      huge: ["-s", "2m", "-b", "2m"],
      thp: ["-s", "2m", "-b", "2m", "--writer", "thread"],
    },
    file: "testfile",
  },
];

/** Every subject: the single ones, and of each family one for each word that its program's declaration has today. */
export async function subjects(): Promise<Subject[]> {
  const found = [...SINGLE];
  for (const { name, program, option, argv, also, ...rest } of FAMILIES) {
    const words = (await programs.get(program)?.load())?.options[option]?.choices;
    if (!words) throw new Error(`${program} has no choice --${option}`);
    for (const word of words) {
      found.push({
        name: `${name} ${word}`,
        program,
        argv: [...argv, `--${option}`, word, ...(also?.[word] ?? [])],
        ...rest,
      });
    }
  }
  return found;
}

/** What a testcase may miss, with the reason that makes it no blindness. */
export interface Excuse {
  /** Names of subjects, or of families for all of theirs; or all but a few. */
  subjects: readonly string[] | "all";
  but?: readonly string[];
  /** Names of faults. */
  faults: readonly string[];
  /** A clause, for the table's notes. */
  why: string;
}

export const EXCUSES: readonly Excuse[] = [
  {
    subjects: "all",
    but: ["races append-visible"],
    faults: ["size-before-data"],
    why: "only readers look at the file's end before the write completes, and permit zeros there while it is under way",
  },
  {
    subjects: ["dio_read"],
    faults: ["wrong-size-after-append", "data-before-size"],
    why: "only the old data makes the file longer, and a truncate replaces its size",
  },
  {
    subjects: ["dio_truncate"],
    faults: ["wrong-size-after-append", "data-before-size"],
    why: "what is appended is truncated at once, and only a reader that comes in between can meet the size",
  },
  {
    subjects: ["aiocp-source"],
    faults: ["corrupt-after-remount"],
    why: "the source of a copy is not looked at again when the copy is good",
  },
  {
    subjects: ["diotest2"],
    faults: ["corrupt-after-remount"],
    why: "the bit is nearly always in the hole before its one block, which is no data of its own",
  },
  {
    subjects: ["races stale-readahead", "races exit-in-flight"],
    faults: ["wrong-size-after-append"],
    why: "the one write that makes the file longer is followed by one of the same range, which sets the size right",
  },
  {
    subjects: ["races truncate-up"],
    faults: ["data-before-size"],
    why: "the size that is hidden is replaced by the truncate that comes beside the write",
  },
  {
    subjects: ["races exit-in-flight"],
    faults: ["data-before-size"],
    why: "it takes the old size for a short write, and says that it can't run on such a filesystem (TCONF)",
  },
  {
    subjects: ["races read-past-end"],
    faults: ["stale-disk", "other-file"],
    why: "it reads the last, partial sector and what is behind it, and the fault changes whole sectors",
  },
  {
    subjects: ["invalidate mmap"],
    faults: ["stale-read", "wrong-size-after-append", "data-before-size"],
    why: "beside stores through a mapping of the same page a loss is counted, shown and permitted (--strict permits nothing)",
  },
  {
    subjects: ["invalidate same-range"],
    faults: ["delay-visibility", "stale-read"],
    why: "both writers write the same bytes, and what was there before is the other's content, which is permitted",
  },
  {
    subjects: ["short_read"],
    faults: ["enospc"],
    why: "it says that there is no room for its file (TCONF), and passes nothing",
  },
];

/** Whether `name` is meant by `given`: `eio-once` stands for `eio-once of a read` too, and `races` for each race. */
export function isMeant(name: string, given: string): boolean {
  return name === given || name.startsWith(`${given} `);
}

/** Whether an excuse is for that subject. */
export function covers({ subjects, but = [] }: Excuse, subject: string): boolean {
  const meant = (given: readonly string[]) => given.some((each) => isMeant(subject, each));
  return (subjects === "all" || meant(subjects)) && !meant(but);
}

/** Why that subject may miss that fault; undefined where it may not. */
export function excuse(subject: string, fault: string): string | undefined {
  return EXCUSES.find((one) => one.faults.includes(fault) && covers(one, subject))?.why;
}
