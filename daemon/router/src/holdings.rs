//! What the running daemons of this network namespace hold, so that none takes anything from another.
//!
//! Each daemon listens on an abstract socket and sends what it holds to every client. The kernel keeps the names of
//! such sockets per network namespace, like interfaces and addresses: daemons in containers that share one see each other,
//! and daemons that share only a directory do not. The socket ends with its daemon, so an answer proves that the daemon
//! runs. A daemon that runs but does not answer is taken to hold everything.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::net::IpAddr;
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

/// How the names of the abstract sockets begin. It must stay the same, so that daemons of different versions see each other.
const PREFIX: &str = "vouchd.kept.";

/// The time that another daemon has to answer, and that a client has to read.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a daemon that does not answer is asked again.
const ATTEMPTS: Duration = Duration::from_secs(3);

/// How long one attempt waits for a place in another daemon's accept queue.
const QUEUE: Duration = Duration::from_millis(100);

/// Longest answer in bytes; no configuration makes a longer one.
const LONGEST: u64 = 16 << 20;

/// The virtual routers and addresses of one daemon's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holdings {
    /// Its control socket.
    control: PathBuf,
    /// Interface and virtual router id.
    routers: BTreeSet<(String, u8)>,
    /// Interface and address.
    addresses: BTreeSet<(String, IpAddr)>,
    /// Its routes, by what the kernel tells them apart by, and its rules.
    #[serde(default)]
    routing: BTreeSet<String>,
}

impl Holdings {
    pub(crate) fn of(config: &Config) -> Self {
        let instances = || config.instances.iter();
        let addresses = instances().flat_map(|instance| {
            let all = instance.addresses.iter().chain(&instance.extra_addresses);
            all.map(|it| (it.interface.clone().unwrap_or_else(|| instance.interface.clone()), it.ip))
        });
        Holdings {
            control: config.daemon.control.clone(),
            routers: instances().map(|instance| (instance.interface.clone(), instance.vrid.get())).collect(),
            addresses: addresses.collect(),
            routing: instances()
                .flat_map(|it| {
                    let routes = it.routes.iter().map(|route| route.id().to_string());
                    routes.chain(it.rules.iter().map(ToString::to_string))
                })
                .collect(),
        }
    }

    /// Describes something that both hold.
    fn overlap(&self, other: &Holdings) -> Option<String> {
        let router = self.routers.intersection(&other.routers).next();
        let router = router.map(|(interface, vrid)| format!("virtual router {vrid} on {interface}"));
        router.or_else(|| {
            let address = self.addresses.intersection(&other.addresses).next();
            let address = address.map(|(interface, address)| format!("{address} on {interface}"));
            address.or_else(|| Some(format!("the route or rule {}", self.routing.intersection(&other.routing).next()?)))
        })
    }
}

/// Another running daemon. Its pid is `None` if its process is in another pid namespace.
#[derive(Debug)]
enum OtherDaemon {
    Answers {
        pid: Option<i32>,
        holdings: Holdings,
    },
    Silent {
        pid: Option<i32>,
    },
    /// The connection failed, so its owner is unknown. Any user can bind such a name and fill its queue, so it does not keep
    /// this daemon from starting.
    Unknown,
}

/// As the subject of a sentence.
impl fmt::Display for OtherDaemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another vouchd")?;
        match self {
            OtherDaemon::Answers { pid: Some(pid), holdings } => {
                write!(f, " (pid {pid}, control socket {})", holdings.control.display())
            }
            OtherDaemon::Answers { pid: None, holdings } => {
                write!(f, " (control socket {})", holdings.control.display())
            }
            OtherDaemon::Silent { pid: Some(pid) } => write!(f, " (pid {pid})"),
            OtherDaemon::Silent { pid: None } | OtherDaemon::Unknown => Ok(()),
        }
    }
}

/// The other daemons in this network namespace, as they were when asked.
#[derive(Debug)]
pub(crate) struct OtherDaemons(Vec<OtherDaemon>);

impl OtherDaemons {
    /// Whether one of them holds, or may hold, the address on the interface.
    pub(crate) fn hold(&self, interface: &str, address: IpAddr) -> bool {
        let wanted = (interface.to_owned(), address);
        self.0.iter().any(|other| match other {
            OtherDaemon::Answers { holdings, .. } => holdings.addresses.contains(&wanted),
            OtherDaemon::Silent { .. } | OtherDaemon::Unknown => true,
        })
    }

    /// Whether one of them holds, or may hold, a route or rule.
    pub(crate) fn hold_routing(&self, text: &str) -> bool {
        self.0.iter().any(|other| match other {
            OtherDaemon::Answers { holdings, .. } => holdings.routing.contains(text),
            OtherDaemon::Silent { .. } | OtherDaemon::Unknown => true,
        })
    }

    /// Whether one of them has, or may have, the virtual router on the interface.
    pub(crate) fn hold_router(&self, interface: &str, vrid: u8) -> bool {
        let wanted = (interface.to_owned(), vrid);
        self.0.iter().any(|other| match other {
            OtherDaemon::Answers { holdings, .. } => holdings.routers.contains(&wanted),
            OtherDaemon::Silent { .. } | OtherDaemon::Unknown => true,
        })
    }

    /// Checks that none of them holds anything in `own`.
    ///
    /// # Errors
    /// If one of them does, or may do so because it does not answer.
    pub(crate) fn ensure_none_hold(&self, own: &Holdings) -> anyhow::Result<()> {
        for other in &self.0 {
            match other {
                OtherDaemon::Answers { holdings, .. } => {
                    if let Some(what) = own.overlap(holdings) {
                        anyhow::bail!(
                            "{what} is held by {other}: stop it, or remove that from one of the two configurations"
                        );
                    }
                }
                OtherDaemon::Silent { pid } => {
                    let how = pid.map(|pid| format!(" (kill -CONT {pid})")).unwrap_or_default();
                    anyhow::bail!(
                        "{other} is running but does not answer, so it may hold anything that this configuration \
                         uses: continue it if it is stopped{how}, or end it, then try again"
                    );
                }
                OtherDaemon::Unknown => {}
            }
        }
        Ok(())
    }

    fn warn_of_unknown(&self) {
        if self.0.iter().any(|other| matches!(other, OtherDaemon::Unknown)) {
            warn!(
                "could not ask a process that may be another vouchd which addresses it holds: keeping all addresses \
                 that an earlier run left behind"
            );
        }
    }
}

/// Serves this daemon's holdings to the other daemons, and asks for theirs.
#[derive(Debug)]
pub(crate) struct HoldingsServer {
    name: String,
    holdings: Arc<Mutex<Holdings>>,
}

impl HoldingsServer {
    /// Starts to serve them.
    ///
    /// # Errors
    /// If there is no descriptor or thread left.
    pub(crate) fn start(holdings: Holdings) -> anyhow::Result<Self> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        // A daemon in another pid namespace may have the same pid.
        let name = format!("{PREFIX}{}.{since:x}", std::process::id());
        let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)
            .with_context(|| format!("binding the abstract socket {name}"))?;
        let holdings = Arc::new(Mutex::new(holdings));
        let served = Arc::clone(&holdings);
        thread::Builder::new().name("holdings".to_owned()).spawn(move || serve(&listener, &served))?;
        Ok(HoldingsServer { name, holdings })
    }

    /// Asks the other daemons. This daemon's own holdings are served by now, so of two daemons that start at the same time
    /// at least one sees the other.
    pub(crate) fn other_daemons(&self) -> OtherDaemons {
        let mut names = match names() {
            Ok(names) => names,
            Err(error) => {
                warn!("could not look for other vouchd daemons: /proc/net/unix: {error}");
                return OtherDaemons(Vec::new());
            }
        };
        names.remove(&self.name);
        let others = OtherDaemons(ask_all(names));
        others.warn_of_unknown();
        others
    }

    /// Replaces the holdings after a reload.
    ///
    /// # Errors
    /// If another daemon holds some of the new ones; the old ones are then served as before.
    pub(crate) fn replace(&self, holdings: Holdings) -> anyhow::Result<()> {
        let before = std::mem::replace(&mut *self.lock(), holdings.clone());
        self.other_daemons().ensure_none_hold(&holdings).inspect_err(|_| *self.lock() = before)
    }

    fn lock(&self) -> MutexGuard<'_, Holdings> {
        self.holdings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve(listener: &UnixListener, holdings: &Mutex<Holdings>) {
    for client in listener.incoming() {
        let mut client = match client {
            Ok(client) => client,
            Err(error) => {
                debug!("could not accept another vouchd that asks for this one's holdings: {error}");
                // Without a descriptor to accept it, the client stays in the queue.
                thread::sleep(Duration::from_millis(20));
                continue;
            }
        };
        // No pause here: any user can connect and close in a loop, and a pause would let the queue fill.
        let holdings = holdings.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let sent = client.set_write_timeout(Some(PATIENCE));
        if let Err(error) = sent.and_then(|()| client.write_all(&serde_json::to_vec(&holdings)?)) {
            debug!("could not send this daemon's holdings to another vouchd: {error}");
        }
    }
}

/// The names of all daemons' sockets, without the leading zero byte.
fn names() -> io::Result<BTreeSet<String>> {
    let table = fs::read("/proc/net/unix")?;
    let table = String::from_utf8_lossy(&table);
    let names = table.lines().filter_map(|line| line.split_once('@').map(|(_, name)| name));
    Ok(names.filter(|name| name.starts_with(PREFIX)).map(str::to_owned).collect())
}

/// Asks the daemons with these names. One that does not answer at once is asked again: it may be stopped for a moment.
fn ask_all(mut names: BTreeSet<String>) -> Vec<OtherDaemon> {
    let until = Instant::now() + ATTEMPTS;
    let mut others = Vec::new();
    loop {
        let is_last = Instant::now() >= until;
        names.retain(|name| match ask(name, until).unwrap_or(Some(OtherDaemon::Unknown)) {
            None => false,
            Some(OtherDaemon::Silent { .. } | OtherDaemon::Unknown) if !is_last => true,
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

/// Asks one daemon. `None` if it has ended, or if the process behind the name has no right to hold addresses.
fn ask(name: &str, until: Instant) -> io::Result<Option<OtherDaemon>> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Bounds the connection too. A client that waits gets a place before later ones, so waiting beats trying again.
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
    if !may_hold_addresses(Uid::from_raw(peer.uid()), pid) {
        return Ok(None);
    }
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut answer = Vec::new();
    let read = UnixStream::from(socket).take(LONGEST).read_to_end(&mut answer);
    let holdings = read.ok().and_then(|_| serde_json::from_slice(&answer).ok());
    Ok(Some(match holdings {
        Some(holdings) => OtherDaemon::Answers { pid, holdings },
        None => OtherDaemon::Silent { pid },
    }))
}

/// Any user can bind any name. A process that may not change addresses holds none, and must not keep this daemon from its
/// own.
fn may_hold_addresses(uid: Uid, pid: Option<i32>) -> bool {
    uid.is_root() || uid == Uid::effective() || pid.is_some_and(|pid| is_network_admin(pid).unwrap_or(false))
}

/// Whether the process has CAP_NET_ADMIN in this process's user namespace.
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
mod tests;
