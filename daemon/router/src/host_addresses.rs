//! Virtual addresses that this host has already, for `vouchd config check`.

use vouchd_config::Config;
use vouchd_config::host::Findings;
use vouchd_net::{Finding, examine};
use vouchd_wire::Priority;

use crate::virtual_addresses;

/// Reports errors and warnings about virtual addresses that are already on the host. Empty if the kernel does not list the
/// addresses.
pub fn check(config: &Config) -> Findings {
    let mut findings = Findings::default();
    // The addresses of an owner are its own.
    let others = config.instances.iter().filter(|instance| instance.priority != Priority::OWNER);
    for Finding { instance, address, copies, endangers } in
        examine(others.map(virtual_addresses::claim).collect()).unwrap_or_default()
    {
        let problem = |message: String| config.address_problem(instance.as_str(), address.address, message);
        let adopts = config.instances.iter().any(|it| it.name == instance.as_str() && it.adopt);
        for copy in &copies {
            if copy.own {
                findings.errors.push(problem(format!(
                    "{} is this host's own address: to make this router its owner, set priority = 255",
                    copy.at
                )));
            } else if !adopts || copy.at.interface != address.interface {
                findings.warnings.push(problem(format!(
                    "{}/{} is on {} and not vouchd's: this host answers for it while a backup; remove it, or set adopt = true",
                    copy.at.address, copy.at.prefix, copy.at.interface
                )));
            }
        }
        if let Some(endangered) = endangers {
            findings.warnings.push(problem(format!(
                "net.ipv4.conf.{interface}.promote_secondaries is 0: if the kernel made this the primary address of its \
                 subnet, {host}/{prefix} would be removed together with it. vouchd sets it to 1; set it yourself, or leave \
                 out the prefix length",
                interface = endangered.interface,
                host = endangered.address,
                prefix = endangered.prefix,
            )));
        }
    }
    findings
}
