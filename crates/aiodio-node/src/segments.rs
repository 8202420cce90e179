//! [`aiodio_core::workload::segments`] for TypeScript.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aiodio_core::error::{Error, Result};
use aiodio_core::stamp::Key;
use aiodio_core::workload::segments;
use aiodio_core::workload::shared::pattern::{Fault, Pattern};
use napi::bindgen_prelude::{AsyncTask, BigInt, Function};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;

use crate::Progress;
use crate::pattern::TransferFault;
use crate::task::Work;
use crate::types::{Failure, key, positive, size};

#[allow(clippy::struct_excessive_bools, reason = "as in the core")]
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct SegmentsOptions {
    pub path: String,
    /// Where the first child's segment begins, a multiple of 512.
    pub offset: f64,
    /// A multiple of 512.
    pub buffer_bytes: f64,
    /// Buffers in a segment.
    pub buffers: f64,
    /// `readv(2)` and `writev(2)` of whole segments.
    pub vectored: bool,
    pub iterations: u32,
    pub children: f64,
    pub direct_write: bool,
    pub direct_read: bool,
    pub sync_before_direct_read: bool,
    pub seed: BigInt,
    pub file_id: u32,
    /// The last one that the file may hold from before.
    pub generation: u32,
    /// LTP's bytes instead of stamps.
    pub ltp_pattern: bool,
}

impl TryFrom<SegmentsOptions> for segments::Options {
    type Error = Error;
    fn try_from(o: SegmentsOptions) -> Result<Self> {
        Ok(Self {
            key: key(&o.seed, o.file_id, o.generation)?,
            path: o.path.into(),
            offset: size("offset", o.offset)?,
            buffer_bytes: positive("bufferBytes", o.buffer_bytes)?,
            buffers: positive("buffers", o.buffers)?,
            vectored: o.vectored,
            iterations: o.iterations,
            children: positive("children", o.children)?,
            direct_write: o.direct_write,
            direct_read: o.direct_read,
            sync_before_direct_read: o.sync_before_direct_read,
            ltp_pattern: o.ltp_pattern,
        })
    }
}

#[napi(object, object_from_js = false)]
pub struct SegmentsOutcome {
    /// Why it could not start.
    pub error: Option<Failure>,
    /// One for each child that did not get through.
    pub troubles: Vec<SegmentTrouble>,
    pub transfers: f64,
    /// Transfers that began while another child's was under way.
    pub overlapping: f64,
    pub elapsed_seconds: f64,
    /// Children that could transfer at the same time, as the memory allows.
    pub at_once: f64,
}

#[napi(object, object_from_js = false)]
pub struct SegmentTrouble {
    /// 0-based.
    pub child: f64,
    /// 1-based.
    pub iteration: f64,
    pub fault: TransferFault,
}

impl From<segments::Outcome> for SegmentsOutcome {
    fn from(outcome: segments::Outcome) -> Self {
        let trouble = |segments::Trouble { child, iteration, fault }| SegmentTrouble {
            child: child as f64,
            iteration: iteration.into(),
            fault: fault.into(),
        };
        Self {
            error: outcome.error.map(Into::into),
            troubles: outcome.troubles.into_iter().map(trouble).collect(),
            transfers: outcome.transfers as f64,
            overlapping: outcome.overlapping as f64,
            elapsed_seconds: outcome.elapsed.as_secs_f64(),
            at_once: outcome.at_once as f64,
        }
    }
}

/// Writes segments of a file and reads them back, again and again.
#[napi(ts_return_type = "Promise<SegmentsOutcome>")]
pub fn segments_run(
    o: SegmentsOptions,
    #[napi(ts_arg_type = "(doneIterations: number) => void")] on_progress: Option<Function<'_, f64, ()>>,
) -> napi::Result<AsyncTask<Work<SegmentsOutcome>>> {
    let progress: Option<Arc<Progress>> =
        on_progress.map(|function| function.build_threadsafe_function().weak::<true>().build().map(Arc::new)).transpose()?;
    Ok(Work::start(move || {
        let outcome = match segments::Options::try_from(o) {
            Ok(options) => segments::run(&options, |iterations| {
                if let Some(progress) = &progress {
                    progress.call(iterations.into(), ThreadsafeFunctionCallMode::NonBlocking);
                }
            }),
            Err(error) => segments::Outcome { error: Some(error), ..segments::Outcome::default() },
        };
        outcome.into()
    }))
}

#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct BlocksOptions {
    pub path: String,
    /// A multiple of 512.
    pub block_bytes: f64,
    pub blocks: f64,
    pub seed: BigInt,
    pub file_id: u32,
    pub generation: u32,
    /// LTP's bytes, the block's number, instead of stamps.
    pub ltp_pattern: bool,
}

impl BlocksOptions {
    fn pattern(&self) -> Result<impl Fn(u64) -> Pattern + use<>> {
        let key: Key = key(&self.seed, self.file_id, self.generation)?;
        let ltp = self.ltp_pattern;
        Ok(move |block| if ltp { Pattern::Byte(block as u8) } else { Pattern::Stamps(key) })
    }

    fn blocks(&self) -> Result<u64> {
        size("blocks", self.blocks)
    }
}

/// Creates a file, which must not exist, and writes it with `O_DIRECT`, block by block; null when it is written.
#[napi(ts_return_type = "Promise<TransferFault | null>")]
pub fn write_blocks(o: BlocksOptions) -> AsyncTask<Work<Option<TransferFault>>> {
    Work::start(move || {
        let written = positive("blockBytes", o.block_bytes)
            .and_then(|bytes| segments::write_blocks(Path::new(&o.path), bytes, o.blocks()?, o.pattern()?));
        written.err().map(|error| Fault::Failed(error).into())
    })
}

/// Reads a file through the page cache and compares each block with its pattern; null when all are right.
#[napi(ts_return_type = "Promise<TransferFault | null>")]
pub fn check_blocks(o: BlocksOptions) -> AsyncTask<Work<Option<TransferFault>>> {
    Work::start(move || {
        let parts = positive("blockBytes", o.block_bytes).and_then(|bytes| Ok((bytes, o.blocks()?, o.pattern()?)));
        let checked = match parts {
            Ok((bytes, blocks, pattern)) => segments::check_blocks(Path::new(&o.path), bytes, blocks, pattern),
            Err(error) => Err(Fault::Failed(error)),
        };
        checked.err().map(Into::into)
    })
}

/// Why the file cannot be opened, or made, with `O_DIRECT`; null when it can.
#[napi]
pub fn probe_direct(path: String) -> Option<Failure> {
    segments::probe_direct(&PathBuf::from(path)).err().map(Into::into)
}
