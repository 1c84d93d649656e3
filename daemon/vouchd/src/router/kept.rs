//! What the living daemons of this network namespace keep, so that none takes anything from another.
//!
//! Each daemon listens on an abstract socket and tells everybody who connects what it keeps. The kernel has the names of
//! such sockets per network namespace, as it has interfaces and addresses: daemons in containers that share one see each
//! other, and those that share a directory and nothing else do not. The socket ends with its daemon, so what answers
//! lives; what lives and does not answer keeps everything.

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
use std::time::{Duration, SystemTime};

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

/// Another daemon that lives.
#[derive(Debug)]
struct Other {
    /// `None` where its process can't be seen from here.
    pid: Option<i32>,
    /// `None`: it does not answer.
    kept: Option<Kept>,
}

/// As the subject of a sentence.
impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another vouchd")?;
        match (self.pid, &self.kept) {
            (Some(pid), Some(kept)) => write!(f, " (pid {pid}, control socket {})", kept.control.display()),
            (Some(pid), None) => write!(f, " (pid {pid})"),
            (None, Some(kept)) => write!(f, " (control socket {})", kept.control.display()),
            (None, None) => Ok(()),
        }
    }
}

/// The other daemons, as they were when asked.
#[derive(Debug)]
pub struct Others(Vec<Other>);

impl Others {
    /// Whether one of them keeps the address on the interface, as far as can be told.
    pub fn keep(&self, interface: &str, address: Ipv4Addr) -> bool {
        let wanted = (interface.to_owned(), address);
        self.0.iter().any(|other| other.kept.as_ref().is_none_or(|kept| kept.addresses.contains(&wanted)))
    }

    /// # Errors
    /// When one of them keeps what `own` wants.
    pub fn leave(&self, own: &Kept) -> anyhow::Result<()> {
        for other in &self.0 {
            if let Some(what) = other.kept.as_ref().and_then(|kept| own.clash(kept)) {
                anyhow::bail!("{what} is kept by {other}: stop it, or take that out of one of the two configurations");
            }
        }
        Ok(())
    }

    fn warn_of_silent(&self) {
        for other in self.0.iter().filter(|other| other.kept.is_none()) {
            warn!("{other} does not answer: no address that an earlier run left behind is removed");
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
        let others = Others(names.iter().filter_map(|name| ask(name)).collect());
        others.warn_of_silent();
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
        let answered = client.and_then(|mut client| {
            client.set_write_timeout(Some(PATIENCE))?;
            let kept = kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
            client.write_all(&serde_json::to_vec(&kept)?)
        });
        if let Err(error) = answered {
            debug!("telling another vouchd what this one keeps: {error}");
            // Out of descriptors it would be asked again at once.
            thread::sleep(Duration::from_millis(20));
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

/// `None` for what is no daemon: it has ended, or it is somebody who only took such a name.
fn ask(name: &str) -> Option<Other> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).ok()?;
    // Nobody else's full queue may hold us up; a daemon's is never full.
    socket.set_nonblocking(true).ok()?;
    socket.connect(&SockAddr::unix(format!("\0{name}")).ok()?).ok()?;
    let peer = getsockopt(&socket, sockopt::PeerCredentials).ok()?;
    let pid = (peer.pid() > 0).then_some(peer.pid());
    if !may_keep_addresses(Uid::from_raw(peer.uid()), pid) {
        return None;
    }
    socket.set_nonblocking(false).ok()?;
    socket.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut answer = Vec::new();
    let read = UnixStream::from(socket).take(LONGEST).read_to_end(&mut answer);
    let kept = read.ok().and_then(|_| serde_json::from_slice(&answer).ok());
    Some(Other { pid, kept })
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
mod tests {
    use super::*;

    fn kept(config: &str) -> Kept {
        let text = config.to_owned();
        Kept::of(&vouchd_config::resolve(vec![(PathBuf::from("vouchd.toml"), text)]).unwrap())
    }

    fn instance(name: &str, interface: &str, vrid: u8, address: &str) -> Kept {
        kept(&format!(
            "[instance.{name}]\ninterface = \"{interface}\"\nvirtual_router_id = {vrid}\naddresses = [\"{address}\"]\n"
        ))
    }

    #[test]
    fn two_daemons_may_share_an_interface_but_neither_a_virtual_router_nor_an_address() {
        let own = instance("web", "eth0", 7, "192.0.2.100/24");
        let clash = |other: Kept| own.clash(&other);
        assert_eq!(clash(instance("db", "eth0", 7, "192.0.2.101")).unwrap(), "virtual router 7 on eth0");
        assert_eq!(clash(instance("db", "eth0", 8, "192.0.2.100")).unwrap(), "192.0.2.100 on eth0");
        assert_eq!(clash(instance("db", "eth0", 8, "192.0.2.101")), None);
        assert_eq!(clash(instance("db", "eth1", 7, "192.0.2.100")), None);
    }

    #[test]
    fn a_daemon_that_does_not_answer_keeps_everything() {
        let silent = Others(vec![Other { pid: Some(7), kept: None }]);
        assert!(silent.keep("eth0", Ipv4Addr::new(192, 0, 2, 1)));
        silent.leave(&instance("web", "eth0", 7, "192.0.2.100")).unwrap();
    }

    #[test]
    fn living_daemons_see_each_other_and_a_dead_one_is_gone() {
        // The names are the network namespace's: other tests' daemons may be there too.
        let first = Registry::start(instance("web", "test0", 201, "192.0.2.201")).unwrap();
        let wanted = instance("mine", "test0", 201, "192.0.2.202");
        let second = Registry::start(wanted.clone()).unwrap();
        let refused = second.others().leave(&wanted).unwrap_err().to_string();
        assert!(refused.contains("virtual router 201 on test0"), "{refused}");
        assert!(refused.contains(&format!("pid {}", std::process::id())), "{refused}");
        assert!(second.others().keep("test0", Ipv4Addr::new(192, 0, 2, 201)));
        assert!(!second.others().keep("test0", Ipv4Addr::new(192, 0, 2, 203)));

        let free = instance("mine", "test0", 202, "192.0.2.202");
        second.change(free.clone()).unwrap();
        assert!(first.others().keep("test0", Ipv4Addr::new(192, 0, 2, 202)));
        second.change(wanted).unwrap_err();
        assert_eq!(*second.lock(), free, "a refused change changes nothing");
    }
}
