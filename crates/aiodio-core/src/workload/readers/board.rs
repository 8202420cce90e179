//! What writers tell and readers ask: the content that is right, and who may go on.
//!
//! Readers in a tight loop starve a writer that needs the file to itself: a reader holds the inode's lock shared, and an XFS write
//! that is extending or not aligned to the block waits until there is none. So readers take turns. A turn begins when the
//! writers have got ahead by a *lap*, and ends when a reader has read its share; within a lap all readers race freely. However many
//! readers there are, each lap of the writers costs a bounded amount of reading.

use std::collections::VecDeque;
use std::ops::{Range, RangeInclusive};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{BadRead, Tally};
use crate::error::Error;
use crate::oracle::{Change, ChangeId, Content, Ending, Expected, Oracle, ReadId, SizeChange};
use crate::stamp::Key;

/// Laps of one piece of work, at most: their cost is waking all readers.
const LAPS_MAX: u64 = 2048;
/// What each reader may read in each lap at least, in bytes.
const SHARE_MIN: u64 = 64 << 10;
/// A turn lasts so long at least, so that readers are still reading when the write is under way that their turn began with.
pub(super) const TURN_MIN: Duration = Duration::from_micros(200);

/// How readers and writers keep pace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Completed writes that make a lap.
    lap_writes: u64,
    /// What a reader may read in a lap, in bytes.
    pub(super) share: u64,
}

impl Pace {
    /// For that many writes of that many bytes each, and readers that may read `times` as much as is written, all together.
    pub(super) fn new(writes: u64, block_bytes: u64, readers: usize, times: u64) -> Self {
        let lap_writes = writes.div_ceil(LAPS_MAX).max(1);
        let share = (times * lap_writes * block_bytes / (readers.max(1) as u64)).max(SHARE_MIN);
        Self { lap_writes, share }
    }
}

/// The one place that writers and readers of a file share.
pub(super) struct Board {
    pace: Pace,
    readers: usize,
    state: Mutex<State>,
    /// A lap has begun, or it is over.
    lap_begun: Condvar,
    /// A reader is ready or has its turn, or it is over.
    reader_moved: Condvar,
    over: AtomicBool,
    reads: AtomicU64,
    overlapping: AtomicU64,
    touching: AtomicU64,
    bytes_read: AtomicU64,
}

struct State {
    oracle: Oracle,
    ready: usize,
    turns: u64,
    lap: u64,
    begun: u64,
    ended: u64,
    /// Calls of `fsync(2)` under way, and all so far.
    syncing: u64,
    syncs: u64,
    truncations: u64,
    /// Where the newest writes are or were; the latest last.
    newest: VecDeque<Range<u64>>,
    bad: Option<BadRead>,
    bad_reads: u64,
    error: Option<Error>,
}

/// Newest writes that readers follow.
const FOLLOWED: usize = 16;

/// A read that has begun.
pub(super) struct Ticket {
    read: ReadId,
    /// Changes and `fsync(2)` calls begun before.
    begun: u64,
    /// Whether one of them was under way.
    busy: bool,
    sizes: RangeInclusive<u64>,
    truncations: u64,
}

/// What a read that has ended may have seen.
pub(super) struct Seen {
    key: Key,
    sizes: RangeInclusive<u64>,
    parts: Vec<(Range<u64>, Vec<Content>)>,
    /// All sizes that the file may have had during the read; none when a truncation began meanwhile.
    pub(super) steady_sizes: Option<RangeInclusive<u64>>,
}

impl Expected for Seen {
    fn key(&self) -> Key {
        self.key
    }
    fn sizes(&self) -> RangeInclusive<u64> {
        self.sizes.clone()
    }
    fn each(&self, range: Range<u64>, visit: &mut dyn FnMut(Range<u64>, &[Content])) {
        for (part, contents) in &self.parts {
            let both = part.start.max(range.start)..part.end.min(range.end);
            if !both.is_empty() {
                visit(both, contents);
            }
        }
    }
}

/// What a reader may do now.
pub(super) struct Turn {
    /// Its number.
    pub(super) lap: u64,
    /// Where writing goes on.
    pub(super) newest: Range<u64>,
}

impl Board {
    pub(super) fn new(oracle: Oracle, pace: Pace, readers: usize) -> Self {
        Self {
            pace,
            readers,
            state: Mutex::new(State {
                oracle,
                ready: 0,
                turns: 0,
                lap: 0,
                begun: 0,
                ended: 0,
                syncing: 0,
                syncs: 0,
                truncations: 0,
                newest: VecDeque::with_capacity(FOLLOWED),
                bad: None,
                bad_reads: 0,
                error: None,
            }),
            lap_begun: Condvar::new(),
            reader_moved: Condvar::new(),
            over: AtomicBool::new(false),
            reads: AtomicU64::new(0),
            overlapping: AtomicU64::new(0),
            touching: AtomicU64::new(0),
            bytes_read: AtomicU64::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether everybody is to stop.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Everybody is to stop.
    pub(super) fn finish(&self) {
        // Under the lock, so that nobody goes to sleep between looking and the call that would wake him.
        let _state = self.state();
        self.over.store(true, Ordering::Release);
        self.lap_begun.notify_all();
        self.reader_moved.notify_all();
    }

    /// Somebody can't go on; the first error counts.
    pub(super) fn fail(&self, error: Error) {
        self.state().error.get_or_insert(error);
        self.finish();
    }

    // For writers.

    /// A change is about to be submitted.
    pub(super) fn begin(&self, change: Change) -> ChangeId {
        let mut state = self.state();
        if let SizeChange::Set(_) = change.size {
            state.truncations += 1;
        } else {
            if state.newest.len() == FOLLOWED {
                state.newest.pop_front();
            }
            state.newest.push_back(change.range.clone());
        }
        state.begun += 1;
        state.oracle.begin(change)
    }

    /// Its completion has been reaped.
    pub(super) fn end(&self, change: ChangeId, ending: Ending) {
        let mut state = self.state();
        state.oracle.end(change, ending);
        state.ended += 1;
        if state.ended.is_multiple_of(self.pace.lap_writes) {
            self.next_lap(&mut state);
        }
    }

    /// Does `call`, which writes back what is in the page cache: readers beside it race as well.
    pub(super) fn while_syncing<T>(&self, call: impl FnOnce() -> T) -> T {
        let mut state = self.state();
        state.syncing += 1;
        state.syncs += 1;
        drop(state);
        let result = call();
        self.state().syncing -= 1;
        result
    }

    fn next_lap(&self, state: &mut State) {
        state.lap += 1;
        self.lap_begun.notify_all();
    }

    /// Waits until all readers are there, starts them, and waits until one has its turn. At once where there are none.
    pub(super) fn start_readers(&self) {
        let mut state = self.state();
        while state.ready < self.readers && !self.is_over() {
            state = self.reader_moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        self.next_lap(&mut state);
        // Turns are counted: the one that is waited for may be over before this thread runs.
        let turns = state.turns;
        while state.turns == turns && self.readers > 0 && !self.is_over() {
            state = self.reader_moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    // For readers.

    /// A reader is there.
    pub(super) fn ready(&self) {
        self.state().ready += 1;
        self.reader_moved.notify_all();
    }

    /// Sleeps until a lap after `lap` has begun; none when it is over.
    pub(super) fn turn_after(&self, lap: u64) -> Option<Turn> {
        let mut state = self.state();
        while state.lap == lap && !self.is_over() {
            state = self.lap_begun.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if self.is_over() {
            return None;
        }
        state.turns += 1;
        self.reader_moved.notify_one();
        let start = state.newest.iter().map(|range| range.start).min().unwrap_or(0);
        let end = state.newest.iter().map(|range| range.end).max().unwrap_or(0);
        Some(Turn { lap: state.lap, newest: start..end })
    }

    /// Whether the share has been read, and the turn has lasted long enough.
    pub(super) fn is_spent(&self, bytes: u64, began: Instant) -> bool {
        bytes >= self.pace.share && began.elapsed() >= TURN_MIN
    }

    /// A read is about to be made.
    pub(super) fn begin_read(&self) -> Ticket {
        let mut state = self.state();
        let read = state.oracle.begin_read();
        let State { begun, ended, syncing, syncs, truncations, .. } = *state;
        let busy = begun > ended || syncing > 0;
        Ticket { read, begun: begun + syncs, busy, sizes: state.oracle.sizes(), truncations }
    }

    /// The read has been made; what it returned was from `range`.
    pub(super) fn end_read(&self, ticket: &Ticket, range: &Range<u64>) -> Seen {
        let mut parts: Vec<(Range<u64>, Vec<Content>)> = Vec::with_capacity(1);
        let mut state = self.state();
        state.oracle.seen_by(ticket.read).each(range.clone(), &mut |part, contents| parts.push((part, contents.to_vec())));
        state.oracle.end_read(ticket.read);
        let key = state.oracle.key();
        let sizes = state.oracle.sizes();
        let steady = state.truncations == ticket.truncations;
        let busy = ticket.busy || state.begun + state.syncs > ticket.begun;
        drop(state);
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.bytes_read.fetch_add(range.end - range.start, Ordering::Relaxed);
        if busy {
            self.overlapping.fetch_add(1, Ordering::Relaxed);
            if parts.iter().any(|(_, contents)| contents.len() > 1) {
                self.touching.fetch_add(1, Ordering::Relaxed);
            }
        }
        let steady_sizes = steady.then(|| *ticket.sizes.start()..=*sizes.end().max(ticket.sizes.end()));
        Seen { key, sizes, parts, steady_sizes }
    }

    /// A read returned what it must not. Ends everything; the first one is kept.
    pub(super) fn report(&self, bad: BadRead) {
        let mut state = self.state();
        state.bad_reads += 1;
        state.bad.get_or_insert(bad);
        drop(state);
        self.finish();
    }

    // For the report.

    /// Reads that overlapped a change or its writeback in flight, so far.
    pub(super) fn overlapping(&self) -> u64 {
        self.overlapping.load(Ordering::Relaxed)
    }

    /// What has happened, and what the file should be now.
    pub(super) fn into_result(self) -> (Tally, Option<BadRead>, Option<Error>, Oracle) {
        let tally = Tally {
            reads: self.reads.into_inner(),
            overlapping: self.overlapping.into_inner(),
            touching: self.touching.into_inner(),
            bytes_read: self.bytes_read.into_inner(),
            ..Tally::default()
        };
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        (Tally { laps: state.lap, bad_reads: state.bad_reads, ..tally }, state.bad, state.error, state.oracle)
    }
}
