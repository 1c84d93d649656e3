//! Runs work that may block in the kernel forever, such as reading a file on a mount whose server is dead.
//!
//! A system call on such a file system can't be cancelled: it returns when the server answers, or never. So the work runs
//! on a separate thread, and the caller waits for a bounded time. While a thread is stuck, further calls with the same key are
//! refused instead of blocking more threads, and one file system can block only a few threads, so that other work continues.

#![warn(missing_docs, unreachable_pub)]

mod mount;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use self::mount::Mount;

/// Maximum number of threads that one mounted file system blocks. The root file system is exempt: without access to it,
/// nothing tells whether a path is on it.
const MAX_PER_MOUNT: usize = 8;

/// Maximum number of threads in all.
const MAX_THREADS: usize = 1024;

/// The time after which a key whose thread is stuck gets another one: the file system may have been mounted anew.
const RETRY: Duration = Duration::from_secs(20);

/// Maximum number of stuck threads of one key.
const MAX_PER_KEY: usize = 3;

/// Stack size of a thread in bytes. Parsing certificates and regular expressions needs the most.
const STACK: usize = 512 << 10;

/// Runs work that may block. Its threads do not keep the process from ending. Clones share their limits.
#[derive(Debug, Clone, Default)]
pub struct Blocking(Arc<Mutex<Calls>>);

#[derive(Debug, Default)]
struct Calls {
    /// No list is empty.
    by_key: HashMap<String, Vec<Call>>,
    /// The number of the next call.
    next: u64,
}

/// Work underway.
#[derive(Debug, Clone)]
struct Call {
    number: u64,
    place: String,
    since: Instant,
    /// Set once the caller has timed out: the mount that the place is on, unless that is the root file system.
    mount: Option<Mount>,
    /// Whether the caller has timed out.
    given_up: bool,
}

/// The work was not done in time, or was refused because earlier work is stuck.
#[derive(Debug, Clone)]
pub struct Stuck(Cause);

impl Stuck {
    /// The time since which there is no answer.
    pub fn since(&self) -> Instant {
        match &self.0 {
            Cause::Silent { call, .. } => call.since,
            Cause::Full | Cause::NoThread(_) => Instant::now(),
        }
    }
}

#[derive(Debug, Clone)]
enum Cause {
    Silent { call: Call, now: Instant },
    Full,
    NoThread(String),
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Cause::Silent { call: Call { place, since, mount, .. }, now } => {
                match mount {
                    Some(Mount { point, kind }) => {
                        write!(f, "the file system under {point} ({kind}) has not answered")?;
                    }
                    None => write!(f, "the file system of {place} has not answered")?,
                }
                write!(f, " for {:.1} s", now.saturating_duration_since(*since).as_secs_f64())?;
                if mount.is_some() { write!(f, ": {place}") } else { Ok(()) }
            }
            Cause::Full => {
                write!(f, "{MAX_THREADS} threads wait for file systems that do not answer: look for dead mounts")
            }
            Cause::NoThread(error) => write!(f, "could not start a thread: {error}"),
        }
    }
}

impl std::error::Error for Stuck {}

/// Dropping it marks the work as done.
struct Underway {
    blocking: Blocking,
    key: String,
    number: u64,
}

impl Drop for Underway {
    fn drop(&mut self) {
        let mut calls = self.blocking.calls();
        // The file system answers again, so earlier threads of this key are about to end too.
        if calls.by_key.get(&self.key).is_some_and(|of_key| of_key.iter().any(|call| call.number == self.number)) {
            calls.by_key.remove(&self.key);
        }
    }
}

/// Gives up the work when the future that waits for it is dropped.
struct Waiter<'a> {
    blocking: &'a Blocking,
    key: &'a str,
    place: &'a str,
    time: Duration,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.blocking.give_up(self.key, self.place, self.time);
    }
}

impl Blocking {
    /// Runs the work and waits for it for at most `time`. `key` identifies the caller: while earlier work with the same key is
    /// stuck, new work is refused at once, except for a retry every 20 s. `place` is the path that the work is about.
    ///
    /// # Errors
    /// If the work was not done in time, or was refused.
    pub async fn run<T: Send + 'static>(
        &self,
        key: &str,
        place: &str,
        time: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Stuck> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.start(key, place, work, move |done| drop(sender.send(done)))?;
        let waiter = Waiter { blocking: self, key, place, time };
        let answer = tokio::time::timeout(time, receiver).await;
        std::mem::forget(waiter);
        match answer {
            Ok(answer) => answer.map_err(|_| panicked()),
            Err(_) => Err(self.give_up(key, place, time)),
        }
    }

    /// The same as [`run`](Self::run), but blocks the calling thread.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn wait<T: Send + 'static>(
        &self,
        key: &str,
        place: &Path,
        time: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Stuck> {
        let (sender, receiver) = mpsc::channel();
        let place = place.to_string_lossy();
        self.start(key, &place, work, move |done| drop(sender.send(done)))?;
        match receiver.recv_timeout(time) {
            Ok(done) => Ok(done),
            Err(RecvTimeoutError::Disconnected) => Err(panicked()),
            Err(RecvTimeoutError::Timeout) => Err(self.give_up(key, &place, time)),
        }
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start<T>(
        &self,
        key: &str,
        place: &str,
        work: impl FnOnce() -> T + Send + 'static,
        deliver: impl FnOnce(T) + Send + 'static,
    ) -> Result<(), Stuck> {
        let number = self.calls().admit(key, place, Instant::now()).map_err(Stuck)?;
        let underway = Underway { blocking: self.clone(), key: key.to_owned(), number };
        let work = move || {
            let done = work();
            // Before the delivery, since the caller may call again as soon as it has the result.
            drop(underway);
            deliver(done);
        };
        thread::Builder::new()
            .name("blocking".to_owned())
            .stack_size(STACK)
            .spawn(work)
            .map(drop)
            .map_err(|error| Stuck(Cause::NoThread(error.to_string())))
    }

    fn give_up(&self, key: &str, place: &str, time: Duration) -> Stuck {
        let mount = Mount::of(place);
        let now = Instant::now();
        let mut calls = self.calls();
        match calls.by_key.get_mut(key).and_then(|of_key| of_key.last_mut()) {
            Some(call) => {
                call.given_up = true;
                call.mount = mount;
            }
            // The work was done just after the timeout.
            None => {
                let since = now.checked_sub(time).unwrap_or(now);
                let call = Call { number: u64::MAX, place: place.to_owned(), since, mount, given_up: true };
                return Stuck(Cause::Silent { call, now });
            }
        }
        // The first call says since when there is no answer.
        let call = calls.by_key[key][0].clone();
        Stuck(Cause::Silent { call, now })
    }
}

impl Calls {
    /// Admits a call and returns its number.
    fn admit(&mut self, key: &str, place: &str, now: Instant) -> Result<u64, Cause> {
        let of_key = self.by_key.get(key).map(Vec::as_slice).unwrap_or_default();
        if let (Some(first), Some(last)) = (of_key.first(), of_key.last())
            && (!last.given_up || now.duration_since(last.since) < RETRY || of_key.len() >= MAX_PER_KEY)
        {
            return Err(Cause::Silent { call: first.clone(), now });
        }
        if let Some(call) = self.crowded(place) {
            return Err(Cause::Silent { call, now });
        }
        if self.by_key.values().map(Vec::len).sum::<usize>() >= MAX_THREADS {
            return Err(Cause::Full);
        }
        let number = self.next;
        self.next += 1;
        let call = Call { number, place: place.to_owned(), since: now, mount: None, given_up: false };
        self.by_key.entry(key.to_owned()).or_default().push(call);
        Ok(number)
    }

    /// The oldest stuck call on the place's file system, if it blocks its maximum number of threads.
    fn crowded(&self, place: &str) -> Option<Call> {
        let stuck = || self.by_key.values().flatten().filter(|call| call.given_up);
        if stuck().filter(|call| call.mount.is_some()).count() < MAX_PER_MOUNT {
            return None;
        }
        let mount = Mount::of(place)?;
        let same = || stuck().filter(|call| call.mount.as_ref() == Some(&mount));
        if same().count() < MAX_PER_MOUNT { None } else { same().min_by_key(|call| call.since).cloned() }
    }
}

fn panicked() -> Stuck {
    Stuck(Cause::NoThread("it panicked (please report this)".to_owned()))
}

impl From<Stuck> for io::Error {
    fn from(stuck: Stuck) -> Self {
        io::Error::new(io::ErrorKind::TimedOut, stuck)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(20);

    /// Work that lasts until the sender is dropped.
    fn stuck() -> (mpsc::Sender<()>, impl FnOnce() + Send + 'static) {
        let (sender, receiver) = mpsc::channel();
        (sender, move || assert!(receiver.recv().is_err(), "nothing is ever sent"))
    }

    fn wait_until_free(blocking: &Blocking, key: &str) {
        let end = Instant::now() + LONG;
        while blocking.calls().by_key.contains_key(key) {
            assert!(Instant::now() < end, "{key} is still underway");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[tokio::test]
    async fn stuck_key_gets_no_second_thread_and_other_keys_continue() {
        let blocking = Blocking::default();
        let (release, work) = stuck();
        let error = blocking.run("a", "/srv/flag", SHORT, work).await.unwrap_err().to_string();
        assert!(error.starts_with("the file system of /srv/flag has not answered for 0.0 s"), "{error}");
        for _ in 0..3 {
            let error = blocking.run("a", "/other", LONG, || ()).await.unwrap_err().to_string();
            assert!(error.contains("/srv/flag"), "names the place it waits for: {error}");
        }
        assert_eq!(blocking.calls().by_key.len(), 1);
        assert_eq!(blocking.run("b", "/srv/flag", LONG, || 7).await.unwrap(), 7);
        drop(release);
        wait_until_free(&blocking, "a");
        assert_eq!(blocking.run("a", "/srv/flag", LONG, || 8).await.unwrap(), 8, "it answers again");
    }

    #[test]
    fn one_mount_blocks_a_few_threads_and_the_root_has_no_limit() {
        let blocking = Blocking::default();
        let mut held = Vec::new();
        // A mount that every machine has.
        for number in 0..MAX_PER_MOUNT {
            let (release, work) = stuck();
            held.push(release);
            assert!(blocking.wait(&format!("p{number}"), Path::new("/proc/x"), SHORT, work).is_err());
        }
        let error = blocking.wait("more", Path::new("/proc/y"), LONG, || ()).unwrap_err().to_string();
        assert!(error.contains("the file system under /proc (proc) has not answered"), "{error}");
        assert!(blocking.wait("more", Path::new("/nowhere/y"), LONG, || ()).is_ok());
        for number in 0..2 * MAX_PER_MOUNT {
            let (release, work) = stuck();
            held.push(release);
            assert!(blocking.wait(&format!("r{number}"), Path::new("/nowhere/x"), SHORT, work).is_err());
        }
        assert!(blocking.wait("more", Path::new("/nowhere/y"), LONG, || ()).is_ok());
        drop(held);
        wait_until_free(&blocking, "p0");
        wait_until_free(&blocking, "p1");
        assert!(blocking.wait("more", Path::new("/proc/y"), LONG, || ()).is_ok());
    }

    #[test]
    fn stuck_key_is_retried_now_and_then_and_forgotten_once_a_call_returns() {
        let mut calls = Calls::default();
        let start = Instant::now();
        let first = calls.admit("a", "/srv/x", start).unwrap();
        assert!(matches!(calls.admit("a", "/srv/x", start + 2 * RETRY), Err(Cause::Silent { .. })), "not given up");
        let mut last = first;
        for number in 1..MAX_PER_KEY {
            let at = start + RETRY * u32::try_from(number).unwrap();
            calls.by_key.get_mut("a").unwrap().last_mut().unwrap().given_up = true;
            let early = calls.admit("a", "/srv/x", at - Duration::from_secs(1));
            assert!(matches!(early, Err(Cause::Silent { call, .. }) if call.number == first), "too early");
            last = calls.admit("a", "/srv/x", at).unwrap();
        }
        calls.by_key.get_mut("a").unwrap().last_mut().unwrap().given_up = true;
        assert!(calls.admit("a", "/srv/x", start + 100 * RETRY).is_err(), "all its threads are stuck");
        let blocking = Blocking(Arc::new(Mutex::new(calls)));
        drop(Underway { blocking: blocking.clone(), key: "a".to_owned(), number: last });
        assert_eq!(blocking.wait("a", Path::new("/srv/x"), LONG, || 2).unwrap(), 2);
        // An earlier thread that returns late does not end the work underway.
        let (release, work) = stuck();
        assert!(blocking.wait("a", Path::new("/srv/x"), SHORT, work).is_err());
        drop(Underway { blocking: blocking.clone(), key: "a".to_owned(), number: first });
        assert!(blocking.calls().by_key.contains_key("a"));
        drop(release);
    }
}
