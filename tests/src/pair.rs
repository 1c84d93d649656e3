//! The set-up of the notes: two proxies, two web servers, and a router on each proxy, of either make, from one plan.

use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use crate::host::Process;
use crate::keepalived::Keepalived;
use crate::nginx::Nginx;
use crate::site::{Node, Site, VIP};
use crate::vouchd::{self, Vouchd};
use crate::web::Web;

/// The virtual router of the notes.
pub const VRID: u8 = 55;

/// Which program is the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Make {
    Vouchd,
    Keepalived,
}

/// How a router of a pair is set up. The default is that of the notes' second attempt: v2 with a password, and
/// `killall -0 nginx`, interval 1 s, rise 2, fall 2, weight -40.
#[derive(Debug, Clone)]
pub struct Plan {
    pub priority: u8,
    pub preempt: bool,
    pub timing: Timing,
    pub password: Option<&'static str>,
    pub unicast: bool,
    pub check: Option<Check>,
}

/// Version and advertisement interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// One second.
    V2,
    V3 {
        interval: Duration,
    },
}

/// What a check looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Is there a process named nginx?
    Process,
    /// Does `http://127.0.0.1/` answer 200?
    Http,
}

#[derive(Debug, Clone)]
pub struct Check {
    pub probe: Probe,
    /// keepalived takes at least one second.
    pub interval: Duration,
    pub rise: u32,
    pub fall: u32,
    /// None: a hard fault.
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
            check: Some(Check::weighted()),
        }
    }
}

impl Plan {
    /// v3, 100 ms, and a hard fault when nginx is gone.
    pub fn fast() -> Self {
        Self {
            timing: Timing::V3 { interval: Duration::from_millis(100) },
            password: None,
            check: Some(Check { fall: 1, rise: 1, weight: None, ..Check::weighted() }),
            ..Self::default()
        }
    }

    /// A hard fault when nginx does not answer with 200.
    pub fn http() -> Self {
        Self {
            check: Some(Check {
                probe: Probe::Http,
                interval: Duration::from_millis(100),
                fall: 1,
                rise: 1,
                weight: None,
            }),
            ..Self::default()
        }
    }

    pub fn without_preemption(self) -> Self {
        Self { preempt: false, ..self }
    }
}

impl Check {
    /// That of the notes.
    pub fn weighted() -> Self {
        Self { probe: Probe::Process, interval: Duration::from_secs(1), rise: 2, fall: 2, weight: Some(-40) }
    }
}

/// The two makes, on nginx01 and nginx02, and what they have in common; nginx02's priority is 20 lower.
#[derive(Debug, Clone)]
pub struct PairPlan {
    pub makes: [Make; 2],
    pub plan: Plan,
}

impl Default for PairPlan {
    fn default() -> Self {
        Self { makes: [Make::Vouchd; 2], plan: Plan::default() }
    }
}

impl PairPlan {
    pub fn new(makes: [Make; 2], plan: Plan) -> Self {
        Self { makes, plan }
    }

    pub fn of(&self, node: Node) -> Plan {
        let lower = if node == Node::Nginx02 { 20 } else { 0 };
        Plan { priority: self.plan.priority - lower, ..self.plan.clone() }
    }
}

/// A router of either make.
#[derive(Debug)]
pub enum Router {
    Vouchd(Vouchd),
    Keepalived(Keepalived),
}

impl Router {
    /// # Errors
    /// When it does not start.
    pub fn start(site: &Site, node: Node, make: Make, plan: &Plan) -> anyhow::Result<Self> {
        Ok(match make {
            Make::Vouchd => Router::Vouchd(Vouchd::start(site, node, plan)?),
            Make::Keepalived => Router::Keepalived(Keepalived::start(site, node, plan)?),
        })
    }

    pub fn process(&self) -> &Process {
        match self {
            Router::Vouchd(vouchd) => &vouchd.process,
            Router::Keepalived(keepalived) => &keepalived.process,
        }
    }

    /// As the service manager stops it.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(self) -> anyhow::Result<ExitStatus> {
        match self {
            Router::Vouchd(vouchd) => vouchd.stop(),
            Router::Keepalived(keepalived) => keepalived.stop(),
        }
    }
}

/// The other router's node.
pub fn peer(node: Node) -> Node {
    if node == Node::Nginx01 { Node::Nginx02 } else { Node::Nginx01 }
}

/// Everything of the notes, running, with the virtual address on nginx01.
#[derive(Debug)]
pub struct Pair<'s> {
    pub site: &'s Site,
    plan: PairPlan,
    // Routers go first when it is dropped, as a machine's services do.
    routers: [Option<Router>; 2],
    proxies: [Nginx<'s>; 2],
    _webs: [Web; 2],
}

impl<'s> Pair<'s> {
    /// Starts it and waits until nginx01 has the virtual address and nginx02 is ready to take it.
    ///
    /// # Errors
    /// When it does not come to that.
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

    /// Starts a node's router, as planned.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_router(&mut self, node: Node) -> anyhow::Result<()> {
        let make = self.plan.makes[index(node)];
        let router = Router::start(self.site, node, make, &self.plan.of(node))?;
        self.routers[index(node)] = Some(router);
        Ok(())
    }

    /// Stops a node's router as the service manager does, and gives its exit status.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop_router(&mut self, node: Node) -> anyhow::Result<ExitStatus> {
        let router = self.routers[index(node)].take();
        router.with_context(|| format!("no router on {}", node.name()))?.stop()
    }

    /// # Errors
    /// When it is stopped.
    pub fn router(&self, node: Node) -> anyhow::Result<&Router> {
        self.routers[index(node)].as_ref().with_context(|| format!("no router on {}", node.name()))
    }

    /// # Errors
    /// When it is stopped, or keepalived.
    pub fn vouchd(&self, node: Node) -> anyhow::Result<&Vouchd> {
        match self.router(node)? {
            Router::Vouchd(vouchd) => Ok(vouchd),
            Router::Keepalived(_) => bail!("the router on {} is keepalived", node.name()),
        }
    }

    pub fn proxy(&mut self, node: Node) -> &mut Nginx<'s> {
        &mut self.proxies[index(node)]
    }

    /// Waits until the virtual address is on a node, and only there.
    ///
    /// # Errors
    /// When it is not `within` the time.
    pub fn wait_holder(&self, node: Node, within: Duration) -> anyhow::Result<()> {
        self.site.holders().wait_for(node, VIP, within)
    }

    /// Fetches a few times by `curl` as in the notes: the web servers answer in turn.
    ///
    /// # Errors
    /// When a fetch fails or the same server answers twice running.
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

/// Of a router's node.
fn index(node: Node) -> usize {
    usize::from(node == Node::Nginx02)
}
