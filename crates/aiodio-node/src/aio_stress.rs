//! The workload of aio-stress.

use std::sync::Arc;

use aiodio_core as core;
use core::error::{Error, Result, Step};
use core::workload::aio_stress::{self, Stage};
use napi::bindgen_prelude::{AsyncTask, BigInt, Function};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;

use crate::expectation::keep;
use crate::task::Work;
use crate::types::{self, BadRange, EngineStats, Failure};

#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct AioStressOptions {
    /// Created if need be, and emptied.
    pub files: Vec<String>,
    pub seed: BigInt,
    /// By LTP's numbers: 0 write, 1 read, 2 random write, 3 random read.
    pub stages: Vec<u32>,
    pub threads: f64,
    pub contexts: f64,
    pub context_offset: f64,
    pub file_bytes: f64,
    pub record_bytes: f64,
    /// In flight for each context of a file.
    pub depth: f64,
    /// Before the next context's turn.
    pub turn: f64,
    /// In each stage.
    pub rounds: f64,
    /// For one system call.
    pub batch: f64,
    /// In all files together.
    pub layout_bytes: f64,
    /// Of all buffers.
    pub memory_bytes: f64,
    pub direct: bool,
    pub direct_align: f64,
    pub fsync: bool,
    #[napi(ts_type = "'libaio' | 'io_uring' | 'io_uring-fixed' | 'sync'")]
    pub engine: String,
    /// How many bad ranges to describe.
    pub ranges_max: u32,
}

fn stage(number: u32) -> Result<Stage> {
    let stage = Stage::ALL.get(number as usize).copied();
    stage.ok_or_else(|| Error::new(Step::Options, format!("There is no stage {number}")))
}

impl TryFrom<AioStressOptions> for aio_stress::Options {
    type Error = Error;
    fn try_from(o: AioStressOptions) -> Result<Self> {
        Ok(Self {
            files: o.files.into_iter().map(Into::into).collect(),
            seed: types::key(&o.seed, 0, 0)?.seed,
            stages: o.stages.into_iter().map(stage).collect::<Result<_>>()?,
            threads: types::positive("threads", o.threads)?,
            contexts: types::positive("contexts", o.contexts)?,
            context_offset: types::size("contextOffset", o.context_offset)?,
            file_bytes: types::size("fileBytes", o.file_bytes)?,
            record_bytes: types::positive("recordBytes", o.record_bytes)?,
            depth: types::positive("depth", o.depth)?,
            turn: types::positive("turn", o.turn)?,
            rounds: types::size("rounds", o.rounds)?,
            batch: types::positive("batch", o.batch)?,
            layout_bytes: types::size("layoutBytes", o.layout_bytes)?,
            memory_bytes: types::positive("memoryBytes", o.memory_bytes)?.get(),
            direct: o.direct,
            direct_align: types::positive("directAlign", o.direct_align)?,
            fsync: o.fsync,
            engine: o.engine.parse()?,
            ranges_max: o.ranges_max as usize,
        })
    }
}

#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct AioStressPart {
    /// Index of the file.
    pub file: u32,
    pub done: f64,
    pub total: f64,
    pub bytes: f64,
    pub seconds: f64,
}

/// Durations in milliseconds.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct AioStressLatency {
    pub count: f64,
    pub min: f64,
    pub average: f64,
    pub max: f64,
    /// Shorter than 100, 250, 500, 1000, 5000 and 10000 ms, and the others.
    pub buckets: Vec<f64>,
}

impl From<aio_stress::Latency> for AioStressLatency {
    fn from(latency: aio_stress::Latency) -> Self {
        let milliseconds = |duration: std::time::Duration| duration.as_secs_f64() * 1e3;
        Self {
            count: latency.count as f64,
            min: milliseconds(latency.min),
            average: milliseconds(latency.total) / latency.count.max(1) as f64,
            max: milliseconds(latency.max),
            buckets: latency.buckets.into_iter().map(|count| count as f64).collect(),
        }
    }
}

#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct AioStressThread {
    pub parts: Vec<AioStressPart>,
    pub seconds: f64,
    pub submit: AioStressLatency,
    pub completion: AioStressLatency,
}

#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct AioStressStage {
    /// "write", "read", "random write" or "random read".
    pub name: String,
    /// Bytes laid out in each file for it.
    pub laid_out: f64,
    pub threads: Vec<AioStressThread>,
    pub seconds: f64,
}

#[napi(object, object_from_js = false)]
pub struct AioStressMismatch {
    /// Index of the file.
    pub file: u32,
    pub stage: String,
    pub offset: f64,
    pub ranges: Vec<BadRange>,
    pub ranges_total: f64,
}

#[napi(object, object_from_js = false)]
pub struct AioStressOutcome {
    /// The first call or transfer that failed.
    pub error: Option<Failure>,
    /// The stage that it failed in.
    pub failed_stage: Option<String>,
    /// The first read that was wrong.
    pub mismatch: Option<AioStressMismatch>,
    pub stages: Vec<AioStressStage>,
    /// Of each file, for `verifyExpected`.
    pub expectations: Vec<u32>,
    /// In flight for each context of a file.
    pub depth: f64,
    pub stats: EngineStats,
}

impl From<aio_stress::StageReport> for AioStressStage {
    fn from(report: aio_stress::StageReport) -> Self {
        let part = |part: aio_stress::PartReport| AioStressPart {
            file: part.file as u32,
            done: part.done as f64,
            total: part.total as f64,
            bytes: part.bytes as f64,
            seconds: part.elapsed.as_secs_f64(),
        };
        let thread = |thread: aio_stress::ThreadReport| AioStressThread {
            parts: thread.parts.into_iter().map(part).collect(),
            seconds: thread.elapsed.as_secs_f64(),
            submit: thread.submit.into(),
            completion: thread.completion.into(),
        };
        Self {
            name: report.stage.name().to_owned(),
            laid_out: report.laid_out as f64,
            threads: report.threads.into_iter().map(thread).collect(),
            seconds: report.elapsed.as_secs_f64(),
        }
    }
}

impl From<aio_stress::Outcome> for AioStressOutcome {
    fn from(outcome: aio_stress::Outcome) -> Self {
        Self {
            error: outcome.error.map(Into::into),
            failed_stage: outcome.failed_stage.map(|stage| stage.name().to_owned()),
            mismatch: outcome.mismatch.map(|mismatch| AioStressMismatch {
                file: mismatch.file as u32,
                stage: mismatch.stage.name().to_owned(),
                offset: mismatch.offset as f64,
                ranges: mismatch.found.ranges.into_iter().map(Into::into).collect(),
                ranges_total: mismatch.found.ranges_total as f64,
            }),
            stages: outcome.stages.into_iter().map(Into::into).collect(),
            expectations: outcome.oracles.into_iter().map(keep).collect(),
            depth: outcome.depth as f64,
            stats: outcome.stats.into(),
        }
    }
}

/// Sequential and random transfers on several files, from several threads, all checked.
#[napi(ts_return_type = "Promise<AioStressOutcome>")]
pub fn aio_stress(
    o: AioStressOptions,
    #[napi(ts_arg_type = "(transfers: number) => void")] on_progress: Option<Function<'_, f64, ()>>,
) -> napi::Result<AsyncTask<Work<AioStressOutcome>>> {
    let progress: Option<Arc<crate::Progress>> =
        on_progress.map(|function| function.build_threadsafe_function().weak::<true>().build().map(Arc::new)).transpose()?;
    Ok(Work::start(move || match aio_stress::Options::try_from(o) {
        Ok(options) => aio_stress::run(&options, |transfers| {
            if let Some(progress) = &progress {
                progress.call(transfers as f64, ThreadsafeFunctionCallMode::NonBlocking);
            }
        })
        .into(),
        Err(error) => aio_stress::Outcome { error: Some(error), ..Default::default() }.into(),
    }))
}
