// Made from the tables of `call.rs` by `TYPES=write cargo test -p aiodio-node`: do not edit.

export interface Workloads {
  "aio-rounds": { options: AioRoundsOptions; outcome: AioRoundsOutcome };
  "aio-stress": { options: AioStressOptions; outcome: AioStressOutcome };
  "check-blocks": { options: Blocks; outcome: Finding | null };
  "copy": { options: CopyOptions; outcome: CopyOutcome };
  "dio-limits": { options: DioLimitsOptions; outcome: DioLimitsOutcome };
  "dirty-free-blocks": { options: DirtyFreeBlocksOptions; outcome: Done };
  "fill": { options: FillOptions; outcome: Done };
  "fork-dma": { options: ForkDmaOptions; outcome: ForkDmaOutcome };
  "fsx": { options: FsxOptions; outcome: FsxOutcome };
  "invalidate": { options: InvalidateOptions; outcome: InvalidateOutcome };
  "mmap-fork": { options: MmapForkOptions; outcome: MmapForkOutcome };
  "races": { options: RacesOptions; outcome: RacesOutcome };
  "readers": { options: ReadersOptions; outcome: ReadersOutcome };
  "segments": { options: SegmentsOptions; outcome: SegmentsOutcome };
  "short-read": { options: ShortReadOptions; outcome: ShortReadOutcome };
  "signal-stress": { options: SignalStressOptions; outcome: SignalStressOutcome };
  "unwritten": { options: UnwrittenOptions; outcome: UnwrittenOutcome };
  "verify": { options: VerifyOptions; outcome: VerifyOutcome };
  "verify-expected": { options: VerifyExpectedOptions; outcome: VerifyOutcome };
  "write-blocks": { options: Blocks; outcome: Done };
}

export interface Facts {
  "attach-loop": { options: LoopOptions; outcome: LoopOutcome };
  "extents": { options: [string, number, number, number]; outcome: Array<Extent> | null };
  "flush-device": { options: string; outcome: Failure | null };
  "forget-expectations": { options: null; outcome: null };
  "fork-dma-workers-max": { options: null; outcome: number };
  "has-room": { options: [string, number]; outcome: boolean };
  "limits": { options: null; outcome: Limits };
  "mount": { options: MountOptions; outcome: Failure | null };
  "probe-direct": { options: string; outcome: Failure | null };
  "query-record": { options: RecordQuery; outcome: RecordAnswer };
  "races": { options: null; outcome: Array<Race> };
  "stale-disk-file": { options: null; outcome: number };
  "storage": { options: string; outcome: StorageInfo };
  "unmount": { options: [string, number]; outcome: Failure | null };
  "check-fault-rule": { options: string; outcome: string | null };
  "fault-table": { options: null; outcome: Array<FaultRow> };
  "faults-fired": { options: string; outcome: FaultReport };
  "mount-faultfs": { options: [string, string]; outcome: Failure | null };
  "serve-faultfs": { options: FaultfsOptions; outcome: Failure | null };
  "set-fault-rules": { options: [string, Array<string>]; outcome: Failure | null };
}

/** One kind of operation. */
export type Action = "write" | "read" | "truncate" | "allocate" | "allocate-keep" | "punch" | "zero" | "fsync" | "mmap-write";

/** How one round went. */
export type AioRound = {
/** What went wrong first; the round ends there. */
finding?: Finding,
/** Time with the kernel, from submission to completion; without filling and comparing. */
elapsedSeconds: number, };

export type AioRoundsOptions = {
/** The file. */
path: string,
/** Open it for reading. */
read: boolean,
/** Open it for writing, and create it with mode 0600 if need be. */
write: boolean,
/** Truncate it. */
truncate: boolean,
/** `O_DIRECT`. */
direct: boolean,
/** The kernel's interface. */
engine: Engine,
/** Length of a request in bytes; a multiple of 512 when the requests are at consecutive offsets. */
bytes: number,
/** Requests in a round. */
requests: number,
/** All requests of a round go to the kernel together, at consecutive offsets from 0; else one after the other, all at offset 0. */
together: boolean,
/** What is done, in order. */
rounds: Array<Round>,
/** Whose stamps; its generation is what the file holds now. Each time that a place is written again it gets the next one. */
key: StampKey,
/** This byte instead of stamps. */
ltpByte?: number, };

export type AioRoundsOutcome = {
/** Why the rounds that are missing did not begin. */
error?: Failure,
/** Those that began. After one with a fault there is no other: what the file holds is not known then. */
rounds: Array<AioRound>,
/** What the file holds in the end. */
generation: number, };

/** Durations. */
export type AioStressLatency = { count: number, min: number, average: number, max: number,
/** Shorter than 100, 250, 500, 1000, 5000 and 10000 ms, and the others. */
buckets: Array<number>, };

export type AioStressOptions = {
/** One or more, created if need be and emptied. */
files: Array<string>,
/** Of data and offsets. */
seed: bigint,
/** In order. */
stages: Array<AioStressStageName>,
/** Each with a queue of its own; no more than files times contexts. */
threads: number,
/** Places in each file that are worked on at the same time. */
contexts: number,
/** How far apart they begin. */
contextOffset: number,
/** How long a file is taken to be: where sequential stages end and how far random ones reach. */
fileBytes: number,
/** The length of each transfer. */
recordBytes: number,
/** Requests in flight for each context of a file. */
depth: number,
/** Requests for each context of a file before the next one's turn. */
turn: number,
/** Rounds of such turns, at most, in each stage. */
rounds: number,
/** Requests given to the kernel at one time, at most. */
batch: number,
/** What is laid out, at most, in all files together, for a stage that reads what no stage has written. */
layoutBytes: number,
/** What the buffers of all threads together may be; fewer requests are in flight then. */
memoryBytes: number,
/** `O_DIRECT`; otherwise `O_SYNC`. */
direct: boolean,
/** `fsync(2)` after each stage. */
fsync: boolean,
/** The kernel's interface. */
engine: Engine,
/** How many bad ranges to describe. */
rangesMax: number, };

export type AioStressOutcome = {
/** The first call or transfer that failed. */
error?: Failure,
/** The stage of the failure, or of the wrong read. */
failedStage?: AioStressStageName,
/** The first read that was wrong. */
finding?: Finding,
/** The stages done, the failed one included. */
stages: Array<AioStressStage>,
/** What each file may be now. */
expectations: Array<number>,
/** Requests in flight for each context of a file: fewer than asked for where the memory does not suffice. */
depth: number,
/** All queues' counts. */
stats: EngineStats, };

/** How one context of a file fared in a stage. */
export type AioStressPart = {
/** Index of the file. */
file: number,
/** Transfers done. */
done: number,
/** Transfers that the whole stage would be. */
total: number,
/** Bytes transferred. */
bytes: number,
/** From the stage's begin to the last transfer. */
seconds: number, };

/** How a stage went. */
export type AioStressStage = {
/** Which. */
name: AioStressStageName,
/** What was laid out for it, in each file; 0 when earlier stages had written, or it writes itself. */
laidOut: number,
/** By thread. */
threads: Array<AioStressThread>,
/** From the first thread's begin to the last one's end. */
seconds: number, };

/** What is done to all files before the next stage begins. */
export type AioStressStageName = "write" | "read" | "random write" | "random read";

/** How one thread fared in a stage. */
export type AioStressThread = {
/** Its contexts of files. */
parts: Array<AioStressPart>,
/** With the `fsync`. */
seconds: number,
/** Time that giving requests to the kernel took. */
submit: AioStressLatency,
/** Time from there to their completion. */
completion: AioStressLatency, };

/** Where in memory the buffers of a [`Pool`] start. */
export type Align = { "step": number } | { "offset": number };

/** What bad bytes are. */
export type BadKind = "zeros" | "misplaced" | "stale" | "stale-disk" | "other-file" | "other-run" | "torn" | "mutated" | "garbage" | "missing" | "beyond-end" | "read-error" | "read-error-once";

/** Neighbouring sectors that are wrong in the same way. Offsets and lengths in bytes. */
export type BadRange = {
/** Where it starts. */
offset: number,
/** How long it is. */
bytes: number,
/** How it is wrong. */
kind: BadKind,
/** Where the data of the range's first sector belongs, when its stamp says so. */
fromOffset?: number,
/** The generation of the stamps found. */
generation?: number,
/** The file of the stamps found. */
fileId?: number,
/** The run of the stamps found, for [`Kind::OtherRun`]. */
seed?: bigint,
/** How many bytes differ from the expected ones. */
differingBytes?: number,
/** How many bits do. */
differingBits?: number,
/** The first differing byte's offset in the file; none when nothing was read. */
firstDifference?: number,
/** For [`Kind::Torn`]. */
tornWith?: TornWith,
/** For [`Kind::ReadError`]. */
errno?: number, code?: string,
/** What would have been right, oldest generation first; empty where it is not about content. */
right: Array<number | "zeros">,
/** Offset in the file of the bytes shown, a multiple of 16 unless the range starts behind it. */
shownAt: number,
/** Up to 32 bytes around the first difference. */
found: Buffer,
/** What they should be; where several contents are right, the newest. */
expected: Buffer, };

/** A read that returned what it must not. */
export type BadRead = {
/** Which reader's, from 0. */
reader: number,
/** Where it began. */
offset: number,
/** How much it returned. */
bytes: number,
/** Whether it was made with `O_DIRECT`. */
direct: boolean,
/** What is wrong with the bytes. */
found: VerifyOutcome,
/** When the read ended too early or too late: the smallest size that the file may have had. */
sizeMin?: number,
/** The largest one. */
sizeMax?: number, };

/** A file of blocks. */
export type Blocks = {
/** The file. */
path: string,
/** A multiple of 512. */
blockBytes: number,
/** How many. */
blocks: number,
/** Whose stamps. */
key: StampKey,
/** LTP's bytes, the block's number, instead of stamps. */
ltpPattern: boolean, };

/** What is checked, in LTP's order. */
export type Check = "negative-offset" | "odd-count" | "beyond-end" | "invalid-descriptor" | "descriptor-out-of-range" | "closed-descriptor" | "character-device" | "mapped-file" | "unmapped-file" | "not-open-for-reading" | "not-open-for-writing" | "unaligned-memory" | "read-only-memory" | "no-memory" | "synchronous";

/** What collides with the direct writes. */
export type Collider = "direct" | "buffered" | "mmap" | "reader" | "pinned" | "same-range";

export type CopyOptions = {
/** Opened read-only. */
source: string,
/** Created if need be, never truncated. */
destination: string,
/** How much, a multiple of `block_bytes`. */
bytes: number,
/** The length of each read and write. */
blockBytes: number,
/** Blocks in flight at most. */
depth: number,
/** The kernel's interface. */
engine: Engine,
/** `O_DIRECT` for both files. */
direct: boolean,
/** `O_SYNC` for the destination. */
syncWrites: boolean,
/** When to `fsync` the destination. */
fsync: Fsync,
/** Where the buffers lie in their pages. */
align: Align, };

export type CopyOutcome = {
/** None: every block was read and written in full. A copy stops at its first failure. */
error?: Failure,
/** The queue's counts. */
stats: EngineStats,
/** Duration of the copying itself, the last `fsync` included, setting up excluded. */
elapsedSeconds: number, };

/** One call and what came of it. */
export type DioAttempt = {
/** Like "write of 1 byte". */
call: string,
/** Like "EINVAL", "4096" or "0 or EINVAL". */
expected: string,
/** What it returned, unless it is `code`. */
got?: number,
/** Like "EINVAL". */
code?: string,
/** How the data read differ from what the file holds. */
wrongData?: Finding, good: boolean, };

/** One check. */
export type DioCheck = {
/** Which. */
name: Check,
/** Its calls; none when it could not be made at all. */
attempts: Array<DioAttempt>,
/** Why it could not be made. */
unsupported?: string, };

export type DioLimitsOptions = {
/** A file whose stamps of `key` are at least [`BLOCK_BYTES`] long. Its first block is written several times, at last with what
 * it holds now. */
path: string,
/** The file's size. */
bytes: number,
/** Its stamps. */
key: StampKey,
/** Offset and length alignment that direct I/O needs here, in bytes: transfers are at least that long. */
dioOffsetAlign: number, };

export type DioLimitsOutcome = {
/** Why not all checks were made. */
error?: Failure,
/** In the order of [`Check`]. */
checks: Array<DioCheck>, };

/** Who says what alignment direct I/O needs. */
export type DioSource = "statx" | "sysfs" | "page";

export type DirtyFreeBlocksOptions = {
/** Must not exist. */
path: string,
/** How much. */
bytes: number,
/** Of the stamps. */
seed: bigint, };

/** Nothing but whether it was done. */
export type Done = {
/** None: it was. */
error?: Failure, };

/** Which of the kernel's interfaces. */
export type Engine = "libaio" | "io_uring" | "io_uring-fixed" | "sync";

/** Counts of one queue's life. */
export type EngineStats = {
/** Requests that the kernel accepted; resumed and repeated ones count again. */
submitted: number,
/** Events reaped. Equal to `submitted` in the end, or buffers were leaked. */
completed: number,
/** Submissions of which the kernel took only a part. */
partialSubmits: number,
/** Submissions and completions with EAGAIN, all tried again. */
retriedEagain: number,
/** Waits that a signal cut short, and completions with EINTR or (`io_uring` under signals) ECANCELED, all tried again. */
retriedEintr: number,
/** Reads that transferred less than asked for, and not nothing. */
shortReads: number,
/** Writes that transferred less than asked for, and not nothing. */
shortWrites: number,
/** See [`super::Engine::overflows`]. */
cqOverflows: number,
/** `fsync(2)` calls. */
fsyncs: number,
/** Most operations with the kernel at one time. */
inFlightMax: number,
/** Buffers that the kernel may still be using and that were given up for that reason. */
leakedBuffers: number, };

/** An error number of this architecture (they differ: EDEADLK is 35 on x86 and 45 on MIPS). */
export type Errno = { errno: number,
/** Like "EIO". */
code: string, };

/** A stretch of a file in one state. Offsets and lengths in bytes. */
export type Extent = {
/** Offset in the file. */
offset: number,
/** Its length. */
bytes: number,
/** Offset on the device (of btrfs: in the filesystem's own address space); 0 where the state says that there is none yet. */
physical: number,
/** `FIEMAP_EXTENT_*`. */
states: Array<string>, };

/** A failed step. The message is a whole sentence without the errno's name, and says what to do where something can be done. */
export type Failure = {
/** What was being done. */
step: Step,
/** One sentence. */
message: string,
/** The kernel's answer, where there is one. */
errno?: number, code?: string,
/** The file concerned. */
path?: string,
/** Byte offset in that file. */
offset?: number,
/** Bytes asked for. */
expected?: number,
/** Bytes transferred. */
got?: number,
/** For [`Step::Submit`]: whether the operation that the kernel refused was a write. */
write?: boolean, };

/** What a request does, as far as rules tell requests apart. */
export type FaultOperation = "read" | "write" | "fsync" | "allocate" | "remount";

/** A number that a fault can be given. */
export type FaultParameter = {
/** As in `name=value`. */
name: string,
/** Where the rule does not say. */
default: number,
/** With its unit. */
meaning: string, };

/** What the rules have done since they were set. */
export type FaultReport = {
/** Why nobody knows. */
error?: Failure,
/** How often each rule has fired, in the order in which they were set. */
counts: Array<number>,
/** The first 4096 faults that were applied. */
fired: Array<FiredFault>, };

/** One fault's row. */
export type FaultRow = {
/** Its spelling in rules. */
name: string,
/** What it does, where the rule's range and the request overlap. */
meaning: string,
/** The operations that it can be asked for; the first is the default. */
operations: Array<FaultOperation>,
/** What it can be given. */
parameters: Array<FaultParameter>, };

/** What to serve. */
export type FaultfsOptions = {
/** Path of the socket for orders, which is made. */
control: string,
/** A block device for the mount to lie on; it is never read nor written. */
device?: string,
/** How much can be stored. */
capacityBytes: number,
/** `FAULT[:KEY=VALUE]...` */
rules: Array<string>, };

/** A file as the operations have left it. */
export type FileLeft = {
/** Where it is. */
path: string,
/** What it should be. */
expectation: number, };

export type FillOptions = {
/** The file. */
path: string,
/** How much of it. */
bytes: number,
/** Its stamps. */
key: StampKey, };

/** One thing that should not be. */
export type Finding = {
/** What it is, as the workload names it, kebab-case. */
kind: string,
/** The file's name, where there are several. */
file?: string,
/** Byte offset in the file. */
offset: number,
/** Bytes concerned. */
bytes: number,
/** 1-based number of the round that it happened in. */
round?: number,
/** 1-based number of the thread or child that it happened to. */
actor?: number,
/** The kernel's answer, where that is what should not be. */
errno?: number, code?: string,
/** Bytes transferred, or a file's size. */
got?: number,
/** What `got` must be at least. */
least?: number,
/** What it may be at most. */
most?: number,
/** The first bad ranges, where data are what should not be. */
ranges: Array<BadRange>,
/** How many there are. */
rangesTotal: number,
/** Facts of this one: how it was read, what was expected and found, what ran beside it. Half a sentence. */
detail: string, };

/** All that a workload found. */
export type Findings = {
/** The first of them. */
first: Array<Finding>,
/** How many there were. */
total: number, };

/** A fault that was applied. */
export type FiredFault = {
/** The rule's number in the list that was set, from 0. */
rule: number,
/** From the filesystem's root, with a `/` in front. */
path: string,
/** Byte offset in the file. */
offset: number,
/** In bytes; 0 for an fsync. */
length: number, };

export type ForkDmaOptions = {
/** Written before with the stamps of `key`. */
path: string,
/** Its size, a multiple of [`CHUNK_BYTES`]. */
bytes: number,
/** Its stamps. */
key: StampKey,
/** Where in a page the memory starts, in bytes; less than the page size. */
alignment: number,
/** Threads that read: all but the last read one page of each chunk, the last one the rest. Two to the number of pages of a
 * chunk. */
workers: number, };

export type ForkDmaOutcome = {
/** Why it could not go on. */
error?: Failure,
/** One for each worker that did not get through. */
findings: Array<Finding>,
/** Reads made. */
reads: number,
/** Children made. */
forks: number,
/** Those that were made while a read was under way. */
forksDuringReads: number, };

/** How often something was done. */
export type FsxCount = {
/** What. */
kind: FsxKind,
/** How often. */
count: number, };

/** What an operation is. */
export type FsxKind = "read" | "write" | "truncate" | "mapread" | "mapwrite" | "allocate" | "punch" | "zero" | "collapse" | "insert" | "clone" | "copy";

export type FsxOptions = {
/** What to do. */
run: FsxRun,
/** A log whose operations, and seed, are to be repeated. */
replay?: string,
/** Where to write the log of this run, in whatever way it ends. */
log?: string,
/** Tell all operations. */
list: boolean, };

export type FsxOutcome = {
/** The call that failed; see `last`. */
error?: Failure,
/** The difference found; see `last`, and [`Outcome::finding`] for its kinds. */
finding?: Finding,
/** The last operations that touched the first bad range, with their numbers. */
history: Array<string>,
/** Why the log could not be written. */
logError?: Failure,
/** The last operation with its number, as in the log; none when there was none. */
last?: string,
/** How often each kind was done. */
counts: Array<FsxCount>,
/** Choices that the file was too short for. */
tooShort: number,
/** Choices that it was too long for. */
tooLong: number,
/** What the filesystem does not have. */
unsupported: Array<FsxKind>,
/** The seed of the data: the log's for a replay. */
seed: bigint,
/** What the file should be now. */
expectation: number,
/** All operations, if they were asked for. */
operations: Array<string>,
/** The queue's counts. */
stats: EngineStats,
/** Duration of the operations. */
elapsedSeconds: number, };

/** What to do. */
export type FsxRun = {
/** Created if need be, and emptied. */
path: string,
/** Of the data and the choices. */
seed: bigint,
/** How many operations. */
operations: number,
/** The file never becomes longer than so many bytes. */
sizeMax: number,
/** The longest operation. */
bytesMax?: number,
/** Offsets of reads are multiples of it. */
readAlign: number,
/** Offsets of writes are. */
writeAlign: number,
/** Sizes to truncate to are. */
truncateAlign: number,
/** What to choose from; what the filesystem does not have is left out. */
kinds: Array<FsxKind>,
/** The interface for reads and writes. */
engine: Engine,
/** Reads and writes with `O_DIRECT`. */
direct: boolean,
/** What direct transfers must be aligned to. */
dioOffsetAlign: number,
/** How many bad ranges to describe. */
rangesMax: number, };

/** When the destination is `fsync`ed. */
export type Fsync = "each" | "batch" | "end" | "none";

export type InvalidateOptions = {
/** Made anew. */
path: string,
/** Bytes of each direct write, a multiple of `dio_offset_align`. */
blockBytes: number,
/** What offset and length of direct I/O must be multiples of; also where in its first page a direct write begins. */
dioOffsetAlign: number,
/** What memory must be aligned to for direct I/O, in bytes. */
dioMemAlign: number,
/** Direct writes of a round, all in flight together. */
writes: number,
/** How often, at least: where nothing has met by then it goes on until it has, for up to [`super::shared::overlap::EXTRA_ROUNDS`] rounds. */
rounds: number,
/** The kernel's interface. */
engine: Engine,
/** What collides. */
collider: Collider,
/** When the file is synced. Whatever this says, it is once at the end of each round, unless it is `None`. */
fsync: Fsync,
/** Where the direct writes' memory starts in its page, in bytes. */
offsetInPage: number,
/** Whether EIO from `fsync` is a finding although the collider uses the page cache. */
strict: boolean,
/** Seed of the data. */
seed: bigint, };

export type InvalidateOutcome = {
/** Why it could not go on. */
error?: Failure,
/** What should not be. */
findings: Findings,
/** `fsync` failed with EIO after a collision that the kernel does not promise to sort out. */
permitted: number,
/** Rounds in which data were lost and `fsync` said so, or a page that was changed meanwhile went over a direct write, likewise. */
announced: number,
/** One of those failures, for a report. */
example?: Finding,
/** Rounds done. */
rounds: number,
/** Direct writes done. */
writes: number,
/** Collisions made. */
collisions: number,
/** Those that were made while the direct write of the same unit was under way. */
overlaps: number,
/** Those of them that touched a page of the direct write. */
sharedPages: number,
/** The queue's counts. */
stats: Pick<EngineStats, "submitted" | "inFlightMax" | "retriedEintr" | "retriedEagain" | "shortReads" | "shortWrites">,
/** What the file is now. */
expectation?: number, };

/** See [`current`]. */
export type Limits = {
/** The page size in bytes. */
pageBytes: number,
/** Why this process has no AIO at all, if it has none. */
aioError?: Failure,
/** Why a ring cannot be made, if it can't. */
ioUringError?: Failure,
/** `RLIMIT_MEMLOCK` in bytes; none: unlimited. */
memlockBytes?: number,
/** Whether crc32c runs at memory speed. */
crc32cHardware: boolean,
/** `fs.aio-max-nr`. */
aioMax?: number,
/** `fs.aio-nr`: what `io_setup(2)` calls have reserved at this moment. */
aioInUse?: number, };

/** What to attach. */
export type LoopOptions = {
/** Where the backing file lies, for as long as the device is in use. */
directory: string,
/** Size in bytes, a multiple of `logical_block_bytes`. The file is sparse, but the directory must have room for all of it. */
bytes: number,
/** What the device calls its sector: 512, or a power of two up to the page size. */
logicalBlockBytes: number,
/** Whether the loop driver should bypass the page cache of the filesystem below (`LO_FLAGS_DIRECT_IO`). The kernel quietly does
 * not where that filesystem cannot; see [`LoopDevice::direct_io`]. */
directIo: boolean, };

/** What has come of attaching a device, for who gets it as JSON: its descriptors are open, and that caller's to close. */
export type LoopOutcome = {
/** None: it is attached; the other fields are none otherwise. */
error?: Failure,
/** Like `/dev/loop3`. */
device?: string,
/** See [`LoopDevice::device`]. */
deviceFd?: number,
/** See [`LoopDevice::backing`]. */
backingFd?: number,
/** See [`LoopDevice::direct_io`]. */
directIo?: boolean, };

export type MmapForkOptions = {
/** Written and read back; made anew. */
path: string,
/** Mapped, with [`Source::File`]; made anew. */
mapped: string,
/** Its size, a multiple of `block_bytes`. */
bytes: number,
/** Bytes of each transfer, a multiple of 8. */
blockBytes: number,
/** How often, at least: where nothing has met by then it goes on until it has, for up to [`super::shared::overlap::EXTRA_ROUNDS`] rounds. */
rounds: number,
/** The kernel's interface. */
engine: Engine,
/** What is written from. */
memory: Source,
/** Who changes it. */
writer: ScribbleWriter,
/** Where the memory starts in its page, in bytes, a multiple of 8. */
offsetInPage: number,
/** Seed of the data. */
seed: bigint, };

export type MmapForkOutcome = {
/** Why it could not go on. */
error?: Failure,
/** What should not be. */
findings: Findings,
/** Rounds done. */
rounds: number,
/** Rounds in which the memory changed while it was with the kernel. */
overlaps: number,
/** Bytes that the other hand wrote while the memory was with the kernel. */
bytesChanged: number,
/** The queue's counts, summed. */
stats: Pick<EngineStats, "submitted" | "inFlightMax" | "retriedEintr" | "retriedEagain" | "shortReads" | "shortWrites">, };

/** A filesystem and its place. */
export type MountOptions = {
/** The device; any word where the filesystem has none. */
source: string,
/** The directory. */
target: string,
/** As in `/proc/filesystems`. */
type: string,
/** As for `mount -o`: separated by commas. */
options: string, };

/** A race. */
export type Race = {
/** Its name in options and reports. */
name: string,
/** What happens, and where it is known from. */
story: string,
/** What is proven when nothing is wrong. */
proven: string,
/** Run when asked for by name, and not among all of them: it fails on kernels for which there is no fix. */
onRequest: boolean, };

export type RacesOptions = {
/** Which of [`TABLE`]. */
race: string,
/** Made anew. */
path: string,
/** A second file on the same filesystem, for races that need one; made anew. */
other: string,
/** What direct offsets, lengths and memory are multiples of, in bytes. */
dioAlign: number,
/** How often, at least: a race whose sides have not met by then goes on until they have, for up to [`overlap::EXTRA_ROUNDS`] rounds. */
rounds: number,
/** The kernel's interface. */
engine: Engine,
/** Seed of the data. */
seed: bigint, };

export type RacesOutcome = {
/** Why it could not go on. */
error?: Failure,
/** The system call that the filesystem does not have. */
unsupported?: string,
/** What should not be. */
findings: Findings,
/** Rounds done. */
rounds: number,
/** How often both sides of the race were under way at once. */
overlaps: number, };

export type ReadersOptions = {
/** What happens. */
scene: Scene,
/** The file; what is in it is lost. */
path: string,
/** The length of each write. */
blockBytes: number,
/** Writes in flight. */
depth: number,
/** How they are submitted. */
engine: Engine,
/** How many readers. */
readers: number,
/** The length of each read. */
readBytes: number,
/** The stamps' run and file, and the first generation of several. */
key: StampKey,
/** Write zeros and, where something else is wanted, other constant bytes, as LTP does. A lost write can't be seen then. */
ltpPattern: boolean,
/** Nothing more is begun after so much time; none: the work is done to its end. */
secondsMax?: number, };

export type ReadersOutcome = {
/** None: every write was made in full and every read could be made. */
error?: Failure,
/** The first read that returned what it must not. */
bad?: BadRead,
/** How hard they raced. */
tally: Tally,
/** Whether the time was used up before the work was done. */
late: boolean,
/** What the file should be now. */
expectation: number,
/** The queue's counts. */
stats: EngineStats,
/** Duration of the race, setting up excluded. */
elapsedSeconds: number, };

/** What a record has of it. */
export type RecordAnswer = {
/** Why there is no record; the other fields are empty then. */
error?: Failure,
/** Operations recorded, lost ones included. */
total: number,
/** How many of them the ring has overwritten. */
lost: number,
/** In the order of their submission. */
operations: Array<RecordedOperation>,
/** How many operations the question is about; more than `operations` when there are more than `max`. */
matching: number,
/** For a question about a range: what was in flight, anywhere, at the same time as the changes among `operations`; up to `max`. */
beside: Array<RecordedOperation>,
/** What is not completed, up to `max`, whatever the question is about. */
inFlight: Array<RecordedOperation>,
/** The first of these, up to 8. */
sharedMemory: Array<SharedMemory>, };

/** What is asked. */
export type RecordQuery = {
/** The record's file (`/proc/self/fd/N` will do); none: what this process records. */
path?: string,
/** Base name of a file, and a range of it: `operations` are those that touch it. None: the last ones of all. */
file?: string,
/** Where the range begins; none: at 0. */
offset?: number,
/** Its length; none: without end. */
bytes?: number,
/** Operations at most; the last ones are returned, half of them, where a file is asked about, changes of it. */
max: number, };

/** An operation as reports show it. */
export type RecordedOperation = {
/** From 1. */
id: number,
/** In strace's way. */
line: string,
/** Base name. */
file: string,
/** Byte offset in it. */
offset: number,
/** Its length. */
bytes: number,
/** Generation of the stamps, of a write. */
generation: number,
/** Whether it changes the file's content or size. */
changes: boolean,
/** Seconds of the kernel log's clock. */
submittedSeconds: number,
/** None while it is in flight. */
completedSeconds?: number,
/** Bytes or 0, or a negated errno; none while it is in flight. */
result?: number,
/** Its number in the kernel. */
thread: number, };

/** What a round does. */
export type Round = "write" | "read" | "write-read";

/** What happens to the file. */
export type Scene = { "sparse": {
/** The size. */
bytes: number,
/** Offset of the first block. */
start: number, } } | { "append": {
/** How many. */
appends: number, } } | { "truncate": {
/** Blocks of each growth. */
appends: number,
/** How often it is truncated, at least. */
rounds: number,
/** The other file, in the same directory. */
junk: string, } } | { "overwrite": {
/** The size. */
bytes: number,
/** How many write the whole file. */
writers: number, } };

/** Who scribbles. */
export type ScribbleWriter = "fork" | "thread";

export type SegmentsOptions = {
/** Created with mode 0666 if need be, never truncated. */
path: string,
/** Where the first child's segment begins in the file, a multiple of 512; the others' follow without a gap. */
offset: number,
/** The length of one buffer in bytes, a multiple of 512. */
bufferBytes: number,
/** A segment is so many buffers long. */
buffers: number,
/** Transfer a segment with `preadv(2)` and `pwritev(2)`, else with one `pread(2)` or `pwrite(2)` for each buffer. */
vectored: boolean,
/** How often each child writes and reads its segment. */
iterations: number,
/** How many work at the same time, at most [`CHILDREN_MAX`]. */
children: number,
/** Write with `O_DIRECT`. */
directWrite: boolean,
/** Read with `O_DIRECT`. */
directRead: boolean,
/** `fsync(2)` after each write through the page cache that a direct read follows. */
syncBeforeDirectRead: boolean,
/** Whose stamps; its generation is the last one that the file may hold from before. Iteration 1 writes the next one. */
key: StampKey,
/** LTP's bytes instead of stamps. */
ltpPattern: boolean, };

export type SegmentsOutcome = {
/** Why it could not start. */
error?: Failure,
/** One for each child that did not get through; its round is the iteration. */
findings: Array<Finding>,
/** Transfers of whole segments, writes and reads. */
transfers: number,
/** Those that began while another child's was under way. */
overlapping: number,
/** From the start of the first child to the end of the last. */
elapsedSeconds: number,
/** Children that could transfer at the same time: fewer than all where [`MEMORY_BYTES`] does not suffice. */
atOnce: number, };

/** Two uses of one piece of memory at once: the test's own error. */
export type SharedMemory = {
/** What was with the kernel. */
inFlight: RecordedOperation,
/** What used the same memory meanwhile. */
other: RecordedOperation, };

export type ShortReadOptions = {
/** A file full of stamps. */
path: string,
/** Its size in bytes; not 0. It need not be a multiple of the block: the last read is then shorter, and rightly so. */
bytes: number,
/** Its stamps. */
key: StampKey,
/** Length of a read; a multiple of 512. */
blockBytes: number,
/** Reads in flight. */
depth: number,
/** The kernel's interface. */
engine: Engine,
/** Where the buffers lie in their pages. */
align: Align,
/** How often the file is read, at least: in order, which the kernel's readahead follows, and in random order, by turns. Where not all
 * that disturbs has had its turn by then it goes on until it has, for up to [`super::shared::overlap::EXTRA_ROUNDS`] passes. */
passes: number,
/** Go on where a read ended short, as careful programs do, instead of reporting it. */
resubmit: boolean,
/** Disturb the page cache. */
disturb: boolean,
/** What the order of the reads and the disturbances follow from. */
seed: bigint, };

export type ShortReadOutcome = {
/** Why it could not go on. */
error?: Failure,
/** The reads that went wrong. */
findings: Findings,
/** Reads that were checked. */
reads: number,
/** Of these, those that ended at the end of the file, short and right. */
atEnd: number,
/** Times that pages were dropped (`POSIX_FADV_DONTNEED`). */
dropped: number,
/** Times that pages were read ahead (`readahead(2)`). */
readAhead: number,
/** Times that pages were reclaimed (`MADV_PAGEOUT`). */
reclaimed: number,
/** The kernel has no `MADV_PAGEOUT` or `MADV_POPULATE_READ` (Linux 5.14). */
noReclaim: boolean,
/** The queue's counts. */
stats: EngineStats,
/** The reading alone. */
elapsedSeconds: number, };

export type SignalStressOptions = {
/** Where the files are made: `stress0`, `stress1`, …; older ones of these names are removed. */
directory: string,
/** Threads. */
workers: number,
/** Operations of each. */
operations: number,
/** What the plan and the stamps follow from. */
seed: bigint,
/** The first file's number in the stamps. */
firstFile: number,
/** How many files they share. */
files: number,
/** How long a file may become, in bytes; at least `block_bytes`. */
fileBytes: number,
/** The longest operation, in bytes; a multiple of `dio_offset_align`. */
blockBytes: number,
/** Operations that a worker has in flight at most. */
depth: number,
/** The kernel's interfaces; each asynchronous operation goes through one of them, at random. */
engines: Array<Engine>,
/** Use `O_DIRECT`, where the filesystem has it. */
direct: boolean,
/** Use the page cache too. */
buffered: boolean,
/** Where the buffers lie in their pages. */
align: Align,
/** What direct offsets and lengths must be multiples of. */
dioOffsetAlign: number,
/** Truncate while other operations on the file are in flight, instead of between them. */
truncateBeside: boolean,
/** Signal the workers all the time. */
signals: boolean,
/** Use the buffer of a direct write through [`Kind::Libaio`] again as soon as a signal interrupts the wait for it.
 * A worker that has had no occasion goes on, for up to 1000 operations more. */
commitOldMistake: boolean, };

export type SignalStressOutcome = {
/** Why it could not go on. What was found before stands. */
error?: Failure,
/** The operations that went wrong. */
findings: Findings,
/** The files. */
files: Array<FileLeft>,
/** The engines' counts, of all workers. */
stats: EngineStats,
/** Operations done, by [`Action`]. */
counts: Array<{ action: Action, done: number }>,
/** Of these reads and writes, those with `O_DIRECT`. */
direct: number,
/** Kinds that this seed leaves out. */
leftOut: Array<Action>,
/** Kinds that the filesystem does not have. */
unsupported: Array<Action>,
/** The filesystem has no direct I/O. */
noDirect: boolean,
/** Signals sent. */
signals: number,
/** System calls other than the engines' that a signal interrupted, all called again. */
interruptedCalls: number,
/** Times that the old mistake was committed. */
mistakes: number,
/** Direct reads across the end of a file that failed with EIO, and succeeded when they ended there. */
collisions: number,
/** From the first operation to the last completion. */
elapsedSeconds: number, };

/** What the buffers are. */
export type Source = "shared" | "private" | "file" | "huge" | "thp";

/** What is written into. */
export type Space = "hole" | "allocated" | "punched" | "zeroed" | "extended";

/** All sectors of one file in one generation. */
export type StampKey = {
/** See [`Stamp::seed`]. */
seed: bigint,
/** See [`Stamp::file`]. */
fileId: number,
/** See [`Stamp::generation`]. */
generation: number, };

/** What was being done when it failed. */
export type Step = "open" | "stat" | "buffers" | "setup" | "submit" | "reap" | "read" | "write" | "short-read" | "short-write" | "fsync" | "truncate" | "loop-device" | "mount" | "unmount" | "options";

/** See [`storage`]. All sizes in bytes. */
export type StorageInfo = {
/** The device's logical block size, as `BLKSSZGET` would say; what LTP aligns to. Without a device what the filesystem says
 * that direct I/O needs in the file, else the page size. */
logicalBlockBytes: number,
/** How the device was found. */
strategy: Strategy,
/** The device, like `/dev/loop0`. */
device?: string,
/** Memory alignment that direct I/O needs. */
dioMemAlign: number,
/** Offset and length alignment that direct I/O needs. */
dioOffsetAlign: number,
/** Who says so. */
dioSource: DioSource,
/** What is remarkable. */
message?: string, };

/** How the device was found; LTP prints it ("Use uevent strategy"). */
export type Strategy = "uevent" | "btrfs" | "overlay" | "page" | "unsupported";

/** How hard they raced. */
export type Tally = {
/** How often the whole work was done. */
rounds: number,
/** Writes begun. */
writes: number,
/** Reads made. */
reads: number,
/** Bytes that they returned. */
bytesRead: number,
/** Reads during which a change was in flight, or an `fsync(2)` of one. */
overlapping: number,
/** Those of them that returned bytes of which more than one content was right. */
touching: number,
/** Turns that the readers had. */
laps: number,
/** Reads that returned what they must not; at the first one all end. */
badReads: number, };

/** What the foreign end of a torn sector is. */
export type TornWith = "zeros" | "stale" | "stale-disk" | "misplaced" | "other";

export type UnwrittenOptions = {
/** Made anew. */
path: string,
/** Its size; writes go to a random place in it. At least [`Options::window`]. */
bytes: number,
/** Bytes of each write, which direct I/O must be able to do. */
blockBytes: number,
/** Neighbouring blocks in flight together. */
depth: number,
/** How often. */
rounds: number,
/** The kernel's interface. */
engine: Engine,
/** What is written into. */
space: Space,
/** Seed of the data and the places. */
seed: bigint, };

export type UnwrittenOutcome = {
/** Why it could not go on; with EOPNOTSUPP: the filesystem has no such space. */
error?: Failure,
/** What should not be. */
findings: Findings,
/** Rounds done. */
rounds: number,
/** Writes completed. */
writes: number,
/** Reads at once after a completion. */
reads: number,
/** Those while other writes to the same extent were in flight. */
overlaps: number,
/** The queue's counts. */
stats: Pick<EngineStats, "submitted" | "inFlightMax" | "retriedEintr" | "retriedEagain" | "shortReads" | "shortWrites">,
/** What the file is now. */
expectation?: number, };

export type VerifyExpectedOptions = {
/** The file. */
path: string,
/** From a workload's outcome. */
expectation: number,
/** Where to look. */
level: VerifyLevel,
/** How many bad ranges to describe; the others are counted. */
rangesMax: number, };

/** Which copy of the data to look at. */
export type VerifyLevel = "cache" | "disk";

/** What the file should be. */
export type VerifyOptions = {
/** The file. */
path: string,
/** Where its stamps begin; what lies before is not looked at. */
offset?: number,
/** Its size: where its stamps end. */
bytes: number,
/** Its stamps. */
key: StampKey,
/** Where to look. */
level: VerifyLevel,
/** How many bad ranges to describe; the others are counted. */
rangesMax: number, };

/** What the file is. */
export type VerifyOutcome = {
/** Why the file could not be verified, or not to its end. */
error?: Failure,
/** The largest size that is right. */
bytesExpected: number,
/** The file's size. */
bytesFound: number,
/** Sectors expected and looked at (or missing). */
sectors: number,
/** Those that are wrong. */
sectorsBad: number,
/** The first bad ranges. */
ranges: Array<BadRange>,
/** How many bad ranges there are. */
rangesTotal: number,
/** For [`Level::Disk`]: false when the filesystem has no direct I/O or no disk; nothing was looked at then. */
direct: boolean,
/** How much of long holes was not read, in bytes; it counts among `sectors`. Where the page cache has something, and at both ends
 * of a hole, everything is read, and inside one piece of 64 KiB in 64. */
bytesSkipped: number, };
