//! Who may use a file at the same time.
//!
//! Buffered writes and stores through a mapping are not coherent with direct I/O to the same page (open(2): "Applications should avoid
//! mixing `O_DIRECT` and normal I/O to the same file"), and a page may be part of a large folio: a mixture that goes wrong proves
//! nothing. So a file is used directly by many at once, or through the page cache by many at once, in turns. What the kernel itself
//! keeps apart from direct I/O, by waiting for what is in flight, goes beside either.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A way to use a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// `O_DIRECT`.
    Direct,
    /// `read(2)` and `write(2)` through the page cache.
    Buffered,
    /// `ftruncate(2)` and `fallocate(2)`.
    Reshape,
    /// A mapping, which a file that becomes shorter would kill with SIGBUS.
    Alone,
}

#[derive(Debug, Default)]
struct Users {
    direct: usize,
    buffered: usize,
    reshaping: usize,
    alone: usize,
    /// Tickets of those who wait, the first first.
    waiting: VecDeque<u64>,
    tickets: u64,
    /// Somebody who had a turn will never give it back.
    closed: bool,
}

impl Users {
    fn admits(&self, mode: Mode) -> bool {
        !self.closed
            && self.alone == 0
            && match mode {
                Mode::Direct => self.buffered == 0,
                Mode::Buffered => self.direct == 0,
                Mode::Reshape => true,
                Mode::Alone => self.direct + self.buffered + self.reshaping == 0,
            }
    }

    fn count(&mut self, mode: Mode) -> &mut usize {
        match mode {
            Mode::Direct => &mut self.direct,
            Mode::Buffered => &mut self.buffered,
            Mode::Reshape => &mut self.reshaping,
            Mode::Alone => &mut self.alone,
        }
    }
}

/// The turns of one file. First come, first served, so that nobody starves.
#[derive(Debug, Default)]
pub(super) struct Turns {
    users: Mutex<Users>,
    changed: Condvar,
}

impl Turns {
    fn users(&self) -> MutexGuard<'_, Users> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a turn if that needs no waiting. Every turn must be given back with [`Self::end`].
    pub(super) fn try_begin(&self, mode: Mode) -> bool {
        let mut users = self.users();
        let free = users.waiting.is_empty() && users.admits(mode);
        if free {
            *users.count(mode) += 1;
        }
        free
    }

    /// Takes a turn when it comes; false when it will not, because of a panic. Whoever calls this must hold none, of any file: others
    /// wait for that.
    pub(super) fn begin(&self, mode: Mode) -> bool {
        let mut users = self.users();
        users.tickets += 1;
        let ticket = users.tickets;
        users.waiting.push_back(ticket);
        while users.waiting.front() != Some(&ticket) || !users.admits(mode) {
            if users.closed {
                return false;
            }
            users = self.changed.wait(users).unwrap_or_else(PoisonError::into_inner);
        }
        users.waiting.pop_front();
        *users.count(mode) += 1;
        // The next in the queue may be of the same mode.
        self.changed.notify_all();
        true
    }

    /// Has nobody wait any longer, since somebody who had a turn has panicked.
    pub(super) fn close(&self) {
        self.users().closed = true;
        self.changed.notify_all();
    }

    /// Gives a turn back.
    pub(super) fn end(&self, mode: Mode) {
        *self.users().count(mode) -= 1;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn direct_and_buffered_exclude_each_other_and_a_mapping_excludes_all() {
        let modes = [Mode::Direct, Mode::Buffered, Mode::Reshape, Mode::Alone];
        let together = |a: Mode, b: Mode| {
            let turns = Turns::default();
            assert!(turns.try_begin(a));
            turns.try_begin(b)
        };
        let beside: Vec<Vec<bool>> = modes.iter().map(|a| modes.iter().map(|b| together(*a, *b)).collect()).collect();
        let expected =
            [[true, false, true, false], [false, true, true, false], [true, true, true, false], [false, false, false, false]];
        assert_eq!(beside, expected);
    }

    #[test]
    fn nobody_waits_for_one_that_has_panicked() {
        let turns = Turns::default();
        assert!(turns.try_begin(Mode::Direct));
        std::thread::scope(|scope| {
            let waiters: Vec<_> = (0..2).map(|_| scope.spawn(|| turns.begin(Mode::Buffered))).collect();
            while turns.users().waiting.len() < 2 {
                std::thread::yield_now();
            }
            turns.close();
            for waiter in waiters {
                assert!(!waiter.join().expect("no panic"));
            }
        });
        assert!(!turns.try_begin(Mode::Direct) && !turns.begin(Mode::Direct));
    }

    #[test]
    fn who_waits_is_not_overtaken() {
        let turns = Turns::default();
        assert!(turns.try_begin(Mode::Direct));
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                turns.begin(Mode::Buffered);
                turns.end(Mode::Buffered);
            });
            while turns.users().waiting.is_empty() {
                std::thread::yield_now();
            }
            assert!(!turns.try_begin(Mode::Direct), "somebody waits for the other mode");
            turns.end(Mode::Direct);
            waiter.join().expect("no panic");
        });
        assert!(turns.try_begin(Mode::Direct));
    }
}
