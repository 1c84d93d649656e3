//! Loads plugins into the host for the shelf, so that none keeps the others waiting.
//!
//! Most compile within a fraction of a second, some interpreters need a minute, and a file may be made to take for ever. So
//! a file gets [`QUICK`] while the others wait, and [`MOMENT`] if no check waits for it. What takes longer goes on aside, one at a time, while others are loaded; and
//! what finds that place taken is given up and has its turn later. What was too much once is not tried again: a file is
//! known by its digest. Where the host kept the compiler from its work, that is no fault of the file: it is tried again,
//! after longer and longer pauses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use vouchd_plugin::{Host, LoadError, Origin, Plugin};

use super::shelf::{Load, Loaded, Loading};

/// How long the others wait for one file.
const QUICK: Duration = Duration::from_secs(3);

/// The same for one that is not urgent: enough for what was compiled before.
const MOMENT: Duration = Duration::from_millis(150);

/// Files that are remembered as slow or refused; more are tried again.
const REMEMBERED: usize = 1000;

/// Pauses before a file is compiled again after the host has hindered that; from then on it can't be used, and is tried
/// after each [`RARELY`].
pub(super) const AGAIN: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(10), Duration::from_secs(60)];
pub(super) const RARELY: Duration = Duration::from_secs(60);

const COMPILING: &str = "is being compiled";

/// Loads a file's bytes, and gives up when the flag says so.
type Work<P> = Arc<dyn Fn(&[u8], &AtomicBool) -> Result<Loaded<P>, LoadError> + Send + Sync>;

/// Loads plugins.
pub struct Loader<P> {
    work: Work<P>,
    quick: Duration,
    /// What takes longer.
    aside: Option<Job<P>>,
    /// Done aside, and not asked for yet.
    done: Option<(String, Result<Loaded<P>, LoadError>)>,
    /// By digest: files that take longer, and why files were too much.
    slow: BTreeSet<String>,
    refused: BTreeMap<String, String>,
    /// Files that could not be compiled for no fault of theirs.
    hindered: BTreeMap<String, Hindered>,
    pauses: [Duration; 3],
}

/// A file that is to be tried again.
struct Hindered {
    tries: usize,
    again_at: Instant,
    why: String,
}

impl Hindered {
    fn loading<P>(&self, pauses: &[Duration]) -> Loading<P> {
        let why = &self.why;
        match pauses.get(self.tries - 1) {
            Some(pause) => {
                Loading::Underway { what: format!("is to be loaded again after {} s ({why})", pause.as_secs()) }
            }
            None => Loading::Failing {
                error: format!("could not be loaded, {} times: {why}; tried again every minute", pauses.len() + 1),
            },
        }
    }
}

/// A plugin that is being loaded.
struct Job<P> {
    sha256: String,
    abandon: Arc<AtomicBool>,
    result: Receiver<Result<Loaded<P>, LoadError>>,
}

impl<P: Send + 'static> Job<P> {
    fn start(work: &Work<P>, sha256: &str, bytes: &[u8]) -> Result<Self, LoadError> {
        let abandon = Arc::new(AtomicBool::new(false));
        let (sender, result) = mpsc::channel();
        let (work, bytes, abandoned) = (Arc::clone(work), bytes.to_vec(), Arc::clone(&abandon));
        let job = move || {
            // Nobody listens any more when the checker is about to end.
            let _ = sender.send(work(&bytes, &abandoned));
        };
        thread::Builder::new()
            .name("plugin-job".to_owned())
            .spawn(job)
            .map_err(|error| LoadError::Hindered(format!("the thread that loads it can't be started: {error}")))?;
        Ok(Job { sha256: sha256.to_owned(), abandon, result })
    }
}

/// The thread that loads has ended without a word.
fn crashed<P>() -> Result<P, LoadError> {
    Err(LoadError::Panic)
}

impl Loader<Plugin> {
    /// Into this host.
    pub fn new(host: Host) -> Self {
        Self::with(QUICK, move |bytes, abandon| {
            let plugin = host.load_unless(bytes, abandon)?;
            let compiled_in = match plugin.origin() {
                Origin::Compiled { took } => Some(took),
                Origin::Cached => None,
            };
            Ok(Loaded { kind: plugin.kind().to_string(), compiled_in, plugin })
        })
    }
}

impl<P> Loader<P> {
    fn with(
        quick: Duration,
        work: impl Fn(&[u8], &AtomicBool) -> Result<Loaded<P>, LoadError> + Send + Sync + 'static,
    ) -> Self {
        Loader {
            work: Arc::new(work),
            quick,
            aside: None,
            done: None,
            slow: BTreeSet::new(),
            refused: BTreeMap::new(),
            hindered: BTreeMap::new(),
            pauses: AGAIN,
        }
    }

    /// Makes room aside if what was there is done.
    fn look_aside(&mut self) {
        let Some(job) = &self.aside else { return };
        let result = match job.result.try_recv() {
            Ok(result) => result,
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => crashed(),
        };
        if let Some(Job { sha256, .. }) = self.aside.take() {
            self.done = Some((sha256, result));
        }
    }

    fn finish(&mut self, sha256: &str, result: Result<Loaded<P>, LoadError>) -> Loading<P> {
        self.slow.remove(sha256);
        let tries = self.hindered.remove(sha256).map_or(0, |hindered| hindered.tries);
        if let Err(LoadError::Hindered(why)) = result {
            if self.hindered.len() >= REMEMBERED {
                self.hindered.clear();
            }
            let again_at = Instant::now() + self.pauses.get(tries).copied().unwrap_or(RARELY);
            let hindered = Hindered { tries: tries + 1, again_at, why };
            let loading = hindered.loading(&self.pauses);
            self.hindered.insert(sha256.to_owned(), hindered);
            return loading;
        }
        Loading::Done(result.map_err(|error| {
            let text = error.to_string();
            if matches!(error, LoadError::TooSlow { .. } | LoadError::TooHungry { .. }) {
                if self.refused.len() >= REMEMBERED {
                    self.refused.clear();
                }
                self.refused.insert(sha256.to_owned(), text.clone());
            }
            text
        }))
    }
}

impl<P: Send + 'static> Load for Loader<P> {
    type Plugin = P;

    fn load(&mut self, sha256: &str, bytes: &[u8], is_urgent: bool) -> Loading<P> {
        if let Some(error) = self.refused.get(sha256) {
            return Loading::Done(Err(error.clone()));
        }
        if let Some(hindered) = self.hindered.get(sha256).filter(|hindered| Instant::now() < hindered.again_at) {
            return hindered.loading(&self.pauses);
        }
        self.look_aside();
        if let Some((_, result)) = self.done.take_if(|(done, _)| done == sha256) {
            return self.finish(sha256, result);
        }
        let is_slow = self.slow.contains(sha256);
        let is_aside = self.aside.as_ref().map(|aside| aside.sha256 == sha256);
        if is_aside == Some(true) || (is_aside.is_some() && is_slow) {
            return underway(is_aside == Some(true));
        }
        let job = match Job::start(&self.work, sha256, bytes) {
            Ok(job) => job,
            Err(error) => return self.finish(sha256, Err(error)),
        };
        let patience = if is_urgent { self.quick } else { self.quick.min(MOMENT) };
        match job.result.recv_timeout(patience) {
            Ok(result) => return self.finish(sha256, result),
            Err(RecvTimeoutError::Disconnected) => return self.finish(sha256, crashed()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        self.look_aside();
        if self.aside.is_none() {
            self.aside = Some(job);
            return underway(true);
        }
        job.abandon.store(true, Ordering::Relaxed);
        match job.result.recv() {
            Err(_) | Ok(Err(LoadError::Abandoned)) => {
                if self.slow.len() >= REMEMBERED {
                    self.slow.clear();
                }
                self.slow.insert(sha256.to_owned());
                underway(false)
            }
            // Done at the last moment.
            Ok(result) => self.finish(sha256, result),
        }
    }

    fn is_due(&mut self, sha256: &str) -> bool {
        if self.hindered.get(sha256).is_some_and(|hindered| Instant::now() < hindered.again_at) {
            return false;
        }
        self.look_aside();
        self.aside.is_none() || self.done.as_ref().is_some_and(|(done, _)| done == sha256)
    }
}

fn underway<P>(has_its_turn: bool) -> Loading<P> {
    let what = if has_its_turn { COMPILING } else { "waits for its turn to be compiled" };
    Loading::Underway { what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    const QUICK: Duration = Duration::from_millis(100);

    /// Loads `quick`; `slow…` takes until it is told to go on; `bomb` takes too long after that. Counts what is started.
    struct Scene {
        loader: Loader<String>,
        go_on: Arc<AtomicBool>,
        started: Arc<AtomicUsize>,
    }

    fn scene() -> Scene {
        let (go_on, started) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (go, count) = (Arc::clone(&go_on), Arc::clone(&started));
        let loader = Loader::with(QUICK, move |bytes: &[u8], abandon: &AtomicBool| {
            count.fetch_add(1, Ordering::SeqCst);
            let text = String::from_utf8_lossy(bytes).into_owned();
            while text != "quick" && !go.load(Ordering::SeqCst) {
                if abandon.load(Ordering::SeqCst) {
                    return Err(LoadError::Abandoned);
                }
                thread::sleep(Duration::from_millis(1));
            }
            match text.as_str() {
                "bomb" => Err(LoadError::TooSlow { seconds: 1, cpu_time: false }),
                "killed" => Err(LoadError::Hindered("the compiler was killed by SIGKILL".to_owned())),
                _ => Ok(Loaded { plugin: text, kind: "module".to_owned(), compiled_in: None }),
            }
        });
        Scene { loader, go_on, started }
    }

    impl Scene {
        /// The plugin or the error; none while it is underway.
        fn load(&mut self, text: &str) -> Option<Result<String, String>> {
            self.load_if(true, text)
        }

        fn load_if(&mut self, is_urgent: bool, text: &str) -> Option<Result<String, String>> {
            match self.loader.load(text, text.as_bytes(), is_urgent) {
                Loading::Done(result) => Some(result.map(|loaded| loaded.plugin)),
                Loading::Underway { .. } => None,
                Loading::Failing { error } => Some(Err(error)),
            }
        }

        fn wait(&mut self, text: &str) {
            let until = Instant::now() + Duration::from_secs(5);
            while !self.loader.is_due(text) {
                assert!(Instant::now() < until, "{text} never becomes due");
                thread::sleep(Duration::from_millis(1));
            }
        }

        fn started(&self) -> usize {
            self.started.load(Ordering::SeqCst)
        }
    }

    #[test]
    fn others_are_loaded_while_one_takes_long() {
        let mut scene = scene();
        assert_eq!(scene.load("slow"), None);
        assert_eq!(scene.load("quick"), Some(Ok("quick".to_owned())));
        assert!(!scene.loader.is_due("slow"));
        scene.go_on.store(true, Ordering::SeqCst);
        scene.wait("slow");
        assert_eq!(scene.load("slow"), Some(Ok("slow".to_owned())));
        assert_eq!(scene.started(), 2, "what went on aside was not started again");
    }

    #[test]
    fn a_second_slow_one_is_given_up_and_has_its_turn_when_the_first_is_done() {
        let mut scene = scene();
        assert_eq!(scene.load("slow 1"), None);
        assert_eq!(scene.load("slow 2"), None);
        let before = Instant::now();
        assert_eq!(scene.load("slow 2"), None, "known to be slow");
        assert!(before.elapsed() < QUICK, "the others don't wait for it a second time");
        assert_eq!(scene.started(), 2);
        scene.go_on.store(true, Ordering::SeqCst);
        scene.wait("slow 1");
        assert_eq!(scene.load("slow 1"), Some(Ok("slow 1".to_owned())));
        scene.wait("slow 2");
        assert_eq!(scene.load("slow 2"), Some(Ok("slow 2".to_owned())));
        assert_eq!(scene.started(), 3);
    }

    #[test]
    fn what_is_not_urgent_goes_aside_after_a_moment() {
        let mut scene = scene();
        scene.loader.quick = Duration::from_secs(60);
        let before = Instant::now();
        assert_eq!(scene.load_if(false, "slow 1"), None);
        assert_eq!(scene.load_if(false, "slow 2"), None);
        assert!(before.elapsed() < Duration::from_secs(20), "{:?}", before.elapsed());
        assert_eq!(scene.load_if(false, "quick"), Some(Ok("quick".to_owned())));
        scene.go_on.store(true, Ordering::SeqCst);
    }

    #[test]
    fn what_was_too_much_is_refused_without_another_try() {
        let mut scene = scene();
        assert_eq!(scene.load("bomb"), None);
        scene.go_on.store(true, Ordering::SeqCst);
        scene.wait("bomb");
        for _ in 0..2 {
            let error = scene.load("bomb").unwrap().unwrap_err();
            assert!(error.starts_with("compiling took more than 1 s"), "{error}");
        }
        assert_eq!(scene.started(), 1);
    }

    #[test]
    fn what_the_host_has_hindered_is_tried_again_after_pauses_and_is_an_error_after_the_last() {
        let mut scene = scene();
        scene.go_on.store(true, Ordering::SeqCst);
        scene.loader.pauses = [1, 2, 3].map(|pause| Duration::from_millis(pause * 50));
        for tries in 1..=3 {
            assert_eq!(scene.load("killed"), None, "try {tries}");
            let begun = Instant::now();
            assert_eq!(scene.load("killed"), None, "too early");
            assert_eq!(scene.started(), tries);
            scene.wait("killed");
            assert!(begun.elapsed() + Duration::from_millis(10) > scene.loader.pauses[tries - 1], "try {tries}");
        }
        let error = scene.load("killed").unwrap().unwrap_err();
        assert!(error.starts_with("could not be loaded, 4 times: the compiler was killed by SIGKILL"), "{error}");
        assert!(!scene.loader.is_due("killed"), "tried again in a minute");
        assert_eq!(scene.load("quick"), Some(Ok("quick".to_owned())), "and keeps nobody waiting");
    }

    #[test]
    fn a_slow_file_that_nobody_asks_for_any_more_keeps_no_other_from_its_turn() {
        let mut scene = scene();
        assert_eq!(scene.load("slow, removed"), None);
        assert_eq!(scene.load("slow"), None);
        scene.go_on.store(true, Ordering::SeqCst);
        scene.wait("slow");
        assert_eq!(scene.load("slow"), Some(Ok("slow".to_owned())));
    }
}
