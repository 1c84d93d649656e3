//! What a daemon takes for another one, and what it leaves to it.

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

/// Named so that no other test takes it for a daemon.
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
fn a_daemon_that_does_not_answer_keeps_everything() {
    let (name, _listener) = listen("silent");
    let silent = Others(ask_all(BTreeSet::from([name])));
    assert!(silent.keep("eth0", Ipv4Addr::new(192, 0, 2, 1)));
    let refused = silent.leave(&instance("web", "eth0", 7, "192.0.2.100")).unwrap_err().to_string();
    assert!(refused.contains(&format!("(pid {}) is running but does not answer", std::process::id())), "{refused}");
}

#[test]
fn what_has_no_place_for_another_client_keeps_its_addresses_but_nobody_from_starting() {
    let (name, _listener) = listen("full");
    let _queue: Vec<_> = std::iter::from_fn(|| connect(&name).ok()).collect();
    let full = Others(ask_all(BTreeSet::from([name])));
    assert!(full.keep("eth0", Ipv4Addr::new(192, 0, 2, 1)));
    full.leave(&instance("web", "eth0", 7, "192.0.2.100")).unwrap();
}

#[test]
fn what_has_ended_is_no_daemon() {
    let (name, listener) = listen("ended");
    drop(listener);
    assert!(ask(&name, Instant::now()).unwrap().is_none());
}

#[test]
fn clients_that_close_at_once_keep_nobody_waiting() {
    let (name, listener) = listen("rude");
    // As many as would take two seconds with a short pause after each.
    for _ in 0..100 {
        connect(&name).unwrap();
    }
    let kept = Arc::new(Mutex::new(instance("web", "eth0", 7, "192.0.2.100")));
    thread::spawn(move || serve(&listener, &kept));
    let answer = ask(&name, Instant::now() + ATTEMPTS).unwrap();
    assert!(matches!(answer, Some(Other::Answers { .. })), "{answer:?}");
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
