//! Plain system calls, and stores through a mapping.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use super::super::plan::{Action, Step as Planned};
use super::super::turn::Mode;
use super::Worker;
use crate::buffer::page_bytes;
use crate::engine::Kind;
use crate::error::{Errno, Error, Result, Step};
use crate::oracle::{Change, Ending, Expected, SizeChange};
use crate::recorder::{Begin, Kind as Recorded};
use crate::sys::mapping::Mapping;
use crate::workload::shared::finding::Finding;

impl Worker<'_, '_> {
    pub(super) fn fsync(&mut self, step: &Planned) -> Result<()> {
        let result = self.files[step.file].fsync().map_err(|error| error.errno.unwrap_or(Errno(libc::EIO)));
        self.finish_call("fsync", step, 0, 0, result)
    }

    pub(super) fn reshape(&mut self, step: &Planned) -> Result<()> {
        let run = self.run;
        let file = &run.files[step.file];
        let alone = step.action == Action::Truncate && !run.options.truncate_beside;
        let mode = if alone { Mode::Alone } else { Mode::Reshape };
        self.turn(step.file, mode)?;
        let Planned { offset, bytes, size, .. } = *step;
        let keep = libc::FALLOC_FL_KEEP_SIZE;
        let (kind, flags, change) = match step.action {
            Action::Truncate => (Recorded::Truncate, None, Change::truncate(size)),
            Action::Allocate => (Recorded::Allocate, Some(0), Change::allocate(offset, bytes)),
            Action::AllocateKeep => {
                (Recorded::Allocate, Some(keep), Change { size: SizeChange::Keep, ..Change::allocate(offset, bytes) })
            }
            Action::Punch => (Recorded::Punch, Some(libc::FALLOC_FL_PUNCH_HOLE | keep), Change::zero(offset, bytes)),
            _ => (Recorded::ZeroRange, Some(libc::FALLOC_FL_ZERO_RANGE | keep), Change::zero(offset, bytes)),
        };
        let truncate = u64::from(flags.is_none());
        let id = {
            let mut state = file.state();
            state.sizing.truncates += truncate;
            state.sizing.truncating += truncate;
            state.oracle.begin(change)
        };
        let (at, length) = if flags.is_none() { (0, size) } else { (offset, bytes) };
        let result = match flags {
            None => self.files[step.file].truncate(size),
            Some(flags) => self.files[step.file].allocate(flags, offset, bytes),
        };
        {
            let mut state = file.state();
            state.sizing.truncating -= truncate;
            state.oracle.end(id, if result.is_ok() { Ending::Done } else { Ending::Failed });
        }
        file.turns.end(mode);
        match result {
            Err(Errno(libc::EOPNOTSUPP | libc::ENOSYS)) if flags.is_some() => {
                run.unsupported[step.action.index()].store(true, Ordering::Relaxed);
                Ok(())
            }
            // Signals came faster than the filesystem could do it even once; it says that it did nothing or a part.
            Err(Errno(libc::EINTR)) => Ok(()),
            result => self.finish_call(kind.name(), step, at, length, result),
        }
    }

    fn finish_call(
        &mut self,
        call: &'static str,
        step: &Planned,
        offset: u64,
        bytes: u64,
        result: std::result::Result<(), Errno>,
    ) -> Result<()> {
        let Err(errno) = result else { return Ok(()) };
        let name = &self.run.files[step.file].name;
        let detail = format!("{call}({name}, {offset:#x}, {bytes}) through {}", Kind::Sync);
        let finding = Finding::new("refused", offset, bytes, detail).errno(errno);
        self.run.add(Finding { file: Some(name.clone()), ..finding })
    }

    /// While nobody else uses the file: its size can be compared, and no truncate can turn a store into SIGBUS.
    pub(super) fn alone(&mut self, step: &Planned) -> Result<()> {
        self.turn(step.file, Mode::Alone)?;
        let result = self.store(step);
        self.run.files[step.file].turns.end(Mode::Alone);
        result
    }

    fn store(&mut self, step: &Planned) -> Result<()> {
        let run = self.run;
        let shared = &run.files[step.file];
        let file = &self.files[step.file];
        let found = file.size()?;
        let (least, most) = shared.state().oracle.sizes().into_inner();
        if !(least..=most).contains(&found) {
            let (file, got, least, most) = (Some(shared.name.clone()), Some(found), Some(least), Some(most));
            let detail = format!("fstat({})", shared.name);
            return run.add(Finding { file, got, least, most, ..Finding::new("size", 0, 0, detail) });
        }
        let end = (step.offset + step.bytes).min(found);
        if step.offset >= end {
            return Ok(());
        }
        let page = page_bytes() as u64;
        let start = step.offset / page * page;
        // Its pages are made writable now, so that a filesystem that is full says so.
        let mapping = Mapping::of_file(file.as_fd(), step.offset, end - step.offset, true);
        let mapping = match mapping.and_then(|mapping| mapping.populate(true).map(|()| mapping)) {
            Ok(mapping) => mapping,
            Err(Errno(libc::EINVAL | libc::ENODEV | libc::EOPNOTSUPP)) => {
                // FUSE without a shared mmap, or a kernel before 5.14, where a full filesystem would be a SIGBUS.
                run.unsupported[step.action.index()].store(true, Ordering::Relaxed);
                return Ok(());
            }
            // A store would be a SIGBUS, and that says no more: most likely the filesystem is full, and nothing is wrong with it.
            Err(errno @ Errno(libc::EFAULT)) => {
                let message = "A page of the file cannot be had to store to: use fewer or smaller files if the filesystem is full";
                return Err(Error::new(Step::Write, message).errno(errno).path(&shared.path).offset(start));
            }
            Err(errno) => return self.finish_call("mmap", step, start, end - start, Err(errno)),
        };
        let bytes = end - step.offset;
        let (id, key) = {
            let mut state = shared.state();
            state.generation += 1;
            let generation = state.generation;
            let change = Change { size: SizeChange::Keep, ..Change::write(step.offset, bytes, generation) };
            (state.oracle.begin(change), state.oracle.stamps(generation))
        };
        let mut data = vec![0; bytes as usize];
        key.fill(step.offset, &mut data);
        let address = mapping.at(step.offset);
        let begin = Begin {
            address: address as u64,
            generation: key.generation,
            ..file.calls().begin(Recorded::MmapWrite, step.offset, bytes)
        };
        let recorded = file.calls().start(&begin);
        // SAFETY: inside the mapping; nobody makes the file shorter meanwhile.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), address, data.len()) };
        file.calls().end(recorded, 0);
        shared.state().oracle.end(id, Ending::Done);
        Ok(())
    }
}
