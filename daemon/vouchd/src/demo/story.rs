//! The story: node-a serves, its web server is killed, and node-b takes over. The web server comes back, and node-a takes
//! over again. If a takeover does not happen in time, the demo fails and says what was missing.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::checked::Checked;
use super::client::{self, EVERY, Fetch};
use super::namespaces;
use super::netlink::Network;
use super::node::Node;
use super::node_init::Order;
use super::timeline::{Event, Place, Span, Timeline, What};
use super::topology::{BRIDGE, CHECK, CLIENT, NodeId, PREFIX, SERVICE, VIRTUAL};

/// The longest time for the first election, and for each takeover.
const TAKEOVER_TIME: Duration = Duration::from_secs(10);
/// The longest time for the first result of the check: a plugin that contains an interpreter takes long to compile.
const FIRST_RESULT_TIME: Duration = Duration::from_secs(180);
/// How long the client watches before the next step.
const PAUSE: Duration = Duration::from_millis(1500);

/// Runs the demo.
pub(crate) fn play(checked: &Checked) -> anyhow::Result<ExitCode> {
    namespaces::enter_own_network()?;
    lay_network().context("laying out the demo's network")?;
    let mut out = io::stdout();
    writeln!(
        out,
        "Two routers share {VIRTUAL}: node-a (priority {}) and node-b (priority {}); VRRPv3, an advertisement a second.\n\
         On each node, a sandboxed WebAssembly plugin ({}) checks the web server {SERVICE};\n\
         while the check fails, the node's priority is 40 lower.\n\
         A client fetches http://{VIRTUAL}/ every {} ms.\n",
        NodeId::A.priority(),
        NodeId::B.priority(),
        checked.file.display(),
        EVERY.as_millis(),
    )?;

    let start = Instant::now();
    let (sender, events) = mpsc::channel();
    let nodes = Nodes { a: Node::start(NodeId::A, checked, &sender)?, b: Node::start(NodeId::B, checked, &sender)? };
    let record = client::start(sender);
    let mut stage = Stage { nodes, events, timeline: Timeline::new(start, io::stdout())?, world: World::default() };
    let moves = stage.perform();
    stage.timeline.finish()?;
    stage.nodes.a.stop();
    stage.nodes.b.stop();
    let moves = moves?;

    writeln!(out)?;
    summarize(&mut out, &moves.done, &record.fetches())?;
    Ok(match moves.missing {
        None => ExitCode::SUCCESS,
        Some(missing) => {
            writeln!(out, "failed: {missing}")?;
            ExitCode::FAILURE
        }
    })
}

/// Creates a bridge with the client's address. Each node adds its own link.
fn lay_network() -> anyhow::Result<()> {
    let mut network = Network::open()?;
    network.set_up("lo")?;
    network.add_bridge(BRIDGE).context("adding a bridge (kernel module `bridge`)")?;
    Ok(network.add_address(BRIDGE, CLIENT, PREFIX)?)
}

struct Nodes {
    a: Node,
    b: Node,
}

/// The current state of the nodes and the client.
#[derive(Debug, Default)]
struct World {
    answering: Option<NodeId>,
    a_holds: bool,
    b_holds: bool,
    /// The last result of the check on each node.
    a_says: Option<String>,
    b_says: Option<String>,
    died: Option<NodeId>,
}

impl World {
    fn update(&mut self, event: &Event) {
        match (&event.what, event.place) {
            (What::Answers(node, _), _) => self.answering = Some(*node),
            (What::Silent(_), _) => self.answering = None,
            (What::Holds(holds), Place::Node(NodeId::A)) => self.a_holds = *holds,
            (What::Holds(holds), Place::Node(NodeId::B)) => self.b_holds = *holds,
            (What::Died, Place::Node(node)) => self.died = Some(node),
            (What::Note(line), Place::Node(node)) => {
                let says = match node {
                    NodeId::A => &mut self.a_says,
                    NodeId::B => &mut self.b_says,
                };
                *says = verdict(line).map(str::to_owned).or(says.take());
            }
            (What::Note(_) | What::Holds(_), _) | (What::Died, _) => {}
        }
    }

    /// A result that the check should not have while both web servers run. `None` if it passes on both nodes; an empty text
    /// if a node has no result yet.
    fn objection(&self) -> Option<String> {
        let says = [(NodeId::A, &self.a_says), (NodeId::B, &self.b_says)];
        let objects = |says: &str| !says.starts_with("pass") && !says.starts_with("warn");
        says.into_iter().find_map(|(node, says)| match says {
            None => Some(String::new()),
            Some(says) => objects(says).then(|| format!("on {node} the check says {says}")),
        })
    }

    /// Whether the node answers and alone holds the address.
    fn served_by(&self, node: NodeId) -> bool {
        let (holds, other_holds) = match node {
            NodeId::A => (self.a_holds, self.b_holds),
            NodeId::B => (self.b_holds, self.a_holds),
        };
        self.answering == Some(node) && holds && !other_holds
    }
}

/// The result (`pass: all is well`) in a line of the daemon's log about the check.
fn verdict(line: &str) -> Option<&str> {
    let (_, change) = line.split_once(&format!("check {CHECK}: "))?;
    Some(change.split_once(" -> ")?.1)
}

struct Stage {
    nodes: Nodes,
    events: Receiver<Event>,
    timeline: Timeline,
    world: World,
}

/// One move of the address between the nodes.
struct Move {
    from: NodeId,
    to: NodeId,
    why: &'static str,
    begun: Instant,
    over: Instant,
}

struct Moves {
    done: Vec<Move>,
    missing: Option<String>,
}

impl Stage {
    fn perform(&mut self) -> anyhow::Result<Moves> {
        let mut moves = Moves { done: Vec::new(), missing: None };
        self.note("starting a web server and vouchd on both nodes");
        for node in [&mut self.nodes.a, &mut self.nodes.b] {
            node.order(Order::StartService)?;
            node.order(Order::StartDaemon)?;
        }
        // Before the election, since the priorities are known only once the check passes on both nodes.
        moves.missing = self.await_checks()?;
        if moves.missing.is_none() {
            moves.missing = self.await_service(NodeId::A)?;
        }

        let plot = [
            (NodeId::A, NodeId::B, Order::KillService, "web server killed"),
            (NodeId::B, NodeId::A, Order::StartService, "web server back"),
        ];
        for (from, to, order, why) in plot {
            if moves.missing.is_some() {
                break;
            }
            self.watch(PAUSE)?;
            let begun = Instant::now();
            self.note(match order {
                Order::KillService => "killing the web server on node-a (SIGKILL)",
                Order::StartService => "starting the web server on node-a again",
                Order::StartDaemon => "starting vouchd on node-a",
            });
            self.nodes.a.order(order)?;
            moves.missing = self.await_service(to)?;
            self.watch(PAUSE)?;
            moves.done.push(Move { from, to, why, begun, over: Instant::now() });
        }
        Ok(moves)
    }

    fn note(&mut self, text: &str) {
        let what = What::Note(text.to_owned());
        self.timeline.add(Event::now(Place::Demo, what));
    }

    /// Waits until `node` serves. Returns what was missing if it does not serve in time.
    fn await_service(&mut self, node: NodeId) -> anyhow::Result<Option<String>> {
        let deadline = Instant::now() + TAKEOVER_TIME;
        while !self.world.served_by(node) {
            if let Some(dead) = self.world.died {
                return Ok(Some(format!("{dead} is gone")));
            }
            if Instant::now() >= deadline {
                let seconds = TAKEOVER_TIME.as_secs();
                let missing = self.describe(node);
                return Ok(Some(format!("{node} did not take over within {seconds} s: {missing}")));
            }
            self.listen(deadline)?;
        }
        Ok(None)
    }

    /// Waits until the check passes on both nodes. Returns its other result if it does not pass in time.
    fn await_checks(&mut self) -> anyhow::Result<Option<String>> {
        let mut deadline = Instant::now() + FIRST_RESULT_TIME;
        let mut has_run = false;
        while let Some(objection) = self.world.objection() {
            if !objection.is_empty() && !has_run {
                has_run = true;
                deadline = Instant::now() + TAKEOVER_TIME;
            }
            if let Some(dead) = self.world.died {
                return Ok(Some(format!("{dead} is gone")));
            }
            if Instant::now() >= deadline {
                let says = if objection.is_empty() { "the check has not run".to_owned() } else { objection };
                return Ok(Some(format!("{says}; expected pass while the web servers run")));
            }
            self.listen(deadline)?;
        }
        Ok(None)
    }

    fn describe(&self, wanted: NodeId) -> String {
        let world = &self.world;
        let answering = world.answering.map_or("no node answers".to_owned(), |node| format!("{node} answers"));
        let holder = match (world.a_holds, world.b_holds) {
            (true, true) => "both nodes hold",
            (true, false) => "node-a holds",
            (false, true) => "node-b holds",
            (false, false) => "no node holds",
        };
        format!("expected {wanted} to hold {VIRTUAL} and to answer; {holder} it, {answering}")
    }

    fn watch(&mut self, time: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + time;
        while Instant::now() < deadline {
            self.listen(deadline)?;
        }
        Ok(())
    }

    /// Receives an event, if one comes before `deadline`, and prints the events that are due.
    fn listen(&mut self, deadline: Instant) -> anyhow::Result<()> {
        let wait = deadline.saturating_duration_since(Instant::now()).min(Duration::from_millis(50));
        match self.events.recv_timeout(wait) {
            Ok(event) => {
                self.world.update(&event);
                self.timeline.add(event);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => anyhow::bail!("the client has stopped"),
        }
        Ok(self.timeline.show(Instant::now())?)
    }
}

/// What the client saw while the address moved.
#[derive(Debug, PartialEq, Eq)]
struct Outage {
    /// The longest time between two answers.
    gap: Duration,
    lost: usize,
    fetches: usize,
}

/// The outage between `begun` and `over`.
fn outage(fetches: &[Fetch], begun: Instant, over: Instant) -> Outage {
    let sent: Vec<_> = fetches.iter().filter(|fetch| (begun..over).contains(&fetch.sent)).collect();
    let mut answers: Vec<_> =
        fetches.iter().filter_map(|fetch| fetch.answer.map(|(_, at)| at)).filter(|at| *at <= over).collect();
    answers.sort_unstable();
    // The first gap begins with the last answer before `begun`.
    let first = answers.partition_point(|at| *at < begun).saturating_sub(1);
    let ends = answers[first..].iter().copied().chain([over]);
    let gap = answers[first..].iter().zip(ends.skip(1)).map(|(one, next)| next - *one).max().unwrap_or(over - begun);
    Outage { gap, lost: sent.iter().filter(|fetch| fetch.answer.is_none()).count(), fetches: sent.len() }
}

fn summarize(out: &mut impl Write, moves: &[Move], fetches: &[Fetch]) -> io::Result<()> {
    for step in moves {
        let Outage { gap, lost, fetches } = outage(fetches, step.begun, step.over);
        writeln!(
            out,
            "{} -> {} ({}): longest time without an answer {}; {lost} of {fetches} requests lost",
            step.from,
            step.to,
            step.why,
            Span(gap),
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outage_is_the_longest_gap_between_answers() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let fetches: Vec<_> = [
            (0, Some((NodeId::A, 1))),
            (10, None),
            (20, None),
            (30, Some((NodeId::B, 32))),
            (40, Some((NodeId::B, 41))),
            (90, Some((NodeId::B, 91))),
        ]
        .into_iter()
        .map(|(sent, answer)| Fetch { sent: at(sent), answer: answer.map(|(node, millis)| (node, at(millis))) })
        .collect();
        let millis = Duration::from_millis;
        let cases = [
            (5, 50, Outage { gap: millis(31), lost: 2, fetches: 4 }),
            (35, 60, Outage { gap: millis(19), lost: 0, fetches: 1 }),
            (100, 200, Outage { gap: millis(109), lost: 0, fetches: 0 }),
        ];
        for (begun, over, expected) in cases {
            assert_eq!(outage(&fetches, at(begun), at(over)), expected, "{begun}..{over}");
        }
        assert_eq!(
            outage(&[], at(0), at(70)),
            Outage { gap: millis(70), lost: 0, fetches: 0 },
            "no node ever answered"
        );
    }

    #[test]
    fn check_that_does_not_pass_on_both_nodes_is_an_objection() {
        let says = |node, line: &str| Event::now(Place::Node(node), What::Note(line.to_owned()));
        let mut world = World::default();
        assert_eq!(world.objection().as_deref(), Some(""));
        world.update(&says(NodeId::A, "check web: waiting -> pass: port 80 accepts"));
        world.update(&says(NodeId::B, "plugin port: loaded from /run/vouchd/plugins/port.wasm"));
        assert_eq!(world.objection().as_deref(), Some(""), "node-b's has not run");
        world.update(&says(NodeId::B, "warning: check web: waiting -> error: not granted"));
        world.update(&says(NodeId::B, "instance demo: holds 192.0.2.100"));
        assert_eq!(world.objection().as_deref(), Some("on node-b the check says error: not granted"));
        world.update(&says(NodeId::B, "check web: error -> warn: slow"));
        assert_eq!(world.objection(), None);
    }

    #[test]
    fn node_serves_only_if_it_alone_holds_the_address() {
        let seen = |place, what| Event::now(place, what);
        let mut world = World::default();
        world.update(&seen(Place::Client, What::Answers(NodeId::B, None)));
        assert!(!world.served_by(NodeId::B), "not held yet");
        world.update(&seen(Place::Node(NodeId::B), What::Holds(true)));
        assert!(world.served_by(NodeId::B));
        world.update(&seen(Place::Node(NodeId::A), What::Holds(true)));
        assert!(!world.served_by(NodeId::B), "held by both");
        world.update(&seen(Place::Node(NodeId::A), What::Holds(false)));
        world.update(&seen(Place::Client, What::Silent("refused".to_owned())));
        assert!(!world.served_by(NodeId::B), "not answering");
    }
}
