//! Compiled plugins on disk, so that a start does not compile again what an earlier one compiled.
//!
//! Entries are executed as native code. Each begins with a digest (HMAC-SHA256) of its content, under a key that depends on
//! the daemon's secret and the entry's name: without the secret nobody can make an entry that is used, whoever may write to
//! the directory. An entry is read whole and verified before anything in it is used. One that is damaged, cut off or another
//! daemon's is compiled again and replaced.
//!
//! An entry is written to a temporary file, flushed and renamed, so that a crash leaves the old entry or the new one. Its name
//! depends on everything that the code depends on, so entries never become invalid; the least recently used are evicted.

use std::fs::{self, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use ring::hmac;
use sha2::{Digest, Sha256};
pub use vouchd_ipc::cache::{CacheKey, CacheSettings};
use wasmtime::Engine;

use super::Artefact;
use crate::contract;
use crate::text::hex;

/// Bytes of all entries together.
const CAPACITY: u64 = 1 << 30;

/// Age at which a temporary file is one that a crash left.
const ABANDONED: Duration = Duration::from_secs(3600);

/// Extensions of entries and of temporary files.
const ENTRY: &str = "aot";
const UNFINISHED: &str = "new";

/// Length of the digest that an entry begins with.
const DIGEST: usize = 32;

/// The cache of one engine.
pub(crate) struct Cache {
    settings: CacheSettings,
    capacity: u64,
    /// Digest of everything besides the plugin that the code depends on.
    engine: String,
}

/// A [`Hasher`] with SHA-256, which unlike those of the standard library is the same in every process.
struct Stable(Sha256);

impl Hasher for Stable {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        // Never called: the whole digest is taken instead.
        0
    }
}

impl Cache {
    pub(crate) fn new(settings: CacheSettings, engine: &Engine) -> Self {
        let mut hasher = Stable(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        hasher.0.update(env!("CARGO_PKG_VERSION"));
        // Modules are made into components with the contract.
        hasher.0.update(contract::VERSION.0.to_le_bytes());
        hasher.0.update(include_bytes!("../../../../sdk/wit/check.wit"));
        Cache { settings, capacity: CAPACITY, engine: hex(&hasher.0.finalize()) }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.settings.directory
    }

    /// Reads the artefact of the plugin with this digest. `None` if there is no valid entry.
    pub(crate) fn get(&self, sha256: &str) -> Option<Artefact> {
        let name = self.name(sha256);
        let path = self.path(&name, ENTRY);
        let bytes = match self.read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!("cannot read {}: {error}; compiling again", path.display());
                return None;
            }
        };
        let is_valid = bytes
            .split_first_chunk::<DIGEST>()
            // Takes the same time wherever the digests differ.
            .is_some_and(|(digest, rest)| hmac::verify(&self.entry_key(&name), rest, digest).is_ok());
        if !is_valid {
            tracing::warn!("{} is damaged, or another daemon's; compiling again", path.display());
            return None;
        }
        let mut bytes = bytes;
        bytes.drain(..DIGEST);
        // The time of its last use. Fails if another user owns the file: then it is evicted earlier.
        let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        Artefact::decode(bytes).ok()?.ok()
    }

    /// Keeps an artefact. Failing to is only a warning: without the cache, plugins are compiled at each start.
    pub(crate) fn put(&self, sha256: &str, artefact: &Artefact) {
        if let Err(error) = self.write(&self.name(sha256), artefact.bytes()) {
            tracing::warn!("cannot keep a compiled plugin in {}: {error}", self.settings.directory.display());
        }
    }

    /// Removes an entry that the engine rejects.
    pub(crate) fn remove(&self, sha256: &str) {
        // If that fails, the entry is replaced after compiling.
        let _ = fs::remove_file(self.path(&self.name(sha256), ENTRY));
    }

    /// The name of an entry: a digest of everything that the code depends on.
    fn name(&self, sha256: &str) -> String {
        hex(&Sha256::digest(format!("{sha256} {}", self.engine)))
    }

    fn path(&self, name: &str, extension: &str) -> PathBuf {
        self.settings.directory.join(format!("{name}.{extension}"))
    }

    /// The key of an entry, so that it is valid under its own name only.
    fn entry_key(&self, name: &str) -> hmac::Key {
        key(hmac::sign(&key(&self.settings.key.0), name.as_bytes()).as_ref())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        // Follows no link out of the directory, and does not wait for the writer of a pipe.
        let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
        let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let data = file.metadata()?;
        if !data.is_file() || data.size() > self.capacity {
            return Err(io::Error::other("not a regular file, or larger than the cache"));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(data.size()).unwrap_or(0));
        Read::by_ref(&mut file).take(self.capacity).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let size = (bytes.len() + DIGEST) as u64;
        if size > self.capacity {
            return Ok(());
        }
        self.evict(size)?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.path(&format!("{name}-{}-{count}", std::process::id()), UNFINISHED);
        // A file of this name was left by a crash, or planted: never written to.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        let written = file
            .write_all(hmac::sign(&self.entry_key(name), bytes).as_ref())
            .and_then(|()| file.write_all(bytes))
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&unfinished, self.path(name, ENTRY)));
        if written.is_err() {
            // The first error is the one to report.
            let _ = fs::remove_file(&unfinished);
        }
        written
    }

    /// Removes temporary files that a crash left, and the least recently used entries until `size` more bytes fit.
    fn evict(&self, size: u64) -> io::Result<()> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.settings.directory)? {
            let path = entry?.path();
            let Ok(data) = fs::symlink_metadata(&path) else { continue };
            let age = data.modified().and_then(|at| at.elapsed().map_err(io::Error::other)).unwrap_or_default();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some(ENTRY) => entries.push((age, data.size(), path)),
                Some(UNFINISHED) if age > ABANDONED => drop(fs::remove_file(&path)),
                _ => {}
            }
        }
        let mut taken: u64 = entries.iter().map(|(_, size, _)| size).sum();
        entries.sort();
        while taken + size > self.capacity
            && let Some((_, size, path)) = entries.pop()
        {
            if fs::remove_file(&path).is_ok() {
                taken -= size;
            }
        }
        Ok(())
    }
}

fn key(secret: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine;
    use crate::load::compile::{Compiler, compile};

    const MEMORY: u64 = 1 << 20;

    fn artefact() -> Artefact {
        let wasm = wat::parse_str("(module (func (export \"_start\")))").unwrap();
        compile(&Compiler::Here, MEMORY, &wasm, &Default::default()).unwrap()
    }

    fn cache(directory: &Path, key: u8) -> Cache {
        let settings = CacheSettings { directory: directory.to_owned(), key: CacheKey([key; 32]) };
        Cache::new(settings, &engine::for_compiling(MEMORY).unwrap())
    }

    fn entries(directory: &Path) -> Vec<PathBuf> {
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn digest_is_that_of_rfc_4231() {
        // Test case 2, whose key of 4 bytes is padded with zeros.
        let mut secret = [0; 32];
        secret[..4].copy_from_slice(b"Jefe");
        let digest = hmac::sign(&key(&secret), b"what do ya want for nothing?");
        assert_eq!(hex(digest.as_ref()), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn entry_is_used_for_the_same_plugin_key_and_engine_only() {
        let dir = tempfile::tempdir().unwrap();
        let artefact = artefact();
        cache(dir.path(), 1).put("one", &artefact);
        assert_eq!(cache(dir.path(), 1).get("one").unwrap().bytes(), artefact.bytes());
        assert!(cache(dir.path(), 1).get("two").is_none());
        assert!(cache(dir.path(), 2).get("one").is_none(), "another daemon's");
        let settings = CacheSettings { directory: dir.path().to_owned(), key: CacheKey([1; 32]) };
        let other = Cache::new(settings, &engine::for_compiling(MEMORY * 2).unwrap());
        assert!(other.get("one").is_none(), "an engine with another reservation");
    }

    #[test]
    fn changed_cut_off_or_renamed_entry_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path(), 1);
        cache.put("one", &artefact());
        let [path] = <[PathBuf; 1]>::try_from(entries(dir.path())).unwrap();
        let good = fs::read(&path).unwrap();
        for at in (0..good.len()).step_by(97).chain([0, good.len() - 1]) {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            assert!(cache.get("one").is_none(), "changed at {at}");
        }
        for length in [0, 1, DIGEST - 1, DIGEST, DIGEST + 3, good.len() - 1] {
            fs::write(&path, &good[..length]).unwrap();
            assert!(cache.get("one").is_none(), "cut to {length}");
        }
        fs::write(&path, &good).unwrap();
        assert!(cache.get("one").is_some());
        fs::rename(&path, cache.path(&cache.name("two"), ENTRY)).unwrap();
        assert!(cache.get("two").is_none(), "the entry of another plugin under its name");
    }

    #[test]
    fn link_and_pipe_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let cache = cache(dir.path(), 1);
        cache.put("one", &artefact());
        let path = cache.path(&cache.name("one"), ENTRY);
        let moved = elsewhere.path().join("moved");
        fs::rename(&path, &moved).unwrap();
        std::os::unix::fs::symlink(&moved, &path).unwrap();
        assert!(cache.get("one").is_none());
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(cache.get("one").is_none());
    }

    #[test]
    fn least_recently_used_entries_and_leftovers_of_a_crash_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let artefact = artefact();
        let size = (artefact.bytes().len() + DIGEST) as u64;
        let cache = Cache { capacity: size * 2, ..cache(dir.path(), 1) };
        let age = |path: &Path, hours: u64| {
            let at = SystemTime::now() - Duration::from_secs(hours * 3600);
            File::options().write(true).open(path).unwrap().set_modified(at).unwrap();
        };
        for (name, hours) in [("one", 3), ("two", 2)] {
            cache.put(name, &artefact);
            age(&cache.path(&cache.name(name), ENTRY), hours);
        }
        let left = dir.path().join(format!("half.{UNFINISHED}"));
        fs::write(&left, "half").unwrap();
        age(&left, 2);
        assert!(cache.get("one").is_some(), "now the most recently used");
        cache.put("three", &artefact);
        assert!(cache.get("one").is_some() && cache.get("three").is_some());
        assert!(cache.get("two").is_none());
        assert!(!left.exists());
        cache.remove("one");
        assert!(cache.get("one").is_none());
    }
}
