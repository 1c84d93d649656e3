//! A node as the demo sees it: its namespaces, its link to the bridge, and its first process, which takes orders. Events
//! come from the output of that process, the log of the daemon, and the kernel's notifications about addresses.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Stdio};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

use anyhow::Context;
use nix::sys::prctl;
use nix::sys::signal::Signal;

use super::checked::Checked;
use super::namespaces;
use super::netlink::{AddressChange, AddressWatch, Network};
use super::node_init::{Order, itself};
use super::timeline::{Event, Place, What, log_line};
use super::topology::{BRIDGE, INTERFACE, NodeId, PREFIX, VIRTUAL};

/// A running node. The kernel kills it when the demo ends.
pub(crate) struct Node {
    orders: ChildStdin,
    listener: JoinHandle<()>,
}

/// What the thread that created the node hands over.
struct Made {
    orders: ChildStdin,
    log: ChildStderr,
    addresses: AddressWatch,
}

impl Node {
    /// Creates the node and connects it to the bridge. Nothing runs on it yet.
    pub(crate) fn start(id: NodeId, checked: &Checked, events: &Sender<Event>) -> anyhow::Result<Self> {
        let lan = File::open("/proc/self/ns/net").context("the demo's own network")?;
        let (hand_over, made) = mpsc::channel();
        let checked = checked.clone();
        let to_story = events.clone();
        // The node is killed when the thread that started it ends, so this thread stays and listens to the node.
        let listener = thread::spawn(move || match make(id, &checked, &lan) {
            Ok((made, mut child, stdout)) => {
                let _ = hand_over.send(Ok(made));
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    let _ = to_story.send(Event::now(Place::Node(id), What::Note(line)));
                }
                let _ = child.wait();
                let _ = to_story.send(Event::now(Place::Node(id), What::Died));
            }
            Err(error) => {
                let _ = hand_over.send(Err(error));
            }
        });
        let made = made.recv().context("the node's thread ended")?.with_context(|| format!("creating {id}"))?;

        let mut network = Network::open()?;
        network.attach(id.name(), BRIDGE)?;
        network.set_up(id.name())?;
        watch_log(id, made.log, events.clone());
        watch_addresses(id, made.addresses, events.clone());
        Ok(Self { orders: made.orders, listener })
    }

    pub(crate) fn order(&mut self, order: Order) -> anyhow::Result<()> {
        writeln!(self.orders, "{}", order.word())
            .with_context(|| format!("sending the order {} to the node", order.word()))
    }

    /// Ends all processes of the node, and with them its namespaces.
    pub(crate) fn stop(self) {
        drop(self.orders);
        // It does not matter whether the listener has panicked.
        let _ = self.listener.join();
    }
}

/// Moves this thread into the namespaces of the node and starts its first process.
fn make(id: NodeId, checked: &Checked, lan: &File) -> anyhow::Result<(Made, Child, ChildStdout)> {
    namespaces::separate_node()?;
    let mut network = Network::open()?;
    network.set_up("lo")?;
    network.add_veth(INTERFACE, id.name(), lan.as_fd())?;
    network.add_address(INTERFACE, id.address(), PREFIX)?;
    network.set_up(INTERFACE)?;
    let addresses = AddressWatch::open()?;

    let mut command = itself();
    command
        .args(["demo", "node", "--node", id.name(), "--plugin"])
        .arg(&checked.file)
        .args(["--check", &checked.keys])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C goes to the demo only, which ends all nodes at once.
        .process_group(0);
    // SAFETY: prctl is one system call, which is safe between fork and exec.
    unsafe {
        command.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGKILL)?));
    }
    let mut child = command.spawn().context("starting the first process")?;
    let made = Made {
        orders: child.stdin.take().context("its stdin")?,
        log: child.stderr.take().context("its stderr")?,
        addresses,
    };
    let stdout = child.stdout.take().context("its stdout")?;
    Ok((made, child, stdout))
}

fn watch_log(id: NodeId, log: ChildStderr, events: Sender<Event>) {
    thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            if let Some(text) = log_line(&line) {
                let _ = events.send(Event::now(Place::Node(id), What::Note(text)));
            }
        }
    });
}

fn watch_addresses(id: NodeId, mut addresses: AddressWatch, events: Sender<Event>) {
    thread::spawn(move || {
        let mut held = false;
        while let Ok(change) = addresses.next() {
            let holds = match change {
                AddressChange::Added(VIRTUAL) => true,
                AddressChange::Removed(VIRTUAL) => false,
                AddressChange::Added(_) | AddressChange::Removed(_) => continue,
            };
            // The address has a lease that is renewed all the time. Only the first and the last notification matter.
            if held != holds {
                held = holds;
                let _ = events.send(Event::now(Place::Node(id), What::Holds(holds)));
            }
        }
    });
}
