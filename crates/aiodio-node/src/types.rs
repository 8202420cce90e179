//! The types of `index.d.ts`, and their conversion from and to those of the core.

use std::num::NonZeroUsize;

use aiodio_core::buffer::Align;
use aiodio_core::error::{Error, Result, Step};
use aiodio_core::oracle::Content;
use aiodio_core::workload::copy;
use aiodio_core::{engine, limits, mount, stamp, storage, verify};
use napi::bindgen_prelude::{BigInt, Buffer, Either};
use napi_derive::napi;

/// Integers that a JavaScript number holds exactly.
const INTEGER_MAX: f64 = 9_007_199_254_740_991.0;

/// A count or size given as a JavaScript number.
pub(crate) fn size(name: &str, value: f64) -> Result<u64> {
    if value.fract() == 0.0 && (0.0..=INTEGER_MAX).contains(&value) {
        Ok(value as u64)
    } else {
        Err(Error::new(Step::Options, format!("{name} must be a whole number from 0 to 2^53 - 1, not {value}")))
    }
}

pub(crate) fn positive(name: &str, value: f64) -> Result<NonZeroUsize> {
    usize::try_from(size(name, value)?)
        .ok()
        .and_then(NonZeroUsize::new)
        .ok_or_else(|| Error::new(Step::Options, format!("{name} must be at least 1 and fit the memory, not {value}")))
}

pub(crate) fn key(seed: &BigInt, file_id: u32, generation: u32) -> Result<stamp::Key> {
    let (negative, seed, lossless) = seed.get_u64();
    if negative || !lossless {
        return Err(Error::new(Step::Options, "seed must be from 0 to 2^64 - 1"));
    }
    Ok(stamp::Key { seed, file: file_id, generation })
}

/// The message with what the fields around it say, for where there is only text.
pub(crate) fn sentence(error: &Error) -> String {
    match &error.path {
        Some(path) => format!("{}: {error}", path.display()),
        None => error.to_string(),
    }
}

#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct FillOptions {
    pub path: String,
    pub bytes: f64,
    pub seed: BigInt,
    pub file_id: u32,
    pub generation: u32,
}

impl FillOptions {
    pub(crate) fn key(&self) -> Result<stamp::Key> {
        key(&self.seed, self.file_id, self.generation)
    }
}

#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct FillOutcome {
    /// Absent when the file was written and synced.
    pub error: Option<Failure>,
}

/// "logical", "page", or a decimal byte offset inside a page.
pub(crate) fn align(text: &str, logical_block_bytes: NonZeroUsize) -> Result<Align> {
    match text {
        "logical" => Ok(Align::Step(logical_block_bytes)),
        "page" => Ok(Align::Offset(0)),
        offset => offset.parse().map(Align::Offset).map_err(|_| {
            Error::new(Step::Options, format!("bufferAlign must be logical, page or a byte offset, not \"{offset}\""))
        }),
    }
}

#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct Failure {
    /// "open", "stat", "buffers", "setup", "submit", "reap", "read", "write", "short-read", "short-write", "fsync", "truncate",
    /// "loop-device", "mount", "unmount" or "options".
    pub step: String,
    pub message: String,
    pub errno: Option<i32>,
    /// Like "EIO".
    pub code: Option<String>,
    pub path: Option<String>,
    pub offset: Option<f64>,
    pub expected: Option<f64>,
    pub got: Option<f64>,
    /// For "submit": whether the operation refused was a write.
    pub write: Option<bool>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            step: error.step.name().to_owned(),
            message: error.message,
            errno: error.errno.map(|errno| errno.0),
            code: error.errno.map(aiodio_core::error::Errno::name),
            path: error.path.map(|path| path.to_string_lossy().into_owned()),
            offset: error.offset.map(|offset| offset as f64),
            expected: error.expected.map(|bytes| bytes as f64),
            got: error.got.map(|bytes| bytes as f64),
            write: error.write,
        }
    }
}

#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct LoopOptions {
    /// Where the backing file lies; it has no name.
    pub directory: String,
    pub bytes: f64,
    pub logical_block_bytes: u32,
    pub direct_io: bool,
}

#[napi(object, object_from_js = false)]
#[derive(Debug, Default)]
pub struct LoopOutcome {
    /// Absent when the device is attached; the other fields are absent otherwise.
    pub error: Option<Failure>,
    /// Like "/dev/loop3".
    pub device: Option<String>,
    /// Keeps the device while nothing else uses it; the caller's to close.
    pub device_fd: Option<i32>,
    /// The backing file, open for reading and writing; the caller's to close.
    pub backing_fd: Option<i32>,
    /// Whether the loop driver uses direct I/O.
    pub direct_io: Option<bool>,
}

#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct MountOptions {
    /// The device; any word where the filesystem has none.
    pub source: String,
    pub target: String,
    /// As in /proc/filesystems.
    #[napi(js_name = "type")]
    pub kind: String,
    /// As for `mount -o`.
    pub options: String,
}

impl From<MountOptions> for mount::Mount {
    fn from(o: MountOptions) -> Self {
        Self { source: o.source.into(), target: o.target.into(), kind: o.kind, options: o.options }
    }
}

#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct CopyOptions {
    pub source: String,
    pub destination: String,
    /// A multiple of `blockBytes`.
    pub bytes: f64,
    pub block_bytes: f64,
    /// Blocks in flight.
    pub depth: f64,
    #[napi(ts_type = "'libaio' | 'io_uring' | 'io_uring-fixed' | 'sync'")]
    pub engine: String,
    /// `O_DIRECT` on both files.
    pub direct: bool,
    /// `O_SYNC` on the destination.
    pub sync_writes: bool,
    #[napi(ts_type = "'each' | 'batch' | 'end' | 'none'")]
    pub fsync: String,
    /// "logical", "page", or a decimal byte offset inside a page.
    pub buffer_align: String,
    /// The step of "logical", and the granularity at which short direct transfers are resumed.
    pub logical_block_bytes: f64,
}

impl TryFrom<CopyOptions> for copy::Options {
    type Error = Error;
    fn try_from(o: CopyOptions) -> Result<Self> {
        let logical_block_bytes = positive("logicalBlockBytes", o.logical_block_bytes)?;
        let align = align(&o.buffer_align, logical_block_bytes)?;
        Ok(Self {
            source: o.source.into(),
            destination: o.destination.into(),
            bytes: size("bytes", o.bytes)?,
            block_bytes: positive("blockBytes", o.block_bytes)?,
            depth: positive("depth", o.depth)?,
            engine: o.engine.parse()?,
            direct: o.direct,
            sync_writes: o.sync_writes,
            fsync: o.fsync.parse()?,
            align,
            logical_block_bytes,
        })
    }
}

#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct CopyOutcome {
    /// Absent when every block was read and written in full.
    pub error: Option<Failure>,
    pub stats: EngineStats,
    /// The copying alone, without opening and allocating.
    pub elapsed_seconds: f64,
}

impl From<copy::Outcome> for CopyOutcome {
    fn from(outcome: copy::Outcome) -> Self {
        Self { error: outcome.error.map(Into::into), stats: outcome.stats.into(), elapsed_seconds: outcome.elapsed.as_secs_f64() }
    }
}

impl From<Error> for CopyOutcome {
    fn from(error: Error) -> Self {
        Self { error: Some(error.into()), stats: engine::Stats::default().into(), elapsed_seconds: 0.0 }
    }
}

#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct EngineStats {
    pub submitted: f64,
    pub completed: f64,
    pub partial_submits: f64,
    pub retried_eagain: f64,
    pub retried_eintr: f64,
    pub short_reads: f64,
    pub short_writes: f64,
    pub cq_overflows: f64,
    pub fsyncs: f64,
    pub in_flight_max: f64,
    pub leaked_buffers: f64,
}

impl From<engine::Stats> for EngineStats {
    fn from(stats: engine::Stats) -> Self {
        Self {
            submitted: stats.submitted as f64,
            completed: stats.completed as f64,
            partial_submits: stats.partial_submits as f64,
            retried_eagain: stats.retried_eagain as f64,
            retried_eintr: stats.retried_eintr as f64,
            short_reads: stats.short_reads as f64,
            short_writes: stats.short_writes as f64,
            cq_overflows: stats.cq_overflows as f64,
            fsyncs: stats.fsyncs as f64,
            in_flight_max: stats.in_flight_max as f64,
            leaked_buffers: stats.leaked_buffers as f64,
        }
    }
}

#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct VerifyOptions {
    pub path: String,
    /// Where the stamps begin, a multiple of 512 (default 0).
    pub offset: Option<f64>,
    pub bytes: f64,
    pub seed: BigInt,
    pub file_id: u32,
    pub generation: u32,
    #[napi(ts_type = "'cache' | 'disk'")]
    pub rung: String,
    /// How many bad ranges to describe.
    pub ranges_max: u32,
}

impl TryFrom<VerifyOptions> for verify::Options {
    type Error = Error;
    fn try_from(o: VerifyOptions) -> Result<Self> {
        Ok(Self {
            key: key(&o.seed, o.file_id, o.generation)?,
            path: o.path.into(),
            offset: size("offset", o.offset.unwrap_or(0.0))?,
            bytes: size("bytes", o.bytes)?,
            rung: o.rung.parse()?,
            ranges_max: o.ranges_max as usize,
        })
    }
}

#[napi(object, object_from_js = false)]
pub struct VerifyOutcome {
    /// Why the file could not be verified; a read error of a range is a bad range instead.
    pub error: Option<Failure>,
    pub bytes_expected: f64,
    pub bytes_found: f64,
    pub sectors: f64,
    pub sectors_bad: f64,
    /// The first `rangesMax`.
    pub ranges: Vec<BadRange>,
    pub ranges_total: f64,
    /// For the rung "disk": false when the filesystem has no direct I/O or no disk, and nothing was verified.
    pub direct: bool,
    /// How much of long holes, where only zeros are right, was not read; it counts among the sectors.
    pub bytes_skipped: f64,
}

impl VerifyOutcome {
    pub(crate) fn new(bytes_expected: f64, outcome: verify::Outcome) -> Self {
        Self {
            error: outcome.error.map(Into::into),
            bytes_expected,
            bytes_found: outcome.bytes_found as f64,
            sectors: outcome.sectors as f64,
            sectors_bad: outcome.sectors_bad as f64,
            ranges: outcome.ranges.into_iter().map(Into::into).collect(),
            ranges_total: outcome.ranges_total as f64,
            direct: outcome.direct,
            bytes_skipped: outcome.bytes_skipped as f64,
        }
    }
}

#[napi(object, object_from_js = false)]
pub struct BadRange {
    pub offset: f64,
    pub bytes: f64,
    #[napi(
        ts_type = "'zeros' | 'misplaced' | 'stale' | 'stale-disk' | 'other-file' | 'other-run' | 'torn' | 'mutated' | 'garbage' | 'missing' | 'beyond-end' | 'read-error' | 'read-error-once'"
    )]
    pub kind: String,
    /// For "misplaced" and "other-file": where the data of the range's first sector belongs.
    pub from_offset: Option<f64>,
    pub generation: Option<u32>,
    pub file_id: Option<u32>,
    /// For "other-run".
    pub seed: Option<BigInt>,
    pub differing_bytes: Option<f64>,
    pub differing_bits: Option<f64>,
    /// Offset in the file.
    pub first_difference: Option<f64>,
    /// For "torn": what the foreign part is.
    #[napi(ts_type = "'zeros' | 'stale' | 'stale-disk' | 'misplaced' | 'other'")]
    pub torn_with: Option<String>,
    pub errno: Option<i32>,
    pub code: Option<String>,
    /// What would have been right, oldest first: generations, "zeros"; empty where it is not about content.
    #[napi(ts_type = "Array<number | 'zeros'>")]
    pub right: Vec<Either<u32, String>>,
    /// Offset in the file of the bytes shown.
    pub shown_at: f64,
    /// Up to 32 bytes around the first difference.
    pub found: Buffer,
    pub expected: Buffer,
}

fn right(content: Content) -> Option<Either<u32, String>> {
    match content {
        Content::Stamp(generation) | Content::Moved { generation, .. } => Some(Either::A(generation)),
        Content::Zeros => Some(Either::B("zeros".to_owned())),
        Content::Anything => None,
    }
}

impl From<verify::BadRange> for BadRange {
    fn from(range: verify::BadRange) -> Self {
        let was_read = range.first_difference.is_some();
        Self {
            offset: range.offset as f64,
            bytes: range.bytes as f64,
            kind: range.kind.name().to_owned(),
            from_offset: range.from_offset.map(|offset| offset as f64),
            generation: range.generation,
            file_id: range.file,
            seed: range.seed.filter(|_| range.kind == verify::Kind::OtherRun).map(BigInt::from),
            differing_bytes: was_read.then_some(range.differing_bytes as f64),
            differing_bits: was_read.then_some(range.differing_bits as f64),
            first_difference: range.first_difference.map(|offset| offset as f64),
            torn_with: range.torn_with.map(|with| with.name().to_owned()),
            errno: range.errno.map(|errno| errno.0),
            code: range.errno.map(aiodio_core::error::Errno::name),
            right: range.right.iter().filter_map(|content| right(*content)).collect(),
            shown_at: range.shown_at as f64,
            found: range.found.into(),
            expected: range.expected.into(),
        }
    }
}

#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct StorageInfo {
    /// What LTP aligns to: the device's logical block size, on tmpfs the page size.
    pub logical_block_bytes: f64,
    #[napi(ts_type = "'uevent' | 'btrfs' | 'overlay' | 'page' | 'unsupported'")]
    pub strategy: String,
    /// Like "/dev/loop0".
    pub device: Option<String>,
    pub dio_mem_align_bytes: f64,
    pub dio_offset_align_bytes: f64,
    #[napi(ts_type = "'statx' | 'sysfs' | 'page'")]
    pub dio_source: String,
    pub message: Option<String>,
}

impl From<storage::Storage> for StorageInfo {
    fn from(storage: storage::Storage) -> Self {
        Self {
            logical_block_bytes: storage.logical_block_bytes as f64,
            strategy: storage.strategy.name().to_owned(),
            device: storage.device.map(|device| device.to_string_lossy().into_owned()),
            dio_mem_align_bytes: storage.dio_mem_align_bytes as f64,
            dio_offset_align_bytes: storage.dio_offset_align_bytes as f64,
            dio_source: storage.dio_source.name().to_owned(),
            message: storage.message,
        }
    }
}

#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct Limits {
    pub page_bytes: f64,
    /// fs.aio-max-nr
    pub aio_max: Option<f64>,
    /// fs.aio-nr
    pub aio_in_use: Option<f64>,
    /// Why this process has no AIO; absent where it has.
    pub aio_error: Option<Failure>,
    /// Why no ring can be made; absent where one can.
    pub io_uring_error: Option<Failure>,
    /// `RLIMIT_MEMLOCK`; absent: unlimited.
    pub memlock_bytes: Option<f64>,
    #[napi(js_name = "crc32cHardware")]
    pub crc32c_hardware: bool,
}

impl From<limits::Limits> for Limits {
    fn from(limits: limits::Limits) -> Self {
        Self {
            page_bytes: limits.page_bytes as f64,
            aio_max: limits.aio.max.map(|number| number as f64),
            aio_in_use: limits.aio.in_use.map(|number| number as f64),
            aio_error: limits.aio_error.map(Into::into),
            io_uring_error: limits.io_uring.map(Into::into),
            memlock_bytes: limits.memlock_bytes.map(|bytes| bytes as f64),
            crc32c_hardware: limits.crc32c_hardware,
        }
    }
}
