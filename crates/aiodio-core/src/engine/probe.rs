//! What the kernel says of its interfaces, in `/proc/sys`.

use serde::Serialize;

/// System-wide AIO limits (`proc_sys_fs(5)`), in operations.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase")]
pub struct Aio {
    /// `fs.aio-max-nr`.
    #[serde(rename = "aioMax")]
    pub max: Option<u64>,
    /// `fs.aio-nr`: what `io_setup(2)` calls have reserved at this moment.
    #[serde(rename = "aioInUse")]
    pub in_use: Option<u64>,
}

/// Reads the AIO limits.
pub fn aio() -> Aio {
    Aio { max: number("/proc/sys/fs/aio-max-nr"), in_use: number("/proc/sys/fs/aio-nr") }
}

/// `kernel.io_uring_disabled` (Linux 6.6): 0 allowed, 1 for privileged processes and one group only, 2 for nobody.
pub(super) fn io_uring_disabled() -> Option<u64> {
    number("/proc/sys/kernel/io_uring_disabled")
}

fn number(path: &str) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}
