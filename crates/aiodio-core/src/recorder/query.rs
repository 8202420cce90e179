//! Reading a record, and asking it what happened.

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use super::layout::{FILES_MAX, HEADER_BYTES, MAGIC, Mapping, Slot, name_of, read_slot};
use super::{Begin, Kind, Operation, VERIFYING};
use crate::error::{Error, Result, Step};

/// One file's worth of recorded operations.
#[derive(Clone, Debug)]
pub struct Record {
    /// The files' names, by their numbers.
    pub files: Vec<String>,
    /// The oldest first. Slots that a dying writer left half-filled are missing.
    pub operations: Vec<Operation>,
    /// How many others there were: older ones, and those that met a ring full of operations in flight.
    pub lost: u64,
    /// `CLOCK_MONOTONIC_RAW` when the record began, in nanoseconds.
    pub started_ns: u64,
    /// `CLOCK_MONOTONIC` at that moment, which the kernel log's time stamps follow.
    pub started_monotonic_ns: u64,
}

/// Reads the record that a process, which may be dead or still writing, has in `file`.
///
/// An error of step "options": it is no record, or of another architecture or version.
pub fn read(file: &File) -> Result<Record> {
    let not = |why: &str| Error::new(Step::Options, format!("This is no flight record: {why}"));
    let bytes = file.metadata().map_err(|error| not(&error.to_string()))?.len();
    let bytes = usize::try_from(bytes).unwrap_or(0);
    if bytes < HEADER_BYTES {
        return Err(not("it is too short"));
    }
    let capacity = ((bytes - HEADER_BYTES) / size_of::<Slot>()) as u64;
    let map =
        Mapping::new(Some(file.as_fd()), capacity, libc::PROT_READ).map_err(|errno| not("it can't be mapped").errno(errno))?;
    let header = map.header();
    let record_bytes = header.record_bytes.load(Ordering::Relaxed) as usize;
    if header.magic.load(Ordering::Acquire) != MAGIC || record_bytes != size_of::<Slot>() {
        return Err(not("it was made by another version, on another architecture, or by another program"));
    }
    let said = u64::from(header.capacity.load(Ordering::Relaxed));
    if said != capacity || bytes != Mapping::bytes(capacity) || capacity == 0 {
        return Err(not("its length is not what it says"));
    }
    Ok(read_mapping(&map))
}

pub(super) fn read_mapping(map: &Mapping) -> Record {
    let header = map.header();
    // Each operation's number is counted before it is passed over.
    let passed_over = header.passed_over.load(Ordering::Acquire);
    let begun = header.begun.load(Ordering::Acquire);
    let files = (header.files.load(Ordering::Acquire) as usize).min(FILES_MAX);
    let mut operations: Vec<Operation> = (0..map.capacity).filter_map(|number| read_slot(map.slot(number))).collect();
    operations.sort_by_key(|operation| (operation.submitted_ns, operation.id));
    Record {
        files: header.names[..files].iter().map(name_of).collect(),
        lost: begun.saturating_sub(passed_over).saturating_sub(operations.len() as u64),
        operations,
        started_ns: header.started_ns.load(Ordering::Relaxed),
        started_monotonic_ns: header.started_monotonic_ns.load(Ordering::Relaxed),
    }
}

/// Two operations on one piece of memory at once, of which one writes to it: the test's own error, never the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedMemory {
    /// In flight, with its memory the kernel's.
    pub in_flight: Operation,
    /// What used the same memory meanwhile.
    pub other: Operation,
}

impl Record {
    /// Operations on `file` that touch a byte of `range`, the oldest first; the verification's own are left out.
    pub fn touching(&self, file: u32, range: &std::ops::Range<u64>) -> Vec<Operation> {
        let touches = |operation: &&Operation| {
            let Begin { kind, offset, bytes, flags, .. } = operation.begin;
            operation.begin.file == file
                && flags & VERIFYING == 0
                && match kind {
                    Kind::Truncate => bytes < range.end,
                    Kind::Collapse | Kind::Insert => offset < range.end,
                    _ if kind.has_range() => offset < range.end && range.start < offset.saturating_add(bytes),
                    _ => false,
                }
        };
        self.operations.iter().filter(touches).copied().collect()
    }

    /// Operations that were in flight at the same time as `operation`, itself left out.
    pub fn beside(&self, operation: &Operation) -> Vec<Operation> {
        let others = self.operations.iter().filter(|other| other.id != operation.id && overlap(operation, other));
        others.copied().collect()
    }

    /// Memory that was used for two things at once. Empty for a test without errors of its own.
    pub fn shared_memory(&self) -> Vec<SharedMemory> {
        let mut found = Vec::new();
        let mut in_flight: Vec<&Operation> = Vec::new();
        for operation in self.operations.iter().filter(|op| op.begin.kind.uses_memory() || op.begin.kind == Kind::Fill) {
            in_flight.retain(|other| other.completed_ns.is_none_or(|at| at > operation.submitted_ns));
            let uses = |op: &Operation| op.begin.address..op.begin.address.saturating_add(op.begin.bytes);
            for other in &in_flight {
                let (a, b) = (uses(other), uses(operation));
                let written = other.begin.kind.writes_memory() || operation.begin.kind.writes_memory();
                if written && a.start < b.end && b.start < a.end {
                    found.push(SharedMemory { in_flight: **other, other: *operation });
                }
            }
            if operation.begin.kind.uses_memory() {
                in_flight.push(operation);
            }
        }
        found
    }
}

/// The last `max` of `operations`, half of them, if there are so many, changes of the file: what made bytes bad is not
/// displaced by what was only read there, or dropped from the page cache, afterwards.
pub fn latest(operations: &[Operation], max: usize) -> Vec<Operation> {
    let newest = |wanted: &dyn Fn(&Operation) -> bool, most: usize| -> Vec<Operation> {
        operations.iter().rev().filter(|operation| wanted(operation)).take(most).copied().collect()
    };
    let mut kept = newest(&|operation| operation.begin.kind.changes_the_file(), max.div_ceil(2));
    let changes: HashSet<u64> = kept.iter().map(|operation| operation.id).collect();
    kept.extend(newest(&|operation| !changes.contains(&operation.id), max - changes.len()));
    kept.sort_by_key(|operation| (operation.submitted_ns, operation.id));
    kept
}

fn overlap(a: &Operation, b: &Operation) -> bool {
    let ends_after = |x: &Operation, y: &Operation| x.completed_ns.is_none_or(|end| end > y.submitted_ns);
    ends_after(a, b) && ends_after(b, a)
}
