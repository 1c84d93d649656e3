//! Which processes count as other daemons, and what this daemon leaves to them.

use super::*;

fn holdings(config: &str) -> Holdings {
    let text = config.to_owned();
    Holdings::of(&vouchd_config::resolve(vec![(PathBuf::from("vouchd.toml"), text)]).unwrap())
}

fn instance(name: &str, interface: &str, vrid: u8, address: &str) -> Holdings {
    holdings(&format!(
        "[instance.{name}]\ninterface = \"{interface}\"\nvirtual_router_id = {vrid}\naddresses = [\"{address}\"]\n"
    ))
}

#[test]
fn two_daemons_may_share_an_interface_but_no_virtual_router_and_no_address() {
    let own = instance("web", "eth0", 7, "192.0.2.100/24");
    let overlap = |other: Holdings| own.overlap(&other);
    assert_eq!(overlap(instance("db", "eth0", 7, "192.0.2.101")).unwrap(), "virtual router 7 on eth0");
    assert_eq!(overlap(instance("db", "eth0", 8, "192.0.2.100")).unwrap(), "192.0.2.100 on eth0");
    assert_eq!(overlap(instance("db", "eth0", 8, "192.0.2.101")), None);
    assert_eq!(overlap(instance("db", "eth1", 7, "192.0.2.100")), None);
}

/// Listens under a name that no other test takes for a daemon.
fn listen(name: &str) -> (String, UnixListener) {
    let name = format!("vouchd-test.{name}.{}", std::process::id());
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    (name, listener)
}

fn connect(name: &str) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(format!("\0{name}"))?)?;
    Ok(socket)
}

#[test]
fn silent_daemon_may_hold_everything() {
    let (name, _listener) = listen("silent");
    let silent = OtherDaemons(ask_all(BTreeSet::from([name])));
    assert!(silent.hold("eth0", IpAddr::from([192, 0, 2, 1])));
    let refused = silent.ensure_none_hold(&instance("web", "eth0", 7, "192.0.2.100")).unwrap_err().to_string();
    assert!(refused.contains(&format!("(pid {}) is running but does not answer", std::process::id())), "{refused}");
}

#[test]
fn process_with_a_full_queue_may_hold_addresses_but_keeps_no_daemon_from_starting() {
    let (name, _listener) = listen("full");
    let _queue: Vec<_> = std::iter::from_fn(|| connect(&name).ok()).collect();
    let full = OtherDaemons(ask_all(BTreeSet::from([name])));
    assert!(full.hold("eth0", IpAddr::from([192, 0, 2, 1])));
    full.ensure_none_hold(&instance("web", "eth0", 7, "192.0.2.100")).unwrap();
}

#[test]
fn ended_process_is_no_daemon() {
    let (name, listener) = listen("ended");
    drop(listener);
    assert!(ask(&name, Instant::now()).unwrap().is_none());
}

#[test]
fn clients_that_close_at_once_delay_no_other_client() {
    let (name, listener) = listen("rude");
    // With a pause of 20 ms after each they would take two seconds.
    for _ in 0..100 {
        connect(&name).unwrap();
    }
    let holdings = Arc::new(Mutex::new(instance("web", "eth0", 7, "192.0.2.100")));
    thread::spawn(move || serve(&listener, &holdings));
    let answer = ask(&name, Instant::now() + ATTEMPTS).unwrap();
    assert!(matches!(answer, Some(OtherDaemon::Answers { .. })), "{answer:?}");
}

#[test]
fn running_daemons_see_each_other_and_a_refused_change_changes_nothing() {
    // All tests share the network namespace, so other daemons may be there too.
    let first = HoldingsServer::start(instance("web", "test0", 201, "192.0.2.201")).unwrap();
    let wanted = instance("mine", "test0", 201, "192.0.2.202");
    let second = HoldingsServer::start(wanted.clone()).unwrap();
    let refused = second.other_daemons().ensure_none_hold(&wanted).unwrap_err().to_string();
    assert!(refused.contains("virtual router 201 on test0"), "{refused}");
    assert!(refused.contains(&format!("pid {}", std::process::id())), "{refused}");
    assert!(second.other_daemons().hold("test0", IpAddr::from([192, 0, 2, 201])));
    assert!(!second.other_daemons().hold("test0", IpAddr::from([192, 0, 2, 203])));

    let free = instance("mine", "test0", 202, "192.0.2.202");
    second.replace(free.clone()).unwrap();
    assert!(first.other_daemons().hold("test0", IpAddr::from([192, 0, 2, 202])));
    second.replace(wanted).unwrap_err();
    assert_eq!(*second.lock(), free, "a refused change changes nothing");
}
