//! What a queue counts.

use serde::{Serialize, Serializer};

/// Counts of one queue's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "EngineStats"))]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Requests that the kernel accepted; resumed and repeated ones count again.
    pub submitted: u64,
    /// Events reaped. Equal to `submitted` in the end, or buffers were leaked.
    pub completed: u64,
    /// Submissions of which the kernel took only a part.
    pub partial_submits: u64,
    /// Submissions and completions with EAGAIN, all tried again.
    pub retried_eagain: u64,
    /// Waits that a signal cut short, and completions with EINTR or (`io_uring` under signals) ECANCELED, all tried again.
    pub retried_eintr: u64,
    /// Reads that transferred less than asked for, and not nothing.
    pub short_reads: u64,
    /// Writes that transferred less than asked for, and not nothing.
    pub short_writes: u64,
    /// See [`super::Engine::overflows`].
    pub cq_overflows: u64,
    /// `fsync(2)` calls.
    pub fsyncs: u64,
    /// Most operations with the kernel at one time.
    pub in_flight_max: u64,
    /// Buffers that the kernel may still be using and that were given up for that reason.
    pub leaked_buffers: u64,
}

impl Stats {
    /// For `serialize_with`: the counts that say something about a race.
    pub(crate) fn of_race<S: Serializer>(stats: &Self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct OfRace {
            submitted: u64,
            in_flight_max: u64,
            retried_eintr: u64,
            retried_eagain: u64,
            short_reads: u64,
            short_writes: u64,
        }
        let Self { submitted, in_flight_max, retried_eintr, retried_eagain, short_reads, short_writes, .. } = *stats;
        OfRace { submitted, in_flight_max, retried_eintr, retried_eagain, short_reads, short_writes }.serialize(serializer)
    }
}

/// The counts of several queues. Of queues that work at the same time, `in_flight_max` is that of the fullest.
impl std::ops::AddAssign for Stats {
    fn add_assign(&mut self, more: Self) {
        self.submitted += more.submitted;
        self.completed += more.completed;
        self.partial_submits += more.partial_submits;
        self.retried_eagain += more.retried_eagain;
        self.retried_eintr += more.retried_eintr;
        self.short_reads += more.short_reads;
        self.short_writes += more.short_writes;
        self.cq_overflows += more.cq_overflows;
        self.fsyncs += more.fsyncs;
        self.in_flight_max = self.in_flight_max.max(more.in_flight_max);
        self.leaked_buffers += more.leaked_buffers;
    }
}
