//! Loop devices that nobody has to clean up: the backing file has no name and the device clears itself when its last user closes it,
//! so a killed process leaves neither.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Errno, Error, Result, Step};
use crate::storage::c_path;
use crate::sys::ioctl::{LOOP_CONFIGURE, LOOP_CTL_GET_FREE, ioctl};

/// What to attach.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "LoopOptions"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    /// Where the backing file lies, for as long as the device is in use.
    pub directory: PathBuf,
    /// Size in bytes, a multiple of `logical_block_bytes`. The file is sparse, but the directory must have room for all of it.
    pub bytes: u64,
    /// What the device calls its sector: 512, or a power of two up to the page size.
    pub logical_block_bytes: u32,
    /// Whether the loop driver should bypass the page cache of the filesystem below (`LO_FLAGS_DIRECT_IO`). The kernel quietly does
    /// not where that filesystem cannot; see [`LoopDevice::direct_io`].
    pub direct_io: bool,
}

/// An attached device. It exists until everything that uses it is closed or unmounted, [`LoopDevice::device`] among it.
#[derive(Debug)]
pub struct LoopDevice {
    /// Like `/dev/loop3`.
    pub path: PathBuf,
    /// Keeps the device while nothing else uses it. Read-only: kernels without `CONFIG_BLK_DEV_WRITE_MOUNTED` mount nothing that is
    /// open for writing.
    pub device: File,
    /// The backing file, open for writing: what is changed there, no filesystem on the device knows of.
    pub backing: File,
    /// Whether the driver does use direct I/O.
    pub direct_io: bool,
}

/// What has come of attaching a device, for who gets it as JSON: its descriptors are open, and that caller's to close.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "LoopOutcome", optional_fields))]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// None: it is attached; the other fields are none otherwise.
    pub error: Option<Error>,
    /// Like `/dev/loop3`.
    pub device: Option<PathBuf>,
    /// See [`LoopDevice::device`].
    pub device_fd: Option<RawFd>,
    /// See [`LoopDevice::backing`].
    pub backing_fd: Option<RawFd>,
    /// See [`LoopDevice::direct_io`].
    pub direct_io: Option<bool>,
}

impl From<Result<LoopDevice>> for Outcome {
    fn from(attached: Result<LoopDevice>) -> Self {
        match attached {
            Ok(LoopDevice { path, device, backing, direct_io }) => Self {
                error: None,
                device: Some(path),
                device_fd: Some(device.into_raw_fd()),
                backing_fd: Some(backing.into_raw_fd()),
                direct_io: Some(direct_io),
            },
            Err(error) => Self { error: Some(error), ..Self::default() },
        }
    }
}

// include/uapi/linux/loop.h
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LO_FLAGS_DIRECT_IO: u32 = 16;

/// `struct loop_config` with the `struct loop_info64` inside it.
#[repr(C)]
struct Config {
    fd: u32,
    block_bytes: u32,
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_bytes: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
    reserved: [u64; 8],
}

/// Others may take the free device first, or be about to let it go; each attempt asks for a new one.
const ATTEMPTS: u32 = 200;
const ATTEMPT_PAUSE: Duration = Duration::from_millis(5);

/// Makes the backing file and attaches it to a free device (Linux 5.8 for `LOOP_CONFIGURE`).
pub fn attach(options: &Options) -> Result<LoopDevice> {
    let backing = backing_file(&options.directory, options.bytes)?;
    let control = Path::new("/dev/loop-control");
    let failed = |message: &str, path: &Path, error: &std::io::Error| {
        Error::new(Step::LoopDevice, message).errno(Errno::from(error)).path(path)
    };
    let control_file =
        OpenOptions::new().read(true).write(true).open(control).map_err(|error| {
            failed("Loop devices cannot be made: is CONFIG_BLK_DEV_LOOP on, and is this root?", control, &error)
        })?;
    let mut attempt = 0;
    loop {
        // SAFETY: this request has no argument.
        let number = unsafe { ioctl(control_file.as_fd(), LOOP_CTL_GET_FREE, std::ptr::null::<()>()) }
            .map_err(|errno| failed("There is no free loop device", control, &errno.into()))?;
        let path = PathBuf::from(format!("/dev/loop{number}"));
        match configure(&path, &backing, options) {
            Ok(device) => {
                let dio = std::fs::read_to_string(format!("/sys/block/loop{number}/loop/dio"));
                return Ok(LoopDevice { path, device, backing, direct_io: dio.is_ok_and(|text| text.trim() == "1") });
            }
            Err(error) if attempt < ATTEMPTS && matches!(error.raw_os_error(), Some(libc::EBUSY | libc::ENXIO)) => {
                attempt += 1;
                std::thread::sleep(ATTEMPT_PAUSE);
            }
            Err(error) => {
                let message = match error.raw_os_error() {
                    Some(libc::EINVAL | libc::ENOTTY) => {
                        "The loop device refuses: LOOP_CONFIGURE needs Linux 5.8, and a block size of 512 bytes up to a page"
                    }
                    Some(libc::ENOENT) => "The loop device has no node in /dev: is devtmpfs mounted there?",
                    Some(libc::EBUSY) => "Other processes take every free loop device first",
                    _ => "The loop device cannot be set up",
                };
                return Err(failed(message, &path, &error));
            }
        }
    }
}

fn configure(path: &Path, backing: &File, options: &Options) -> std::io::Result<File> {
    let writable = OpenOptions::new().read(true).write(true).open(path)?;
    let mut file_name = [0; 64];
    file_name[..10].copy_from_slice(b"aiodio-ltp");
    let config = Config {
        fd: backing.as_raw_fd() as u32,
        block_bytes: options.logical_block_bytes,
        device: 0,
        inode: 0,
        rdevice: 0,
        offset: 0,
        size_limit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_bytes: 0,
        flags: LO_FLAGS_AUTOCLEAR | if options.direct_io { LO_FLAGS_DIRECT_IO } else { 0 },
        file_name,
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
        reserved: [0; 8],
    };
    // SAFETY: the kernel reads a `struct loop_config` there.
    unsafe { ioctl(writable.as_fd(), LOOP_CONFIGURE, &raw const config) }?;
    // Opened before `writable` closes: the device clears itself when nobody has it open.
    File::open(path)
}

/// A sparse file of `bytes` that has no name.
fn backing_file(directory: &Path, bytes: u64) -> Result<File> {
    let failed =
        |message: &str, error: &std::io::Error| Error::new(Step::LoopDevice, message).errno(Errno::from(error)).path(directory);
    let free = free_bytes(directory)?;
    if free < bytes {
        let message = format!("{} MiB are free there, and {} MiB are needed", free >> 20, bytes.div_ceil(1 << 20));
        return Err(Error::new(Step::LoopDevice, message).errno(Errno(libc::ENOSPC)).path(directory));
    }
    let nameless = OpenOptions::new().read(true).write(true).mode(0o600).custom_flags(libc::O_TMPFILE).open(directory);
    let file = match nameless {
        // The answers of a filesystem, and of a kernel, that does not know O_TMPFILE (open(2)).
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL)) => unlinked(directory),
        other => other,
    };
    let file = file.map_err(|error| failed("No backing file can be made there", &error))?;
    file.set_len(bytes).map_err(|error| failed("The backing file cannot be made so large", &error))?;
    Ok(file)
}

const BACKING_PREFIX: &str = ".aiodio-backing-";

/// A file that loses its name at once. One that a killed process could not unlink any more is removed by the next call: it is still
/// empty, and unlinking one that belongs to a living process only does what that process is about to do.
fn unlinked(directory: &Path) -> std::io::Result<File> {
    for entry in std::fs::read_dir(directory)?.flatten() {
        let empty = entry.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.size() == 0);
        if empty && entry.file_name().to_string_lossy().starts_with(BACKING_PREFIX) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
    let path = directory.join(format!("{BACKING_PREFIX}{}", std::process::id()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(file),
    }
}

/// What an unprivileged process could still write.
fn free_bytes(directory: &Path) -> Result<u64> {
    let c = c_path(directory)?;
    let mut found = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: a NUL-terminated path, and room for the answer.
    if unsafe { libc::statvfs(c.as_ptr(), found.as_mut_ptr()) } != 0 {
        let message = "The directory for the backing file cannot be examined";
        return Err(Error::new(Step::LoopDevice, message).errno(Errno::last()).path(directory));
    }
    // SAFETY: the call succeeded.
    let found = unsafe { found.assume_init() };
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast, reason = "the fields have 32 bits on some targets")]
    Ok((found.f_bavail as u64).saturating_mul(found.f_frsize as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_has_the_kernels_layout() {
        assert_eq!(size_of::<Config>(), 304);
        assert_eq!(std::mem::offset_of!(Config, flags), 60);
        assert_eq!(std::mem::offset_of!(Config, init), 224);
    }

    #[test]
    fn a_backing_file_is_sparse_and_leaves_no_name_with_or_without_o_tmpfile() {
        let place = tempfile::tempdir().expect("directory");
        let file = backing_file(place.path(), 1 << 20).expect("file");
        let found = file.metadata().expect("metadata");
        assert_eq!((found.size(), found.blocks(), found.nlink()), (1 << 20, 0, 0));

        std::fs::write(place.path().join(".aiodio-backing-1"), "").expect("leftover");
        std::fs::write(place.path().join(".aiodio-backing-kept"), "somebody's").expect("file");
        let file = unlinked(place.path()).expect("file");
        assert_eq!(file.metadata().expect("metadata").nlink(), 0);
        let names: Vec<_> = std::fs::read_dir(place.path()).expect("list").flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(names, [".aiodio-backing-kept"]);
    }

    #[test]
    fn too_little_room_is_refused_with_the_numbers() {
        let place = tempfile::tempdir().expect("directory");
        let error = backing_file(place.path(), 1 << 60).expect_err("too large");
        assert_eq!(error.errno, Some(Errno(libc::ENOSPC)));
        assert!(error.message.contains("are needed"), "{error}");
        let error = backing_file(Path::new("/nonexistent"), 1).expect_err("missing");
        assert_eq!((error.errno, error.path.as_deref()), (Some(Errno(libc::ENOENT)), Some(Path::new("/nonexistent"))));
    }
}
