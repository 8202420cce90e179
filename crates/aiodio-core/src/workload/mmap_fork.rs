//! Direct writes from memory that changes meanwhile.
//!
//! A filesystem that checksums data computes the sum from the writer's own pages and lets the device read the same pages later.
//! Whoever writes to them in between makes the two disagree, and the next read fails with EIO although no hardware is at fault. What
//! reaches the disk may be any mixture of what was in the memory between submission and completion; what nobody put there may not.
//!
//! With private memory that a child has inherited the question is another one: the child writes to a copy of its own, so nothing
//! of it may reach the file, and what a direct read brings must reach the parent, whichever of the two the kernel gave the old page.

use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::shared::finding::{Finding, Findings};
use super::shared::overlap;
use super::shared::scribble::{self, Foreign, Moment, Scribbler, Writer, Written};
use crate::buffer::{Align, Buffer, Memory, Pool};
use crate::engine::{Completion, Engine, Kind, Op, Operation, Queue, Stats};
use crate::error::{Errno, Error, Result, Step};
use crate::json;
use crate::oracle::Stamped;
use crate::stamp::Key;
use crate::sys::{self, File, Flags};
use crate::verify::check_memory;

/// What the buffers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Anonymous memory, shared with the writer.
    Shared,
    /// Private memory: a thread writes to it, or children inherit it copy-on-write.
    Private,
    /// A shared mapping of another file on the same filesystem.
    File,
    /// Reserved huge pages, shared.
    Huge,
    /// Private memory in transparent huge pages.
    #[serde(rename = "thp")]
    TransparentHuge,
}

/// What to do.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    /// Written and read back; made anew.
    pub path: PathBuf,
    /// Mapped, with [`Source::File`]; made anew.
    pub mapped: PathBuf,
    /// Its size, a multiple of `block_bytes`.
    pub bytes: usize,
    /// Bytes of each transfer, a multiple of 8.
    pub block_bytes: NonZeroUsize,
    /// How often, at least: where nothing has met by then it goes on until it has, for up to [`super::shared::overlap::EXTRA_ROUNDS`] rounds.
    pub rounds: u64,
    /// The kernel's interface.
    pub engine: Kind,
    /// What is written from.
    #[serde(rename = "memory")]
    pub source: Source,
    /// Who changes it.
    pub writer: Writer,
    /// Where the memory starts in its page, in bytes, a multiple of 8.
    pub offset_in_page: usize,
    /// Seed of the data.
    #[serde(deserialize_with = "json::read_seed")]
    #[cfg_attr(feature = "typescript", ts(type = "bigint"))]
    pub seed: u64,
}

/// How it went.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Why it could not go on.
    pub error: Option<Error>,
    /// What should not be.
    pub findings: Findings,
    /// Rounds done.
    pub rounds: u64,
    /// Rounds in which the memory changed while it was with the kernel.
    pub overlaps: u64,
    /// Bytes that the other hand wrote while the memory was with the kernel.
    pub bytes_changed: u64,
    /// The queue's counts, summed.
    #[serde(serialize_with = "Stats::of_race")]
    #[cfg_attr(
        feature = "typescript",
        ts(
            type = "Pick<EngineStats, \"submitted\" | \"inFlightMax\" | \"retriedEintr\" | \"retriedEagain\" | \"shortReads\" | \"shortWrites\">"
        )
    )]
    pub stats: Stats,
}

/// `write-error`, `short-write`, `fsync-error`, `read-error`, `short-read`: the kernel's answer to an operation that was right.
/// `foreign-value`: the file holds what nobody wrote. `copies-differ`: the disk and the page cache disagree although nobody writes.
/// `child-data`: private memory of a child reached the file. `lost-at-fork`: what was read did not reach the reader.
pub const KINDS: [&str; 9] = [
    "write-error",
    "short-write",
    "fsync-error",
    "read-error",
    "short-read",
    "foreign-value",
    "copies-differ",
    "child-data",
    "lost-at-fork",
];

/// Races.
pub fn run(options: &Options) -> Outcome {
    run_with(options, &|depth| options.engine.open(depth))
}

/// Races through engines made by `open`, which is given the depth: one to write, one to read.
pub fn run_with(options: &Options, open: &dyn Fn(NonZeroUsize) -> Result<Box<dyn Engine>>) -> Outcome {
    let mut outcome = Outcome::default();
    let inherited = options.source == Source::Private && options.writer == Writer::Fork;
    let result = if inherited { inherit(options, open, &mut outcome) } else { scribbled(options, open, &mut outcome) };
    outcome.error = result.err().or_else(|| outcome.findings.full());
    outcome
}

fn make(path: &std::path::Path, flags: Flags) -> Result<File> {
    let file = File::open_to_write(path, true, flags)?;
    file.truncate(0).map_err(|errno| Error::new(Step::Open, "The file could not be emptied").errno(errno).path(path))?;
    Ok(file)
}

/// The common part of both races: a file, and transfers of all its blocks at once.
struct Transfers<'options> {
    options: &'options Options,
    blocks: usize,
}

impl Transfers<'_> {
    fn queue(
        &self,
        open: &dyn Fn(NonZeroUsize) -> Result<Box<dyn Engine>>,
        file: impl Into<OwnedFd>,
        pool: &Pool,
    ) -> Result<Queue> {
        let depth = NonZeroUsize::new(self.blocks).unwrap_or(NonZeroUsize::MIN);
        Queue::new(open(depth)?, depth, vec![file.into()], &pool.registrations)
    }

    fn push(&self, queue: &mut Queue, op: Op, buffers: Vec<Buffer>, generation: u32) {
        let bytes = self.options.block_bytes.get();
        for (index, buffer) in buffers.into_iter().enumerate() {
            queue.push(Operation { op, file: 0, offset: (index * bytes) as u64, bytes, buffer, generation, user_data: () });
        }
    }

    /// Waits for all, and judges them.
    fn reap(queue: &mut Queue, round: u64, findings: &mut Findings) -> Result<(Vec<Buffer>, bool)> {
        let mut done = Vec::new();
        queue.wait(usize::MAX, &mut done)?;
        Ok(Self::results(done, round, findings))
    }

    /// Checks the results, and gives the buffers back in the file's order. False when one was not done in full.
    fn results(mut done: Vec<Completion>, round: u64, findings: &mut Findings) -> (Vec<Buffer>, bool) {
        done.sort_unstable_by_key(|completion| completion.offset);
        let mut all = true;
        for Completion { op, offset, bytes, result, .. } in &done {
            all &= findings.transfer(*op, round, *offset, *bytes, *result, "O_DIRECT");
        }
        (done.into_iter().map(|completion| completion.buffer).collect(), all)
    }

    /// A failure is a finding, not an error: it is one of the things that the race brings about.
    fn fsync(&self, queue: &mut Queue, round: u64, findings: &mut Findings) -> Result<()> {
        match queue.fsync(0, &self.options.path) {
            Ok(()) => Ok(()),
            Err(error) => match error.errno {
                Some(errno) => {
                    let finding = Finding::new("fsync-error", 0, self.options.bytes as u64, "after the writes");
                    findings.add(finding.round(round).errno(errno));
                    Ok(())
                }
                None => Err(error),
            },
        }
    }
}

/// The report's race: the memory is the writer's and the kernel's at the same time.
fn scribbled(options: &Options, open: &dyn Fn(NonZeroUsize) -> Result<Box<dyn Engine>>, outcome: &mut Outcome) -> Result<()> {
    let transfers = Transfers { options, blocks: options.bytes / options.block_bytes };
    let mapped;
    let memory = match options.source {
        Source::Shared => Memory::Shared,
        Source::Private => Memory::Private,
        Source::Huge => Memory::Huge,
        Source::TransparentHuge => Memory::TransparentHuge,
        Source::File => {
            mapped = make(&options.mapped, Flags::default())?;
            Memory::File(mapped.as_fd())
        }
    };
    let mut pool = Pool::of(memory, transfers.blocks, options.block_bytes, Align::Offset(options.offset_in_page))?;
    let Some(window) = pool.window() else { return Ok(()) };
    // SAFETY: nobody uses the memory yet.
    unsafe { scribble::prepare(&window, options.seed, 0) };
    if options.source == Source::TransparentHuge {
        window.require_huge_pages()?;
    }
    // SAFETY: from here to the end of this function nobody looks into the pool's buffers.
    let scribbler = unsafe { Scribbler::start(options.writer, window, options.seed) }?;
    let written = make(&options.path, Flags::DIRECT)?;
    let buffered = File::open_to_read(&options.path, Flags::default())?;
    let back = Pool::new(transfers.blocks, options.block_bytes, Align::Offset(0))?;
    let reading = written.as_fd().try_clone_to_owned().map_err(|error| {
        Error::new(Step::Open, "The file cannot be opened once more").errno(Errno::from(&error)).path(&options.path)
    })?;
    let mut writes = transfers.queue(open, written, &pool)?;
    let mut reads = transfers.queue(open, reading, &back)?;
    let (mut from, mut into) = (pool.buffers, back.buffers);
    let mut cached = vec![0; options.bytes];
    let mut error = None;
    for round in 1_u64.. {
        if !overlap::goes_on(options.rounds, round, outcome.overlaps > 0, outcome.findings.total) {
            break;
        }
        match one(&transfers, &scribbler, &mut writes, &mut reads, (from, into), (&buffered, &mut cached), round, outcome) {
            Ok(buffers) => (from, into) = buffers,
            Err(problem) => {
                error = Some(problem);
                break;
            }
        }
    }
    drop(scribbler);
    outcome.stats += writes.finish();
    outcome.stats += reads.finish();
    error.map_or(Ok(()), Err)
}

type Buffers = (Vec<Buffer>, Vec<Buffer>);

#[allow(clippy::too_many_arguments, reason = "one round's state, and no sense of its own")]
fn one(
    transfers: &Transfers<'_>,
    scribbler: &Scribbler,
    writes: &mut Queue,
    reads: &mut Queue,
    (from, mut into): Buffers,
    (buffered, cached): (&File, &mut [u8]),
    round: u64,
    outcome: &mut Outcome,
) -> Result<Buffers> {
    let before = scribbler.moment();
    transfers.push(writes, Op::Write, from, round as u32);
    let mut done = Vec::new();
    let met = overlap::transfer(writes, &mut done, scribbler, || ())?;
    let (from, all) = Transfers::results(done, round, &mut outcome.findings);
    let after = scribbler.moment();
    outcome.rounds += 1;
    outcome.overlaps += u64::from(met);
    outcome.bytes_changed += (after.strides - before.strides) * scribble::STRIDE_BYTES;
    transfers.fsync(writes, round, &mut outcome.findings)?;
    if !all {
        return Ok((from, into));
    }
    for buffer in &mut into {
        buffer.fill(0);
    }
    transfers.push(reads, Op::Read, into, 0);
    let (into, all) = Transfers::reap(reads, round, &mut outcome.findings)?;
    let direct: Vec<&[u8]> = into.iter().map(|buffer| &buffer[..]).collect();
    let direct = direct.concat();
    if all {
        judge(&scribbler.between(before, after), &direct, round, (before, after), "O_DIRECT", &mut outcome.findings);
    }
    match buffered.read_whole(cached, 0) {
        Ok(()) => {
            judge(&scribbler.between(before, after), cached, round, (before, after), "the page cache", &mut outcome.findings);
            if all && let Some(at) = (0..cached.len()).find(|at| cached[*at] != direct[*at]) {
                let detail = format!("O_DIRECT reads {:02x} where the page cache has {:02x}", direct[at], cached[at]);
                outcome.findings.add(Finding::new("copies-differ", at as u64, 1, detail).round(round));
            }
        }
        Err(errno) => {
            let finding = Finding::new("read-error", 0, cached.len() as u64, "through the page cache");
            outcome.findings.add(finding.round(round).errno(errno));
        }
    }
    Ok((from, into))
}

fn judge(written: &Written, memory: &[u8], round: u64, (before, after): (Moment, Moment), how: &str, findings: &mut Findings) {
    if let Err(Foreign { offset, found, bytes }) = written.check(memory) {
        let passes = format!("{} to {}", before.pass.saturating_sub(1), after.pass);
        let detail = format!("{how} reads {found:02x?}, not a word of this place from the passes {passes}");
        findings.add(Finding::new("foreign-value", offset as u64, bytes as u64, detail).round(round));
    }
}

/// Before each read, so that what does not arrive is seen.
const POISON: u8 = 0x5a;

/// Private memory that children inherit while it is with the kernel. Every other buffer is in flight; the parent writes to the ones
/// between, so that it is the parent that the kernel has to make a copy for where two share a page.
fn inherit(options: &Options, open: &dyn Fn(NonZeroUsize) -> Result<Box<dyn Engine>>, outcome: &mut Outcome) -> Result<()> {
    if options.engine == Kind::Sync {
        let message = "A fork during the transfer needs one that goes on meanwhile: use libaio or io_uring";
        return Err(Error::new(Step::Options, message));
    }
    let transfers = Transfers { options, blocks: options.bytes / options.block_bytes };
    let align = Align::Offset(options.offset_in_page);
    let mut pool = Pool::of(Memory::Inherited, 2 * transfers.blocks, options.block_bytes, align)?;
    let file = make(&options.path, Flags::DIRECT)?;
    let buffered = File::open_to_read(&options.path, Flags::default())?;
    let mut queue = transfers.queue(open, file, &pool)?;
    let (mut moving, mut between) = (Vec::new(), Vec::new());
    for (index, buffer) in std::mem::take(&mut pool.buffers).into_iter().enumerate() {
        if index % 2 == 0 { moving.push(buffer) } else { between.push(buffer) }
    }
    let mut cached = vec![0; options.bytes];
    let mut result = Ok(());
    for round in 1_u64.. {
        if !overlap::goes_on(options.rounds, round, outcome.overlaps > 0, outcome.findings.total) {
            break;
        }
        let key = Key { seed: options.seed, file: 1, generation: round as u32 };
        match inherit_once(&transfers, &mut queue, moving, &mut between, &buffered, &mut cached, key, outcome) {
            Ok(buffers) => moving = buffers,
            Err(error) => {
                result = Err(error);
                break;
            }
        }
    }
    outcome.stats += queue.finish();
    result
}

/// Forks while the queue is at work: the child writes over what it has inherited, the parent touches the neighbours.
fn fork_now(
    queue: &mut Queue,
    target: (*mut u8, usize),
    between: &mut [Buffer],
    round: u64,
    outcome: &mut Outcome,
) -> Result<(Vec<Buffer>, bool)> {
    queue.submit()?;
    let (start, bytes) = (target.0, target.1);
    let scribble = |_| {
        for at in 0..bytes {
            // SAFETY: the child's own copy of the buffers.
            unsafe { start.wrapping_add(at).write_volatile(CHILD) };
        }
    };
    // SAFETY: only memory is touched.
    let child = unsafe { sys::fork::fork(scribble) }?;
    for buffer in between.iter_mut() {
        let last = buffer.len() - 1;
        buffer[0] = buffer[0].wrapping_add(1);
        buffer[last] = buffer[last].wrapping_add(1);
    }
    // What the kernel has still, it had when the child was made.
    outcome.overlaps += u64::from(queue.still_with_kernel()? > 0);
    let reaped = Transfers::reap(queue, round, &mut outcome.findings);
    drop(child);
    reaped
}

/// What children write.
const CHILD: u8 = 0xc4;

#[allow(clippy::too_many_arguments, reason = "one round's state, and no sense of its own")]
fn inherit_once(
    transfers: &Transfers<'_>,
    queue: &mut Queue,
    mut moving: Vec<Buffer>,
    between: &mut [Buffer],
    buffered: &File,
    cached: &mut [u8],
    key: Key,
    outcome: &mut Outcome,
) -> Result<Vec<Buffer>> {
    let round = u64::from(key.generation);
    let block = transfers.options.block_bytes.get();
    let expected = Stamped { key, offset: 0, bytes: transfers.options.bytes as u64 };
    for (index, buffer) in moving.iter_mut().enumerate() {
        key.fill((index * block) as u64, buffer);
    }
    // From the first buffer to the last that is in flight; those between are the parent's, and the child's copies are its own.
    let target = match (moving.first(), moving.last()) {
        (Some(first), Some(last)) => (first.as_ptr(), last.as_ptr() as usize + last.len() - first.as_ptr() as usize),
        _ => return Ok(moving),
    };
    transfers.push(queue, Op::Write, moving, key.generation);
    let (mut moving, all) = fork_now(queue, target, between, round, outcome)?;
    outcome.rounds += 1;
    transfers.fsync(queue, round, &mut outcome.findings)?;
    if !all {
        return Ok(moving);
    }
    match buffered.read_whole(cached, 0) {
        Ok(()) => {
            if let Some(range) = check_memory(&expected, 0, cached, 1).ranges.into_iter().next() {
                let detail = if cached[range.offset as usize] == CHILD { "the child's bytes" } else { "not what the parent wrote" };
                outcome.findings.add(Finding::of_range("child-data", range, detail).round(round));
                return Ok(moving);
            }
        }
        Err(errno) => {
            let finding = Finding::new("read-error", 0, cached.len() as u64, "through the page cache");
            outcome.findings.add(finding.round(round).errno(errno));
            return Ok(moving);
        }
    }
    for buffer in &mut moving {
        buffer.fill(POISON);
    }
    transfers.push(queue, Op::Read, moving, 0);
    let (moving, all) = fork_now(queue, target, between, round, outcome)?;
    if all {
        for (index, buffer) in moving.iter().enumerate() {
            let offset = (index * block) as u64;
            if let Some(range) = check_memory(&expected, offset, buffer, 1).ranges.into_iter().next() {
                let found = buffer[(range.offset - offset) as usize];
                let detail = match found {
                    POISON => "the memory is as it was before the read",
                    CHILD => "the memory has the child's bytes",
                    _ => "the memory has something else",
                };
                outcome.findings.add(Finding::of_range("lost-at-fork", range, detail).round(round));
            }
        }
    }
    Ok(moving)
}
