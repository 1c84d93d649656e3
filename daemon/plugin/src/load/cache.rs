//! Compiled plugins on disk, so that a start does not compile what an earlier one did.
//!
//! What is in there is executed as native code. Each entry therefore carries a keyed digest (HMAC-SHA256) over what it is
//! for and what it holds: without the key, which only the daemon has, nobody can make an entry that counts, whoever may
//! write to the directory. An entry is read whole and checked before anything of it is used. What is damaged, cut off or
//! of another daemon is as good as not there: it is compiled again, and replaced.
//!
//! An entry is written beside its place, flushed, and moved there, so that a crash leaves an old entry, or a whole one. Its
//! name says all that the code depends on, so nothing ever has to be invalidated; what was not used for longest makes room.

use std::fs::{self, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
pub use vouchd_ipc::cache::{CacheKey, CacheSettings};
use wasmtime::Engine;

use crate::contract;
use crate::load::compile::Artefact;

/// Bytes that all entries may take together.
const ROOM: u64 = 1 << 30;

/// What a crash may leave behind is removed after this long.
const ABANDONED: Duration = Duration::from_secs(3600);

const ENTRY: &str = "aot";
const UNFINISHED: &str = "new";

const DIGEST: usize = 32;

/// The cache of one engine.
pub(crate) struct Cache {
    settings: CacheSettings,
    room: u64,
    /// Of all that the code depends on beside the plugin.
    engine: String,
}

/// Hashes what implements `Hash` with SHA-256: the same in every process.
struct Stable(Sha256);

impl Hasher for Stable {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        // Nobody asks for it; the whole digest is what counts.
        0
    }
}

impl Cache {
    pub(crate) fn new(settings: CacheSettings, engine: &Engine) -> Self {
        let mut hasher = Stable(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        hasher.0.update(env!("CARGO_PKG_VERSION"));
        // What a module is made into depends on it.
        hasher.0.update(contract::VERSION.0.to_le_bytes());
        hasher.0.update(include_bytes!("../../../../sdk/wit/check.wit"));
        Cache { settings, room: ROOM, engine: hex(&hasher.0.finalize()) }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.settings.directory
    }

    /// The artefact of the plugin with this digest, if there is a sound one.
    pub(crate) fn get(&self, sha256: &str) -> Option<Artefact> {
        let name = self.name(sha256);
        let path = self.path(&name, ENTRY);
        let bytes = match self.read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!("{} is not used: {error}; compiling again", path.display());
                return None;
            }
        };
        let sound = bytes
            .split_first_chunk::<DIGEST>()
            .is_some_and(|(digest, rest)| is_same(digest, &self.digest(&name, rest)));
        if !sound {
            tracing::warn!("{} is damaged, or not of this daemon; compiling again", path.display());
            return None;
        }
        let mut bytes = bytes;
        bytes.drain(..DIGEST);
        // Used now, so that it is not the first to make room. Kept by somebody else it may be: then that is that.
        let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        Artefact::decode(bytes).ok()?.ok()
    }

    /// Keeps an artefact. Without the cache everything works, only slower to start: so trouble with it is a warning.
    pub(crate) fn put(&self, sha256: &str, artefact: &Artefact) {
        if let Err(error) = self.write(&self.name(sha256), artefact.bytes()) {
            tracing::warn!("a compiled plugin can't be kept in {}: {error}", self.settings.directory.display());
        }
    }

    /// An entry that turned out to be of no use.
    pub(crate) fn remove(&self, sha256: &str) {
        // One that can't be removed is replaced instead.
        let _ = fs::remove_file(self.path(&self.name(sha256), ENTRY));
    }

    /// What the code depends on.
    fn name(&self, sha256: &str) -> String {
        hex(&Sha256::digest(format!("{sha256} {}", self.engine)))
    }

    fn path(&self, name: &str, extension: &str) -> PathBuf {
        self.settings.directory.join(format!("{name}.{extension}"))
    }

    fn digest(&self, name: &str, bytes: &[u8]) -> [u8; DIGEST] {
        hmac(&self.settings.key.0, &[name.as_bytes(), bytes])
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        // Neither a link nor a pipe makes it read what is not an entry, or wait.
        let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
        let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let data = file.metadata()?;
        if !data.is_file() || data.size() > self.room {
            return Err(io::Error::other("it is not a file that could be an entry"));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(data.size()).unwrap_or(0));
        Read::by_ref(&mut file).take(self.room).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let size = (bytes.len() + DIGEST) as u64;
        if size > self.room {
            return Ok(());
        }
        self.make_room(size)?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.path(&format!("{name}-{}-{count}", std::process::id()), UNFINISHED);
        // A name that is taken belongs to a crash long ago, or to somebody who means no good.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        let written = file
            .write_all(&self.digest(name, bytes))
            .and_then(|()| file.write_all(bytes))
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&unfinished, self.path(name, ENTRY)));
        if written.is_err() {
            // Something is wrong already, and that is told.
            let _ = fs::remove_file(&unfinished);
        }
        written
    }

    /// Removes what a crash left, and entries until `size` bytes more fit, those first that were not used for longest.
    fn make_room(&self, size: u64) -> io::Result<()> {
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
        while taken + size > self.room
            && let Some((_, size, path)) = entries.pop()
        {
            if fs::remove_file(&path).is_ok() {
                taken -= size;
            }
        }
        Ok(())
    }
}

/// HMAC-SHA256 of RFC 2104 over the parts one after the other.
fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; DIGEST] {
    const BLOCK: usize = 64;
    let pad = |byte: u8| {
        let mut block = [byte; BLOCK];
        block.iter_mut().zip(key).for_each(|(block, key)| *block ^= key);
        block
    };
    let mut inner = Sha256::new_with_prefix(pad(0x36));
    for part in parts {
        inner.update(part);
    }
    Sha256::new_with_prefix(pad(0x5c)).chain_update(inner.finalize()).finalize().into()
}

/// Takes the same time wherever they differ.
fn is_same(one: &[u8; DIGEST], other: &[u8; DIGEST]) -> bool {
    one.iter().zip(other).fold(0, |difference, (one, other)| difference | (one ^ other)) == 0
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
    fn the_digest_is_that_of_rfc_4231() {
        // Test case 2, whose key of 4 bytes is padded with zeros.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let digest = hmac(&key, &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(hex(&digest), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn what_was_kept_comes_back_for_the_same_plugin_key_and_engine_only() {
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
    fn an_entry_that_was_changed_in_any_byte_cut_off_or_renamed_does_not_count() {
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
    fn neither_a_link_nor_a_pipe_is_read() {
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
    fn the_longest_unused_entries_make_room_and_what_a_crash_left_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let artefact = artefact();
        let size = (artefact.bytes().len() + DIGEST) as u64;
        let cache = Cache { room: size * 2, ..cache(dir.path(), 1) };
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
        assert!(cache.get("one").is_some(), "which makes it the one used last");
        cache.put("three", &artefact);
        assert!(cache.get("one").is_some() && cache.get("three").is_some());
        assert!(cache.get("two").is_none());
        assert!(!left.exists());
        cache.remove("one");
        assert!(cache.get("one").is_none());
    }
}
