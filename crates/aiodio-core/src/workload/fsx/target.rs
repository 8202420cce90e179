//! The file under test: each operation as the system calls that do it.

use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::operation::{Kind, Operation};
use super::syncer::{Synced, Syncer, Unsynced};
use crate::buffer::{Align, Buffer, Pool};
use crate::engine::{self, Completion, Engine, Op, Queue, Stats};
use crate::error::{Errno, Error, Result, Step};
use crate::recorder::{self, Begin};
use crate::sys::mapping::Mapping;
use crate::sys::{Answer, File, Flags};

/// How a system call went: `Err` with the call's name.
type Call<T> = std::result::Result<T, (&'static str, Errno)>;

/// The open file, and what is needed to work on it.
pub(super) struct Target {
    path: PathBuf,
    file: File,
    queue: Queue,
    buffer: Option<Buffer>,
    done: Vec<Completion>,
    syncer: Option<Syncer>,
}

impl Target {
    /// Opens or creates the file and empties it. No operation of the queue is longer than `bytes_max`.
    pub(super) fn open(path: &Path, engine: Box<dyn Engine>, direct: bool, bytes_max: NonZeroUsize) -> Result<Self> {
        let transfers = File::open_to_write(path, true, Flags { direct, sync: false })?;
        // Everything but reads and writes goes through a descriptor of its own, as nothing else depends on O_DIRECT.
        let file = File::open_to_write(path, true, Flags::default())?;
        file.truncate(0).map_err(|errno| failure(path, "ftruncate", errno))?;
        let pool = Pool::new(1, bytes_max, Align::Offset(0))?;
        let queue = Queue::new(engine, NonZeroUsize::MIN, vec![transfers.into()], &pool.registrations)?;
        let buffer = pool.buffers.into_iter().next();
        Ok(Self { path: path.to_owned(), file, queue, buffer, done: Vec::new(), syncer: None })
    }

    pub(super) fn finish(self) -> Stats {
        self.queue.finish()
    }

    /// The size that the filesystem says the file has.
    pub(super) fn size(&self) -> Result<u64> {
        self.file.size()
    }

    /// A read: the bytes that came.
    pub(super) fn read(&mut self, operation: &Operation) -> Result<&[u8]> {
        // What an earlier operation left there, often the right data, must not pass for what is read.
        for byte in self.buffer.as_deref_mut().unwrap_or_default().iter_mut().take(operation.bytes as usize) {
            *byte = !*byte;
        }
        let got = self.transfer(Op::Read, operation, 0)?;
        let buffer = self.buffer.as_deref().unwrap_or_default();
        Ok(&buffer[..got])
    }

    /// A write of `data`.
    pub(super) fn write(&mut self, operation: &Operation, data: &[u8], generation: u32) -> Result<()> {
        if let Some(buffer) = &mut self.buffer {
            buffer[..data.len()].copy_from_slice(data);
        }
        let got = self.transfer(Op::Write, operation, generation)?;
        if (got as u64) < operation.bytes {
            let message = format!("Only {got} of {} bytes could be written at offset {}", operation.bytes, operation.offset);
            let error = Error::new(Step::ShortWrite, message).path(&self.path).offset(operation.offset);
            return Err(error.transferred(operation.bytes, got as u64));
        }
        Ok(())
    }

    fn transfer(&mut self, op: Op, operation: &Operation, generation: u32) -> Result<usize> {
        let Some(buffer) = self.buffer.take() else {
            return Err(Error::new(Step::Buffers, "The buffer is still with the kernel").path(&self.path));
        };
        let Operation { offset, bytes, .. } = *operation;
        self.queue.push(engine::Operation { op, file: 0, offset, bytes: bytes as usize, buffer, generation, user_data: () });
        self.queue.wait(1, &mut self.done).map_err(|error| error.path(&self.path))?;
        let Some(Completion { buffer, result, .. }) = self.done.pop() else {
            return Err(Error::new(Step::Reap, "No operation completed").path(&self.path));
        };
        self.buffer = Some(buffer);
        result.map_err(|errno| {
            let (step, what) = if op == Op::Write { (Step::Write, "Writing") } else { (Step::Read, "Reading") };
            let message = format!("{what} {bytes} bytes at offset {offset} failed");
            Error::new(step, message).errno(errno).path(&self.path).offset(offset)
        })
    }

    /// The pages of an operation, faulted in; before Linux 5.14 that comes one by one.
    fn map(&self, operation: &Operation, write: bool) -> Answer<Mapping> {
        let map = Mapping::of_file(self.file.as_fd(), operation.offset, operation.bytes, write)?;
        match map.populate(write) {
            Ok(()) | Err(Errno(libc::EINVAL)) => Ok(map),
            Err(errno) => Err(errno),
        }
    }

    /// Shows the file through a mapping, from the operation's first page to the end of its last one.
    pub(super) fn map_read<T>(&self, operation: &Operation, look: impl FnOnce(u64, &[u8]) -> T) -> Result<T> {
        let calls = self.file.calls();
        let recorded = calls.start(&calls.begin(recorder::Kind::MmapRead, operation.offset, operation.bytes));
        let result = self.map(operation, false).map(|map| {
            // SAFETY: mapped for reading; what another process does to the file meanwhile is what is being tested.
            look(map.offset, unsafe { std::slice::from_raw_parts(map.at(map.offset), map.bytes()) })
        });
        calls.end(recorded, result.as_ref().map_or_else(|errno| -i64::from(errno.0), |_| 0));
        result.map_err(|errno| failure(&self.path, "mmap", errno).offset(operation.offset))
    }

    /// Writes `data` through a mapping and has it synced, beside what follows if the operation's flag says so. The file must be long
    /// enough.
    pub(super) fn map_write(&mut self, operation: &Operation, data: &[u8], generation: u32) -> Result<()> {
        let Operation { offset, bytes, .. } = *operation;
        let calls = self.file.calls().clone();
        let recorded = calls.start(&Begin { generation, ..calls.begin(recorder::Kind::MmapWrite, offset, bytes) });
        let map = self.map(operation, true).map_err(|errno| {
            calls.end(recorded, -i64::from(errno.0));
            failure(&self.path, "mmap", errno).offset(offset)
        })?;
        assert!(data.len() as u64 <= bytes, "data must fit their mapping");
        // SAFETY: within the mapping, which is for writing.
        unsafe { map.at(offset).copy_from_nonoverlapping(data.as_ptr(), data.len()) };
        let unsynced = Unsynced { map, offset, calls, operation: recorded };
        let over = if operation.flag { self.syncer.get_or_insert_with(Syncer::new).start(unsynced) } else { Some(unsynced.sync()) };
        over.map_or(Ok(()), |synced| self.check_synced(synced))
    }

    /// Waits for what is still being synced.
    pub(super) fn all_synced(&mut self) -> Result<()> {
        while let Some(synced) = self.syncer.as_mut().and_then(Syncer::next) {
            self.check_synced(synced)?;
        }
        Ok(())
    }

    fn check_synced(&self, Synced { offset, result }: Synced) -> Result<()> {
        result.map_err(|errno| failure(&self.path, "msync", errno).offset(offset))
    }

    /// An operation without memory.
    pub(super) fn change(&self, operation: &Operation) -> Result<()> {
        change(&self.file, operation).map_err(|(call, errno)| failure(&self.path, call, errno).offset(operation.offset))
    }

    /// Makes the file longer for a mapping.
    pub(super) fn extend(&self, size: u64) -> Result<()> {
        self.change(&Operation::new(Kind::Truncate, size, 0))
    }
}

fn failure(path: &Path, call: &str, errno: Errno) -> Error {
    let why = match errno.0 {
        libc::ENOSPC => ": the filesystem is full",
        libc::EDQUOT => ": the disk quota is used up",
        libc::EFAULT => ": a page of the file cannot be read in or written to",
        _ => "",
    };
    let step = if call == "msync" { Step::Fsync } else { Step::Write };
    Error::new(step, format!("{call}() failed{why}")).errno(errno).path(path)
}

/// The system call of a change.
fn change(file: &File, operation: &Operation) -> Call<()> {
    let Operation { kind, offset, bytes, to, flag } = *operation;
    let keep = if flag { libc::FALLOC_FL_KEEP_SIZE } else { 0 };
    let mode = match kind {
        Kind::Truncate => return file.truncate(offset).map_err(|errno| ("ftruncate", errno)),
        Kind::Clone => return file.clone_range(file, offset, bytes, to).map_err(|errno| ("FICLONERANGE", errno)),
        Kind::Copy => {
            return match file.copy_range(offset, bytes, to) {
                Ok(count) if count as u64 == bytes => Ok(()),
                // Short only at the end of the file, where it is not.
                Ok(_) => Err(("copy_file_range", Errno(libc::EIO))),
                Err(errno) => Err(("copy_file_range", errno)),
            };
        }
        Kind::Punch => libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE,
        Kind::Zero => libc::FALLOC_FL_ZERO_RANGE | keep,
        Kind::Collapse => libc::FALLOC_FL_COLLAPSE_RANGE,
        Kind::Insert => libc::FALLOC_FL_INSERT_RANGE,
        _ => keep,
    };
    file.allocate(mode, offset, bytes).map_err(|errno| ("fallocate", errno))
}

/// Which kinds this filesystem does not have, tried on a file that is gone afterwards.
pub(super) fn unsupported(directory: &Path, block: u64) -> Result<Vec<Kind>> {
    let path = directory.join(".fsx-linux-probe");
    let file = File::open_to_write(&path, true, Flags::default())?;
    let result = probe(&path, &file, block);
    let removed = std::fs::remove_file(&path);
    let missing = result?;
    removed.map_err(|error| failure(&path, "unlink", Errno::from(&error)))?;
    Ok(missing)
}

fn probe(path: &Path, file: &File, block: u64) -> Result<Vec<Kind>> {
    let data = vec![1; 4 * block as usize];
    file.write_whole(&data, 0, 0).map_err(|errno| failure(path, "pwrite", errno))?;
    let mut missing = Vec::new();
    for kind in Kind::ALL.into_iter().filter(|kind| !Kind::LTP.contains(kind)) {
        // The third block of four, the target behind the end; twice for those with a flag.
        for flag in [false, true] {
            match change(file, &Operation { kind, offset: block, bytes: block, to: 8 * block, flag }) {
                Ok(()) => {}
                Err((_, Errno(libc::EOPNOTSUPP | libc::ENOTTY | libc::ENOSYS | libc::EINVAL | libc::EXDEV))) => {
                    missing.push(kind);
                    break;
                }
                Err((call, errno)) => return Err(failure(path, call, errno)),
            }
        }
    }
    Ok(missing)
}
