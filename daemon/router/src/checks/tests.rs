//! The health of an instance after a reload.

use std::path::PathBuf;
use std::time::Duration;

use vouchd_config::Config;
use vouchd_health::{Report, RunResult, Verdict};
use vouchd_vrrp::Health;

use super::Checks;
use vouchd_ipc::pipe::RunDone;

/// An instance `web` with `base` and the check `site`, whose parameters and influence are given.
fn config(base: u8, url: &str, influence: &str) -> Config {
    let text = format!(
        "[check.site]\nplugin = \"http\"\nparams = {{ url = \"http://127.0.0.1/{url}\" }}\n\
         allow = {{ http = [\"http://127.0.0.1/\"] }}\n{influence}\n\
         [check.other]\nplugin = \"process\"\nparams = {{ name = \"nginx\" }}\nallow = {{ process = [\"nginx\"] }}\n\
         [instance.web]\ninterface = \"eth0\"\nvirtual_router_id = 7\naddresses = [\"192.0.2.100\"]\n\
         priority = {base}\nchecks = [\"site\"]\n"
    );
    vouchd_config::resolve(vec![(PathBuf::from("vouchd.toml"), text)]).unwrap()
}

fn ran(verdict: Verdict) -> RunDone {
    let report = Report { verdict, message: "503".to_owned(), adjust: None, metrics: Vec::new() };
    RunDone {
        check: "site".to_owned(),
        result: RunResult::Report(report),
        log: Vec::new(),
        duration: Duration::from_millis(3),
        cpu: Duration::from_millis(1),
        memory: 0,
        skipped: 0,
        next_in: Duration::from_secs(1),
    }
}

/// The health that the protocol gets with a reload to `config`.
fn reloaded(checks: &mut Checks, config: &Config) -> Health {
    checks.configure(config);
    let health = checks.all_health().remove("web").unwrap();
    assert!(checks.health_changes().is_empty(), "it counts as reported");
    health
}

fn priority(health: &Health) -> Option<u8> {
    match health {
        Health::Fit { priority, .. } | Health::Waiting { priority, .. } => Some(priority.get()),
        Health::Fault { .. } => None,
    }
}

fn failing(influence: &str) -> Checks {
    let mut checks = Checks::new();
    checks.configure(&config(100, "", influence));
    checks.record(ran(Verdict::Fail));
    checks.health_changes();
    checks
}

#[test]
fn reload_recomputes_the_priority_from_the_new_base_weights_and_checks() {
    let mut checks = failing("weight = -200");
    for (config, expected) in [
        (config(150, "", "weight = -200"), Some(1)),
        (config(150, "", "weight = -40"), Some(110)),
        (config(150, "", "weight = 20"), Some(150)),
        (config(150, "", ""), None),
        (config(255, "", "weight = -40"), Some(255)),
        (config(90, "", "weight = -40"), Some(50)),
    ] {
        assert_eq!(priority(&reloaded(&mut checks, &config)), expected);
    }
    let mut without = config(90, "", "weight = -40");
    without.instances[0].checks.clear();
    assert_eq!(priority(&reloaded(&mut checks, &without)), Some(90));
}

#[test]
fn changed_check_that_fails_is_no_recovery() {
    let mut checks = failing("weight = -40\nrise = 3");
    let changed = config(100, "other", "weight = -40\nrise = 3");
    assert_eq!(priority(&reloaded(&mut checks, &changed)), Some(60));
    // Its first result under the new parameters decides at once.
    checks.record(ran(Verdict::Pass));
    let changes = checks.health_changes();
    assert_eq!(priority(&changes[0].1), Some(100));
}

#[test]
fn changed_check_that_passes_keeps_the_instance_fit() {
    let mut checks = Checks::new();
    checks.configure(&config(100, "", ""));
    checks.record(ran(Verdict::Pass));
    checks.health_changes();
    let health = reloaded(&mut checks, &config(100, "other", ""));
    assert!(matches!(health, Health::Fit { .. }), "{health:?}");
}

#[test]
fn new_check_without_a_result_keeps_the_instance_waiting_with_the_priority_of_the_others() {
    let mut checks = failing("weight = -40");
    let mut both = config(150, "", "weight = -40");
    let mut second = both.instances[0].checks[0].clone();
    second.check = "other".to_owned();
    second.influence.weight = None;
    both.instances[0].checks.push(second);
    let health = reloaded(&mut checks, &both);
    assert!(matches!(health, Health::Waiting { .. }), "{health:?}");
    assert_eq!(priority(&health), Some(110));
}

#[test]
fn renamed_check_that_fails_is_no_recovery_before_its_first_result() {
    let mut checks = failing("weight = -200");
    let mut renamed = config(150, "", "weight = -200");
    renamed.instances[0].name = "web2".to_owned();
    renamed.instances[0].checks[0].check = "other".to_owned();
    checks.configure(&renamed);
    let health = checks.all_health().remove("web2").unwrap();
    assert_eq!(priority(&health), Some(1));
    let Health::Fit { reason, .. } = &health else { panic!("{health:?}") };
    assert!(reason.contains("until the first result of other"), "{reason}");
    checks.record(RunDone { check: "other".to_owned(), ..ran(Verdict::Pass) });
    assert_eq!(priority(&checks.health_changes()[0].1), Some(150), "it is known now");
    // Nothing is held back where everything is known, nor from an owner.
    assert_eq!(priority(&reloaded(&mut failing("weight = -40"), &config(255, "", "weight = -40"))), Some(255));
}

#[test]
fn tracked_interface_counts_as_soon_as_it_is_known() {
    use vouchd_net::{Carrier, CarrierEvent, DownReason, now};

    let event = |carrier| vec![CarrierEvent { interface: "eth1".to_owned(), carrier }];
    let mut config = config(100, "", "");
    let instance = &mut config.instances[0];
    instance.checks.clear();
    instance.track = vec![vouchd_config::Track { interface: "eth*".to_owned(), weight: None }];
    let mut checks = Checks::new();
    let Health::Waiting { reason, .. } = reloaded(&mut checks, &config) else { panic!("it does not wait") };
    assert_eq!(reason, "waits for the first result of interface eth* (not examined yet)");
    checks.take_carriers(now(), event(Carrier::Up));
    assert_eq!(checks.health_changes().first().and_then(|(_, health)| priority(health)), Some(100));
    checks.take_carriers(now(), event(Carrier::Down(DownReason::NoCarrier)));
    let Some((_, Health::Fault { reason })) = checks.health_changes().pop() else { panic!("no fault") };
    assert_eq!(reason, "interface eth*: eth1 no carrier");

    config.instances[0].track[0].weight = Some(-30);
    assert_eq!(priority(&reloaded(&mut checks, &config)), Some(70));
    checks.take_carriers(now(), event(Carrier::Missing));
    assert_eq!(checks.health_changes().first().and_then(|(_, health)| priority(health)), Some(70));
    checks.take_carriers(now(), event(Carrier::Up));
    assert_eq!(checks.health_changes().first().and_then(|(_, health)| priority(health)), Some(100));
}
