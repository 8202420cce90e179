//! How a stage went, by thread and by context of a file.

use std::time::Duration;

use serde::Serialize;

use super::worker::ThreadResult;
use super::{Options, Stage};
use crate::json;

/// How one context of a file fared in a stage.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "AioStressPart"))]
#[serde(rename_all = "camelCase")]
pub struct PartReport {
    /// Index of the file.
    pub file: usize,
    /// Transfers done.
    pub done: u64,
    /// Transfers that the whole stage would be.
    pub total: u64,
    /// Bytes transferred.
    pub bytes: u64,
    /// From the stage's begin to the last transfer.
    #[serde(rename = "seconds", serialize_with = "json::seconds")]
    #[cfg_attr(feature = "typescript", ts(type = "number"))]
    pub elapsed: Duration,
}

/// How one thread fared in a stage.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "AioStressThread"))]
#[serde(rename_all = "camelCase")]
pub struct ThreadReport {
    /// Its contexts of files.
    pub parts: Vec<PartReport>,
    /// With the `fsync`.
    #[serde(rename = "seconds", serialize_with = "json::seconds")]
    #[cfg_attr(feature = "typescript", ts(type = "number"))]
    pub elapsed: Duration,
    /// Time that giving requests to the kernel took.
    pub submit: Latency,
    /// Time from there to their completion.
    pub completion: Latency,
}

/// How a stage went.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "AioStressStage"))]
#[serde(rename_all = "camelCase")]
pub struct StageReport {
    /// Which.
    #[serde(rename = "name")]
    pub stage: Stage,
    /// What was laid out for it, in each file; 0 when earlier stages had written, or it writes itself.
    pub laid_out: u64,
    /// By thread.
    pub threads: Vec<ThreadReport>,
    /// From the first thread's begin to the last one's end.
    #[serde(rename = "seconds", serialize_with = "json::seconds")]
    #[cfg_attr(feature = "typescript", ts(type = "number"))]
    pub elapsed: Duration,
}

/// Durations.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(as = "Milliseconds", rename = "AioStressLatency"))]
#[serde(into = "Milliseconds")]
pub struct Latency {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub total: Duration,
    /// The shortest; zero if there is none.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
    /// How many were shorter than each of [`Latency::BUCKETS`] and not than the one before; the last is for the others.
    pub buckets: [u64; Self::BUCKETS.len() + 1],
}

/// [`Latency`] as JSON has it: durations in milliseconds.
#[derive(Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
struct Milliseconds {
    count: u64,
    min: f64,
    average: f64,
    max: f64,
    /// Shorter than 100, 250, 500, 1000, 5000 and 10000 ms, and the others.
    buckets: Vec<u64>,
}

impl From<Latency> for Milliseconds {
    fn from(latency: Latency) -> Self {
        let milliseconds = |duration: Duration| duration.as_secs_f64() * 1e3;
        Self {
            count: latency.count,
            min: milliseconds(latency.min),
            average: milliseconds(latency.total) / latency.count.max(1) as f64,
            max: milliseconds(latency.max),
            buckets: latency.buckets.to_vec(),
        }
    }
}

impl Latency {
    /// LTP's, in milliseconds.
    pub const BUCKETS: [u64; 6] = [100, 250, 500, 1000, 5000, 10_000];

    pub(super) fn add(&mut self, duration: Duration) {
        self.min = if self.count == 0 { duration } else { self.min.min(duration) };
        self.max = self.max.max(duration);
        self.total += duration;
        self.count += 1;
        let bucket = Self::BUCKETS.iter().position(|limit| duration < Duration::from_millis(*limit));
        self.buckets[bucket.unwrap_or(Self::BUCKETS.len())] += 1;
    }
}

/// By stage what the threads have by thread.
pub(super) fn gather(results: &[ThreadResult], options: &Options) -> Vec<StageReport> {
    let mut stages = Vec::new();
    for index in 0..options.stages.len() {
        let of_stage: Vec<_> = results.iter().filter_map(|result| result.stages.get(index)).collect();
        let Some((stage, laid_out, ..)) = of_stage.first().copied() else { break };
        let begin = of_stage.iter().map(|(_, _, _, begin, _)| *begin).min();
        let end = of_stage.iter().map(|(_, _, _, _, end)| *end).max();
        let elapsed = begin.zip(end).map_or(Duration::ZERO, |(begin, end)| end - begin);
        let threads = of_stage.iter().map(|(_, _, report, _, _)| report.clone()).collect();
        stages.push(StageReport { stage: *stage, laid_out: *laid_out, threads, elapsed });
    }
    stages
}
