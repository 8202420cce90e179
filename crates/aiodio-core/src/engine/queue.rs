//! The owner of everything in flight, and the only place that knows what else than success can happen. One file, since all of it is
//! about who has a slot's buffer: the queue or the kernel.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::{Duration, Instant};

#[cfg(test)]
use super::SyncEngine;
use super::resume::{Next, RETRIES_MAX, Transfer};
use super::{Engine, Event, Op, Request, Stats};
use crate::buffer::{Buffer, Registration};
use crate::error::{Errno, Error, Result, Step};
use crate::recorder::{Begin, Interface, Kind, OperationId, RESUMED};
use crate::sys::{self, Calls};

/// An operation to do.
#[derive(Debug)]
pub struct Operation<T = ()> {
    /// What.
    pub op: Op,
    /// Index among the queue's files.
    pub file: u32,
    /// Byte offset in the file.
    pub offset: u64,
    /// How many bytes, at most the buffer's.
    pub bytes: usize,
    /// The memory.
    pub buffer: Buffer,
    /// For the record: which generation of stamps a write writes.
    pub generation: u32,
    /// The caller's own, which comes back in the completion.
    pub user_data: T,
}

/// An operation that is over.
#[derive(Debug)]
pub struct Completion<T = ()> {
    /// As in the operation.
    pub op: Op,
    /// As in the operation.
    pub file: u32,
    /// As in the operation.
    pub offset: u64,
    /// As in the operation.
    pub bytes: usize,
    /// Given back.
    pub buffer: Buffer,
    /// As in the operation.
    pub generation: u32,
    /// Given back.
    pub user_data: T,
    /// Bytes transferred in sum. Fewer than `bytes`: the kernel transfers no more (for a read, the file ends there).
    pub result: std::result::Result<usize, Errno>,
}

/// More operations in flight than this are refused: far beyond any device's queue, and their bookkeeping still fits the memory.
pub const DEPTH_MAX: usize = 1 << 20;

/// Before what the kernel had no memory for is tried again. Others are reaped and submitted meanwhile.
const RETRY_PAUSE: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    Staged,
    WithKernel,
}

#[derive(Debug)]
struct Slot<T> {
    state: State,
    /// What the caller has given, until it is given back.
    held: Option<(Buffer, T)>,
    op: Op,
    file: u32,
    transfer: Transfer,
    generation: u32,
    /// The request that is with the kernel, or about to be.
    recorded: Option<OperationId>,
}

impl<T> Slot<T> {
    fn free() -> Self {
        let (held, op, transfer) = (None, Op::Read, Transfer::default());
        Self { state: State::Free, held, op, file: 0, transfer, generation: 0, recorded: None }
    }
}

/// The owner of everything in flight.
///
/// Dropping it waits for the kernel. When that is impossible, the buffers are leaked and a line on stderr says so: memory that the
/// kernel may still write to is never freed or reused.
pub struct Queue<T = ()> {
    engine: Box<dyn Engine>,
    files: Vec<OwnedFd>,
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    staged: Vec<Request>,
    /// To be staged again, and not before then; in that order.
    pausing: VecDeque<(Instant, u32)>,
    with_kernel: usize,
    capacity: usize,
    ready: Vec<Completion<T>>,
    events: Vec<Event>,
    /// Go on after a short transfer.
    resume: bool,
    /// Waits in a row that the kernel refused for lack of memory.
    refused: u32,
    /// Set when the kernel said something that cannot be: nothing it says can be relied upon from then on.
    broken: Option<Error>,
    stats: Stats,
    interface: Interface,
    /// By file: how its operations are recorded.
    calls: Vec<Calls>,
    #[cfg(test)]
    pub(crate) drop_is_broken: bool,
}

impl<T> std::fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Queue({} with the kernel, {} staged, {:?})", self.with_kernel, self.staged.len(), self.stats)
    }
}

impl<T> Queue<T> {
    /// A queue for up to `depth` operations on `files`. Short direct transfers are resumed
    /// at a file offset that is a multiple of what the file states (`stx_dio_offset_align` of `statx(2)`), others where they ended.
    pub fn new(mut engine: Box<dyn Engine>, depth: NonZeroUsize, files: Vec<OwnedFd>, memory: &[Registration]) -> Result<Self> {
        let depth = depth.get();
        if depth > DEPTH_MAX {
            let message = format!("{depth} operations in flight are more than the {DEPTH_MAX} that make sense");
            return Err(Error::new(Step::Options, message));
        }
        let count = depth as u32;
        let fds: Vec<RawFd> = files.iter().map(AsRawFd::as_raw_fd).collect();
        engine.register(&fds, memory)?;
        let capacity = engine.capacity().min(depth);
        let interface = engine.interface();
        let calls = files.iter().map(|file| Calls::on(file.as_fd())).collect();
        Ok(Self {
            engine,
            files,
            slots: (0..count).map(|_| Slot::free()).collect(),
            free: (0..count).rev().collect(),
            staged: Vec::with_capacity(depth),
            pausing: VecDeque::new(),
            with_kernel: 0,
            capacity,
            ready: Vec::with_capacity(depth),
            events: Vec::with_capacity(depth),
            resume: true,
            refused: 0,
            broken: None,
            stats: Stats::default(),
            interface,
            calls,
            #[cfg(test)]
            drop_is_broken: false,
        })
    }

    /// Reports short transfers as the kernel does instead of going on with them: for tests of the kernel's own behaviour.
    #[must_use]
    pub fn report_short(mut self) -> Self {
        self.resume = false;
        self
    }

    /// Operations pushed and not yet given back.
    pub fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// What the caller gave with the operations that he has not got back.
    pub fn user_data(&self) -> impl Iterator<Item = &T> {
        let held = self.slots.iter().filter_map(|slot| slot.held.as_ref());
        held.map(|(_, user_data)| user_data).chain(self.ready.iter().map(|completion| &completion.user_data))
    }

    /// The file with that index.
    pub fn file(&self, index: usize) -> &OwnedFd {
        &self.files[index]
    }

    /// So far; [`Self::finish`] has the final ones.
    pub fn stats(&self) -> Stats {
        Stats { cq_overflows: self.engine.overflows(), ..self.stats }
    }

    /// `ftruncate(2)` of the file with that index to `size` bytes, whatever is in flight.
    pub fn truncate(&self, index: usize, size: u64) -> std::result::Result<(), Errno> {
        sys::truncate(&self.calls[index], self.files[index].as_fd(), size)
    }

    /// `fsync(2)` of the file with that index, counted, whatever is in flight. `path` is for the error.
    pub fn fsync(&mut self, index: usize, path: &Path) -> Result<()> {
        self.stats.fsyncs += 1;
        sys::sync(path, &self.calls[index], self.files[index].as_fd(), Kind::Fsync)
    }

    /// Stages an operation; it goes to the kernel with the next [`Self::submit`] or [`Self::wait`], together with its neighbours.
    ///
    /// # Panics
    /// When more operations are pushed than the queue is deep, or one is longer than its buffer.
    pub fn push(&mut self, operation: Operation<T>) {
        assert!(operation.bytes <= operation.buffer.len(), "an operation must fit its buffer");
        let index = self.free.pop().expect("no more operations than the queue is deep");
        self.slots[index as usize] = Slot {
            state: State::Staged,
            held: Some((operation.buffer, operation.user_data)),
            op: operation.op,
            file: operation.file,
            transfer: Transfer::new(operation.offset, operation.bytes),
            generation: operation.generation,
            recorded: None,
        };
        self.stage(index);
    }

    fn stage(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        let Some((buffer, _)) = &slot.held else { return };
        slot.state = State::Staged;
        let resume_at = slot.transfer.resume_at;
        self.staged.push(Request {
            slot: index,
            op: slot.op,
            file: slot.file,
            fd: self.files[slot.file as usize].as_raw_fd(),
            offset: slot.transfer.offset + resume_at as u64,
            start: buffer.as_ptr().wrapping_add(resume_at),
            bytes: slot.transfer.bytes - resume_at,
            registration: buffer.registration(),
        });
    }

    /// Shows the kernel everything staged. Sleeps only when the kernel takes no more before something completes.
    pub fn submit(&mut self) -> Result<()> {
        self.hand_over()?;
        loop {
            match self.engine.flush() {
                Ok(()) => return Ok(()),
                Err(Errno(libc::EINTR)) => self.stats.retried_eintr += 1,
                // Not enough memory, or too many completions waiting: both pass when completions are taken.
                Err(Errno(libc::EAGAIN | libc::EBUSY)) if self.with_kernel > 0 => {
                    self.stats.retried_eagain += 1;
                    self.reap(1)?;
                }
                Err(errno) => return Err(Error::new(Step::Submit, "The kernel refused the operations").errno(errno)),
            }
        }
    }

    /// Stages what has paused long enough.
    fn resume_paused(&mut self) {
        if self.pausing.is_empty() {
            return;
        }
        let now = Instant::now();
        while let Some((due, index)) = self.pausing.front().copied()
            && due <= now
        {
            self.pausing.pop_front();
            self.stage(index);
        }
    }

    /// Gives everything staged to the engine.
    fn hand_over(&mut self) -> Result<()> {
        self.resume_paused();
        let mut next = 0;
        let mut refused = 0;
        let result = loop {
            if next == self.staged.len() {
                break Ok(());
            }
            let room = self.capacity - self.with_kernel;
            if room == 0 {
                // Completions may stage more: `staged` grows behind `next`.
                if let Err(error) = self.reap(1) {
                    break Err(error);
                }
                continue;
            }
            let end = self.staged.len().min(next + room);
            let offered = &self.staged[next..end];
            for request in offered {
                let slot = &mut self.slots[request.slot as usize];
                if slot.recorded.is_none() {
                    let calls = &self.calls[request.file as usize];
                    let kind = if request.op == Op::Write { Kind::Write } else { Kind::Read };
                    let begin = calls.begin(kind, request.offset, request.bytes as u64);
                    slot.recorded = calls.start(&Begin {
                        interface: self.interface,
                        flags: begin.flags | if slot.transfer.has_begun() { RESUMED } else { 0 },
                        address: request.start as u64,
                        generation: slot.generation,
                        ..begin
                    });
                }
            }
            // SAFETY: the slots own the buffers until their events are reaped; if that cannot be, they are leaked.
            match unsafe { self.engine.submit(offered) } {
                Ok(taken) => {
                    let taken = taken.min(offered.len());
                    for request in &offered[..taken] {
                        self.slots[request.slot as usize].state = State::WithKernel;
                    }
                    self.stats.partial_submits += u64::from(taken < offered.len());
                    self.stats.submitted += taken as u64;
                    self.with_kernel += taken;
                    self.stats.in_flight_max = self.stats.in_flight_max.max(self.with_kernel as u64);
                    next += taken;
                }
                Err(Errno(libc::EINTR)) => self.stats.retried_eintr += 1,
                Err(Errno(libc::EAGAIN | libc::EBUSY)) if self.with_kernel > 0 => {
                    self.stats.retried_eagain += 1;
                    if let Err(error) = self.reap(1) {
                        break Err(error);
                    }
                }
                // Nothing of ours is in flight that could make room: the memory that the kernel lacks is others' to free.
                Err(Errno(libc::EAGAIN)) if refused < RETRIES_MAX => {
                    refused += 1;
                    self.stats.retried_eagain += 1;
                    std::thread::sleep(RETRY_PAUSE);
                }
                Err(errno) => {
                    for (index, request) in offered.iter().enumerate() {
                        let errno = if index == 0 { errno.0 } else { libc::ECANCELED };
                        let recorded = self.slots[request.slot as usize].recorded.take();
                        self.calls[request.file as usize].end(recorded, -i64::from(errno));
                    }
                    break Err(refusal(&offered[0], errno));
                }
            }
        };
        self.staged.drain(..next);
        result
    }

    /// Submits what is staged, sleeps until at least `min` operations are over (or none is left), and appends all that are to `done`.
    pub fn wait(&mut self, min: usize, done: &mut Vec<Completion<T>>) -> Result<()> {
        loop {
            self.hand_over()?;
            let missing = min.saturating_sub(self.ready.len()).min(self.with_kernel + self.pausing.len());
            if missing == 0 {
                break;
            }
            match self.pausing.front() {
                None => self.reap(missing)?,
                // What is over gives the kernel memory, so whoever pauses has another try then.
                Some(_) if self.with_kernel > 0 => self.reap(1)?,
                Some((due, _)) => std::thread::sleep(due.saturating_duration_since(Instant::now())),
            }
        }
        done.append(&mut self.ready);
        Ok(())
    }

    /// Submits what is staged and appends what is over already to `done`, without waiting for more.
    pub fn poll(&mut self, done: &mut Vec<Completion<T>>) -> Result<()> {
        self.submit()?;
        if self.with_kernel > 0 {
            self.reap(0)?;
        }
        self.wait(0, done)
    }

    /// How many operations the kernel has had since before this call, and has still: nothing is submitted, and what is over is
    /// for the next [`Self::poll`]. The rest of a short transfer, which waits to be submitted again, is not with the kernel.
    pub fn still_with_kernel(&mut self) -> Result<usize> {
        if self.with_kernel > 0 {
            self.reap(0)?;
        }
        Ok(self.with_kernel)
    }

    /// Takes events off the kernel, `min` or fewer, and turns each into a completion or a further request.
    fn reap(&mut self, min: usize) -> Result<()> {
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        let result = self.engine.reap(min, &mut events);
        let lost = self.engine.lost();
        if lost > 0 || result == Err(Errno(libc::EBADR)) {
            // Whose they were nobody knows: waiting for them would be for ever.
            self.broken = Some(Error::new(Step::Reap, format!("The kernel has dropped completions ({lost} by its own count)")));
        }
        // io_uring reports what it submitted rather than the signal that cut the wait short, and AIO reports the events so far.
        self.stats.retried_eintr += u64::from(result.is_ok() && events.len() < min);
        for event in &events {
            self.take(*event);
        }
        self.events = events;
        match result {
            Ok(()) => self.refused = 0,
            // Nothing has been lost, the operations go on: seed 000's fsstress freed its buffer here.
            Err(Errno(libc::EINTR)) => self.stats.retried_eintr += 1,
            Err(Errno(libc::EAGAIN | libc::EBUSY)) if self.refused < RETRIES_MAX => {
                self.refused += 1;
                self.stats.retried_eagain += 1;
                std::thread::sleep(RETRY_PAUSE);
            }
            Err(errno) if self.broken.is_none() => {
                return Err(Error::new(Step::Reap, "Waiting for completions failed").errno(errno));
            }
            Err(_) => {}
        }
        match &self.broken {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    fn take(&mut self, event: Event) {
        let slot = usize::try_from(event.slot).ok().and_then(|index| self.slots.get_mut(index));
        let Some(slot) = slot.filter(|slot| slot.state == State::WithKernel) else {
            let message = format!("The kernel completed an operation that was not in flight (number {})", event.slot);
            self.broken = Some(Error::new(Step::Reap, message));
            return;
        };
        let index = event.slot as u32;
        slot.state = State::Free;
        self.calls[slot.file as usize].end(slot.recorded.take(), event.result);
        self.with_kernel -= 1;
        self.stats.completed += 1;
        let Transfer { offset, bytes, resume_at, .. } = slot.transfer;
        // Asked now, since few transfers come short and a file's statement may change (XFS: when its blocks become shared).
        let file = self.files[slot.file as usize].as_fd();
        let unit = || sys::dio_offset_align(file);
        let next = slot.transfer.take(event.result, self.resume.then_some(unit));
        match event.result {
            result if result > 0 && result < (bytes - resume_at) as i64 => match slot.op {
                Op::Write => self.stats.short_writes += 1,
                Op::Read => self.stats.short_reads += 1,
            },
            result if result < 0 && !matches!(next, Next::Over(_)) => {
                let again = result == -i64::from(libc::EAGAIN);
                *(if again { &mut self.stats.retried_eagain } else { &mut self.stats.retried_eintr }) += 1;
            }
            _ => {}
        }
        match next {
            Next::Over(result) => self.give_back(index, result),
            Next::Rest | Next::Again => self.stage(index),
            Next::AgainLater => {
                slot.state = State::Staged;
                self.pausing.push_back((Instant::now() + RETRY_PAUSE, index));
            }
            Next::Impossible => {
                let message = format!("The kernel transferred {} bytes, more than the {bytes} asked for", event.result);
                self.broken = Some(Error::new(Step::Reap, message).offset(offset));
                self.give_back(index, Err(Errno(libc::EOVERFLOW)));
            }
        }
    }

    fn give_back(&mut self, index: u32, result: std::result::Result<usize, Errno>) {
        let slot = &mut self.slots[index as usize];
        let Some((buffer, user_data)) = slot.held.take() else { return };
        slot.state = State::Free;
        self.free.push(index);
        let Slot { op, file, transfer: Transfer { offset, bytes, .. }, generation, .. } = *slot;
        self.ready.push(Completion { op, file, offset, bytes, buffer, generation, user_data, result });
    }

    /// Waits for what the kernel has, submits nothing more, and returns the counts.
    pub fn finish(mut self) -> Stats {
        self.settle();
        self.stats()
    }

    /// Waits until the kernel has nothing, or leaks what it has.
    fn settle(&mut self) {
        while self.with_kernel > 0 && self.broken.is_none() {
            if self.reap(self.with_kernel).is_err() {
                break;
            }
        }
        if self.with_kernel == 0 {
            return;
        }
        let mut leaked = 0;
        for slot in &mut self.slots {
            if slot.state == State::WithKernel
                && let Some((buffer, _)) = slot.held.take()
            {
                leaked += 1;
                std::mem::forget(buffer);
            }
        }
        self.with_kernel = 0;
        self.stats.leaked_buffers += leaked;
        eprintln!("aiodio: cannot learn whether the kernel is done with {leaked} buffers, so their memory is given up, not reused");
    }
}

impl<T> Drop for Queue<T> {
    fn drop(&mut self) {
        #[cfg(test)]
        if self.drop_is_broken {
            // The planted fault of `drop_tests`: the engine is leaked, because destroying it could wait as well.
            std::mem::forget(std::mem::replace(&mut self.engine, Box::new(SyncEngine::default())));
            return;
        }
        self.settle();
    }
}

/// Why the kernel did not take the first of the requests.
fn refusal(request: &Request, errno: Errno) -> Error {
    let what = if request.op == Op::Write { "write" } else { "read" };
    let message = match errno.0 {
        libc::EAGAIN => format!(
            "The kernel has no room for this {what} although nothing is in flight: the AIO context or the memory is exhausted"
        ),
        libc::EINVAL => format!(
            "The kernel refuses this {what} of {} bytes: the filesystem has no asynchronous I/O, or offset, length or memory are \
             not aligned as direct I/O needs",
            request.bytes
        ),
        _ => format!("The kernel refuses this {what} of {} bytes", request.bytes),
    };
    let mut error = Error::new(Step::Submit, message).errno(errno).offset(request.offset);
    error.write = Some(request.op == Op::Write);
    error
}
