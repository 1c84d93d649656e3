//! The built-in check `systemd`: is a unit active? It asks systemd over the system's D-Bus, as the user that runs checks, and
//! changes nothing.

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
        /// The unit. A name without a dot is a service.
        unit: String,
        /// States that pass. Default: `active`. `active/running` is a state with its substate.
        pass: OneOrMany<String>,
        /// States that are a `warn`. Default: `reloading` and `activating`. All others are a `fail`.
        warn: OneOrMany<String>,
        /// Socket of the system's D-Bus.
        socket: String = "/run/dbus/system_bus_socket",
        /// For connecting, and for each answer. Default: what is left of the run.
        timeout: Option<Duration>,
    }
}

/// Runs the check once.
///
/// # Errors
/// If a parameter makes no sense, or a probe could not be made.
pub fn check(ctx: &Context) -> Result<Report> {
    let params: Params = ctx.params()?;
    let unit = Unit::parse(&params.unit)?;
    let wanted = Wanted::new(params.pass, params.warn)?;
    let peer = Peer::new(None, Some(params.socket), params.timeout)?;
    let state = peer.connect(ctx).and_then(|stream| Bus::open(stream)?.state(&unit));
    match state {
        Ok(state) => Ok(wanted.judge(&unit, &state)),
        // A bus that does not answer says nothing about the unit.
        Err(Stop::Fail(text)) => Stop::error(text).report(peer.text()),
        Err(stop) => stop.report(peer.text()),
    }
}

/// The states that pass, and those that are a `warn`.
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
