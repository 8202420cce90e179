//! What the kernel allows this process.

use serde::Serialize;

use crate::buffer::page_bytes;
use crate::engine::probe::{self, Aio};
use crate::engine::{IoUringEngine, libaio};
use crate::error::Error;

/// See [`current`].
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// The page size in bytes.
    pub page_bytes: usize,
    /// AIO.
    #[serde(flatten)]
    pub aio: Aio,
    /// Why this process has no AIO at all, if it has none.
    pub aio_error: Option<Error>,
    /// Why a ring cannot be made, if it can't.
    #[serde(rename = "ioUringError")]
    pub io_uring: Option<Error>,
    /// `RLIMIT_MEMLOCK` in bytes; none: unlimited.
    pub memlock_bytes: Option<u64>,
    /// Whether crc32c runs at memory speed.
    pub crc32c_hardware: bool,
}

/// The limits of this process at this moment.
pub fn current() -> Limits {
    Limits {
        page_bytes: page_bytes(),
        aio: probe::aio(),
        aio_error: libaio::absent(),
        io_uring: IoUringEngine::new(std::num::NonZeroUsize::MIN, false).err(),
        memlock_bytes: memlock_bytes(),
        crc32c_hardware: crate::stamp::checksums_in_hardware(),
    }
}

fn memlock_bytes() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` outlives the call.
    let failed = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) } != 0;
    #[allow(clippy::useless_conversion, reason = "rlim_t has 32 bits on some targets")]
    (!failed && limit.rlim_cur != libc::RLIM_INFINITY).then(|| u64::from(limit.rlim_cur))
}
