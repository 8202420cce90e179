//! The one shape of a failure: which step failed, at which file and offset, with which errno, and one sentence for a person.

use std::path::{Path, PathBuf};

use serde::Serialize;

/// What was being done when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Opening or creating a file.
    Open,
    /// Asking for a file's size, filesystem or alignment.
    Stat,
    /// Allocating the buffers.
    Buffers,
    /// Creating the AIO context or the ring (`io_setup(2)`, `io_uring_setup(2)`, buffer registration).
    Setup,
    /// Handing an operation to the kernel (`io_submit(2)`, `io_uring_enter(2)`).
    Submit,
    /// Waiting for completions (`io_getevents(2)`, `io_uring_enter(2)`).
    Reap,
    /// A read that the kernel completed with an error.
    Read,
    /// A write that the kernel completed with an error.
    Write,
    /// A read that ended before the requested length and could not be resumed: the end of the file.
    ShortRead,
    /// A write that ended before the requested length and could not be resumed.
    ShortWrite,
    /// `fsync(2)` or `fdatasync(2)`.
    Fsync,
    /// `ftruncate(2)`.
    Truncate,
    /// Making a backing file or attaching it to a loop device.
    LoopDevice,
    /// `mount(2)`.
    Mount,
    /// `umount2(2)`.
    Unmount,
    /// A value given by the caller.
    Options,
}

/// A failed step. The message is a whole sentence without the errno's name, and says what to do where something can be done.
#[derive(Clone, Debug, thiserror::Error, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "Failure", optional_fields))]
#[serde(rename_all = "camelCase")]
#[error("{}: {message}{}", .step, .errno.map(|e| format!(" ({e})")).unwrap_or_default())]
pub struct Error {
    /// What was being done.
    pub step: Step,
    /// One sentence.
    pub message: String,
    /// The kernel's answer, where there is one.
    pub errno: Option<Errno>,
    /// The file concerned.
    pub path: Option<PathBuf>,
    /// Byte offset in that file.
    pub offset: Option<u64>,
    /// Bytes asked for.
    pub expected: Option<u64>,
    /// Bytes transferred.
    pub got: Option<u64>,
    /// For [`Step::Submit`]: whether the operation that the kernel refused was a write.
    pub write: Option<bool>,
}

/// The spelling in reports.
impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

/// The crate's result.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error that has no errno.
    pub fn new(step: Step, message: impl Into<String>) -> Self {
        Self { step, message: message.into(), errno: None, path: None, offset: None, expected: None, got: None, write: None }
    }

    /// The message with what the fields around it say, for where there is only text.
    pub fn sentence(&self) -> String {
        match &self.path {
            Some(path) => format!("{}: {self}", path.display()),
            None => self.to_string(),
        }
    }

    /// Adds the errno.
    #[must_use]
    pub fn errno(mut self, errno: Errno) -> Self {
        self.errno = Some(errno);
        self
    }

    /// Adds the file.
    #[must_use]
    pub fn path(mut self, path: &Path) -> Self {
        self.path = Some(path.to_owned());
        self
    }

    /// Adds the byte offset.
    #[must_use]
    pub fn offset(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }

    /// Adds how much was asked for and how much was transferred, in bytes.
    #[must_use]
    pub fn transferred(mut self, expected: u64, got: u64) -> Self {
        self.expected = Some(expected);
        self.got = Some(got);
        self
    }
}

/// An error number of this architecture (they differ: EDEADLK is 35 on x86 and 45 on MIPS).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(as = "Named"))]
#[serde(into = "Named")]
pub struct Errno(pub i32);

/// [`Errno`] as JSON has it.
#[derive(Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "Errno"))]
struct Named {
    errno: i32,
    /// Like "EIO".
    code: String,
}

impl From<Errno> for Named {
    fn from(errno: Errno) -> Self {
        Self { errno: errno.0, code: errno.name() }
    }
}

impl Errno {
    /// The calling thread's errno.
    pub fn last() -> Self {
        Self::from(&std::io::Error::last_os_error())
    }

    /// `EIO` for `Errno(5)`; a number without a known name is spelled `E5`.
    pub fn name(self) -> String {
        NAMES.iter().find(|(number, _)| *number == self.0).map_or_else(|| format!("E{}", self.0), |(_, name)| (*name).to_owned())
    }
}

impl From<&std::io::Error> for Errno {
    /// Errors that std makes up itself (a path with a NUL in it) become EINVAL.
    fn from(error: &std::io::Error) -> Self {
        Self(error.raw_os_error().unwrap_or(libc::EINVAL))
    }
}

impl From<Errno> for std::io::Error {
    fn from(errno: Errno) -> Self {
        Self::from_raw_os_error(errno.0)
    }
}

impl std::fmt::Display for Errno {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name(), self.0)
    }
}

impl std::fmt::Debug for Errno {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

macro_rules! names {
    ($($name:ident)*) => { &[$((libc::$name, stringify!($name))),*] };
}

/// Those that file I/O, AIO, `io_uring` and mmap can return.
const NAMES: &[(i32, &str)] = names! {
    E2BIG EACCES EAGAIN EBADF EBUSY ECANCELED EDEADLK EDOM EDQUOT EEXIST EFAULT EFBIG EHOSTDOWN EILSEQ EINPROGRESS EINTR EINVAL
    EIO EISDIR ELOOP EMEDIUMTYPE EMFILE EMLINK ENAMETOOLONG ENFILE ENODATA ENODEV ENOENT ENOEXEC ENOLCK ENOLINK ENOMEDIUM ENOMEM
    ENOSPC ENOSYS ENOTBLK ENOTCONN ENOTDIR ENOTEMPTY ENOTTY ENXIO EOPNOTSUPP EOVERFLOW EPERM EPIPE EPROTO ERANGE EREMOTEIO EROFS
    ESHUTDOWN ESPIPE ESTALE ETIME ETIMEDOUT ETXTBSY EUCLEAN EXDEV EBADMSG ENOKEY
};
