//! Work that may block for ever, on threads that can be left behind.
//!
//! A system call on a file system whose server does not answer returns when that server does, or never, and can't be
//! cancelled. Whoever has to go on gives it a thread of its own and waits for a while.

use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// A thread that is stuck is not tried again beside it before this.
const RETRY: Duration = Duration::from_secs(20);

/// Threads that may be stuck at the same time.
const MOST_STUCK: usize = 3;

/// One kind of work, and the threads of it that have not come back.
#[derive(Debug)]
pub struct Patient<T> {
    stuck: Vec<(Instant, Receiver<T>)>,
}

/// Since when there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoAnswer(pub Instant);

impl<T: Send + 'static> Patient<T> {
    pub fn new() -> Self {
        Patient { stuck: Vec::new() }
    }

    /// Does the work unless it takes longer than `patience`. While an earlier thread is stuck, no work is done but a try now
    /// and then.
    pub fn run(&mut self, patience: Duration, work: impl FnOnce() -> T + Send + 'static) -> Result<T, NoAnswer> {
        let now = Instant::now();
        // One that came back, late: it answers again, and what it found is old. A thread that ended without an answer has
        // panicked, and is not stuck either.
        if self.stuck.iter().any(|(_, late)| !matches!(late.try_recv(), Err(TryRecvError::Empty))) {
            self.stuck.clear();
        }
        if let (Some((first, _)), Some((last, _))) = (self.stuck.first(), self.stuck.last())
            && (now.duration_since(*last) < RETRY || self.stuck.len() >= MOST_STUCK)
        {
            return Err(NoAnswer(*first));
        }
        let (answer, answers) = sync_channel(1);
        let spawned = thread::Builder::new().name("patient".to_owned()).spawn(move || {
            // Nobody waits any more if this took too long.
            let _ = answer.send(work());
        });
        let answer = match spawned {
            Ok(_) => answers.recv_timeout(patience),
            Err(_) => Err(RecvTimeoutError::Disconnected),
        };
        if let Ok(answer) = answer {
            self.stuck.clear();
            return Ok(answer);
        }
        self.stuck.push((now, answers));
        Err(NoAnswer(self.stuck[0].0))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    const SOON: Duration = Duration::from_millis(10);
    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn stuck_work_is_left_behind_and_not_tried_again_at_once() {
        let mut patient = Patient::new();
        let (release, released) = channel::<()>();
        let stuck = patient.run(SOON, move || {
            let _ = released.recv();
            1
        });
        let since = stuck.expect_err("it does not end");
        assert_eq!(patient.run(LONG, || panic!("must not be tried")), Err(since));
        drop(release);
        // The old answer is dropped, whenever it comes.
        let fresh = loop {
            if let Ok(fresh) = patient.run(LONG, || 2) {
                break fresh;
            }
            thread::yield_now();
        };
        assert_eq!(fresh, 2);
    }
}
