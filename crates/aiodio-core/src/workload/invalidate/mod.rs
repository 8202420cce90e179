//! Direct writes beside other uses of the same pages.
//!
//! A direct write goes around the page cache, so the kernel drops the pages that cover its range, before and after. It drops whole
//! pages. When a write is smaller than a page, or begins inside one, that page also covers bytes of somebody else; when those are
//! dirty, being read or pinned at that moment, the page cannot be dropped. Then the kernel says "Page cache invalidation failure on
//! direct I/O", the next `fsync` fails with EIO, and the page that stays may hold old data of the written range, which its own
//! writeback then puts over the new.
//!
//! Linux does not promise to sort that out for a program that mixes direct I/O with other uses of a page; it promises to say so. So a
//! loss that `fsync` reported is permitted there. A silent one is permitted in one case only: something wrote to the same page
//! meanwhile through the page cache, and the range has the data from before. A page is read, changed and written back as a whole. When it
//! was read before the direct write reached the device, and was written back before the kernel came to drop it, it was clean then:
//! nothing was left that could tell. (Shown on Linux 6.18 by a trace of the block layer: direct write queued, block read, direct write
//! issued, block written, both complete, page dropped. open(2) warns of mixing the two.) A program that uses direct I/O alone has no
//! part in it: there any loss and any EIO is the kernel's own doing.
//!
//! The file is a row of units of whole pages. A direct write covers the middle of a unit; the collider has its head and its tail,
//! which are in the same pages. No byte is written by both, so each must be what its writer wrote.

mod colliders;
mod judging;
mod layout;

use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::mpsc::channel;

use serde::{Deserialize, Serialize};

pub use self::colliders::Collider;
use self::colliders::{Colliding, Report, collide};
use self::judging::Round;
pub use self::layout::Units;
use self::layout::{Layout, expected};
use crate::buffer::{Align, Buffer, Pool};
use crate::engine::{self, Engine, Queue, Stats};
use crate::error::{Error, Result, Step};
use crate::stamp::Key;
use crate::sys::{self, Flags};
use crate::workload::copy::Fsync;
use crate::workload::shared::finding::{Finding, Findings};
use crate::workload::shared::overlap;
use crate::{expectation, json};

/// What to do.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    /// Made anew.
    pub path: PathBuf,
    /// Bytes of each direct write, a multiple of `dio_offset_align`.
    pub block_bytes: NonZeroUsize,
    /// What offset and length of direct I/O must be multiples of; also where in its first page a direct write begins.
    pub dio_offset_align: NonZeroUsize,
    /// What memory must be aligned to for direct I/O, in bytes.
    pub dio_mem_align: NonZeroUsize,
    /// Direct writes of a round, all in flight together.
    pub writes: NonZeroUsize,
    /// How often, at least: where nothing has met by then it goes on until it has, for up to [`super::shared::overlap::EXTRA_ROUNDS`] rounds.
    pub rounds: u32,
    /// The kernel's interface.
    pub engine: engine::Kind,
    /// What collides.
    pub collider: Collider,
    /// When the file is synced. Whatever this says, it is once at the end of each round, unless it is `None`.
    pub fsync: Fsync,
    /// Where the direct writes' memory starts in its page, in bytes.
    pub offset_in_page: usize,
    /// Whether EIO from `fsync` is a finding although the collider uses the page cache.
    pub strict: bool,
    /// Seed of the data.
    #[serde(deserialize_with = "json::read_seed")]
    #[cfg_attr(feature = "typescript", ts(type = "bigint"))]
    pub seed: u64,
}

/// How it went.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Why it could not go on.
    pub error: Option<Error>,
    /// What should not be.
    pub findings: Findings,
    /// `fsync` failed with EIO after a collision that the kernel does not promise to sort out.
    pub permitted: u64,
    /// Rounds in which data were lost and `fsync` said so, or a page that was changed meanwhile went over a direct write, likewise.
    pub announced: u64,
    /// One of those failures, for a report.
    pub example: Option<Finding>,
    /// Rounds done.
    pub rounds: u32,
    /// Direct writes done.
    pub writes: u64,
    /// Collisions made.
    pub collisions: u64,
    /// Those that were made while the direct write of the same unit was under way.
    pub overlaps: u64,
    /// Those of them that touched a page of the direct write.
    pub shared_pages: u64,
    /// The queue's counts.
    #[serde(serialize_with = "Stats::of_race")]
    #[cfg_attr(
        feature = "typescript",
        ts(
            type = "Pick<EngineStats, \"submitted\" | \"inFlightMax\" | \"retriedEintr\" | \"retriedEagain\" | \"shortReads\" | \"shortWrites\">"
        )
    )]
    pub stats: Stats,
    /// What the file is now.
    #[serde(rename = "expectation", serialize_with = "expectation::keep_if_any")]
    #[cfg_attr(feature = "typescript", ts(type = "number", optional))]
    pub expected: Option<Units>,
}

/// `write-error`, `short-write`, `collider-error`: the kernel's answer to what was right. `fsync-error`: the collision made
/// `fsync` fail. `direct-lost`, `buffered-lost`: the range of the one or of the other is not what was written, in the page cache.
/// `direct-lost-on-disk`, `buffered-lost-on-disk`: the page cache was right, and what is read past it, from the disk, is not.
/// `reader-saw`: a reader saw what was never there. `read-error`: the file, or its copy on the disk, could not be read.
pub const KINDS: [&str; 10] = [
    "write-error",
    "short-write",
    "collider-error",
    "fsync-error",
    "direct-lost",
    "buffered-lost",
    "direct-lost-on-disk",
    "buffered-lost-on-disk",
    "reader-saw",
    "read-error",
];

/// Races.
pub fn run(options: &Options) -> Outcome {
    match options.engine.open(options.writes) {
        Ok(engine) => run_with(engine, options),
        Err(error) => Outcome { error: Some(error), ..Outcome::default() },
    }
}

/// Races through the given engine.
pub fn run_with(engine: Box<dyn Engine>, options: &Options) -> Outcome {
    let mut outcome = Outcome::default();
    let error = race(engine, options, &mut outcome).err();
    outcome.error = error.or_else(|| outcome.findings.full());
    outcome
}

fn race(engine: Box<dyn Engine>, options: &Options, outcome: &mut Outcome) -> Result<()> {
    let layout = Layout::new(options);
    let direct = sys::File::open_to_write(&options.path, true, Flags::DIRECT)?;
    let buffered = sys::File::open_to_write(&options.path, true, Flags::default())?;
    let key = Key { seed: options.seed, file: 1, generation: 0 };
    buffered
        .truncate(0)
        .map_err(|errno| Error::new(Step::Open, "The file could not be emptied").errno(errno).path(&options.path))?;
    let whole = NonZeroUsize::new(layout.bytes() as usize).unwrap_or(NonZeroUsize::MIN);
    let mut memory = Pool::new(1, whole, Align::Offset(0))?.buffers.remove(0);
    key.fill(0, &mut memory);
    buffered
        .write_whole(&memory, 0, 0)
        .map_err(|errno| Error::new(Step::Write, "The file could not be filled").errno(errno).path(&options.path))?;
    let pool = Pool::new(options.writes.get(), options.block_bytes, Align::Offset(options.offset_in_page))?;
    let mut queue = Queue::new(engine, options.writes, vec![OwnedFd::from(direct)], &pool.registrations)?;
    let mut free = pool.buffers;
    let mut colliding = Colliding::new(options, layout, &buffered)?;
    let (orders, received) = channel::<u32>();
    let (reports, reported) = channel::<Report>();
    let gone = || Error::new(Step::Setup, "The colliding thread is gone");
    let result = std::thread::scope(|scope| {
        let colliding = &mut colliding;
        // Ends when the sender of orders is gone, on whichever path.
        scope.spawn(move || collide(colliding, &received, &reports));
        let orders = orders;
        for round in 1_u32.. {
            if !overlap::goes_on(options.rounds, round, outcome.overlaps > 0, outcome.findings.total) {
                break;
            }
            let mut one = Round::new(options, layout, round, outcome);
            free = one.write(&mut queue, std::mem::take(&mut free), || orders.send(round).map_err(|_| gone()))?;
            let report = reported.recv().map_err(|_| gone())?;
            one.judge(&mut queue, report, &mut memory)?;
        }
        Ok(())
    });
    let result = result.and_then(|()| last(&mut queue, free, &mut colliding, &mut memory, outcome));
    outcome.stats = queue.finish();
    outcome.expected = Some(expected(options, layout, outcome.rounds));
    result
}

/// One round more, in which nothing meets: after all that went before, everything must be right again.
fn last(
    queue: &mut Queue,
    free: Vec<Buffer>,
    colliding: &mut Colliding<'_>,
    memory: &mut [u8],
    outcome: &mut Outcome,
) -> Result<()> {
    let (options, layout) = (colliding.options, colliding.layout);
    let round = outcome.rounds + 1;
    let mut one = Round::new(options, layout, round, outcome);
    // What is still to be reported is of the rounds before.
    one.sync(queue, None)?;
    one.settle(Vec::new());
    one.alone = true;
    drop(one.write(queue, free, || Ok(()))?);
    let mut report = Report::default();
    for index in 0..layout.writes {
        colliding.unit(index, round, &mut report);
    }
    // They are not collisions.
    report.collisions.clear();
    one.judge(queue, report, memory)
}
