//! Whether the two sides of a race were under way at once, in the strongest meaning that can be known from outside the kernel.
//!
//! That a transfer has not been reaped does not say that it is in flight: it may have been over long before. So its completions are
//! looked for all the time, and only a look that finds it in flight counts. A call counts from just before its entry to just after its
//! return. Where a transfer was over before the first look, its submission has done it (through `sync`, behind the end on ext4,
//! smaller than a block on XFS, with data checksums on btrfs), and that call is what the other side must have met.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::engine::{Completion, Queue};
use crate::error::Result;

/// So many rounds more a race gets whose sides have not met: by number and not by time, so that a slow machine gets as many.
pub const EXTRA_ROUNDS: u32 = 1000;

/// Whether there is this round, of those that were asked for. Rounds that prove nothing yet, since nothing has met and nothing was found,
/// are followed by more of them.
pub(crate) fn goes_on(asked: impl Into<u64>, round: impl Into<u64>, met: bool, found: u64) -> bool {
    round.into() <= asked.into().saturating_add(if met || found > 0 { 0 } else { EXTRA_ROUNDS.into() })
}

/// The calls of one side.
#[derive(Debug, Default)]
pub(crate) struct Side {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// How many calls of a side had begun at a moment, and how many had ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// Not less than [`Self::ended`].
    pub(crate) begun: u64,
    /// Of those that had begun.
    pub(crate) ended: u64,
}

/// What acts while transfers are under way. What it does is counted: calls, or writes to memory, which are over as they are counted.
pub(crate) trait Other {
    /// What it has done so far.
    fn look(&self) -> Look;
}

impl Side {
    /// Makes a call.
    pub(crate) fn during<R>(&self, call: impl FnOnce() -> R) -> R {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let result = call();
        self.ended.fetch_add(1, Ordering::SeqCst);
        result
    }

    /// Makes a call of another side's. Whether one of this side's was under way meanwhile.
    pub(crate) fn beside<R>(&self, call: impl FnOnce() -> R) -> (R, bool) {
        let before = self.look();
        let result = call();
        (result, before.met(self.look()))
    }

    /// Calls begun so far.
    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }
}

impl Other for Side {
    fn look(&self) -> Look {
        // In this order, so that a call that ends in between is not taken for one under way.
        let begun = self.begun();
        Look { begun, ended: self.ended.load(Ordering::SeqCst) }
    }
}

impl Look {
    /// Whether a call was under way at some time between the two, of which `self` is the earlier.
    fn met(self, later: Self) -> bool {
        later.begun > self.begun || (self.begun > self.ended && later.ended == self.ended)
    }
}

/// Submits what is staged and waits for all of it. `submitted` is called when it is with the kernel. Returns whether the other side
/// acted meanwhile.
pub(crate) fn transfer(
    queue: &mut Queue,
    done: &mut Vec<Completion>,
    other: &impl Other,
    submitted: impl FnOnce(),
) -> Result<bool> {
    let before = other.look();
    queue.submit()?;
    let mut earlier = other.look();
    let met_submission = before.met(earlier);
    submitted();
    let (mut met, mut looks) = (false, 0_u32);
    loop {
        let now = other.look();
        queue.poll(done)?;
        if queue.in_flight() == 0 {
            return Ok(if looks == 0 { met_submission } else { met });
        }
        // In flight now, and so since the submission: what was under way until `now` met it, and so does what is.
        met |= earlier.met(now) || now.begun > now.ended && other.look().ended == now.ended;
        earlier = now;
        looks = looks.saturating_add(1);
        std::thread::yield_now();
    }
}

/// When a transfer was with the kernel, for comparing it with calls whose times are known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    submitting: Instant,
    submitted: Instant,
    /// The last look that found it in flight.
    seen: Option<Instant>,
}

impl Watch {
    /// Submits what is staged.
    pub(crate) fn submit(queue: &mut Queue) -> Result<Self> {
        let submitting = Instant::now();
        queue.submit()?;
        Ok(Self { submitting, submitted: Instant::now(), seen: None })
    }

    /// Takes what is over, and waits until something is. What is still in flight is so at a later time then.
    pub(crate) fn poll(&mut self, queue: &mut Queue, done: &mut Vec<Completion>) -> Result<()> {
        loop {
            let now = Instant::now();
            queue.poll(done)?;
            if !done.is_empty() || queue.in_flight() == 0 {
                return Ok(());
            }
            self.seen = Some(now);
            std::thread::yield_now();
        }
    }

    /// When what was taken just now may have been in flight at the most: from before its submission until now.
    pub(crate) fn possible(&self) -> std::ops::Range<Instant> {
        self.submitting..Instant::now()
    }

    /// What is taken next was in flight until then, as far as is known.
    pub(crate) fn certain(&self) -> std::ops::Range<Instant> {
        match self.seen {
            Some(seen) => self.submitted.min(seen)..seen,
            None => self.submitting..self.submitted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::{Align, Pool};
    use crate::engine::{Kind, Op, Operation};
    use std::num::NonZeroUsize;
    use std::os::fd::OwnedFd;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn calls_have_met_what_lay_between_two_looks_or_around_both() {
        let look = |begun, ended| Look { begun, ended };
        assert!(!look(0, 0).met(look(0, 0)));
        assert!(!look(3, 3).met(look(3, 3)));
        assert!(look(0, 0).met(look(1, 0)), "begun in between");
        assert!(look(0, 0).met(look(1, 1)), "begun and ended in between");
        assert!(look(1, 0).met(look(1, 0)), "under way all the time");
        assert!(!look(1, 0).met(look(1, 1)), "ended in between, perhaps before anything else");
    }

    /// One write of a file, beside nothing, beside one call that lasts, and beside one that was over.
    #[test]
    fn a_transfer_meets_what_is_under_way_and_nothing_else() {
        let place = tempfile::NamedTempFile::new().expect("file");
        let bytes = NonZeroUsize::new(4096).unwrap_or(NonZeroUsize::MIN);
        for kind in [Kind::Sync, Kind::Libaio] {
            let file = OwnedFd::from(place.reopen().expect("file"));
            let pool = Pool::new(1, bytes, Align::Offset(0)).expect("memory");
            let depth = NonZeroUsize::MIN;
            let mut queue = Queue::new(kind.open(depth).expect("engine"), depth, vec![file], &pool.registrations).expect("queue");
            let mut free = pool.buffers;
            let mut write = |side: &Side| {
                let buffer = free.pop().expect("buffer");
                queue.push(Operation { op: Op::Write, file: 0, offset: 0, bytes: 4096, buffer, generation: 1, user_data: () });
                let mut done = Vec::new();
                let met = transfer(&mut queue, &mut done, side, || ()).expect("transfer");
                free.extend(done.into_iter().map(|completion| completion.buffer));
                met
            };
            let side = Side::default();
            assert!(!write(&side), "{kind:?}: there is nothing");
            side.during(|| ());
            assert!(!write(&side), "{kind:?}: it was over");
            let (begun, over) = (AtomicBool::new(false), AtomicBool::new(false));
            let met = std::thread::scope(|scope| {
                scope.spawn(|| {
                    side.during(|| {
                        begun.store(true, Ordering::SeqCst);
                        while !over.load(Ordering::SeqCst) {
                            std::thread::yield_now();
                        }
                    });
                });
                while !begun.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
                let met = write(&side);
                over.store(true, Ordering::SeqCst);
                met
            });
            assert!(met, "{kind:?}: it lasts");
        }
    }
}
