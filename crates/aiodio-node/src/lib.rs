//! The Node addon: converts types between TypeScript and `aiodio-core`, and nothing else. What a field means is told there.

pub mod aio_rounds;
pub mod aio_stress;
pub mod dio_limits;
pub mod expectation;
pub mod faultfs;
pub mod fork_dma;
pub mod fsx;
pub mod invalidate;
pub mod mmap_fork;
pub mod pattern;
pub mod race;
pub mod race_types;
pub mod races;
pub mod record;
pub mod segments;
pub mod short_read;
pub mod stress;
mod task;
mod types;
pub mod unwritten;

use std::fs::{File, TryLockError};
use std::mem::ManuallyDrop;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aiodio_core as core;
use napi::Status;
use napi::bindgen_prelude::{AsyncTask, Function};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;

use crate::task::Work;
use crate::types::{
    CopyOptions, CopyOutcome, Failure, FillOptions, FillOutcome, Limits, LoopOptions, LoopOutcome, MountOptions, StorageInfo,
    VerifyOptions, VerifyOutcome,
};

/// Takes an open file for this process alone (`flock(2)`) until the file is closed or the process is gone. False where
/// somebody else has it; true where its filesystem knows no locks.
#[napi]
#[must_use]
pub fn lock_file(fd: i32) -> bool {
    // SAFETY: the caller says that it is open; it is not closed here.
    let file = ManuallyDrop::new(unsafe { File::from_raw_fd(fd) });
    !matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

/// Becomes another program: all threads of this process end, with what they were doing, before it begins (`execve(2)`). Returns only
/// where that is impossible, with the reason.
#[napi]
#[must_use]
pub fn become_program(program: String, arguments: Vec<String>) -> String {
    std::process::Command::new(program).args(arguments).exec().to_string()
}

/// Fills a file with stamps, through the page cache, and syncs it.
#[napi(ts_return_type = "Promise<FillOutcome>")]
pub fn fill_file(o: FillOptions) -> AsyncTask<Work<FillOutcome>> {
    Work::start(move || {
        let error =
            o.key().and_then(|key| core::workload::fill::fill(Path::new(&o.path), types::size("bytes", o.bytes)?, key)).err();
        FillOutcome { error: error.map(Into::into) }
    })
}

pub(crate) type Progress = ThreadsafeFunction<f64, (), f64, Status, false, true>;

/// Copies a file block by block with many blocks in flight.
#[napi(ts_return_type = "Promise<CopyOutcome>")]
pub fn copy_file(
    o: CopyOptions,
    #[napi(ts_arg_type = "(doneBytes: number) => void")] on_progress: Option<Function<'_, f64, ()>>,
) -> napi::Result<AsyncTask<Work<CopyOutcome>>> {
    let progress: Option<Arc<Progress>> =
        on_progress.map(|function| function.build_threadsafe_function().weak::<true>().build().map(Arc::new)).transpose()?;
    Ok(Work::start(move || match core::workload::copy::Options::try_from(o) {
        Ok(options) => core::workload::copy::copy(&options, |bytes| {
            if let Some(progress) = &progress {
                progress.call(bytes as f64, ThreadsafeFunctionCallMode::NonBlocking);
            }
        })
        .into(),
        Err(error) => error.into(),
    }))
}

/// Reads a file back and compares it with its stamps.
#[napi(ts_return_type = "Promise<VerifyOutcome>")]
pub fn verify_file(o: VerifyOptions) -> AsyncTask<Work<VerifyOutcome>> {
    let bytes_expected = o.bytes;
    Work::start(move || {
        let outcome = match core::verify::Options::try_from(o) {
            Ok(options) => core::verify::verify(&options),
            Err(error) => core::verify::Outcome { error: Some(error), ..Default::default() },
        };
        VerifyOutcome::new(bytes_expected, outcome)
    })
}

/// What a directory lies on. Takes microseconds, so it is synchronous.
#[napi]
pub fn storage_info(directory: String) -> napi::Result<StorageInfo> {
    match core::storage::storage(&PathBuf::from(directory)) {
        Ok(storage) => Ok(storage.into()),
        Err(error) => Err(napi::Error::from_reason(types::sentence(&error))),
    }
}

/// What the kernel allows this process.
#[napi]
pub fn limits() -> Limits {
    core::limits::current().into()
}

/// The file number in the stamps that free space is filled with before a test.
#[napi]
pub const STALE_DISK_FILE: u32 = core::stamp::STALE_DISK_FILE;

/// Attaches a nameless file to a loop device that clears itself when its last user is gone.
#[napi]
pub fn attach_loop(o: LoopOptions) -> LoopOutcome {
    let attached = types::size("bytes", o.bytes).and_then(|bytes| {
        core::loop_device::attach(&core::loop_device::Options {
            directory: o.directory.into(),
            bytes,
            logical_block_bytes: o.logical_block_bytes,
            direct_io: o.direct_io,
        })
    });
    match attached {
        Ok(attached) => LoopOutcome {
            error: None,
            device: Some(attached.path.to_string_lossy().into_owned()),
            device_fd: Some(attached.device.into_raw_fd()),
            backing_fd: Some(attached.backing.into_raw_fd()),
            direct_io: Some(attached.direct_io),
        },
        Err(error) => LoopOutcome { error: Some(error.into()), ..Default::default() },
    }
}

/// `mount(2)`; null when it is mounted.
#[napi]
pub fn mount_filesystem(o: MountOptions) -> Option<Failure> {
    core::mount::mount(&o.into()).err().map(Into::into)
}

/// `umount2(2)`, which waits so many milliseconds for the last users to go; null when it is unmounted.
#[napi]
pub fn unmount_filesystem(target: String, patience_milliseconds: u32) -> Option<Failure> {
    core::mount::unmount(&PathBuf::from(target), Duration::from_millis(patience_milliseconds.into())).err().map(Into::into)
}

/// Writes back and forgets what the page cache holds of a block device that is not mounted; null when it is done.
#[napi]
pub fn flush_device(device: String) -> Option<Failure> {
    core::mount::flush_device(&PathBuf::from(device)).err().map(Into::into)
}
