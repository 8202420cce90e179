//! A thread that does things at their time, so that what is delayed keeps no other request waiting.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

type Job = Box<dyn FnOnce() + Send>;

/// The handle of the thread, which ends with it; what is not due by then is done at once.
#[derive(Clone, Debug)]
pub(crate) struct Later(Sender<(Instant, Job)>);

impl Later {
    pub(crate) fn start() -> std::io::Result<Self> {
        let (sender, receiver) = channel();
        std::thread::Builder::new().name("faultfs-later".to_owned()).spawn(move || run(&receiver))?;
        Ok(Self(sender))
    }

    pub(crate) fn after(&self, delay: Duration, job: impl FnOnce() + Send + 'static) {
        // The thread ends when nobody can send any more.
        let _ = self.0.send((Instant::now() + delay, Box::new(job)));
    }
}

fn run(receiver: &Receiver<(Instant, Job)>) {
    // By time, and by order of arrival for equal times.
    let mut waiting: BTreeMap<(Instant, u64), Job> = BTreeMap::new();
    for arrival in 0.. {
        loop {
            let pause = waiting.first_key_value().map(|((due, _), _)| due.saturating_duration_since(Instant::now()));
            let next = match pause {
                None => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(pause) => receiver.recv_timeout(pause),
            };
            match next {
                Ok((due, job)) => {
                    waiting.insert((due, arrival), job);
                    break;
                }
                Err(RecvTimeoutError::Timeout) => {
                    if let Some((_, job)) = waiting.pop_first() {
                        job();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    for (_, job) in waiting {
                        job();
                    }
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_first_is_done_first() {
        let (sender, receiver) = channel::<(Instant, Job)>();
        let (done, order) = channel();
        let far = Instant::now() + Duration::from_secs(3600);
        for (number, milliseconds) in [(1, 40), (2, 20), (3, 60), (4, 20)] {
            let done = done.clone();
            let job = move || done.send(number).expect("the test waits");
            sender.send((far + Duration::from_millis(milliseconds), Box::new(job))).expect("the receiver is here");
        }
        drop(sender);
        run(&receiver);
        assert_eq!(order.try_iter().collect::<Vec<_>>(), [2, 4, 1, 3]);
    }

    #[test]
    fn what_is_due_is_done_before_what_comes_later_and_that_at_the_end() {
        let later = Later::start().expect("thread");
        let (done, order) = channel();
        for (number, delay) in [(5, Duration::from_secs(3600)), (1, Duration::ZERO)] {
            let done = done.clone();
            later.after(delay, move || done.send(number).expect("the test waits"));
        }
        assert_eq!(order.recv(), Ok(1));
        assert!(order.try_recv().is_err());
        drop(later);
        assert_eq!(order.recv(), Ok(5));
    }
}
