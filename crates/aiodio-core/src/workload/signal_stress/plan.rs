//! What each worker does, from the seed alone: how the operations then meet is the machine's doing.

use serde::Serialize;

use crate::random::Random;

/// One kind of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// A write through one of the engines.
    Write,
    /// A read through one of the engines, compared with the oracle when it completes.
    Read,
    /// `ftruncate(2)`.
    Truncate,
    /// `fallocate(2)` without flags.
    Allocate,
    /// `FALLOC_FL_KEEP_SIZE`.
    AllocateKeep,
    /// `FALLOC_FL_PUNCH_HOLE`.
    Punch,
    /// `FALLOC_FL_ZERO_RANGE` with `FALLOC_FL_KEEP_SIZE`.
    Zero,
    /// `fsync(2)`.
    Fsync,
    /// Stores through a shared mapping.
    MmapWrite,
}

impl Action {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Write,
        Self::Read,
        Self::Truncate,
        Self::Allocate,
        Self::AllocateKeep,
        Self::Punch,
        Self::Zero,
        Self::Fsync,
        Self::MmapWrite,
    ];

    /// Its place in [`Self::ALL`].
    pub(super) fn index(self) -> usize {
        self as usize
    }

    /// Weights of one plan are up to three times this.
    fn weight(self) -> u64 {
        match self {
            Self::Write => 24,
            Self::Read => 16,
            Self::Truncate | Self::Fsync | Self::MmapWrite => 2,
            Self::Allocate | Self::AllocateKeep | Self::Punch | Self::Zero => 3,
        }
    }

    /// Whether a plan may do without it.
    fn optional(self) -> bool {
        !matches!(self, Self::Write | Self::Read)
    }
}

/// How often each kind comes, in one run. Swarm testing (Groce et al., 2012): each kind is left out of a third of the runs, since
/// what one kind does can hide what another does wrong; a truncate makes lost writes disappear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights([u64; Action::ALL.len()]);

impl Weights {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x7377_6172_6d00);
        Self(Action::ALL.map(|action| {
            let (out, weight) = (random.below(3) == 0, action.weight() * (1 + random.below(3)));
            if action.optional() && out { 0 } else { weight }
        }))
    }

    /// The kinds that are left out.
    pub fn left_out(&self) -> impl Iterator<Item = Action> + '_ {
        Action::ALL.into_iter().filter(|action| self.0[action.index()] == 0)
    }

    fn pick(&self, random: &mut Random) -> Action {
        let mut number = random.below(self.0.iter().sum());
        for action in Action::ALL {
            let weight = self.0[action.index()];
            if number < weight {
                return action;
            }
            number -= weight;
        }
        Action::Write
    }
}

/// One operation as planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) action: Action,
    pub(super) file: usize,
    /// Index among the run's engines.
    pub(super) engine: usize,
    pub(super) direct: bool,
    /// Whether it goes to the kernel at once, or together with the next.
    pub(super) submit: bool,
    pub(super) offset: u64,
    /// At least 1.
    pub(super) bytes: u64,
    /// For [`Action::Truncate`]: the new size.
    pub(super) size: u64,
}

/// What steps are made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) files: usize,
    pub(super) engines: usize,
    /// What direct offsets and lengths are multiples of.
    pub(super) unit: u64,
    pub(super) block_bytes: u64,
    pub(super) file_bytes: u64,
    pub(super) direct: bool,
    pub(super) buffered: bool,
}

/// So many operations of a worker on a file go the same way, directly or not: changing costs a wait for the others.
const EPOCH: u64 = 24;

/// The endless plan of one worker.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    seed: u64,
    shape: Shape,
    weights: Weights,
    random: Random,
    number: u64,
}

impl Plan {
    pub(super) fn new(seed: u64, worker: u64, shape: Shape, weights: Weights) -> Self {
        let random = Random::new(Random::new(seed ^ worker.wrapping_mul(0xd134_2543_de82_ef95)).bits());
        Self { seed, shape, weights, random, number: 0 }
    }

    /// Workers that have come equally far use a file in the same way.
    fn is_direct(&self, file: usize) -> bool {
        let Shape { direct, buffered, .. } = self.shape;
        let epoch = self.number / EPOCH;
        direct && (!buffered || Random::new(self.seed ^ (file as u64) << 32 ^ epoch).bits() >> 63 == 1)
    }

    pub(super) fn next(&mut self) -> Step {
        let action = self.weights.pick(&mut self.random);
        let file = self.random.below(self.shape.files as u64) as usize;
        let engine = self.random.below(self.shape.engines as u64) as usize;
        let direct = self.is_direct(file);
        self.number += 1;
        let submit = self.random.below(4) > 0;
        let Shape { unit, block_bytes, file_bytes, .. } = self.shape;
        let random = &mut self.random;
        // Some of one unit only, most up to the block: small ones meet in one page and one filesystem block.
        let most = if random.below(3) == 0 { unit } else { block_bytes };
        let (grain, length_grain) = match action {
            Action::Write | Action::Read if direct => (unit, unit),
            Action::Write | Action::Read | Action::MmapWrite => (crate::stamp::SECTOR, 1),
            _ if random.below(2) == 0 => (unit, unit),
            _ => (1, 1),
        };
        let bytes = (1 + random.below(most)).next_multiple_of(length_grain);
        let offset = random.below(file_bytes - bytes.min(file_bytes - 1)) / grain * grain;
        let size = if random.below(2) == 0 { random.below(file_bytes) / unit * unit } else { random.below(file_bytes) };
        Step { action, file, engine, direct, submit, offset, bytes, size }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape =
        Shape { files: 4, engines: 3, unit: 512, block_bytes: 65536, file_bytes: 1 << 20, direct: true, buffered: true };

    fn steps(seed: u64, worker: u64) -> Vec<Step> {
        let mut plan = Plan::new(seed, worker, SHAPE, Weights::new(seed));
        (0..2000).map(|_| plan.next()).collect()
    }

    #[test]
    fn a_seed_repeats_the_plan_and_workers_differ() {
        assert_eq!(steps(7, 1), steps(7, 1));
        assert_ne!(steps(7, 1), steps(7, 2));
        assert_ne!(steps(7, 1), steps(8, 1));
    }

    #[test]
    fn steps_stay_in_the_file_and_direct_ones_on_the_grid() {
        for step in (0..8).flat_map(|seed| steps(seed, 3)) {
            assert!(step.bytes >= 1 && step.offset + step.bytes <= SHAPE.file_bytes, "{step:?}");
            if matches!(step.action, Action::Write | Action::Read) {
                assert_eq!(step.offset % 512, 0, "{step:?}");
                assert!(!step.direct || step.bytes % 512 == 0, "{step:?}");
            }
        }
    }

    #[test]
    fn each_optional_kind_is_left_out_of_some_seeds_and_kept_in_others() {
        for action in Action::ALL {
            let out = (0..64).filter(|seed| Weights::new(*seed).left_out().any(|left_out| left_out == action)).count();
            let expected = if action.optional() { 10..=34 } else { 0..=0 };
            assert!(expected.contains(&out), "{action:?} is left out of {out} of 64 plans");
        }
    }

    #[test]
    fn a_plan_without_direct_or_without_buffered_has_none() {
        for direct in [false, true] {
            let shape = Shape { direct, buffered: !direct, ..SHAPE };
            let mut plan = Plan::new(5, 1, shape, Weights::new(5));
            assert!((0..500).all(|_| plan.next().direct == direct));
        }
    }
}
