//! What the running daemons of this network namespace hold, so that none takes anything from another.
//!
//! Each daemon listens on an abstract socket and tells everybody who connects what it holds. The kernel keeps the names of
//! such sockets per network namespace, like interfaces and addresses: daemons in containers that share one see each other,
//! and daemons that share only a directory do not. The socket ends with its daemon, so an answer proves that the daemon
//! runs. A daemon that runs but does not answer is taken to hold everything.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::Uid;
use serde::{Deserialize, Serialize};
use socket2::{Domain, SockAddr, Socket, Type};
use tracing::{debug, warn};
use vouchd_config::Config;

/// How the names of the abstract sockets begin.
const PREFIX: &str = "vouchd.kept.";

/// How long another daemon may take to answer, and a client to read.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long one that does not answer is asked again.
const ATTEMPTS: Duration = Duration::from_secs(3);

/// How long one attempt waits for a place in another daemon's queue of clients.
const QUEUE: Duration = Duration::from_millis(100);

/// More than the longest answer that a configuration can make.
const LONGEST: u64 = 16 << 20;

/// What one daemon keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its control socket.
    control: PathBuf,
    /// Interface and virtual router id.
    routers: BTreeSet<(String, u8)>,
    /// Interface and address.
    addresses: BTreeSet<(String, Ipv4Addr)>,
}

impl Kept {
    pub fn of(config: &Config) -> Self {
        let instances = || config.instances.iter();
        let v4 = |ip| match ip {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        };
        let addresses = instances().flat_map(|instance| {
            instance.addresses.iter().filter_map(move |it| Some((instance.interface.clone(), v4(it.ip)?)))
        });
        Kept {
            control: config.daemon.control.clone(),
            routers: instances().map(|instance| (instance.interface.clone(), instance.vrid.get())).collect(),
            addresses: addresses.collect(),
        }
    }

    /// What both want, in words.
    fn clash(&self, other: &Kept) -> Option<String> {
        let router = self.routers.intersection(&other.routers).next();
        let router = router.map(|(interface, vrid)| format!("virtual router {vrid} on {interface}"));
        router.or_else(|| {
            let (interface, address) = self.addresses.intersection(&other.addresses).next()?;
            Some(format!("{address} on {interface}"))
        })
    }
}

/// Another daemon that lives; its pid is `None` where its process can't be seen from here.
#[derive(Debug)]
enum Other {
    Answers {
        pid: Option<i32>,
        kept: Kept,
    },
    Silent {
        pid: Option<i32>,
    },
    /// It can't be asked, nor is it known whose it is: any user can have such a name and a full queue of clients. So
    /// nobody is kept from starting by it.
    Unknown,
}

/// As the subject of a sentence.
impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another vouchd")?;
        match self {
            Other::Answers { pid: Some(pid), kept } => {
                write!(f, " (pid {pid}, control socket {})", kept.control.display())
            }
            Other::Answers { pid: None, kept } => write!(f, " (control socket {})", kept.control.display()),
            Other::Silent { pid: Some(pid) } => write!(f, " (pid {pid})"),
            Other::Silent { pid: None } | Other::Unknown => Ok(()),
        }
    }
}

/// The other daemons, as they were when asked.
#[derive(Debug)]
pub struct Others(Vec<Other>);

impl Others {
    /// Whether one of them keeps the address on the interface, as far as is known.
    pub fn keep(&self, interface: &str, address: Ipv4Addr) -> bool {
        let wanted = (interface.to_owned(), address);
        self.0.iter().any(|other| match other {
            Other::Answers { kept, .. } => kept.addresses.contains(&wanted),
            Other::Silent { .. } | Other::Unknown => true,
        })
    }

    /// # Errors
    /// When one of them keeps what `own` wants, or may do so.
    pub fn leave(&self, own: &Kept) -> anyhow::Result<()> {
        for other in &self.0 {
            match other {
                Other::Answers { kept, .. } => {
                    if let Some(what) = own.clash(kept) {
                        anyhow::bail!(
                            "{what} is held by {other}: stop it, or remove that from one of the two configurations"
                        );
                    }
                }
                Other::Silent { pid } => {
                    let how = pid.map(|pid| format!(" (kill -CONT {pid})")).unwrap_or_default();
                    anyhow::bail!(
                        "{other} is running but does not answer, so it may hold anything that this configuration \
                         uses: continue it if it is stopped{how}, or end it, then try again"
                    );
                }
                Other::Unknown => {}
            }
        }
        Ok(())
    }

    fn warn_of_unknown(&self) {
        if self.0.iter().any(|other| matches!(other, Other::Unknown)) {
            warn!(
                "there may be another vouchd that can't be asked what it keeps: no address that an earlier run left \
                 behind is removed"
            );
        }
    }
}

/// This daemon among the others.
#[derive(Debug)]
pub struct Registry {
    name: String,
    kept: Arc<Mutex<Kept>>,
}

impl Registry {
    /// Tells everybody from now on what this daemon keeps.
    ///
    /// # Errors
    /// When there is no descriptor or thread left.
    pub fn start(kept: Kept) -> anyhow::Result<Self> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        // In each pid namespace there may be one of this pid.
        let name = format!("{PREFIX}{}.{since:x}", std::process::id());
        let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)
            .with_context(|| format!("binding the abstract socket {name}"))?;
        let kept = Arc::new(Mutex::new(kept));
        let told = Arc::clone(&kept);
        thread::Builder::new().name("kept".to_owned()).spawn(move || serve(&listener, &told))?;
        Ok(Registry { name, kept })
    }

    /// Asks the others, first of all telling them what this daemon wants: of two that start at the same time, at least
    /// one sees the other.
    pub fn others(&self) -> Others {
        let mut names = match names() {
            Ok(names) => names,
            Err(error) => {
                warn!("other vouchd daemons can't be seen: /proc/net/unix: {error}");
                return Others(Vec::new());
            }
        };
        names.remove(&self.name);
        let others = Others(ask_all(names));
        others.warn_of_unknown();
        others
    }

    /// After a reload.
    ///
    /// # Errors
    /// When another daemon keeps what the new configuration wants; then nothing is changed.
    pub fn change(&self, kept: Kept) -> anyhow::Result<()> {
        let before = std::mem::replace(&mut *self.lock(), kept.clone());
        self.others().leave(&kept).inspect_err(|_| *self.lock() = before)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve(listener: &UnixListener, kept: &Mutex<Kept>) {
    for client in listener.incoming() {
        let mut client = match client {
            Ok(client) => client,
            Err(error) => {
                debug!("another vouchd can't be told what this one keeps: {error}");
                // Out of descriptors it would be asked again at once.
                thread::sleep(Duration::from_millis(20));
                continue;
            }
        };
        // Any user can connect and close at once, as often as he likes: no pause, which would let the queue fill.
        let kept = kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let told = client.set_write_timeout(Some(PATIENCE));
        if let Err(error) = told.and_then(|()| client.write_all(&serde_json::to_vec(&kept)?)) {
            debug!("telling another vouchd what this one keeps: {error}");
        }
    }
}

/// The names of all daemons' sockets, without the zero byte at their beginning.
fn names() -> io::Result<BTreeSet<String>> {
    let table = fs::read("/proc/net/unix")?;
    let table = String::from_utf8_lossy(&table);
    let names = table.lines().filter_map(|line| line.split_once('@').map(|(_, name)| name));
    Ok(names.filter(|name| name.starts_with(PREFIX)).map(str::to_owned).collect())
}

/// Those that live. One that does not answer at once may be stopped for a moment only.
fn ask_all(mut names: BTreeSet<String>) -> Vec<Other> {
    let until = Instant::now() + ATTEMPTS;
    let mut others = Vec::new();
    loop {
        let is_last = Instant::now() >= until;
        names.retain(|name| match ask(name, until).unwrap_or(Some(Other::Unknown)) {
            None => false,
            Some(Other::Silent { .. } | Other::Unknown) if !is_last => true,
            Some(other) => {
                others.push(other);
                false
            }
        });
        if names.is_empty() {
            return others;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// `None` for what is no daemon: it has ended, or it is somebody who only took such a name.
fn ask(name: &str, until: Instant) -> io::Result<Option<Other>> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Nobody else's full queue may hold us up for long. Who waits gets a place before those who come later.
    let wait = until.saturating_duration_since(Instant::now()).min(QUEUE);
    socket.set_write_timeout(Some(wait.max(Duration::from_millis(1))))?;
    if let Err(error) = socket.connect(&SockAddr::unix(format!("\0{name}"))?) {
        return match error.raw_os_error() {
            Some(nix::libc::ECONNREFUSED | nix::libc::EPROTOTYPE) => Ok(None),
            _ => Err(error),
        };
    }
    let peer = getsockopt(&socket, sockopt::PeerCredentials)?;
    let pid = (peer.pid() > 0).then_some(peer.pid());
    if !may_keep_addresses(Uid::from_raw(peer.uid()), pid) {
        return Ok(None);
    }
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut answer = Vec::new();
    let read = UnixStream::from(socket).take(LONGEST).read_to_end(&mut answer);
    let kept = read.ok().and_then(|_| serde_json::from_slice(&answer).ok());
    Ok(Some(match kept {
        Some(kept) => Other::Answers { pid, kept },
        None => Other::Silent { pid },
    }))
}

/// Any user may bind any name. One that may not change addresses keeps none, and must not keep us from ours.
fn may_keep_addresses(uid: Uid, pid: Option<i32>) -> bool {
    uid.is_root() || uid == Uid::effective() || pid.is_some_and(|pid| is_network_admin(pid).unwrap_or(false))
}

/// Whether the process has CAP_NET_ADMIN in our own user namespace.
fn is_network_admin(pid: i32) -> Option<bool> {
    const CAP_NET_ADMIN: u32 = 12;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let effective = u64::from_str_radix(effective.trim(), 16).ok()?;
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/user")).ok();
    let same = namespace(&pid.to_string())? == namespace("self")?;
    Some(same && effective & (1 << CAP_NET_ADMIN) != 0)
}

#[cfg(test)]
#[path = "kept_tests.rs"]
mod tests;
