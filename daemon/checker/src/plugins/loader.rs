//! The loader that compiles files in the plugin host, so that no file holds up the others.
//!
//! Most files compile within a fraction of a second, some interpreters need a minute, and a file may be crafted to take for
//! ever. So the others wait for a file for at most [`URGENT_TIME`], or [`OTHER_TIME`] if no check waits for it. A file that takes
//! longer is compiled in the background, one at a time. If that place is taken, the file is given up and has its turn later.
//! A file that exceeds the limits is never tried again: it is identified by its digest. If the host kept the compiler from
//! its work, the file is not at fault, and is retried after growing pauses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use vouchd_plugin::{Host, LoadError, Origin, Plugin};

use super::load::{LAST_PAUSE, Load, Loaded, Progress, RETRY_PAUSES};

/// How long the other files wait for one that is urgent.
const URGENT_TIME: Duration = Duration::from_secs(3);

/// The same for a file that is not urgent. Enough to load compiled code from the cache.
const OTHER_TIME: Duration = Duration::from_millis(150);

/// The number of files that are remembered as slow, refused or hindered. When there are more, all are forgotten.
const REMEMBERED: usize = 1000;

/// Loads the bytes of a file, and gives up when the flag is set.
type LoadFn<P> = Arc<dyn Fn(&[u8], &AtomicBool) -> Result<Loaded<P>, LoadError> + Send + Sync>;

/// Loads plugins in a host.
pub(crate) struct Loader<P> {
    load: LoadFn<P>,
    urgent_time: Duration,
    /// The file that takes longer.
    background: Option<Job<P>>,
    /// The result of the last background job, until it is asked for.
    done: Option<(String, Result<Loaded<P>, LoadError>)>,
    /// Digests of files that take longer and had no turn in the background yet.
    slow: BTreeSet<String>,
    /// Files that exceeded the limits, by digest, with the error.
    refused: BTreeMap<String, String>,
    /// Files that the host could not compile, by digest.
    hindered: BTreeMap<String, Hindered>,
    pauses: [Duration; 3],
}

/// A file that the host could not compile, and that will be retried.
struct Hindered {
    tries: usize,
    again_at: Instant,
    why: String,
}

impl Hindered {
    fn progress<P>(&self, pauses: &[Duration]) -> Progress<P> {
        let why = &self.why;
        match pauses.get(self.tries - 1) {
            Some(pause) => {
                Progress::Underway { what: format!("will be loaded again in {} s ({why})", pause.as_secs()) }
            }
            None => Progress::Failing {
                error: format!("could not be loaded in {} tries: {why}; retried every minute", pauses.len() + 1),
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
    fn start(load: &LoadFn<P>, sha256: &str, bytes: &[u8]) -> Result<Self, LoadError> {
        let abandon = Arc::new(AtomicBool::new(false));
        let (sender, result) = mpsc::channel();
        let (load, bytes, abandoned) = (Arc::clone(load), bytes.to_vec(), Arc::clone(&abandon));
        let job = move || {
            // Fails only while the checker ends.
            let _ = sender.send(load(&bytes, &abandoned));
        };
        thread::Builder::new()
            .name("plugin-job".to_owned())
            .spawn(job)
            .map_err(|error| LoadError::Hindered(format!("could not start a thread to load it: {error}")))?;
        Ok(Job { sha256: sha256.to_owned(), abandon, result })
    }
}

/// The error of a loading thread that panicked.
fn crashed<P>() -> Result<P, LoadError> {
    Err(LoadError::Panic)
}

impl Loader<Plugin> {
    /// A loader for this host.
    pub(crate) fn new(host: Host) -> Self {
        Self::with(URGENT_TIME, move |bytes, abandon| {
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
        urgent_time: Duration,
        load: impl Fn(&[u8], &AtomicBool) -> Result<Loaded<P>, LoadError> + Send + Sync + 'static,
    ) -> Self {
        Loader {
            load: Arc::new(load),
            urgent_time,
            background: None,
            done: None,
            slow: BTreeSet::new(),
            refused: BTreeMap::new(),
            hindered: BTreeMap::new(),
            pauses: RETRY_PAUSES,
        }
    }

    /// Takes the result of the background job if it is done.
    fn poll_background(&mut self) {
        let Some(job) = &self.background else { return };
        let result = match job.result.try_recv() {
            Ok(result) => result,
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => crashed(),
        };
        if let Some(Job { sha256, .. }) = self.background.take() {
            self.done = Some((sha256, result));
        }
    }

    fn finish(&mut self, sha256: &str, result: Result<Loaded<P>, LoadError>) -> Progress<P> {
        self.slow.remove(sha256);
        let tries = self.hindered.remove(sha256).map_or(0, |hindered| hindered.tries);
        if let Err(LoadError::Hindered(why)) = result {
            if self.hindered.len() >= REMEMBERED {
                self.hindered.clear();
            }
            let again_at = Instant::now() + self.pauses.get(tries).copied().unwrap_or(LAST_PAUSE);
            let hindered = Hindered { tries: tries + 1, again_at, why };
            let progress = hindered.progress(&self.pauses);
            self.hindered.insert(sha256.to_owned(), hindered);
            return progress;
        }
        Progress::Done(result.map_err(|error| {
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

    fn load(&mut self, sha256: &str, bytes: &[u8], is_urgent: bool) -> Progress<P> {
        if let Some(error) = self.refused.get(sha256) {
            return Progress::Done(Err(error.clone()));
        }
        if let Some(hindered) = self.hindered.get(sha256).filter(|hindered| Instant::now() < hindered.again_at) {
            return hindered.progress(&self.pauses);
        }
        self.poll_background();
        if let Some((_, result)) = self.done.take_if(|(done, _)| done == sha256) {
            return self.finish(sha256, result);
        }
        let is_slow = self.slow.contains(sha256);
        if let Some(job) = &self.background {
            let is_this = job.sha256 == sha256;
            if is_this || is_slow {
                return underway(is_this);
            }
        }
        let job = match Job::start(&self.load, sha256, bytes) {
            Ok(job) => job,
            Err(error) => return self.finish(sha256, Err(error)),
        };
        let limit = if is_urgent { self.urgent_time } else { self.urgent_time.min(OTHER_TIME) };
        match job.result.recv_timeout(limit) {
            Ok(result) => return self.finish(sha256, result),
            Err(RecvTimeoutError::Disconnected) => return self.finish(sha256, crashed()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        self.poll_background();
        if self.background.is_none() {
            self.background = Some(job);
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
            // It was done before it saw the flag.
            Ok(result) => self.finish(sha256, result),
        }
    }

    fn is_due(&mut self, sha256: &str) -> bool {
        if self.hindered.get(sha256).is_some_and(|hindered| Instant::now() < hindered.again_at) {
            return false;
        }
        self.poll_background();
        self.background.is_none() || self.done.as_ref().is_some_and(|(done, _)| done == sha256)
    }
}

fn underway<P>(is_compiling: bool) -> Progress<P> {
    let what = if is_compiling { "is being compiled" } else { "waits for its turn to be compiled" };
    Progress::Underway { what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    const URGENT_TIME: Duration = Duration::from_millis(100);

    /// Its loader loads `quick` at once and everything else when `go_on` is set; `bomb` then exceeds a limit, and `killed` is
    /// hindered. Counts the started jobs.
    struct Scene {
        loader: Loader<String>,
        go_on: Arc<AtomicBool>,
        started: Arc<AtomicUsize>,
    }

    fn scene() -> Scene {
        let (go_on, started) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (go, count) = (Arc::clone(&go_on), Arc::clone(&started));
        let loader = Loader::with(URGENT_TIME, move |bytes: &[u8], abandon: &AtomicBool| {
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
        /// The plugin or the error. `None` while loading is underway.
        fn load(&mut self, text: &str) -> Option<Result<String, String>> {
            self.load_if(true, text)
        }

        fn load_if(&mut self, is_urgent: bool, text: &str) -> Option<Result<String, String>> {
            match self.loader.load(text, text.as_bytes(), is_urgent) {
                Progress::Done(result) => Some(result.map(|loaded| loaded.plugin)),
                Progress::Underway { .. } => None,
                Progress::Failing { error } => Some(Err(error)),
            }
        }

        fn wait(&mut self, text: &str) {
            let until = Instant::now() + Duration::from_secs(5);
            while !self.loader.is_due(text) {
                assert!(Instant::now() < until, "{text} is not due after 5 s");
                thread::sleep(Duration::from_millis(1));
            }
        }

        fn started(&self) -> usize {
            self.started.load(Ordering::SeqCst)
        }
    }

    #[test]
    fn slow_file_does_not_hold_up_others() {
        let mut scene = scene();
        assert_eq!(scene.load("slow"), None);
        assert_eq!(scene.load("quick"), Some(Ok("quick".to_owned())));
        assert!(!scene.loader.is_due("slow"));
        scene.go_on.store(true, Ordering::SeqCst);
        scene.wait("slow");
        assert_eq!(scene.load("slow"), Some(Ok("slow".to_owned())));
        assert_eq!(scene.started(), 2, "the background job was not started again");
    }

    #[test]
    fn second_slow_file_is_given_up_and_compiled_when_the_first_is_done() {
        let mut scene = scene();
        assert_eq!(scene.load("slow 1"), None);
        assert_eq!(scene.load("slow 2"), None);
        let before = Instant::now();
        assert_eq!(scene.load("slow 2"), None, "known to be slow");
        assert!(before.elapsed() < URGENT_TIME, "the others don't wait for it a second time");
        assert_eq!(scene.started(), 2);
        scene.go_on.store(true, Ordering::SeqCst);
        scene.wait("slow 1");
        assert_eq!(scene.load("slow 1"), Some(Ok("slow 1".to_owned())));
        scene.wait("slow 2");
        assert_eq!(scene.load("slow 2"), Some(Ok("slow 2".to_owned())));
        assert_eq!(scene.started(), 3);
    }

    #[test]
    fn file_that_is_not_urgent_moves_to_the_background_after_a_moment() {
        let mut scene = scene();
        scene.loader.urgent_time = Duration::from_secs(60);
        let before = Instant::now();
        assert_eq!(scene.load_if(false, "slow 1"), None);
        assert_eq!(scene.load_if(false, "slow 2"), None);
        assert!(before.elapsed() < Duration::from_secs(20), "{:?}", before.elapsed());
        assert_eq!(scene.load_if(false, "quick"), Some(Ok("quick".to_owned())));
        scene.go_on.store(true, Ordering::SeqCst);
    }

    #[test]
    fn file_that_exceeded_a_limit_is_not_tried_again() {
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
    fn hindered_file_is_retried_after_pauses_and_is_an_error_after_the_last() {
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
        assert!(error.starts_with("could not be loaded in 4 tries: the compiler was killed by SIGKILL"), "{error}");
        assert!(!scene.loader.is_due("killed"), "retried in a minute");
        assert_eq!(scene.load("quick"), Some(Ok("quick".to_owned())), "and it holds up no other file");
    }

    #[test]
    fn slow_file_that_was_removed_does_not_keep_others_from_their_turn() {
        let mut scene = scene();
        assert_eq!(scene.load("slow, removed"), None);
        assert_eq!(scene.load("slow"), None);
        scene.go_on.store(true, Ordering::SeqCst);
        scene.wait("slow");
        assert_eq!(scene.load("slow"), Some(Ok("slow".to_owned())));
    }
}
