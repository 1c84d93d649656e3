//! The built-in check `systemd`: is a unit active? Read from systemd by the system's D-Bus, in the name of the user that runs
//! checks; nothing is changed.

mod bus;
mod unit;
mod wire;

use std::time::Duration;

use vouchd_check::{Context, Error, OneOrMany, Report, Result, Verdict};
use vouchd_check_peer::{Peer, Stop};

use bus::Bus;
use unit::{State, Unit, is_state};

vouchd_check::params! {
    struct Params {
        /// The unit; without a dot in its name, a service.
        unit: String,
        /// States that pass; `active` unless given. `active/running` is a state with its substate.
        pass: OneOrMany<String>,
        /// States that are a `warn`; `reloading` and `activating` unless given. All others are a `fail`.
        warn: OneOrMany<String>,
        /// The system's D-Bus.
        socket: String = "/run/dbus/system_bus_socket",
        /// For the connection, and again for each answer; else what is left of the run.
        timeout: Option<Duration>,
    }
}

pub fn check(ctx: &Context) -> Result<Report> {
    let params: Params = ctx.params()?;
    let unit = Unit::parse(&params.unit)?;
    let wanted = Wanted::new(params.pass, params.warn)?;
    let peer = Peer::new(None, Some(params.socket), params.timeout)?;
    let state = peer.connect(ctx).and_then(|line| Bus::open(line)?.state(&unit));
    match state {
        Ok(state) => Ok(wanted.judge(&unit, &state)),
        // A bus that does not answer says nothing about the unit.
        Err(Stop::Fail(text)) => Stop::error(text).report(peer.text()),
        Err(stop) => stop.report(peer.text()),
    }
}

/// Which states are good enough.
struct Wanted {
    pass: Vec<String>,
    warn: Vec<String>,
}

impl Wanted {
    fn new(pass: Vec<String>, warn: Vec<String>) -> Result<Self> {
        for (name, states) in [("pass", &pass), ("warn", &warn)] {
            if let Some(bad) = states.iter().find(|state| !is_state(state)) {
                return Err(Error::new(format!(
                    "parameter `{name}`: expected a state like \"active\" or \"active/running\", found {bad:?}"
                )));
            }
        }
        let or = |given: Vec<String>, usual: &[&str]| {
            if given.is_empty() { usual.iter().map(|state| (*state).to_owned()).collect() } else { given }
        };
        Ok(Wanted { pass: or(pass, &["active"]), warn: or(warn, &["reloading", "activating"]) })
    }

    fn judge(&self, unit: &Unit, state: &State) -> Report {
        let is_one_of = |states: &[String]| states.iter().any(|wanted| state.is(wanted));
        let found = format!("{unit} is {state}");
        let expected = || format!("{found}, expected {}", self.pass.join(" or "));
        let verdict = if is_one_of(&self.pass) {
            Verdict::Pass
        } else if is_one_of(&self.warn) {
            Verdict::Warn
        } else {
            Verdict::Fail
        };
        match verdict {
            Verdict::Pass => Report::pass(found),
            Verdict::Warn => Report::warn(expected()),
            Verdict::Fail | Verdict::Fault if !state.is_loaded() => {
                Report::fail(format!("{unit} can't be loaded: {}", state.load))
            }
            Verdict::Fail | Verdict::Fault => Report::fail(expected()),
        }
    }
}

vouchd_check::check!(check, Params);

#[cfg(test)]
mod tests;
