//! Work that may block in the kernel without end, such as looking at a file on a mount whose server is dead.
//!
//! Nobody can end such work from outside, so it costs a thread until the file system answers. It costs whoever asked for
//! it one, not one each time; and one file system not more than [`A_FEW`], so that the others go on.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// Threads that one file system may hold. Not the root's: what is below it in name only can't be known without a look.
const A_FEW: usize = 8;

/// Threads that all file systems together may hold.
const ALL: usize = 1024;

/// Parsing certificates and expressions is the deepest that is done there.
const STACK: usize = 512 << 10;

/// Runs what may block, on threads of its own that nobody waits for at the end of the process. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Aside(Arc<Mutex<HashMap<String, Call>>>);

/// Work underway.
#[derive(Debug, Clone)]
struct Call {
    place: String,
    since: Instant,
    /// Known once the work was given up: the mount, if it is one beside the root.
    mount: Option<Mount>,
    given_up: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    point: String,
    kind: String,
}

/// The work was not done in time, or not begun because the same file system still keeps earlier work.
#[derive(Debug, Clone)]
pub struct Stuck(Cause);

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
                        write!(f, "the file system under {point} ({kind}) does not answer")?;
                    }
                    None => write!(f, "the file system of {place} does not answer")?,
                }
                write!(f, ", for {:.1} s", now.saturating_duration_since(*since).as_secs_f64())?;
                if mount.is_some() { write!(f, ": {place}") } else { Ok(()) }
            }
            Cause::Full => write!(f, "{ALL} threads wait for file systems that do not answer: look for dead mounts"),
            Cause::NoThread(error) => write!(f, "no thread to be had: {error}"),
        }
    }
}

impl std::error::Error for Stuck {}

/// Work that is underway for as long as this lives.
struct Underway {
    aside: Aside,
    key: String,
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.aside.calls().remove(&self.key);
    }
}

/// Gives up the work when the one who waits for it is dropped.
struct Asker<'a> {
    aside: &'a Aside,
    key: &'a str,
    place: &'a str,
    time: Duration,
}

impl Drop for Asker<'_> {
    fn drop(&mut self) {
        self.aside.give_up(self.key, self.place, self.time);
    }
}

impl Aside {
    /// Does the work for whoever goes by `key`, who waits for `time` at most. `place` is what is looked at.
    ///
    /// # Errors
    /// If the work was not done in time, or earlier work of the same `key` still is not.
    pub async fn run<T: Send + 'static>(
        &self,
        key: &str,
        place: &str,
        time: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Stuck> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.start(key, place, work, move |done| drop(sender.send(done)))?;
        let asker = Asker { aside: self, key, place, time };
        let answer = tokio::time::timeout(time, receiver).await;
        std::mem::forget(asker);
        match answer {
            Ok(answer) => answer.map_err(|_| Stuck(Cause::NoThread("it has panicked (please report)".to_owned()))),
            Err(_) => Err(self.give_up(key, place, time)),
        }
    }

    /// The same for a thread that may wait.
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
            Err(RecvTimeoutError::Disconnected) => {
                Err(Stuck(Cause::NoThread("it has panicked (please report)".to_owned())))
            }
            Err(RecvTimeoutError::Timeout) => Err(self.give_up(key, &place, time)),
        }
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<String, Call>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start<T>(
        &self,
        key: &str,
        place: &str,
        work: impl FnOnce() -> T + Send + 'static,
        deliver: impl FnOnce(T) + Send + 'static,
    ) -> Result<(), Stuck> {
        let now = Instant::now();
        {
            let mut calls = self.calls();
            if let Some(call) = calls.get(key) {
                return Err(Stuck(Cause::Silent { call: call.clone(), now }));
            }
            if let Some(call) = crowded(&calls, place) {
                return Err(Stuck(Cause::Silent { call, now }));
            }
            if calls.len() >= ALL {
                return Err(Stuck(Cause::Full));
            }
            let call = Call { place: place.to_owned(), since: now, mount: None, given_up: false };
            calls.insert(key.to_owned(), call);
        }
        let underway = Underway { aside: self.clone(), key: key.to_owned() };
        let work = move || {
            let done = work();
            // First: whoever gets the answer may ask again at once.
            drop(underway);
            deliver(done);
        };
        thread::Builder::new()
            .name("aside".to_owned())
            .stack_size(STACK)
            .spawn(work)
            .map(drop)
            .map_err(|error| Stuck(Cause::NoThread(error.to_string())))
    }

    fn give_up(&self, key: &str, place: &str, time: Duration) -> Stuck {
        let mount = mount_of(place);
        let now = Instant::now();
        let mut calls = self.calls();
        let call = match calls.get_mut(key) {
            Some(call) => {
                call.given_up = true;
                call.mount = mount;
                call.clone()
            }
            // Done at the last moment, which is too late.
            None => {
                Call { place: place.to_owned(), since: now.checked_sub(time).unwrap_or(now), mount, given_up: true }
            }
        };
        Stuck(Cause::Silent { call, now })
    }
}

/// The oldest of the calls that hold all the threads that the place's file system may have.
fn crowded(calls: &HashMap<String, Call>, place: &str) -> Option<Call> {
    if calls.values().filter(|call| call.given_up && call.mount.is_some()).count() < A_FEW {
        return None;
    }
    let mount = mount_of(place)?;
    let same = calls.values().filter(|call| call.given_up && call.mount.as_ref() == Some(&mount));
    if same.clone().count() < A_FEW { None } else { same.min_by_key(|call| call.since).cloned() }
}

/// The mount below which a path lies by its name, if it is not the root's. Looks at the table of mounts only.
fn mount_of(place: &str) -> Option<Mount> {
    find_mount(&fs::read_to_string("/proc/self/mountinfo").ok()?, place)
}

fn find_mount(table: &str, place: &str) -> Option<Mount> {
    let mut found: Option<Mount> = None;
    for line in table.lines() {
        // proc_pid_mountinfo(5): ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAGS…] - TYPE SOURCE OPTIONS
        let Some((mount, file_system)) = line.split_once(" - ") else { continue };
        let (Some(point), Some(kind)) = (mount.split(' ').nth(4), file_system.split(' ').next()) else { continue };
        let point = plain(point);
        let is_below = point != "/" && Path::new(place).starts_with(&point);
        if is_below && found.as_ref().is_none_or(|found| found.point.len() <= point.len()) {
            found = Some(Mount { point, kind: kind.to_owned() });
        }
    }
    found
}

/// Without the octal escapes for blanks and the backslash.
fn plain(point: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(point.to_owned(), |point, (escape, character)| point.replace(escape, character))
}

/// A failure to do work, as an I/O error.
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

    /// Work that goes on until the sender is dropped.
    fn stuck() -> (mpsc::Sender<()>, impl FnOnce() + Send + 'static) {
        let (sender, receiver) = mpsc::channel();
        (sender, move || assert!(receiver.recv().is_err(), "nothing is ever sent"))
    }

    fn wait_until_free(aside: &Aside, key: &str) {
        let end = Instant::now() + LONG;
        while aside.calls().contains_key(key) {
            assert!(Instant::now() < end, "{key} is still underway");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[tokio::test]
    async fn who_is_stuck_gets_no_second_thread_and_others_go_on() {
        let aside = Aside::default();
        let (release, work) = stuck();
        let error = aside.run("a", "/srv/flag", SHORT, work).await.unwrap_err().to_string();
        assert!(error.starts_with("the file system of /srv/flag does not answer, for 0.0 s"), "{error}");
        for _ in 0..3 {
            let error = aside.run("a", "/other", LONG, || ()).await.unwrap_err().to_string();
            assert!(error.contains("/srv/flag"), "what it waits for is named: {error}");
        }
        assert_eq!(aside.calls().len(), 1);
        assert_eq!(aside.run("b", "/srv/flag", LONG, || 7).await.unwrap(), 7);
        drop(release);
        wait_until_free(&aside, "a");
        assert_eq!(aside.run("a", "/srv/flag", LONG, || 8).await.unwrap(), 8, "once it answers all is well");
    }

    #[test]
    fn one_file_system_holds_a_few_threads_only_and_the_root_all_that_ask() {
        let aside = Aside::default();
        let mut held = Vec::new();
        // A mount that every machine has.
        for number in 0..A_FEW {
            let (release, work) = stuck();
            held.push(release);
            assert!(aside.wait(&format!("p{number}"), Path::new("/proc/x"), SHORT, work).is_err());
        }
        let error = aside.wait("more", Path::new("/proc/y"), LONG, || ()).unwrap_err().to_string();
        assert!(error.contains("the file system under /proc (proc) does not answer"), "{error}");
        assert!(aside.wait("more", Path::new("/nowhere/y"), LONG, || ()).is_ok());
        for number in 0..2 * A_FEW {
            let (release, work) = stuck();
            held.push(release);
            assert!(aside.wait(&format!("r{number}"), Path::new("/nowhere/x"), SHORT, work).is_err());
        }
        assert!(aside.wait("more", Path::new("/nowhere/y"), LONG, || ()).is_ok());
        drop(held);
        wait_until_free(&aside, "p0");
        wait_until_free(&aside, "p1");
        assert!(aside.wait("more", Path::new("/proc/y"), LONG, || ()).is_ok());
    }

    #[test]
    fn a_mount_is_the_innermost_that_a_path_is_below() {
        let table = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                     30 22 0:40 / /srv rw,relatime shared:1 - fuse.sshfs host:/ rw\n\
                     31 30 0:41 / /srv/my\\040data rw - nfs4 host:/x rw\n\
                     32 22 0:42 / /srvx rw - tmpfs none rw\n";
        let found = |place| find_mount(table, place).map(|mount| mount.point);
        assert_eq!(found("/srv/flag").as_deref(), Some("/srv"));
        assert_eq!(found("/srv").as_deref(), Some("/srv"));
        assert_eq!(found("/srv/my data/x").as_deref(), Some("/srv/my data"));
        assert_eq!(found("/srvxy"), None);
        assert_eq!(found("/etc/x"), None, "the root's");
    }
}
