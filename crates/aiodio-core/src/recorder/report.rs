//! Questions to a record, and what reports show of the answers.

use std::fs::File;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Operation, Record, current, latest, read, trace_line};
use crate::error::{Errno, Error, Result, Step};

/// What is asked.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "RecordQuery", optional_fields))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Query {
    /// The record's file (`/proc/self/fd/N` will do); none: what this process records.
    pub path: Option<PathBuf>,
    /// Base name of a file, and a range of it: `operations` are those that touch it. None: the last ones of all.
    pub file: Option<String>,
    /// Where the range begins; none: at 0.
    pub offset: Option<u64>,
    /// Its length; none: without end.
    pub bytes: Option<u64>,
    /// Operations at most; the last ones are returned, half of them, where a file is asked about, changes of it.
    pub max: usize,
}

/// An operation as reports show it.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase")]
pub struct RecordedOperation {
    /// From 1.
    pub id: u64,
    /// In strace's way.
    pub line: String,
    /// Base name.
    pub file: String,
    /// Byte offset in it.
    pub offset: u64,
    /// Its length.
    pub bytes: u64,
    /// Generation of the stamps, of a write.
    pub generation: u32,
    /// Whether it changes the file's content or size.
    pub changes: bool,
    /// Seconds of the kernel log's clock.
    pub submitted_seconds: f64,
    /// None while it is in flight.
    pub completed_seconds: Option<f64>,
    /// Bytes or 0, or a negated errno; none while it is in flight.
    pub result: Option<i64>,
    /// Its number in the kernel.
    pub thread: u32,
}

/// Two uses of one piece of memory at once: the test's own error.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "SharedMemory"))]
#[serde(rename_all = "camelCase")]
pub struct SharedUse {
    /// What was with the kernel.
    pub in_flight: RecordedOperation,
    /// What used the same memory meanwhile.
    pub other: RecordedOperation,
}

/// What a record has of it.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "RecordAnswer", optional_fields))]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Why there is no record; the other fields are empty then.
    pub error: Option<Error>,
    /// Operations recorded, lost ones included.
    pub total: u64,
    /// How many of them the ring has overwritten.
    pub lost: u64,
    /// In the order of their submission.
    pub operations: Vec<RecordedOperation>,
    /// How many operations the question is about; more than `operations` when there are more than `max`.
    pub matching: usize,
    /// For a question about a range: what was in flight, anywhere, at the same time as the changes among `operations`; up to `max`.
    pub beside: Vec<RecordedOperation>,
    /// What is not completed, up to `max`, whatever the question is about.
    pub in_flight: Vec<RecordedOperation>,
    /// The first of these, up to 8.
    pub shared_memory: Vec<SharedUse>,
}

const SHARED_MAX: usize = 8;

/// Asks a record.
pub fn answer(query: &Query) -> Answer {
    match query.record() {
        Ok(record) => query.of(&record),
        Err(error) => Answer { error: Some(error), ..Answer::default() },
    }
}

impl Query {
    fn record(&self) -> Result<Record> {
        let Some(path) = &self.path else {
            let nothing = || Error::new(Step::Options, "Nothing is recorded in this process");
            return Ok(current().ok_or_else(nothing)?.read());
        };
        let file = File::open(path)
            .map_err(|error| Error::new(Step::Open, "The flight record cannot be opened").errno(Errno::from(&error)).path(path))?;
        read(&file)
    }

    fn of(&self, record: &Record) -> Answer {
        let touching = match &self.file {
            None => record.operations.clone(),
            Some(name) => match record.files.iter().position(|file| file == name) {
                None => Vec::new(),
                Some(file) => {
                    let offset = self.offset.unwrap_or(0);
                    record.touching(file as u32, &(offset..offset.saturating_add(self.bytes.unwrap_or(u64::MAX))))
                }
            },
        };
        let matching = match self.file {
            Some(_) => latest(&touching, self.max),
            None => touching[touching.len().saturating_sub(self.max)..].to_vec(),
        };
        let mut beside: Vec<Operation> = Vec::new();
        if self.file.is_some() {
            for change in matching.iter().filter(|operation| operation.begin.kind.changes_the_file()) {
                beside.extend(record.beside(change));
            }
            beside.sort_by_key(|operation| (operation.submitted_ns, operation.id));
            beside.dedup();
            beside.retain(|operation| !matching.contains(operation));
            beside.truncate(self.max);
        }
        let shown = |operation: &Operation| RecordedOperation::new(record, operation);
        let in_flight = record.operations.iter().filter(|operation| operation.completed_ns.is_none()).take(self.max);
        let shared = record.shared_memory();
        Answer {
            error: None,
            total: record.operations.len() as u64 + record.lost,
            lost: record.lost,
            operations: matching.iter().map(shown).collect(),
            matching: touching.len(),
            beside: beside.iter().map(shown).collect(),
            in_flight: in_flight.map(shown).collect(),
            shared_memory: shared
                .iter()
                .take(SHARED_MAX)
                .map(|pair| SharedUse { in_flight: shown(&pair.in_flight), other: shown(&pair.other) })
                .collect(),
        }
    }
}

impl RecordedOperation {
    fn new(record: &Record, operation: &Operation) -> Self {
        let name = record.files.get(operation.begin.file as usize).map_or("?", String::as_str);
        // The raw clock and the one that is slewed differ by parts in a million.
        let seconds = |ns: u64| (record.started_monotonic_ns as f64 + ns as f64 - record.started_ns as f64) / 1e9;
        Self {
            id: operation.id,
            line: trace_line(operation, name, record.started_ns),
            file: name.to_owned(),
            offset: operation.begin.offset,
            bytes: operation.begin.bytes,
            generation: operation.begin.generation,
            changes: operation.begin.kind.changes_the_file(),
            submitted_seconds: seconds(operation.submitted_ns),
            completed_seconds: operation.completed_ns.map(seconds),
            result: operation.completed_ns.map(|_| operation.result),
            thread: operation.thread,
        }
    }
}
