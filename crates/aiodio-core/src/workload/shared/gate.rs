//! A barrier that a panic opens.

use std::any::Any;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Step};

/// Where threads wait for each other. [`std::sync::Barrier`] waits for ever for one that has panicked.
#[derive(Debug)]
pub(crate) struct Gate {
    threads: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: usize,
    /// How often all have passed.
    passed: u64,
    broken: bool,
}

/// What [`Gate::wait`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// All are here; this one came last.
    Last,
    /// All are here.
    Together,
    /// One will never come.
    Broken,
}

impl Gate {
    /// For so many threads.
    pub(crate) fn new(threads: usize) -> Self {
        Self { threads, state: Mutex::default(), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all threads are here, or one has gone for a panic.
    pub(crate) fn wait(&self) -> Passed {
        let mut state = self.state();
        if state.broken {
            return Passed::Broken;
        }
        state.waiting += 1;
        if state.waiting == self.threads {
            state.waiting = 0;
            state.passed += 1;
            self.changed.notify_all();
            return Passed::Last;
        }
        let before = state.passed;
        while state.passed == before && !state.broken {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.passed == before { Passed::Broken } else { Passed::Together }
    }

    /// Has the others wait no longer when the thread that holds this goes for a panic.
    pub(crate) fn opened_by_panic(&self) -> Opener<'_> {
        Opener(self)
    }
}

/// See [`Gate::opened_by_panic`].
#[derive(Debug)]
pub(crate) struct Opener<'gate>(&'gate Gate);

impl Drop for Opener<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.state().broken = true;
            self.0.changed.notify_all();
        }
    }
}

/// The error that a thread's panic is: a mistake of the test's own, and no finding.
pub(crate) fn panicked(who: &str, panic: &(dyn Any + Send)) -> Error {
    let words = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    Error::new(Step::Setup, format!("{who} panicked, which is a mistake of the test's own: {}", words.unwrap_or("no words")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_pass_together_again_and_again_and_one_of_them_is_the_last() {
        let gate = Gate::new(3);
        let round = || (0..100).filter(|_| gate.wait() == Passed::Last).count();
        let last: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..3).map(|_| scope.spawn(round)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!(last, 100);
    }

    #[test]
    fn who_waits_for_one_that_panics_waits_no_longer() {
        let gate = Gate::new(2);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| gate.wait());
            let panics = scope.spawn(|| {
                let _opener = gate.opened_by_panic();
                panic!("planted {}", 1);
            });
            let panic = panics.join().expect_err("it panics");
            assert!(panicked("A worker", &*panic).message.ends_with("planted 1"));
            assert_eq!(waits.join().expect("no panic"), Passed::Broken);
        });
        assert_eq!(gate.wait(), Passed::Broken);
    }
}
