//! The log lines about events of the protocol, and the reason of the current state.

use vouchd_vrrp::limit::LeftOut;
use vouchd_vrrp::{ProtocolEvent, Source, State, Time, Why};

use super::VirtualRouter;
use crate::log::Line;

/// The maximum number of rivals that a reason names; `peers` in the status has the others.
const RIVALS: usize = 3;

impl VirtualRouter {
    pub(super) fn log_protocol_event(&self, now: Time, event: &ProtocolEvent, left_out: LeftOut) {
        match event {
            ProtocolEvent::Transition { from, to, why } => {
                let text = format!("{from} -> {to}: {}", self.reason(why, now));
                Line::info(&self.subject, text).change(from.name(), to.name()).write(left_out);
                if let Why::HealthFault(reason) = why {
                    Line::warn(&self.subject, format!("hard fault: {reason}")).write(LeftOut::default());
                }
            }
            ProtocolEvent::Held { .. }
            | ProtocolEvent::Priority { .. }
            | ProtocolEvent::ElectionCalled { .. }
            | ProtocolEvent::ElectionWon { .. }
            | ProtocolEvent::PairAgain { .. } => {
                Line::info(&self.subject, event.to_string()).write(left_out);
            }
            ProtocolEvent::Discarded { .. }
            | ProtocolEvent::OtherActive { .. }
            | ProtocolEvent::Rival(_)
            | ProtocolEvent::ThirdRouter { .. }
            | ProtocolEvent::NoVersion2 { .. }
            | ProtocolEvent::Stalled { .. }
            | ProtocolEvent::PeerInterval { .. }
            | ProtocolEvent::PeerChecksum { .. }
            | ProtocolEvent::PeerAddresses { .. } => Line::warn(&self.subject, event.to_string()).write(left_out),
        }
    }

    /// `why` in words, with the interface, and with the machines that claim to be active or to have an address.
    pub(super) fn reason(&self, why: &Why, now: Time) -> String {
        let interface = &self.config.interface;
        let rivals: Vec<_> = self.router.rivals(now).iter().map(ToString::to_string).collect();
        let why = match why {
            Why::Silence if !rivals.is_empty() => {
                format!("no advertisement of an active router was accepted on {interface}")
            }
            Why::Starting => format!("{why} {interface}"),
            // These name the interface, or are not about it.
            Why::LinkDown(_)
            | Why::HealthWaiting(_)
            | Why::HealthFault(_)
            | Why::StartupDelay(_)
            | Why::Held(_)
            | Why::Group(_)
            | Why::AddressesFailed(_)
            | Why::Refused(_)
            | Why::ShutDown
            | Why::Stalled { .. } => why.to_string(),
            Why::Ready
            | Why::Better { .. }
            | Why::Owner
            | Why::Silence
            | Why::Resigned { .. }
            | Why::Preempted { .. }
            | Why::Claimed { .. } => {
                format!("{why} on {interface}")
            }
        };
        let why = match self.router.preempt_at().map(|at| at.since(now).as_secs_f64().ceil()) {
            Some(wait) => format!("{why}; takes over from a router of lower priority in {wait} s (preempt_delay)"),
            None => why,
        };
        // An answer is proof enough that hosts reach another machine.
        let conflict = self.conflicts.ongoing(now).filter(|_| self.router.state() == State::Active);
        let why = match conflict {
            Some((address, mac)) if rivals.is_empty() => {
                format!("{why}, but {mac} answers for {address}{}", self.suspect(now))
            }
            Some((address, mac)) => format!("{why}, but {mac} answers for {address}"),
            None => why,
        };
        // A flood of forged claims must not make the reason longer and longer.
        let more = rivals.len().saturating_sub(RIVALS);
        let more = (more > 0).then(|| format!("{more} more claim to be active"));
        [why].into_iter().chain(rivals.into_iter().take(RIVALS)).chain(more).collect::<Vec<_>>().join("; ")
    }

    /// Names a router that may be the machine that answers for an address. A discarded advertisement by itself is no claim, but
    /// together with the answer it is one.
    fn suspect(&self, now: Time) -> String {
        let discarded_claim = |source: &Source| Some((source.address, source.discarded_claim(now)?));
        self.router.sources().iter().find_map(discarded_claim).map_or_else(String::new, |(address, reason)| {
            format!(
                "; it may be the router {address}, whose advertisements are discarded ({}): {}",
                reason.name(),
                reason.remedy()
            )
        })
    }
}
