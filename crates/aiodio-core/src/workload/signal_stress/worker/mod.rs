//! One thread of the stress: it does what its plan says, and reaps what it has submitted.

mod plain;

use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;

use super::mistake;
use super::plan::{Action, Plan, Shape, Step as Planned};
use super::turn::Mode;
use super::{Run, Sizing, State};
use crate::buffer::{Buffer, Pool};
use crate::engine::{Completion, Engine, Kind, Op, Operation as Transfer, Queue, Stats};
use crate::error::{Errno, Error, Result, Step};
use crate::oracle::{Change, ChangeId, Ending, Expected, ReadId};
use crate::recorder::{Begin, Kind as Recorded};
use crate::sys::{self, Flags};
use crate::verify::check_memory;
use crate::workload::shared::finding::Finding;
use crate::workload::shared::overlap::goes_on;

/// Bad ranges described of one read.
const RANGES_MAX: usize = 2;

/// What a buffer in flight is about.
enum Purpose {
    Change(ChangeId),
    Read {
        id: ReadId,
        /// As it was when the read began.
        then: Sizing,
    },
}

struct InFlight {
    purpose: Purpose,
    mode: Mode,
    file: usize,
}

pub(super) struct Worker<'run, 'caller> {
    run: &'run Run<'caller>,
    plan: Plan,
    queues: Vec<Queue<InFlight>>,
    free: Vec<Buffer>,
    /// By file: buffered.
    files: Vec<sys::File>,
    /// By file, with `O_DIRECT`, where the filesystem has it.
    direct_files: Vec<sys::File>,
    careless: Option<Box<dyn Engine>>,
    done: [u64; Action::ALL.len()],
    direct: u64,
    mistakes: u64,
    collisions: u64,
}

impl<'run, 'caller> Worker<'run, 'caller> {
    /// Call it in the thread that runs it: a ring belongs to the thread that made it.
    pub(super) fn new(run: &'run Run<'caller>, index: usize) -> Result<Self> {
        let options = run.options;
        let pool = Pool::new(options.depth.get(), options.block_bytes, options.align)?;
        let open = |direct| -> Result<Vec<sys::File>> {
            let flags = Flags { direct, sync: false };
            run.files.iter().map(|file| sys::File::open_to_write(&file.path, true, flags)).collect()
        };
        let mut queues = Vec::new();
        for kind in &options.engines {
            // Buffered ones first, then the direct ones.
            let mut files = open(false)?;
            if run.direct {
                files.extend(open(true)?);
            }
            let engine = (run.open)(*kind, options.depth)?;
            // A short transfer is resumed on the grid of direct I/O, which is right for the others too.
            let files = files.into_iter().map(Into::into).collect();
            queues.push(Queue::new(engine, options.depth, files, &pool.registrations)?);
        }
        let careless = options.commit_old_mistake && run.direct && options.engines.contains(&Kind::Libaio);
        let shape = Shape {
            files: run.files.len(),
            engines: queues.len(),
            unit: options.dio_offset_align.get() as u64,
            block_bytes: options.block_bytes.get() as u64,
            file_bytes: options.file_bytes,
            direct: run.direct,
            buffered: options.buffered,
        };
        Ok(Self {
            run,
            plan: Plan::new(options.seed, index as u64, shape, run.weights),
            queues,
            free: pool.buffers,
            files: open(false)?,
            direct_files: if run.direct { open(true)? } else { Vec::new() },
            careless: if careless { Some((run.open)(Kind::Libaio, NonZeroUsize::MIN)?) } else { None },
            done: [0; Action::ALL.len()],
            direct: 0,
            mistakes: 0,
            collisions: 0,
        })
    }

    /// Carries the plan out, and leaves the counts with the run.
    pub(super) fn run(mut self) -> Result<()> {
        let result = self.operations();
        let ended = if result.is_ok() { self.drain() } else { Ok(()) };
        let mut sum = Stats::default();
        for queue in std::mem::take(&mut self.queues) {
            // After an error: their changes stay in flight for the oracle, which makes it lenient; others must not wait for ever.
            let turns: Vec<_> = queue.user_data().map(|InFlight { mode, file, .. }| (*mode, *file)).collect();
            sum += queue.finish();
            for (mode, file) in turns {
                self.run.files[file].turns.end(mode);
            }
        }
        let mut found = self.run.found();
        found.stats += sum;
        for (sum, done) in found.done.iter_mut().zip(self.done) {
            *sum += done;
        }
        found.direct += self.direct;
        found.interrupted_calls += self.files.iter().map(|file| file.calls().interrupted()).sum::<u64>();
        found.mistakes += self.mistakes;
        found.collisions += self.collisions;
        drop(found);
        result.and(ended)
    }

    fn operations(&mut self) -> Result<()> {
        for operation in 1_u64.. {
            // Only a signal that comes during a wait gives occasion to the old mistake.
            let met = self.careless.is_none() || self.mistakes > 0;
            if !goes_on(self.run.options.operations, operation, met, 0) || self.run.stop.load(Ordering::Relaxed) {
                break;
            }
            let step = self.plan.next();
            let off = self.run.unsupported[step.action.index()].load(Ordering::Relaxed);
            if !off {
                self.step(&step)?;
                self.done[step.action.index()] += 1;
            }
            self.run.finished.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn step(&mut self, step: &Planned) -> Result<()> {
        match step.action {
            Action::Write | Action::Read => self.transfer(step),
            Action::Fsync => self.fsync(step),
            Action::MmapWrite => self.alone(step),
            Action::Truncate | Action::Allocate | Action::AllocateKeep | Action::Punch | Action::Zero => self.reshape(step),
        }
    }

    /// Waits for a turn, with nothing in flight that somebody else could be waiting for.
    fn turn(&mut self, file: usize, mode: Mode) -> Result<()> {
        let run = self.run;
        let turns = &run.files[file].turns;
        if !turns.try_begin(mode) {
            self.drain()?;
            if !turns.begin(mode) {
                return Err(Error::new(Step::Setup, "Another worker has panicked"));
            }
        }
        Ok(())
    }

    fn transfer(&mut self, step: &Planned) -> Result<()> {
        let run = self.run;
        let file = &run.files[step.file];
        let mode = if step.direct { Mode::Direct } else { Mode::Buffered };
        self.turn(step.file, mode)?;
        let mut buffer = match self.buffer() {
            Ok(buffer) => buffer,
            Err(error) => {
                file.turns.end(mode);
                return Err(error);
            }
        };
        let bytes = step.bytes as usize;
        let mut generation = 0;
        let purpose = if step.action == Action::Write {
            let mut state = file.state();
            state.generation += 1;
            generation = state.generation;
            let change = Change::write(step.offset, step.bytes, generation);
            let id = if step.direct { state.oracle.begin_direct(change) } else { state.oracle.begin(change) };
            let key = state.oracle.stamps(generation);
            drop(state);
            key.fill(step.offset, &mut buffer[..bytes]);
            Purpose::Change(id)
        } else {
            // What an earlier use left there must not pass for what is read.
            buffer[..bytes].fill(POISON);
            let mut state = file.state();
            let then = Sizing { least: *state.oracle.sizes().start(), ..state.sizing };
            Purpose::Read { id: state.oracle.begin_read(), then }
        };
        self.direct += u64::from(step.direct);
        let in_flight = InFlight { purpose, mode, file: step.file };
        let kind = run.options.engines[step.engine];
        if self.careless.is_some() && step.direct && step.action == Action::Write && kind == Kind::Libaio {
            return self.mistreat(step, buffer, generation, in_flight);
        }
        let index = step.file + if step.direct { run.files.len() } else { 0 };
        let op = if step.action == Action::Write { Op::Write } else { Op::Read };
        let queue = &mut self.queues[step.engine];
        queue.push(Transfer { op, file: index as u32, offset: step.offset, bytes, buffer, generation, user_data: in_flight });
        if step.submit {
            queue.submit()?;
        }
        Ok(())
    }

    fn mistreat(&mut self, step: &Planned, buffer: Buffer, generation: u32, in_flight: InFlight) -> Result<()> {
        let Some(engine) = self.careless.as_mut() else { return Ok(()) };
        let mut state = self.run.files[step.file].state();
        // As it would be stamped for another write of the same place.
        state.generation += 1;
        let next = state.oracle.stamps(state.generation);
        drop(state);
        let bytes = step.bytes as usize;
        let write = mistake::Write { file: &self.direct_files[step.file], offset: step.offset, bytes, generation, next };
        let written = mistake::write(engine.as_mut(), &write, buffer);
        let result = match &written {
            Ok(written) => usize::try_from(written.result).map_err(|_| Errno(-written.result as i32)),
            Err(error) => Err(error.errno.unwrap_or(Errno(libc::EIO))),
        };
        let mistake::Written { buffer, mistaken, .. } = match written {
            Ok(written) => written,
            Err(error) => {
                self.run.files[step.file].turns.end(in_flight.mode);
                return Err(error);
            }
        };
        self.mistakes += u64::from(mistaken);
        let kind = self.run.options.engines[step.engine];
        let offset = step.offset;
        let index = (step.file + self.run.files.len()) as u32;
        let user_data = in_flight;
        self.complete(kind, Completion { op: Op::Write, file: index, offset, bytes, buffer, generation, user_data, result })
    }

    /// A free buffer, after waiting for one if need be.
    fn buffer(&mut self) -> Result<Buffer> {
        loop {
            if let Some(buffer) = self.free.pop() {
                return Ok(buffer);
            }
            let busiest = (0..self.queues.len()).max_by_key(|index| self.queues[*index].in_flight()).unwrap_or(0);
            self.reap(busiest, 1)?;
        }
    }

    fn reap(&mut self, queue: usize, min: usize) -> Result<()> {
        let mut done = Vec::new();
        self.queues[queue].wait(min, &mut done)?;
        let kind = self.run.options.engines[queue];
        // All of them, since others wait for the turns that they end.
        let mut result = Ok(());
        for completion in done {
            result = result.and(self.complete(kind, completion));
        }
        result
    }

    /// Waits for everything.
    fn drain(&mut self) -> Result<()> {
        for queue in 0..self.queues.len() {
            while self.queues[queue].in_flight() > 0 {
                self.reap(queue, self.queues[queue].in_flight())?;
            }
        }
        Ok(())
    }

    fn complete(&mut self, kind: Kind, completion: Completion<InFlight>) -> Result<()> {
        let Completion { op, file: index, offset, bytes, mut buffer, user_data, mut result, .. } = completion;
        let InFlight { purpose, mode, file } = user_data;
        let shared = &self.run.files[file];
        let finding = |kind| Finding::new(kind, offset, bytes as u64, "");
        // Nowhere else is there such room behind the end, and elsewhere EIO is what it says.
        if let (true, Mode::Direct, Purpose::Read { then, .. }, Err(Errno(libc::EIO))) = (self.run.is_xfs, mode, &purpose, result) {
            let again = self.read_to_end(file, then, offset, &mut buffer[..bytes]);
            self.collisions += u64::from(again.is_ok());
            result = again;
        }
        let found = {
            let mut state = shared.state();
            match purpose {
                Purpose::Change(id) => {
                    state.oracle.end(id, Ending::of(result, bytes));
                    match result {
                        Ok(got) if got == bytes => None,
                        Ok(got) => Some(Finding { got: Some(got as u64), least: Some(bytes as u64), ..finding("short") }),
                        Err(errno) => Some(finding("refused").errno(errno)),
                    }
                }
                Purpose::Read { id, then } => {
                    let undisturbed = then.truncating == 0 && then.truncates == state.sizing.truncates;
                    let least = if undisturbed { then.least.saturating_sub(offset).min(bytes as u64) } else { 0 };
                    let most = if undisturbed { state.oracle.sizes().end().saturating_sub(offset) } else { u64::MAX };
                    let found = check_read(&state, id, offset, &buffer[..bytes], result, least, most);
                    state.oracle.end_read(id);
                    found
                }
            }
        };
        shared.turns.end(mode);
        self.free.push(buffer);
        let Some(found) = found else { return Ok(()) };
        let (name, call) = (&shared.name, if op == Op::Write { "pwrite" } else { "pread" });
        let direct = if index as usize >= self.run.files.len() { " with O_DIRECT" } else { "" };
        let detail = format!("{call}({name}, {offset:#x}, {bytes}) through {kind}{direct}");
        self.run.add(Finding { file: Some(name.clone()), detail, ..found })
    }

    /// A direct read that failed with EIO once more, but only up to the end of the file; EIO where it did not go beyond.
    ///
    /// Behind the end XFS keeps room for later buffered writes, as delayed allocation without pages. A direct read is not stopped at
    /// the end before it looks for extents, and when it meets such room there it takes it for a collision with buffered
    /// writes and fails (`iomap_dio_iter()` in `fs/iomap/direct-io.c`: "Direct I/O collision with buffered writes!"; seen
    /// on Linux 6.18). No data come to harm, so what is before the end must be readable, and right.
    fn read_to_end(&self, file: usize, then: &Sizing, offset: u64, memory: &mut [u8]) -> std::result::Result<usize, Errno> {
        let least = then.least.min(*self.run.files[file].state().oracle.sizes().start());
        let unit = self.run.options.dio_offset_align.get() as u64;
        let bytes = least.saturating_sub(offset).next_multiple_of(unit) as usize;
        if bytes >= memory.len() {
            return Err(Errno(libc::EIO));
        }
        let file = &self.direct_files[file];
        let (calls, fd) = (file.calls(), file.as_raw_fd());
        let begin = Begin { address: memory.as_ptr() as u64, ..calls.begin(Recorded::Read, offset, bytes as u64) };
        // SAFETY: `memory` has room for so many bytes.
        calls.call(&begin, || unsafe { libc::pread64(fd, memory.as_mut_ptr().cast(), bytes, offset as i64) })
    }
}

/// No stamp begins with it, and it is no zero.
const POISON: u8 = 0xa5;

fn check_read(
    state: &State,
    id: ReadId,
    offset: u64,
    memory: &[u8],
    result: std::result::Result<usize, Errno>,
    least: u64,
    most: u64,
) -> Option<Finding> {
    let finding = |kind| Finding::new(kind, offset, memory.len() as u64, "");
    let got = match result {
        Ok(got) => got as u64,
        Err(errno) => return Some(finding("refused").errno(errno)),
    };
    if got > most {
        return Some(Finding { got: Some(got), most: Some(most), ..finding("long") });
    }
    let found = check_memory(&state.oracle.seen_by(id), offset, &memory[..got as usize], RANGES_MAX);
    if found.ranges_total > 0 {
        return Some(Finding::wrong_data(offset, memory.len(), found));
    }
    (got < least).then(|| Finding { got: Some(got), least: Some(least), ..finding("short") })
}
