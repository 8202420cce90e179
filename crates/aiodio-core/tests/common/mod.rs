//! What the integration tests share: where to test, and an engine that makes trouble on purpose.
#![allow(
    dead_code,
    clippy::unwrap_used,
    unreachable_pub,
    missing_docs,
    reason = "each test uses a part; a panic is how a test fails"
)]

use std::num::NonZeroUsize;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use aiodio_core::buffer::{Align, Registration};
use aiodio_core::engine::{Engine, Event, Kind, Op, Request};
use aiodio_core::error::{Errno, Result};
use aiodio_core::stamp::Key;
use aiodio_core::verify::{self, Level, Outcome};
use aiodio_core::workload::copy::{Fsync, Options};

pub const KEY: Key = Key { seed: 0xa10d_10a1_0d10, file: 3, generation: 5 };

pub const ENGINES: [Kind; 4] = [Kind::Libaio, Kind::IoUring, Kind::IoUringFixed, Kind::Sync];

pub fn size(bytes: usize) -> NonZeroUsize {
    NonZeroUsize::new(bytes).unwrap()
}

/// `AIODIO_TEST_DIRS`: directories, separated by colons, on the filesystems to test on.
pub fn directories() -> Vec<PathBuf> {
    std::env::var_os("AIODIO_TEST_DIRS").map_or_else(|| vec![std::env::temp_dir()], |dirs| std::env::split_paths(&dirs).collect())
}

/// A temporary directory on each filesystem to test on.
pub fn workplaces() -> Vec<tempfile::TempDir> {
    directories().iter().map(|directory| tempfile::tempdir_in(directory).unwrap()).collect()
}

/// A copy that could be direct on every filesystem.
pub fn options(place: &Path, engine: Kind) -> Options {
    Options {
        source: place.join("source"),
        destination: place.join("destination"),
        bytes: 8 << 20,
        block_bytes: size(16 << 10),
        depth: size(16),
        engine,
        direct: true,
        sync_writes: false,
        fsync: Fsync::None,
        align: Align::Step(size(512)),
    }
}

pub fn check(path: &Path, bytes: u64, level: Level) -> Outcome {
    verify::verify(&verify::Options { path: path.to_owned(), offset: 0, bytes, key: KEY, level, ranges_max: 16 })
}

pub fn assert_good(path: &Path, bytes: u64) {
    for level in [Level::Cache, Level::Disk] {
        let outcome = check(path, bytes, level);
        assert!(outcome.is_good(), "{level:?}: {outcome:#?}");
    }
}

/// Integer pseudo-random numbers, reproducible from the seed that proptest shrinks.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15 | 1)
    }
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit.max(1)
    }
    /// True in `percent` of 100 cases.
    pub fn percent(&mut self, percent: u8) -> bool {
        self.below(100) < u64::from(percent)
    }
}

/// What goes wrong, in percent of the occasions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    pub partial_submit: u8,
    pub submit_eagain: u8,
    pub submit_eintr: u8,
    pub reap_eintr: u8,
    pub reap_eagain: u8,
    pub truncate: u8,
    pub result_eintr: u8,
    pub result_eagain: u8,
    pub hold_back: u8,
    /// The number of the request that fails with EIO, counted from 0.
    pub eio_at: Option<u64>,
    /// Truncated transfers are multiples of this.
    pub unit: usize,
}

/// Passes requests on to a real engine and makes trouble in between. Truncated requests make for truly short transfers.
#[derive(Debug)]
pub struct Faulty<E> {
    inner: E,
    faults: Faults,
    random: Random,
    requests: u64,
    with_inner: usize,
    held: Vec<Event>,
    /// Whether the request that was failed was a write.
    pub failed_write: std::rc::Rc<std::cell::Cell<Option<bool>>>,
}

impl Faulty<Box<dyn Engine>> {
    pub fn new(kind: Kind, depth: usize, faults: Faults, seed: u64) -> Self {
        Self {
            inner: kind.open(size(depth)).unwrap(),
            faults,
            random: Random::new(seed),
            requests: 0,
            with_inner: 0,
            held: Vec::new(),
            failed_write: std::rc::Rc::default(),
        }
    }
}

// SAFETY: what it takes over is a real engine's, or never shown to the kernel.
unsafe impl Engine for Faulty<Box<dyn Engine>> {
    fn capacity(&self) -> usize {
        self.inner.capacity()
    }

    fn register(&mut self, files: &[RawFd], memory: &[Registration]) -> Result<()> {
        self.inner.register(files, memory)
    }

    unsafe fn submit(&mut self, requests: &[Request]) -> std::result::Result<usize, Errno> {
        let busy = self.with_inner + self.held.len() > 0;
        if busy && self.random.percent(self.faults.submit_eagain) {
            return Err(Errno(libc::EAGAIN));
        }
        if self.random.percent(self.faults.submit_eintr) {
            return Err(Errno(libc::EINTR));
        }
        let mut count = requests.len();
        if self.random.percent(self.faults.partial_submit) {
            count = 1 + self.random.below(count as u64) as usize;
        }
        let mut taken = 0;
        for request in &requests[..count] {
            let mut request = *request;
            let number = self.requests;
            let fake = if self.faults.eio_at == Some(number) {
                self.failed_write.set(Some(request.op == Op::Write));
                Some(libc::EIO)
            } else if self.random.percent(self.faults.result_eintr) {
                Some(libc::EINTR)
            } else if self.random.percent(self.faults.result_eagain) {
                Some(libc::EAGAIN)
            } else {
                None
            };
            if let Some(errno) = fake {
                self.held.push(Event { slot: u64::from(request.slot), result: -i64::from(errno) });
            } else {
                if request.bytes > self.faults.unit && self.random.percent(self.faults.truncate) {
                    let units = request.bytes.div_ceil(self.faults.unit) as u64;
                    request.bytes = (1 + self.random.below(units - 1) as usize) * self.faults.unit;
                }
                // SAFETY: a part of what the caller vouches for.
                match unsafe { self.inner.submit(&[request]) } {
                    Ok(_) => self.with_inner += 1,
                    Err(errno) if taken == 0 => return Err(errno),
                    Err(_) => break,
                }
            }
            self.requests += 1;
            taken += 1;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> std::result::Result<(), Errno> {
        self.inner.flush()
    }

    fn reap(&mut self, min: usize, events: &mut Vec<Event>) -> std::result::Result<(), Errno> {
        if self.random.percent(self.faults.reap_eintr) {
            return Err(Errno(libc::EINTR));
        }
        if self.random.percent(self.faults.reap_eagain) {
            return Err(Errno(libc::EAGAIN));
        }
        if self.with_inner > 0 {
            let before = self.held.len();
            let missing = min.saturating_sub(before).min(self.with_inner);
            self.inner.reap(missing, &mut self.held)?;
            self.with_inner -= self.held.len() - before;
        }
        while !self.held.is_empty() {
            let enough = events.len() >= min;
            if enough && self.random.percent(self.faults.hold_back) {
                break;
            }
            let index = self.random.below(self.held.len() as u64) as usize;
            events.push(self.held.swap_remove(index));
        }
        Ok(())
    }

    fn overflows(&self) -> u64 {
        self.inner.overflows()
    }
}

/// What [`Tampering`] is told of a request that is over: it may change the memory of a read and the result.
pub struct Over<'engine> {
    /// Counted from 0, of this engine.
    pub number: u64,
    pub request: Request,
    pub result: &'engine mut i64,
}

impl Over<'_> {
    /// The request's memory.
    pub fn memory(&mut self) -> &mut [u8] {
        // SAFETY: the request is over, and its buffer is with the queue, which does not look into it.
        unsafe { std::slice::from_raw_parts_mut(self.request.start, self.request.bytes) }
    }
}

/// Passes everything on to a real engine, and lets a function lie about what came of it.
pub struct Tampering<F> {
    inner: Box<dyn Engine>,
    tamper: F,
    taken: std::collections::HashMap<u64, (u64, Request)>,
    number: u64,
}

impl<F: FnMut(Over<'_>)> Tampering<F> {
    pub fn new(inner: Box<dyn Engine>, tamper: F) -> Self {
        Self { inner, tamper, taken: std::collections::HashMap::new(), number: 0 }
    }
}

// SAFETY: what it takes over is a real engine's, or never shown to the kernel.
unsafe impl<F: FnMut(Over<'_>)> Engine for Tampering<F> {
    fn capacity(&self) -> usize {
        self.inner.capacity()
    }

    fn register(&mut self, files: &[RawFd], memory: &[Registration]) -> Result<()> {
        self.inner.register(files, memory)
    }

    unsafe fn submit(&mut self, requests: &[Request]) -> std::result::Result<usize, Errno> {
        // SAFETY: the caller's promise.
        let taken = unsafe { self.inner.submit(requests) }?;
        for request in &requests[..taken] {
            self.taken.insert(u64::from(request.slot), (self.number, *request));
            self.number += 1;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> std::result::Result<(), Errno> {
        self.inner.flush()
    }

    fn reap(&mut self, min: usize, events: &mut Vec<Event>) -> std::result::Result<(), Errno> {
        let before = events.len();
        self.inner.reap(min, events)?;
        for event in &mut events[before..] {
            let (number, request) = self.taken.remove(&event.slot).unwrap();
            (self.tamper)(Over { number, request, result: &mut event.result });
        }
        Ok(())
    }
}

/// A real engine, but the nth submission of all that share the count panics: a mistake of the test's own.
pub struct Panicking {
    pub inner: Box<dyn Engine>,
    pub left: std::sync::Arc<std::sync::atomic::AtomicI64>,
}

// SAFETY: what it takes over is a real engine's.
unsafe impl Engine for Panicking {
    fn capacity(&self) -> usize {
        self.inner.capacity()
    }

    fn register(&mut self, files: &[RawFd], memory: &[Registration]) -> Result<()> {
        self.inner.register(files, memory)
    }

    unsafe fn submit(&mut self, requests: &[Request]) -> std::result::Result<usize, Errno> {
        assert!(self.left.fetch_sub(1, std::sync::atomic::Ordering::SeqCst) != 1, "planted");
        // SAFETY: the caller's promise.
        unsafe { self.inner.submit(requests) }
    }

    fn flush(&mut self) -> std::result::Result<(), Errno> {
        self.inner.flush()
    }

    fn reap(&mut self, min: usize, events: &mut Vec<Event>) -> std::result::Result<(), Errno> {
        self.inner.reap(min, events)
    }
}
