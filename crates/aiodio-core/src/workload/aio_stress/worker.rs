//! One thread: its contexts of files, what it has in flight, and the check of each completion.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::report::{Latency, PartReport, ThreadReport};
use super::{Shared, Stage};
use crate::buffer::{Align, Buffer, Pool, page_bytes};
use crate::engine::{Completion, Engine, Op, Operation, Queue, Stats};
use crate::error::{Error, Result, Step};
use crate::oracle::{Change, ChangeId, Ending, Expected};
use crate::random::Random;
use crate::sys::{File, Flags};
use crate::verify::check_memory;
use crate::workload::shared::finding::Finding;
use crate::workload::shared::gate::{Passed, panicked};
use crate::workload::shared::pattern::spoil_sectors;

/// A context of a file.
struct Part {
    /// Index of the file, and in the thread's queue.
    file: usize,
    queue_file: u32,
    context: u64,
    start: u64,
    /// Where the stage's transfers end.
    end: u64,
    total: u64,
    submitted: u64,
    in_flight: usize,
    done: u64,
    bytes: u64,
    elapsed: Duration,
}

#[derive(Default)]
pub(super) struct ThreadResult {
    pub(super) stages: Vec<(Stage, u64, ThreadReport, Instant, Instant)>,
    pub(super) stats: Stats,
}

/// What a transfer in flight is about.
#[derive(Debug)]
struct InFlight {
    /// Index of the thread's part.
    part: usize,
    /// When it was given to the kernel.
    begun: Instant,
    /// Of a write.
    change: Option<ChangeId>,
}

pub(super) struct Worker<'shared, 'options> {
    shared: &'shared Shared<'options>,
    parts: Vec<Part>,
    free: Vec<Buffer>,
    random: Random,
    done: Vec<Completion<InFlight>>,
    submit: Latency,
    completion: Latency,
    batched: usize,
    stage: Stage,
    stage_begun: Instant,
}

impl<'shared, 'options> Worker<'shared, 'options> {
    pub(super) fn run(
        index: usize,
        shared: &'shared Shared<'options>,
        open: &(dyn Fn(NonZeroUsize) -> Result<Box<dyn Engine>> + Sync),
    ) -> ThreadResult {
        let stages = &shared.options.stages;
        let first = shared.options.first_stage();
        let _opener = shared.gate.opened_by_panic();
        let mut result = ThreadResult::default();
        let mut prepared = Self::prepare(index, shared, open, first);
        if let Err(error) = &prepared {
            shared.fail(first, Some(error.clone()), None);
        }
        for stage in stages {
            let passed = shared.gate.wait();
            if passed == Passed::Last {
                if !shared.stop.load(Ordering::Relaxed)
                    && let Err(error) = shared.lay_out(*stage)
                {
                    shared.fail(*stage, Some(error), None);
                }
                shared.over.store(shared.stop.load(Ordering::Relaxed), Ordering::Relaxed);
            }
            if passed == Passed::Broken || shared.gate.wait() == Passed::Broken {
                break;
            }
            // Not `stop`: a thread that is quicker may have failed since, and would wait for this one at the next barrier.
            if shared.over.load(Ordering::Relaxed) {
                break;
            }
            let Ok((worker, queue)) = &mut prepared else { break };
            let begin = Instant::now();
            match catch_unwind(AssertUnwindSafe(|| worker.all(queue, *stage))) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => shared.fail(*stage, Some(error), None),
                Err(panic) => shared.fail(*stage, Some(panicked("A thread", &*panic)), None),
            }
            let laid_out = *shared.laid_out.lock().unwrap_or_else(PoisonError::into_inner);
            let laid_out = if stage.writes() { 0 } else { laid_out };
            result.stages.push((*stage, laid_out, worker.report(begin.elapsed()), begin, Instant::now()));
        }
        if let Ok((_, queue)) = prepared {
            result.stats = queue.finish();
        }
        result
    }

    fn prepare(
        index: usize,
        shared: &'shared Shared<'options>,
        open: &(dyn Fn(NonZeroUsize) -> Result<Box<dyn Engine>> + Sync),
        stage: Stage,
    ) -> Result<(Self, Queue<InFlight>)> {
        let options = shared.options;
        let files = options.files.len();
        let mut opened: Vec<usize> = Vec::new();
        let mut parts = Vec::new();
        for number in (index..files * options.contexts.get()).step_by(shared.threads) {
            let file = number % files;
            let queue_file = opened.iter().position(|known| *known == file).unwrap_or_else(|| {
                opened.push(file);
                opened.len() - 1
            });
            parts.push(Part {
                file,
                queue_file: queue_file as u32,
                context: (number / files) as u64,
                start: 0,
                end: 0,
                total: 0,
                submitted: 0,
                in_flight: 0,
                done: 0,
                bytes: 0,
                elapsed: Duration::ZERO,
            });
        }
        let flags = Flags { direct: options.direct, sync: !options.direct };
        let open_file = |file: &usize| File::open_to_write(&options.files[*file], true, flags);
        let fds: Vec<File> = opened.iter().map(open_file).collect::<Result<_>>()?;
        let depth = NonZeroUsize::new(shared.depth * parts.len()).unwrap_or(NonZeroUsize::MIN);
        let pool = Pool::new(depth.get(), options.record_bytes, Align::Offset(0))?;
        let queue = Queue::new(open(depth)?, depth, fds.into_iter().map(Into::into).collect(), &pool.registrations)?;
        let worker = Self {
            shared,
            parts,
            free: pool.buffers,
            random: Random::new(options.seed ^ (index as u64) << 32),
            done: Vec::new(),
            submit: Latency::default(),
            completion: Latency::default(),
            batched: 0,
            stage,
            stage_begun: Instant::now(),
        };
        Ok((worker, queue))
    }

    /// One stage, to its end or the limit of rounds.
    fn all(&mut self, queue: &mut Queue<InFlight>, stage: Stage) -> Result<()> {
        let options = self.shared.options;
        self.begin(stage);
        for _ in 0..options.rounds {
            if self.shared.stop.load(Ordering::Relaxed) || self.parts.iter().all(|part| part.submitted == part.total) {
                break;
            }
            for index in 0..self.parts.len() {
                for _ in 0..options.turn.get() {
                    let part = &self.parts[index];
                    if part.submitted == part.total {
                        break;
                    }
                    while self.parts[index].in_flight >= self.shared.depth || self.free.is_empty() {
                        self.reap(queue, 1)?;
                    }
                    self.push(queue, index)?;
                }
            }
            self.hand_over(queue)?;
        }
        while queue.in_flight() > 0 {
            self.reap(queue, 1)?;
        }
        if options.fsync && stage.writes() {
            for part in &self.parts {
                queue.fsync(part.queue_file as usize, &options.files[part.file])?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, stage: Stage) {
        let options = self.shared.options;
        let laid_out = *self.shared.laid_out.lock().unwrap_or_else(PoisonError::into_inner);
        let record = options.record_bytes.get() as u64;
        for part in &mut self.parts {
            let size = *self.shared.tested(part.file).oracle.sizes().end();
            // Contexts move together in a file that is shorter than the one they were asked for.
            let apart = if laid_out > 0 && !stage.writes() {
                options.context_offset.min(laid_out / options.contexts.get() as u64 / record * record)
            } else {
                options.context_offset
            };
            part.start = part.context * apart;
            part.end = match stage {
                Stage::Write | Stage::RandomWrite => options.file_bytes,
                Stage::Read | Stage::RandomRead => options.file_bytes.min(size),
            };
            part.total = part.end.saturating_sub(part.start) / record;
            (part.submitted, part.done, part.bytes, part.elapsed) = (0, 0, 0, Duration::ZERO);
        }
        (self.submit, self.completion) = (Latency::default(), Latency::default());
        self.batched = 0;
        self.stage = stage;
        self.stage_begun = Instant::now();
    }

    fn push(&mut self, queue: &mut Queue<InFlight>, index: usize) -> Result<()> {
        let options = self.shared.options;
        let bytes = options.record_bytes.get();
        let part = &mut self.parts[index];
        let offset = if self.stage.random() {
            let page = page_bytes() as u64;
            let first = part.start.div_ceil(page);
            let last = (part.end - bytes as u64) / page;
            if last < first { part.start } else { (first + self.random.below(last - first + 1)) * page }
        } else {
            part.start + part.submitted * bytes as u64
        };
        let Some(mut buffer) = self.free.pop() else { return Ok(()) };
        let mut generation = 0;
        let mut change = None;
        if self.stage.writes() {
            let mut tested = self.shared.tested(part.file);
            tested.generation += 1;
            generation = tested.generation;
            change = Some(tested.oracle.begin(Change::write(offset, bytes as u64, generation)));
            let stamps = tested.oracle.stamps(generation);
            drop(tested);
            stamps.fill_from(offset, &mut buffer);
        } else {
            // What an earlier transfer left there, maybe of the same place, must not pass for what is read.
            spoil_sectors(&mut buffer);
        }
        part.submitted += 1;
        part.in_flight += 1;
        let op = if change.is_some() { Op::Write } else { Op::Read };
        let user_data = InFlight { part: index, begun: Instant::now(), change };
        queue.push(Operation { op, file: part.queue_file, offset, bytes, buffer, generation, user_data });
        self.batched += 1;
        if self.batched >= options.batch.get() {
            self.hand_over(queue)?;
        }
        Ok(())
    }

    fn hand_over(&mut self, queue: &mut Queue<InFlight>) -> Result<()> {
        if self.batched > 0 {
            self.batched = 0;
            let begin = Instant::now();
            queue.submit()?;
            self.submit.add(begin.elapsed());
        }
        Ok(())
    }

    fn reap(&mut self, queue: &mut Queue<InFlight>, min: usize) -> Result<()> {
        self.hand_over(queue)?;
        let mut done = std::mem::take(&mut self.done);
        let result = queue.wait(min, &mut done);
        self.shared.advanced(done.len() as u64);
        let mut first_error = result.err();
        for completion in done.drain(..) {
            if let Err(error) = self.complete(completion) {
                first_error.get_or_insert(error);
            }
        }
        self.done = done;
        first_error.map_or(Ok(()), Err)
    }

    fn complete(&mut self, completion: Completion<InFlight>) -> Result<()> {
        let Completion { offset, bytes, buffer, user_data: InFlight { part, begun, change }, result, .. } = completion;
        self.completion.add(begun.elapsed());
        let part = &mut self.parts[part];
        part.in_flight -= 1;
        part.elapsed = self.stage_begun.elapsed();
        let (number, path) = (part.file, &self.shared.options.files[part.file]);
        let ended = |ending| {
            if let Some(change) = change {
                self.shared.tested(number).oracle.end(change, ending);
            }
        };
        let write = change.is_some();
        let got = match result {
            Ok(got) => got as u64,
            Err(errno) => {
                ended(Ending::Failed);
                let (step, what) = if write { (Step::Write, "Writing") } else { (Step::Read, "Reading") };
                let message = format!("{what} {bytes} bytes at offset {offset} failed");
                return Err(Error::new(step, message).errno(errno).path(path).offset(offset));
            }
        };
        part.done += 1;
        part.bytes += got;
        ended(if got == bytes as u64 { Ending::Done } else { Ending::Partial(got) });
        let expected = if write { bytes as u64 } else { self.readable(number, offset, bytes as u64) };
        if got != expected {
            let (step, what) = if write { (Step::ShortWrite, "written") } else { (Step::ShortRead, "read") };
            let message = format!("{got} bytes were {what} at offset {offset} where {expected} should be");
            return Err(Error::new(step, message).path(path).offset(offset).transferred(expected, got));
        }
        if !write {
            self.check(number, offset, &buffer[..got as usize]);
        }
        self.free.push(buffer);
        Ok(())
    }

    /// How much of a read's range the file has. Nothing is being written meanwhile.
    fn readable(&self, file: usize, offset: u64, bytes: u64) -> u64 {
        let size = *self.shared.files[file].read().unwrap_or_else(PoisonError::into_inner).oracle.sizes().end();
        size.saturating_sub(offset).min(bytes)
    }

    fn check(&self, file: usize, offset: u64, memory: &[u8]) {
        let tested = self.shared.files[file].read().unwrap_or_else(PoisonError::into_inner);
        let found = check_memory(&tested.oracle, offset, memory, self.shared.options.ranges_max);
        if !found.is_good() {
            let name = self.shared.options.files[file].file_name().map(|name| name.to_string_lossy().into_owned());
            let finding = Finding { file: name, ..Finding::wrong_data(offset, memory.len(), found) };
            self.shared.fail(self.stage, None, Some(finding));
        }
    }

    fn report(&self, elapsed: Duration) -> ThreadReport {
        let report = |part: &Part| PartReport {
            file: part.file,
            done: part.done,
            total: part.total,
            bytes: part.bytes,
            elapsed: part.elapsed,
        };
        ThreadReport { parts: self.parts.iter().map(report).collect(), elapsed, submit: self.submit, completion: self.completion }
    }
}
