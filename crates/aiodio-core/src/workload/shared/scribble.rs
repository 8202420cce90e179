//! Somebody who changes memory while the kernel reads it: a forked child, as in Josef Bacik's report of 2011, or a thread.
//!
//! Every 8 bytes are a word that says where it belongs (its first 4 bytes) and in which pass over the memory it was written (its
//! last 4 bytes). So of any 8 bytes of the file one can say whether somebody wrote them there, and when, however torn they are.
//!
//! The child is forked from a process of many threads: it must not allocate, lock, panic or return. It has all signals blocked, no
//! descriptors, and three ways to end: it is told to, its parent is gone, or it is killed.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::thread::JoinHandle;

use serde::Deserialize;

use super::overlap::{Look, Other};
use crate::buffer::{Window, page_bytes};
use crate::error::{Errno, Error, Result, Step};
use crate::random::mix;
use crate::sys::fork::{Child, fork};
use crate::sys::mapping::Mapping;

/// Bytes of a word.
pub const WORD_BYTES: usize = 8;
/// Words between two looks at whether to stop: few microseconds of work.
const STRIDE: usize = 512;
/// Its length in bytes.
pub const STRIDE_BYTES: u64 = (STRIDE * WORD_BYTES) as u64;

/// Who scribbles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "ScribbleWriter"))]
#[serde(rename_all = "kebab-case")]
pub enum Writer {
    /// A child process.
    Fork,
    /// A thread of this process.
    Thread,
}

/// The first half of word number `index`: never zero, so that nothing unwritten looks like it.
fn mark(seed: u64, index: usize) -> u32 {
    mix(seed ^ index as u64) as u32 | 1
}

fn word(seed: u64, index: usize, pass: u32) -> u64 {
    u64::from(mark(seed, index)).to_le() | (u64::from(pass) << 32).to_le()
}

/// What both sides see. Lies in a shared mapping of its own.
#[repr(C)]
struct Control {
    stop: AtomicU32,
    /// The pass that has begun last.
    pass: AtomicU32,
    /// Strides written.
    strides: AtomicU64,
}

/// The mapping with the [`Control`] in it; a child has one of its own.
struct Shared(Mapping);

impl Shared {
    fn new() -> Result<Self> {
        Mapping::new(page_bytes(), libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, None, 0)
            .map(Self)
            .map_err(|errno| Error::new(Step::Buffers, "No memory to share with a child").errno(errno))
    }

    fn control(&self) -> &Control {
        // SAFETY: mapped as long as `self` is; zeroed memory is a `Control`, all of which is atomic.
        unsafe { self.0.start().cast().as_ref() }
    }
}

enum Hand {
    Child(Option<Child>),
    Thread(Option<JoinHandle<()>>),
}

/// A writer at work. Dropping it ends and reaps it.
pub struct Scribbler {
    hand: Hand,
    seed: u64,
    words: usize,
    // Declared last: it is dropped when the thread is gone.
    shared: std::sync::Arc<Shared>,
    _window: std::sync::Arc<Window>,
}

impl std::fmt::Debug for Scribbler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Scribbler({})", if matches!(self.hand, Hand::Child(_)) { "child" } else { "thread" })
    }
}

/// A moment of a writer's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The pass that has begun last.
    pub pass: u32,
    /// Strides written so far.
    pub strides: u64,
}

/// Writes pass 0 into memory that nobody else uses.
///
/// # Safety
/// The window's memory must be nobody's for the duration of the call.
pub unsafe fn prepare(window: &Window, seed: u64, pass: u32) {
    // SAFETY: the caller's promise.
    unsafe { write_pass(words(window), 0..window.len() / WORD_BYTES, seed, pass) };
}

#[allow(clippy::cast_ptr_alignment, reason = "checked when it starts")]
fn words(window: &Window) -> *mut u64 {
    window.as_ptr().cast()
}

/// # Safety
/// `start` has room for `words.end` words and nobody has a reference into them.
unsafe fn write_pass(start: *mut u64, words: std::ops::Range<usize>, seed: u64, pass: u32) {
    for index in words {
        // SAFETY: inside the memory. Volatile: the kernel and its devices read it at the same time.
        unsafe { start.wrapping_add(index).write_volatile(word(seed, index, pass)) };
    }
}

/// Writes pass after pass until it is told to stop or `alive` says no. Only memory and atomics.
///
/// # Safety
/// As for [`write_pass`].
unsafe fn scribble(control: &Control, start: *mut u64, words: usize, seed: u64, alive: impl Fn() -> bool) {
    let mut pass = 0_u32;
    loop {
        pass = pass.wrapping_add(1);
        control.pass.store(pass, Ordering::SeqCst);
        // Who sees a word of this pass sees its number too.
        fence(Ordering::SeqCst);
        let mut at = 0;
        while at < words {
            let end = words.min(at.wrapping_add(STRIDE));
            // SAFETY: the caller's promise.
            unsafe { write_pass(start, at..end, seed, pass) };
            at = end;
            control.strides.fetch_add(1, Ordering::SeqCst);
            if control.stop.load(Ordering::SeqCst) != 0 {
                return;
            }
        }
        if !alive() {
            return;
        }
    }
}

impl Other for Scribbler {
    /// A stride that is written counts; one that is begun may not have touched anything yet.
    fn look(&self) -> Look {
        let Moment { strides, .. } = self.moment();
        Look { begun: strides, ended: strides }
    }
}

impl Scribbler {
    /// Begins to scribble over the window, whose first address is a multiple of 8.
    ///
    /// # Safety
    /// From now on until it is dropped nobody may have a reference to the window's memory, that is: look into the pool's buffers.
    ///
    /// # Panics
    /// When the window is not aligned to 8 bytes.
    pub unsafe fn start(writer: Writer, window: Window, seed: u64) -> Result<Self> {
        assert!((window.as_ptr() as usize).is_multiple_of(WORD_BYTES), "words must be aligned");
        let shared = std::sync::Arc::new(Shared::new()?);
        let window = std::sync::Arc::new(window);
        let count = window.len() / WORD_BYTES;
        let hand = match writer {
            Writer::Fork => {
                let start = words(&window);
                let control = shared.control();
                // SAFETY: no conditions.
                let alive = |parent| move || unsafe { libc::getppid() } == parent;
                let body = |parent| {
                    // SAFETY: the caller's promise; memory, atomics and getppid only.
                    unsafe { scribble(control, start, count, seed, alive(parent)) };
                };
                // SAFETY: as above.
                let child = unsafe { fork(body) }?;
                Hand::Child(Some(child))
            }
            Writer::Thread => {
                let (shared, window) = (std::sync::Arc::clone(&shared), std::sync::Arc::clone(&window));
                let body = move || {
                    // SAFETY: the caller's promise.
                    unsafe { scribble(shared.control(), words(&window), count, seed, || true) };
                };
                let thread = std::thread::Builder::new().name("scribbler".to_owned()).spawn(body);
                Hand::Thread(Some(
                    thread.map_err(|error| Error::new(Step::Setup, "A thread could not be started").errno(Errno::from(&error)))?,
                ))
            }
        };
        Ok(Self { hand, seed, words: count, shared, _window: window })
    }

    /// Where it is.
    pub fn moment(&self) -> Moment {
        let control = self.shared.control();
        // Strides first: a pass that begins between the two loads is then counted in.
        let strides = control.strides.load(Ordering::SeqCst);
        Moment { pass: control.pass.load(Ordering::SeqCst), strides }
    }

    /// The words that the memory may have held between two moments.
    pub fn between(&self, first: Moment, last: Moment) -> Written {
        Written::new(self.seed, self.words, first.pass.saturating_sub(1)..=last.pass)
    }
}

impl Drop for Scribbler {
    fn drop(&mut self) {
        self.shared.control().stop.store(1, Ordering::SeqCst);
        match &mut self.hand {
            Hand::Child(child) => drop(child.take()),
            Hand::Thread(thread) => {
                if let Some(thread) = thread.take() {
                    drop(thread.join());
                }
            }
        }
    }
}

/// What each byte may be that was in the memory during some passes.
#[derive(Debug)]
pub struct Written {
    seed: u64,
    words: usize,
    /// Bit `value` of table `n`: byte `n` of a pass number may be `value`.
    tables: [[u64; 4]; 4],
}

/// A word that nobody wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// Byte offset of the word.
    pub offset: usize,
    /// What is there.
    pub found: [u8; WORD_BYTES],
    /// Bytes from there to the end of the last foreign word.
    pub bytes: usize,
}

impl Written {
    /// For passes with these numbers.
    pub fn new(seed: u64, words: usize, passes: std::ops::RangeInclusive<u32>) -> Self {
        let mut tables = [[0_u64; 4]; 4];
        let (first, last) = (*passes.start(), (*passes.end()).max(*passes.start()));
        for (byte, table) in tables.iter_mut().enumerate() {
            let shift = 8 * byte as u32;
            let (from, to) = (u64::from(first >> shift), u64::from(last >> shift));
            for value in from..=to.min(from + 255) {
                table[(value & 255) as usize / 64] |= 1 << (value % 64);
            }
        }
        Self { seed, words, tables }
    }

    fn has(&self, index: usize, found: [u8; WORD_BYTES]) -> bool {
        let mark = mark(self.seed, index).to_le_bytes();
        let allowed = |byte: usize| self.tables[byte][found[4 + byte] as usize / 64] >> (found[4 + byte] % 64) & 1 == 1;
        found[..4] == mark && (0..4).all(allowed)
    }

    /// Checks what was read of the whole memory. Any mixture of the passes is right.
    pub fn check(&self, memory: &[u8]) -> std::result::Result<(), Foreign> {
        let mut foreign: Option<Foreign> = None;
        for (index, found) in memory.as_chunks::<WORD_BYTES>().0.iter().enumerate().take(self.words) {
            if !self.has(index, *found) {
                let offset = index * WORD_BYTES;
                let first = foreign.get_or_insert(Foreign { offset, found: *found, bytes: 0 });
                first.bytes = offset + WORD_BYTES - first.offset;
            }
        }
        foreign.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
#[allow(clippy::multiple_unsafe_ops_per_block, reason = "they belong together")]
mod tests {
    use super::*;
    use crate::buffer::{Align, Memory, Pool};
    use proptest::prelude::*;
    use std::num::NonZeroUsize;

    const SEED: u64 = 7;

    fn pool(memory: Memory<'_>) -> Pool {
        Pool::of(memory, 1, NonZeroUsize::new(8 * page_bytes()).expect("not 0"), Align::Offset(0)).expect("memory")
    }

    fn exists(pid: libc::pid_t) -> bool {
        // SAFETY: signal 0 only asks.
        unsafe { libc::kill(pid, 0) == 0 }
    }

    #[test]
    fn a_child_and_a_thread_write_words_that_are_recognised_and_they_are_gone_when_dropped() {
        for writer in [Writer::Fork, Writer::Thread] {
            let mut pool = pool(Memory::Shared);
            let window = pool.window().expect("one");
            // SAFETY: nobody looks into the buffer before the scribbler is gone.
            let scribbler = unsafe {
                prepare(&window, SEED, 0);
                Scribbler::start(writer, window, SEED).expect("started")
            };
            let first = scribbler.moment();
            while scribbler.moment().strides < first.strides + 100 {
                std::thread::yield_now();
            }
            let child = if let Hand::Child(Some(Child(child))) = &scribbler.hand { Some(*child) } else { None };
            let window = pool.window().expect("one");
            drop(scribbler);
            assert!(!child.is_some_and(exists), "a child is left");
            // Its last moment is not known any more, but its words say it.
            // SAFETY: it is gone.
            let memory = unsafe { std::slice::from_raw_parts(window.as_ptr(), window.len()) };
            let pass = u32::from_le_bytes([memory[4], memory[5], memory[6], memory[7]]);
            assert!(pass >= 1);
            let words = window.len() / WORD_BYTES;
            assert_eq!(Written::new(SEED, words, pass - 1..=pass).check(memory), Ok(()));
            assert!(Written::new(SEED, words, pass + 1..=pass + 1).check(memory).is_err(), "an old pass must be seen");
            assert!(Written::new(SEED + 1, words, pass - 1..=pass).check(memory).is_err(), "another run must be seen");
        }
    }

    #[test]
    fn a_panic_ends_the_child_too() {
        let caught = std::panic::catch_unwind(|| {
            let mut pool = pool(Memory::Shared);
            // SAFETY: nobody looks into the buffer.
            let scribbler = unsafe { Scribbler::start(Writer::Fork, pool.window().expect("one"), SEED) }.expect("started");
            let Hand::Child(Some(Child(child))) = &scribbler.hand else { unreachable!("it forks") };
            std::panic::panic_any(*child);
        });
        let child = *caught.expect_err("it panicked").downcast::<libc::pid_t>().expect("a process ID");
        assert!(!exists(child));
    }

    #[test]
    fn a_child_has_no_descriptors_and_leaves_its_parents_signals_as_they_were() {
        let blocked = || {
            // SAFETY: asks for the calling thread's set.
            unsafe {
                let mut set: libc::sigset_t = std::mem::zeroed();
                libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut set);
                (1..64).map(|signal| libc::sigismember(&raw const set, signal)).collect::<Vec<_>>()
            }
        };
        let before = blocked();
        let mut pool = pool(Memory::Shared);
        // SAFETY: nobody looks into the buffer.
        let scribbler = unsafe { Scribbler::start(Writer::Fork, pool.window().expect("one"), SEED) }.expect("started");
        while scribbler.moment().strides == 0 {
            std::thread::yield_now();
        }
        let Hand::Child(Some(Child(child))) = &scribbler.hand else { unreachable!("it forks") };
        assert_eq!(std::fs::read_dir(format!("/proc/{child}/fd")).expect("alive").count(), 0);
        assert_eq!(blocked(), before);
    }

    proptest! {
        #[test]
        fn torn_words_of_the_right_passes_are_right_and_a_changed_mark_is_not(
            first: u32, more in 0_u32..1000, a in 0_u32..=1000, b in 0_u32..=1000, cut in 4_usize..8, bit in 0_usize..32,
        ) {
            let first = first.min(u32::MAX - 1000);
            let (a, b) = (first + a.min(more), first + b.min(more));
            let written = Written::new(SEED, 1, first..=first + more);
            let mut torn = word(SEED, 0, a).to_ne_bytes();
            torn[cut..].copy_from_slice(&word(SEED, 0, b).to_ne_bytes()[cut..]);
            prop_assert_eq!(written.check(&torn), Ok(()));
            torn[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(written.check(&torn).is_err());
            let old = word(SEED, 0, first.wrapping_sub(1)).to_ne_bytes();
            if more < 254 {
                prop_assert!(written.check(&old).is_err());
            }
        }
    }
}
