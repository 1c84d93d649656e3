//! The main job, as an operator runs it: two nginx proxies with one virtual address in front of two web servers, and a
//! router of either make on each proxy, from one plan.

use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use crate::host::Process;
use crate::keepalived::Keepalived;
use crate::nginx::Nginx;
use crate::site::{Node, Site, VIP};
use crate::vouchd::{self, Vouchd};
use crate::web::Web;

/// The virtual router.
pub const VRID: u8 = 55;

/// The program that is the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Make {
    /// The daemon under test.
    Vouchd,
    /// The incumbent.
    Keepalived,
}

/// The configuration of a router, for either make. The default is version 2 with a password, and a check that nginx runs
/// (`killall -0 nginx`) with interval 1 s, rise 2, fall 2 and weight -40.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The configured priority.
    pub priority: u8,
    /// Whether a router with a higher priority takes over from one that is active.
    pub preempt: bool,
    /// Version and interval.
    pub timing: Timing,
    /// A simple text password (version 2).
    pub password: Option<&'static str>,
    /// Whether the two routers send to each other instead of the multicast group.
    pub unicast: bool,
    /// How many routers there are, for vouchd: with two, hand-over is instant.
    pub routers: Option<u8>,
    /// The check on which the instance depends.
    pub check: Option<Check>,
}

/// Version and advertisement interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// Version 2, one second.
    V2,
    /// Version 3.
    V3 {
        /// In steps of 10 ms.
        interval: Duration,
    },
}

/// What a check looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Whether a process named nginx runs.
    Process,
    /// Whether `http://127.0.0.1/` answers with status 200.
    Http,
}

/// A check of nginx.
#[derive(Debug, Clone)]
pub struct Check {
    /// What it looks at.
    pub probe: Probe,
    /// keepalived rounds it up to one second.
    pub interval: Duration,
    /// For vouchd: used instead of `interval` while the result is about to change. `None`: its default, a tenth of it.
    pub fast_interval: Option<Duration>,
    /// Good runs in a row until the service counts as up.
    pub rise: u32,
    /// Bad runs in a row until it counts as down.
    pub fall: u32,
    /// Added to the priority while it fails; `None` makes a failure a fault of the instance.
    pub weight: Option<i16>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            priority: 100,
            preempt: true,
            timing: Timing::V2,
            password: Some("1234"),
            unicast: false,
            routers: None,
            check: Some(Check::weighted()),
        }
    }
}

impl Plan {
    /// Version 3 at 100 ms; a fault as soon as nginx is gone.
    pub fn fast() -> Self {
        Self {
            timing: Timing::V3 { interval: Duration::from_millis(100) },
            password: None,
            check: Some(Check { fall: 1, rise: 1, weight: None, ..Check::weighted() }),
            ..Self::default()
        }
    }

    /// A fault as soon as nginx does not answer with status 200.
    pub fn http() -> Self {
        Self {
            check: Some(Check {
                probe: Probe::Http,
                interval: Duration::from_millis(100),
                fast_interval: None,
                fall: 1,
                rise: 1,
                weight: None,
            }),
            ..Self::default()
        }
    }

    /// A pair that knows that it is one: by unicast, or over multicast because the operator says so. The service fails hard
    /// (`fall` 1), or lowers the priority by 40 after two bad runs with 100 ms between them.
    pub fn instant(unicast: bool, hard: bool) -> Self {
        let check = match hard {
            true => Check { fall: 1, rise: 1, weight: None, ..Check::weighted() },
            false => Check { fast_interval: Some(Duration::from_millis(100)), ..Check::weighted() },
        };
        Self { unicast, routers: (!unicast).then_some(2), check: Some(check), ..Self::default() }
    }

    /// The same with `preempt = false`.
    pub fn without_preemption(self) -> Self {
        Self { preempt: false, ..self }
    }
}

impl Check {
    /// The check of the default plan.
    pub fn weighted() -> Self {
        Self {
            probe: Probe::Process,
            interval: Duration::from_secs(1),
            fast_interval: None,
            rise: 2,
            fall: 2,
            weight: Some(-40),
        }
    }
}

/// The makes of the routers on nginx01 and nginx02, and their plan. nginx02's priority is 20 lower.
#[derive(Debug, Clone)]
pub struct PairPlan {
    /// On nginx01 and nginx02.
    pub makes: [Make; 2],
    /// nginx01's plan.
    pub plan: Plan,
}

impl Default for PairPlan {
    fn default() -> Self {
        Self { makes: [Make::Vouchd; 2], plan: Plan::default() }
    }
}

impl PairPlan {
    /// A plan for a pair of these makes.
    pub fn new(makes: [Make; 2], plan: Plan) -> Self {
        Self { makes, plan }
    }

    /// The plan of a node's router.
    pub fn of(&self, node: Node) -> Plan {
        let lower = if node == Node::Nginx02 { 20 } else { 0 };
        Plan { priority: self.plan.priority - lower, ..self.plan.clone() }
    }
}

/// A router of either make.
#[derive(Debug)]
pub enum Router {
    /// The daemon under test.
    Vouchd(Vouchd),
    /// The incumbent.
    Keepalived(Keepalived),
}

impl Router {
    /// Starts a router.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(site: &Site, node: Node, make: Make, plan: &Plan) -> anyhow::Result<Self> {
        Ok(match make {
            Make::Vouchd => Router::Vouchd(Vouchd::start(site, node, plan)?),
            Make::Keepalived => Router::Keepalived(Keepalived::start(site, node, plan)?),
        })
    }

    /// Its process.
    pub fn process(&self) -> &Process {
        match self {
            Router::Vouchd(vouchd) => &vouchd.process,
            Router::Keepalived(keepalived) => &keepalived.process,
        }
    }

    /// Stops it as the service manager does.
    ///
    /// # Errors
    /// If it does not end.
    pub fn stop(self) -> anyhow::Result<ExitStatus> {
        match self {
            Router::Vouchd(vouchd) => vouchd.stop(),
            Router::Keepalived(keepalived) => keepalived.stop(),
        }
    }
}

/// The node of the other router.
pub fn peer(node: Node) -> Node {
    if node == Node::Nginx01 { Node::Nginx02 } else { Node::Nginx01 }
}

/// Everything running, with the virtual address on nginx01.
#[derive(Debug)]
pub struct Pair<'s> {
    /// The site.
    pub site: &'s Site,
    plan: PairPlan,
    // Fields are dropped in this order: routers first, as at a shutdown.
    routers: [Option<Router>; 2],
    proxies: [Nginx<'s>; 2],
    _webs: [Web; 2],
}

impl<'s> Pair<'s> {
    /// Starts everything and waits until nginx01 has the virtual address and nginx02 is ready to take over.
    ///
    /// # Errors
    /// If that does not happen in time.
    pub fn start(site: &'s Site, plan: PairPlan) -> anyhow::Result<Self> {
        let webs = [Web::start(site, Node::Web01)?, Web::start(site, Node::Web02)?];
        let proxies = [Nginx::start_on(site, Node::Nginx01)?, Nginx::start_on(site, Node::Nginx02)?];
        let mut pair = Self { site, plan, routers: [None, None], proxies, _webs: webs };
        pair.start_router(Node::Nginx01)?;
        pair.wait_holder(Node::Nginx01, Duration::from_secs(15))?;
        pair.start_router(Node::Nginx02)?;
        if let Some(Router::Vouchd(vouchd)) = &pair.routers[1] {
            vouchd.wait_state(vouchd::INSTANCE, "backup", Duration::from_secs(5))?;
        }
        Ok(pair)
    }

    /// Starts a node's router by the plan.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start_router(&mut self, node: Node) -> anyhow::Result<()> {
        let make = self.plan.makes[index(node)];
        let router = Router::start(self.site, node, make, &self.plan.of(node))?;
        self.routers[index(node)] = Some(router);
        Ok(())
    }

    /// Stops a node's router as the service manager does, and returns its exit status.
    ///
    /// # Errors
    /// If it does not end.
    pub fn stop_router(&mut self, node: Node) -> anyhow::Result<ExitStatus> {
        let router = self.routers[index(node)].take();
        router.with_context(|| format!("no router on {}", node.name()))?.stop()
    }

    /// A node's router.
    ///
    /// # Errors
    /// If it is stopped.
    pub fn router(&self, node: Node) -> anyhow::Result<&Router> {
        self.routers[index(node)].as_ref().with_context(|| format!("no router on {}", node.name()))
    }

    /// A node's vouchd.
    ///
    /// # Errors
    /// If the router is stopped, or is keepalived.
    pub fn vouchd(&self, node: Node) -> anyhow::Result<&Vouchd> {
        match self.router(node)? {
            Router::Vouchd(vouchd) => Ok(vouchd),
            Router::Keepalived(_) => bail!("the router on {} is keepalived", node.name()),
        }
    }

    /// A node's nginx.
    pub fn proxy(&mut self, node: Node) -> &mut Nginx<'s> {
        &mut self.proxies[index(node)]
    }

    /// Waits until a node alone holds the virtual address.
    ///
    /// # Errors
    /// If that takes longer than `within`.
    pub fn wait_holder(&self, node: Node, within: Duration) -> anyhow::Result<()> {
        self.site.holders().wait_for(node, VIP, within)
    }

    /// Fetches four times with `curl`: the web servers answer in turn.
    ///
    /// # Errors
    /// If a fetch fails, or a server answers twice in a row.
    pub fn alternates(&self) -> anyhow::Result<()> {
        let script = format!("for i in 1 2 3 4; do curl -sS -m 2 http://{VIP}/ || exit 1; done");
        let answers = self.site.host(Node::Client).sh(&script)?;
        let answers: Vec<_> = answers.lines().collect();
        ensure!(
            answers == ["web01", "web02", "web01", "web02"] || answers == ["web02", "web01", "web02", "web01"],
            "the web servers should answer in turn, but: {answers:?}"
        );
        Ok(())
    }
}

/// The index of a router's node.
fn index(node: Node) -> usize {
    usize::from(node == Node::Nginx02)
}
