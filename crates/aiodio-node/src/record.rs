//! The flight recorder: switching it on in a worker, and reading what it left, in whichever process.

use std::fs::File;
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;

use aiodio_core as core;
use core::error::{Errno, Error, Step};
use core::recorder::{self, Operation, Record, Recorder};
use napi_derive::napi;

use crate::types::{self, Failure};

#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct RecordOptions {
    /// An open file to record into, which stays the caller's; absent: memory that goes with this process.
    pub fd: Option<i32>,
    /// An open descriptor to print each operation to when it completes.
    pub trace_fd: Option<i32>,
}

/// Begins a new record, for all workloads from now on; null when it has begun.
#[napi]
#[allow(clippy::needless_pass_by_value, reason = "napi-rs hands over values")]
pub fn start_record(o: RecordOptions) -> Option<Failure> {
    // SAFETY: the caller says that it is open; it is not closed here.
    let file = o.fd.map(|fd| ManuallyDrop::new(unsafe { File::from_raw_fd(fd) }));
    match Recorder::create(file.as_deref(), recorder::CAPACITY) {
        Ok(made) => {
            made.trace(o.trace_fd);
            recorder::set_current(Some(made));
            None
        }
        Err(error) => Some(error.into()),
    }
}

/// An operation as reports show it.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct RecordedOperation {
    /// From 1.
    pub id: f64,
    /// In strace's way.
    pub line: String,
    pub file: String,
    pub offset: f64,
    pub bytes: f64,
    /// Generation of the stamps, of a write.
    pub generation: u32,
    /// Whether it changes the file's content or size.
    pub changes: bool,
    /// Seconds of the kernel log's clock.
    pub submitted_seconds: f64,
    /// Absent while it is in flight.
    pub completed_seconds: Option<f64>,
    /// Bytes or 0, or a negated errno; absent while it is in flight.
    pub result: Option<f64>,
    pub thread: u32,
}

fn convert(record: &Record, operation: &Operation) -> RecordedOperation {
    let name = record.files.get(operation.begin.file as usize).map_or("?", String::as_str);
    // The raw clock and the one that is slewed differ by parts in a million.
    let seconds = |ns: u64| (record.started_monotonic_ns as f64 + ns as f64 - record.started_ns as f64) / 1e9;
    RecordedOperation {
        id: operation.id as f64,
        line: recorder::trace_line(operation, name, record.started_ns),
        file: name.to_owned(),
        offset: operation.begin.offset as f64,
        bytes: operation.begin.bytes as f64,
        generation: operation.begin.generation,
        changes: operation.begin.kind.changes_the_file(),
        submitted_seconds: seconds(operation.submitted_ns),
        completed_seconds: operation.completed_ns.map(seconds),
        result: operation.completed_ns.map(|_| operation.result as f64),
        thread: operation.thread,
    }
}

/// Two uses of one piece of memory at once: the test's own error.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct SharedMemory {
    pub in_flight: RecordedOperation,
    pub other: RecordedOperation,
}

#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct RecordQuery {
    /// The record's file (`/proc/self/fd/N` will do); absent: what this process records.
    pub path: Option<String>,
    /// Base name of a file, and a range of it: `operations` are those that touch it. Absent: the last ones of all.
    pub file: Option<String>,
    pub offset: Option<f64>,
    pub bytes: Option<f64>,
    /// Operations at most; the last ones are returned, half of them, where a file is asked about, changes of it.
    pub max: u32,
}

#[napi(object, object_from_js = false)]
#[derive(Debug, Default)]
pub struct RecordAnswer {
    /// Why there is no record; the other fields are empty then.
    pub error: Option<Failure>,
    /// Operations recorded, lost ones included.
    pub total: f64,
    /// How many of them the ring has overwritten.
    pub lost: f64,
    /// In the order of their submission.
    pub operations: Vec<RecordedOperation>,
    /// How many operations the question is about; more than `operations` when there are more than `max`.
    pub matching: f64,
    /// For a question about a range: what was in flight, anywhere, at the same time as the changes among `operations`; up to `max`.
    pub beside: Vec<RecordedOperation>,
    /// What is not completed, up to `max`, whatever the question is about.
    pub in_flight: Vec<RecordedOperation>,
    /// The first of these, up to 8.
    pub shared_memory: Vec<SharedMemory>,
}

/// Asks a record.
#[napi]
#[allow(clippy::needless_pass_by_value, reason = "napi-rs hands over values")]
pub fn query_record(o: RecordQuery) -> RecordAnswer {
    match answer(&o) {
        Ok(answer) => answer,
        Err(error) => RecordAnswer { error: Some(error.into()), ..Default::default() },
    }
}

fn answer(o: &RecordQuery) -> core::error::Result<RecordAnswer> {
    let record = match &o.path {
        Some(path) => {
            let file = File::open(path).map_err(|error| {
                Error::new(Step::Open, "The flight record cannot be opened").errno(Errno::from(&error)).path(path.as_ref())
            })?;
            recorder::read(&file)?
        }
        None => match recorder::current() {
            Some(recorder) => recorder.read(),
            None => return Err(Error::new(Step::Options, "Nothing is recorded in this process")),
        },
    };
    let max = o.max as usize;
    let touching = match &o.file {
        None => record.operations.clone(),
        Some(name) => match record.files.iter().position(|file| file == name) {
            None => Vec::new(),
            Some(file) => {
                let offset = types::size("offset", o.offset.unwrap_or(0.0))?;
                let bytes = o.bytes.map_or(Ok(u64::MAX - offset), |bytes| types::size("bytes", bytes))?;
                record.touching(file as u32, &(offset..offset.saturating_add(bytes)))
            }
        },
    };
    let count = touching.len();
    let matching = if o.file.is_some() { recorder::latest(&touching, max) } else { touching[count.saturating_sub(max)..].to_vec() };
    let mut beside: Vec<Operation> = Vec::new();
    if o.file.is_some() {
        for change in matching.iter().filter(|operation| operation.begin.kind.changes_the_file()) {
            beside.extend(record.beside(change));
        }
        beside.sort_by_key(|operation| (operation.submitted_ns, operation.id));
        beside.dedup();
        beside.retain(|operation| !matching.contains(operation));
        beside.truncate(max);
    }
    let shown = |operations: &[Operation]| operations.iter().map(|operation| convert(&record, operation)).collect();
    let in_flight: Vec<Operation> =
        record.operations.iter().filter(|operation| operation.completed_ns.is_none()).take(max).copied().collect();
    let shared = record.shared_memory();
    Ok(RecordAnswer {
        error: None,
        total: record.operations.len() as f64 + record.lost as f64,
        lost: record.lost as f64,
        operations: shown(&matching),
        matching: count as f64,
        beside: shown(&beside),
        in_flight: shown(&in_flight),
        shared_memory: shared
            .iter()
            .take(8)
            .map(|pair| SharedMemory { in_flight: convert(&record, &pair.in_flight), other: convert(&record, &pair.other) })
            .collect(),
    })
}
