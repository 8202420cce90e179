//! Rounds of asynchronous requests on one file: each writes, reads, or writes and then reads, at one offset or at consecutive ones.
//!
//! Every completion's result is checked, and whatever is read is compared with what was written last: LTP's `aio01` does neither
//! but in its last test, and its `aio02` never compares.

use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::shared::finding::{Finding, Verdict};
use super::shared::pattern::Pattern;
use crate::buffer::{Align, Buffer, Pool};
use crate::engine::{Completion, Engine, Kind, Op, Operation, Queue};
use crate::error::{Errno, Error, Result, Step};
use crate::json;
use crate::stamp::Key;
use crate::sys::Flags;

/// What a round does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
pub enum Round {
    /// Writes only.
    Write,
    /// Reads only.
    Read,
    /// Each request writes, then reads the same place.
    WriteRead,
}

/// What to do.
#[allow(clippy::struct_excessive_bools, reason = "they are independent of each other, like the flags of open(2)")]
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    /// The file.
    pub path: PathBuf,
    /// Open it for reading.
    pub read: bool,
    /// Open it for writing, and create it with mode 0600 if need be.
    pub write: bool,
    /// Truncate it.
    pub truncate: bool,
    /// `O_DIRECT`.
    pub direct: bool,
    /// The kernel's interface.
    pub engine: Kind,
    /// Length of a request in bytes; a multiple of 512 when the requests are at consecutive offsets.
    pub bytes: NonZeroUsize,
    /// Requests in a round.
    pub requests: NonZeroUsize,
    /// All requests of a round go to the kernel together, at consecutive offsets from 0; else one after the other, all at offset 0.
    pub together: bool,
    /// What is done, in order.
    pub rounds: Vec<Round>,
    /// Whose stamps; its generation is what the file holds now. Each time that a place is written again it gets the next one.
    pub key: Key,
    /// This byte instead of stamps.
    pub ltp_byte: Option<u8>,
}

/// How one round went.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "AioRound", optional_fields))]
#[serde(rename_all = "camelCase")]
pub struct RoundOutcome {
    /// What went wrong first; the round ends there.
    pub finding: Option<Box<Finding>>,
    /// Time with the kernel, from submission to completion; without filling and comparing.
    #[serde(rename = "elapsedSeconds", serialize_with = "json::seconds")]
    #[cfg_attr(feature = "typescript", ts(type = "number"))]
    pub elapsed: Duration,
}

/// How it went.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Why the rounds that are missing did not begin.
    pub error: Option<Error>,
    /// Those that began. After one with a fault there is no other: what the file holds is not known then.
    pub rounds: Vec<RoundOutcome>,
    /// What the file holds in the end.
    pub generation: u32,
}

/// Does it.
pub fn run(options: &Options) -> Outcome {
    let depth = if options.together { options.requests } else { NonZeroUsize::MIN };
    match options.engine.open(depth) {
        Ok(engine) => run_with(engine, options),
        Err(error) => Outcome { error: Some(error), ..Outcome::default() },
    }
}

/// Does it through the given engine.
pub fn run_with(engine: Box<dyn Engine>, options: &Options) -> Outcome {
    let mut outcome = Outcome { generation: options.key.generation, ..Outcome::default() };
    let mut rounds = match Rounds::new(engine, options) {
        Ok(rounds) => rounds,
        Err(error) => return Outcome { error: Some(error), ..outcome },
    };
    for round in &options.rounds {
        let mut elapsed = Duration::ZERO;
        let finding = rounds.round(*round, &mut elapsed).err();
        let broken = finding.is_some();
        outcome.rounds.push(RoundOutcome { finding, elapsed });
        outcome.generation = rounds.generation;
        if broken {
            break;
        }
    }
    outcome
}

struct Rounds<'options> {
    options: &'options Options,
    queue: Queue,
    buffers: Vec<Buffer>,
    generation: u32,
}

impl<'options> Rounds<'options> {
    fn new(engine: Box<dyn Engine>, options: &'options Options) -> Result<Self> {
        let depth = if options.together { options.requests } else { NonZeroUsize::MIN };
        let file = std::fs::OpenOptions::new()
            .read(options.read)
            .write(options.write)
            .create(options.write)
            .truncate(options.truncate)
            .mode(0o600)
            .custom_flags(Flags { direct: options.direct, sync: false }.bits())
            .open(&options.path)
            .map_err(|error| Error::new(Step::Open, "The file cannot be opened").errno(Errno::from(&error)).path(&options.path))?;
        let pool = Pool::new(depth.get(), options.bytes, Align::Offset(0))?;
        let files: Vec<OwnedFd> = vec![file.into()];
        let queue = Queue::new(engine, depth, files, &pool.registrations)?;
        Ok(Self { options, queue, buffers: pool.buffers, generation: options.key.generation })
    }

    fn round(&mut self, round: Round, elapsed: &mut Duration) -> Verdict {
        let laps = if self.options.together { 1 } else { self.options.requests.get() };
        for _ in 0..laps {
            if round != Round::Read {
                self.generation = self.generation.wrapping_add(1);
                self.lap(Op::Write, elapsed)?;
            }
            if round != Round::Write {
                self.lap(Op::Read, elapsed)?;
            }
        }
        Ok(())
    }

    fn pattern(&self) -> Pattern {
        match self.options.ltp_byte {
            Some(byte) => Pattern::Byte(byte),
            None => Pattern::Stamps(Key { generation: self.generation, ..self.options.key }),
        }
    }

    /// Every buffer once: all are submitted, then all are reaped, the last one included.
    fn lap(&mut self, op: Op, elapsed: &mut Duration) -> Verdict {
        let pattern = self.pattern();
        let bytes = self.options.bytes.get();
        let mut offset = 0;
        for mut buffer in self.buffers.drain(..) {
            if op == Op::Write {
                pattern.fill(offset, &mut buffer);
            } else {
                pattern.spoil(&mut buffer);
            }
            self.queue.push(Operation { op, file: 0, offset, bytes, buffer, generation: self.generation, user_data: () });
            offset += bytes as u64;
        }
        let mut done = Vec::with_capacity(self.queue.in_flight());
        let start = Instant::now();
        let waited = self.queue.wait(self.queue.in_flight(), &mut done);
        *elapsed += start.elapsed();
        waited.map_err(|error| error.path(&self.options.path))?;
        done.sort_by_key(|completion| completion.offset);
        let mut verdict = Ok(());
        for completion in done {
            verdict = verdict.and_then(|()| self.judge(&completion, pattern));
            self.buffers.push(completion.buffer);
        }
        verdict
    }

    fn judge(&self, completion: &Completion, pattern: Pattern) -> Verdict {
        let Completion { op, offset, bytes, buffer, result, .. } = completion;
        let write = *op == Op::Write;
        let error = |step, message: String| Error::new(step, message).path(&self.options.path).offset(*offset);
        match result {
            Err(errno) => {
                let (step, what) = if write { (Step::Write, "Writing") } else { (Step::Read, "Reading") };
                Err(error(step, format!("{what} {bytes} bytes at offset {offset} failed")).errno(*errno).into())
            }
            Ok(got) if got < bytes => {
                let (step, what) = if write { (Step::ShortWrite, "written") } else { (Step::ShortRead, "read") };
                let message = format!("Only {got} of {bytes} bytes could be {what} at offset {offset}");
                Err(error(step, message).transferred(*bytes as u64, *got as u64).into())
            }
            Ok(_) if write => Ok(()),
            Ok(_) => pattern.check(*offset, buffer),
        }
    }
}
