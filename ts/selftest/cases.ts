/** What the selftest plants, and by which words a testcase says rightly what it was. */

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
  { name: "swap-blocks", rule: "swap-blocks:range=0x2000-", right: /another offset's stamp/ },
  { name: "tear", rule: "tear:count=1", right: /: torn, / },
  { name: "flip-bit", rule: "flip-bit:count=1", right: MUTATED },
  { name: "flip-bit in a read", rule: "flip-bit:op=read:count=1", right: MUTATED },
  { name: "mutate-in-flight", rule: "mutate-in-flight:count=1:bytes=16", right: MUTATED },
  // One alone may be lawful: of a read that began before the write was over.
  { name: "stale-read", rule: "stale-read:count=200:probability=500", right: EARLIER },
  { name: "zeros-until", rule: `zeros-until:count=1:${LONG}`, right: /: zeros$/ },
  { name: "stale-disk", rule: "stale-disk:count=1", right: /stale disk content/ },
  { name: "other-file", rule: "other-file:count=1", right: /the stamp of file \d+/ },
  { name: "short-read", rule: "short-read", right: /./, lawful: true },
  {
    name: "short-write",
    rule: "short-write",
    right: /./,
    lawful: true,
    // Seen in Linux 6.18: io_uring submits the rest of a short write once more, and FUSE (`fuse_direct_IO`) does not advance
    // the position by what was written, so that the rest lands where the write began. That is no fault of ours to plant.
    except: ["aiocp-uring", "stress"],
  },
  { name: "eio-once", rule: "eio-once", right: /\bEIO\b/ },
  { name: "eio-once of a read", rule: "eio-once:op=read", right: /\bEIO\b/ },
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
  /** It writes over what it has written, and one fault alone would be gone before anybody looks: plant many. */
  overwrites?: true;
}

export const SUBJECTS: readonly Subject[] = [
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
  { name: "aio01", program: "aio01", argv: ["--verify", "remount"], file: "*", overwrites: true },
  { name: "aio02", program: "aio02", argv: ["--verify", "remount"], file: "*" },
  {
    name: "stress",
    program: "aio_signal_stress",
    argv: ["-p", "2", "-n", "200", "-s", "3", "--verify", "remount"],
    file: "*",
    overwrites: true,
  },
  {
    name: "fsx",
    program: "fsx-linux",
    argv: ["-N", "200", "--seed", "3", "--verify", "remount"],
    file: "*",
    overwrites: true,
  },
  { name: "append", program: "aiodio_append", argv: ["-n", "4", "-c", "100", "--verify", "remount"], file: "*" },
  { name: "dio_append", program: "dio_append", argv: ["-n", "4", "-c", "200", "--verify", "remount"], file: "*" },
  {
    name: "sparse",
    program: "aiodio_sparse",
    // Seen in Linux 6.18: FUSE does not invalidate the page cache when an asynchronous direct write completes
    // (`fuse_aio_complete`), so that a hole's page that was read meanwhile stays. That is no fault of ours to plant.
    argv: ["-n", "4", "-s", "2m", "-w", "4k", "--engine", "sync", "--verify", "remount"],
    file: "file.bin",
  },
  {
    name: "dio_sparse",
    program: "dio_sparse",
    argv: ["-n", "4", "-s", "2m", "-w", "4k", "--verify", "remount"],
    file: "dio_sparse",
  },
  {
    name: "dio_truncate",
    program: "dio_truncate",
    argv: ["-n", "4", "-a", "4", "-c", "20", "--verify", "remount"],
    file: "file.bin",
    overwrites: true,
  },
  {
    name: "dio_read",
    program: "dio_read",
    argv: ["-n", "2", "-s", "2m", "-w", "256k", "-r", "256k", "--verify", "remount"],
    file: "file.bin",
    overwrites: true,
  },
  {
    name: "aio-stress",
    program: "aio-stress",
    argv: ["-s", "2m", "-r", "16k", "-O", "-f", "2", "-v", "--verify", "remount"],
    file: "*",
    overwrites: true,
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
    overwrites: true,
  },
  { name: "diotest5", program: "diotest5", argv: ["-b", "16384", "-i", "5", "--verify", "remount"], file: "*" },
  { name: "diotest6", program: "diotest6", argv: ["-n", "4", "-i", "5", "--verify", "remount"], file: "*" },
  {
    name: "dma",
    program: "dma_thread_diotest",
    argv: ["--files", "2", "--file-size", "1m", "-w", "2"],
    file: "file*",
  },
  { name: "unwritten", program: "aio_unwritten", argv: ["-n", "5", "-s", "64m"], file: "*" },
  { name: "races", program: "dio_races", argv: [], file: "*" },
];
