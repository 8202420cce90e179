//! What one result of the kernel means for a transfer: it is over, or goes on. Pure, so that it can be tested without a kernel.

use crate::error::Errno;
use crate::sys::resume_at;

/// EINTR and EAGAIN results of one operation, without a byte of progress, after which they are passed on.
pub(super) const RETRIES_MAX: u32 = 1000;
/// So many retries come at once; the others after a pause, so that the kernel can find the memory it lacked.
const RETRIES_AT_ONCE: u32 = 8;
/// Resumptions in a row that get no further, after which a transfer is reported as short.
const STALLS_MAX: u32 = 2;

/// How far a transfer has come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Transfer {
    /// Byte offset in the file.
    pub(super) offset: u64,
    /// How many bytes.
    pub(super) bytes: usize,
    /// Where it goes on: bytes from its start.
    pub(super) resume_at: usize,
    /// How far it came; beyond `resume_at` when that was rounded down.
    reached: usize,
    /// Results in a row that asked for another try.
    retries: u32,
    stalls: u32,
}

/// What becomes of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It is over: bytes transferred in sum, or the kernel's error.
    Over(Result<usize, Errno>),
    /// What is left is submitted.
    Rest,
    /// The same again.
    Again,
    /// The same again, after a pause.
    AgainLater,
    /// The kernel says that it transferred more than it was asked for.
    Impossible,
}

impl Transfer {
    pub(super) fn new(offset: u64, bytes: usize) -> Self {
        Self { offset, bytes, ..Self::default() }
    }

    /// Whether a part or a try of it went before.
    pub(super) fn has_begun(&self) -> bool {
        self.resume_at > 0 || self.retries > 0
    }

    /// Takes a result: bytes transferred, or a negated errno. `unit` is what offsets must be multiples of where it goes on, in bytes,
    /// and asked only then; none: short transfers are not gone on with.
    pub(super) fn take(&mut self, result: i64, unit: Option<impl FnOnce() -> usize>) -> Next {
        let Ok(bytes) = usize::try_from(result) else {
            return self.failed(Errno(i32::try_from(-result).unwrap_or(libc::EOVERFLOW)));
        };
        let end = self.resume_at.saturating_add(bytes);
        if end > self.bytes {
            return Next::Impossible;
        }
        self.reached = self.reached.max(end);
        if end == self.bytes || bytes == 0 {
            return Next::Over(Ok(self.reached));
        }
        let Some(unit) = unit else { return Next::Over(Ok(end)) };
        let resume_at = resume_at(self.offset, end, unit());
        if resume_at > self.resume_at {
            (self.resume_at, self.retries, self.stalls) = (resume_at, 0, 0);
        } else if self.stalls == STALLS_MAX {
            return Next::Over(Ok(self.reached));
        } else {
            self.stalls += 1;
        }
        Next::Rest
    }

    fn failed(&mut self, errno: Errno) -> Next {
        // Nobody cancels anything here. With ECANCELED io_uring gives back, untouched, an operation for which it needed its first worker
        // thread while signals kept interrupting the making of that thread (`io_wq_enqueue()` in `io_uring/io-wq.c`; seen on Linux 6.18
        // in the signal storm of tests/signals.rs).
        if !matches!(errno.0, libc::EINTR | libc::ECANCELED | libc::EAGAIN) || self.retries == RETRIES_MAX {
            return Next::Over(Err(errno));
        }
        self.retries += 1;
        if self.retries > RETRIES_AT_ONCE { Next::AgainLater } else { Next::Again }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a kernel may say, chosen by `choice`, of a request for `bytes`.
    fn answer(choice: u16, bytes: usize) -> i64 {
        match choice % 8 {
            0 => -i64::from(libc::EINTR),
            1 => -i64::from(libc::EAGAIN),
            2 => -i64::from(libc::ECANCELED),
            3 => bytes as i64,
            _ => 1 + i64::from(choice) % bytes as i64,
        }
    }

    proptest! {
        #[test]
        fn what_the_kernel_gives_in_pieces_is_whole_in_the_end_and_without_gaps(
            choices: Vec<u16>, sectors in 1_usize..64, start in 0_u64..64, unit in 0_u32..5,
        ) {
            let (bytes, unit) = (sectors * 512, 512_usize << unit);
            let mut transfer = Transfer::new(start * 512, bytes);
            // What has been transferred without a gap.
            let mut whole = 0;
            for choice in choices.into_iter().chain(std::iter::repeat(3)) {
                let (at, before) = (transfer.resume_at, transfer.reached);
                prop_assert!(at <= whole, "a gap");
                let result = answer(choice, bytes - at);
                let next = transfer.take(result, Some(|| unit));
                if result > 0 {
                    whole = whole.max(at + result as usize);
                }
                prop_assert_eq!(transfer.reached, whole);
                prop_assert!(transfer.reached >= before && transfer.resume_at >= at);
                match next {
                    Next::Over(over) => {
                        // It can be short only where the kernel got no further again and again.
                        prop_assert_eq!(over, Ok(whole));
                        prop_assert!(whole == bytes || transfer.stalls == STALLS_MAX);
                        break;
                    }
                    Next::Rest => prop_assert!(result > 0),
                    Next::Again | Next::AgainLater => prop_assert!(result < 0 && transfer.resume_at == at),
                    Next::Impossible => prop_assert!(false, "the kernel gave what it was asked for"),
                }
            }
        }

        #[test]
        fn errors_end_it_at_once_and_tries_do_not_last_for_ever(errno in 1_i32..133, bytes in 1_usize..1 << 20) {
            let mut transfer = Transfer::new(0, bytes);
            let mut tries = 0;
            let over = loop {
                match transfer.take(-i64::from(errno), Some(|| 512)) {
                    Next::Over(over) => break over,
                    next => prop_assert_eq!(next, if tries < RETRIES_AT_ONCE { Next::Again } else { Next::AgainLater }),
                }
                tries += 1;
            };
            prop_assert_eq!(over, Err(Errno(errno)));
            let passes = matches!(errno, libc::EINTR | libc::EAGAIN | libc::ECANCELED);
            prop_assert_eq!(tries, if passes { RETRIES_MAX } else { 0 });
        }

        #[test]
        fn an_end_and_a_short_transfer_are_reported_as_they_are(bytes in 2_usize..1 << 20, got in 1_usize..1 << 20) {
            let got = got.min(bytes - 1);
            let none: Option<fn() -> usize> = None;
            prop_assert_eq!(Transfer::new(0, bytes).take(got as i64, none), Next::Over(Ok(got)));
            prop_assert_eq!(Transfer::new(0, bytes).take(0, Some(|| 512)), Next::Over(Ok(0)));
            prop_assert_eq!(Transfer::new(0, bytes).take(bytes as i64 + 1, Some(|| 512)), Next::Impossible);
        }
    }
}
