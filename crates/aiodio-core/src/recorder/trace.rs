//! Operations in strace's way.

use super::{Kind, Operation};
use crate::error::Errno;

/// One operation in strace's way: `0.001234 io_uring#3 pwrite(dst, 0x1000, 4096) = 4096 <0.000123>`.
pub fn trace_line(operation: &Operation, file: &str, started_ns: u64) -> String {
    let Operation { id, begin, submitted_ns, completed_ns, result, .. } = operation;
    let seconds = |ns: u64| format!("{}.{:06}", ns / 1_000_000_000, ns / 1_000 % 1_000_000);
    let arguments = match begin.kind {
        Kind::Truncate => format!("{file}, {}", begin.bytes),
        kind if kind.has_range() => format!("{file}, {:#x}, {}", begin.offset, begin.bytes),
        _ => file.to_owned(),
    };
    let end = match completed_ns {
        None => "? <in flight>".to_owned(),
        Some(completed) => {
            let result = match i32::try_from(result.wrapping_neg()) {
                Ok(errno) if errno > 0 => format!("-1 {}", Errno(errno).name()),
                _ => result.to_string(),
            };
            format!("{result} <{}>", seconds(completed.saturating_sub(*submitted_ns)))
        }
    };
    format!(
        "{} {}#{id} {}({arguments}) = {end}",
        seconds(submitted_ns.saturating_sub(started_ns)),
        begin.interface.name(),
        begin.kind.name()
    )
}
