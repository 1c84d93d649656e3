//! What the keeper reports about the virtual MAC of a virtual router.

use vouchd_config::Instance;
use vouchd_ipc::status;
use vouchd_net::{Network, VirtualMacState};
use vouchd_vrrp::Time;

use super::VirtualRouter;
use super::conflict_detector::Mac;
use crate::log::Line;
use crate::virtual_macs;

/// The newest report; `None` before the first.
#[derive(Debug, Default)]
pub(super) struct VirtualMacReport(Option<VirtualMacState>);

impl VirtualMacReport {
    /// Why the virtual router cannot be active.
    pub(super) fn error(&self, config: &Instance) -> Option<String> {
        let error = self.0.as_ref()?.error.as_ref()?;
        Some(format!("{}: {error}", virtual_macs::of(config)?.name))
    }

    pub(super) fn status(&self, config: &Instance) -> Option<status::VirtualMac> {
        let virtual_mac = virtual_macs::of(config)?;
        let state = match &self.0 {
            Some(VirtualMacState { exists: true, up: true, .. }) => "up",
            Some(VirtualMacState { exists: true, up: false, .. }) => "down",
            Some(VirtualMacState { exists: false, .. }) | None => "missing",
        };
        Some(status::VirtualMac {
            name: virtual_mac.name.to_string(),
            mac: Mac(virtual_mac.mac()).to_string(),
            state: state.to_owned(),
            error: self.0.as_ref().and_then(|state| state.error.as_ref()).map(ToString::to_string),
            warning: self.0.as_ref().and_then(|state| state.warning.clone()),
        })
    }
}

impl VirtualRouter {
    /// Takes the state of the interface with the virtual MAC. While it cannot be used, neither can the instance's interface.
    pub(super) fn take_virtual_mac(&mut self, now: Time, state: VirtualMacState, network: &mut impl Network) {
        let before = self.virtual_mac.error(&self.config);
        let warned = self.virtual_mac.0.take().and_then(|state| state.warning);
        if let Some(warning) = state.warning.as_ref().filter(|warning| warned.as_ref() != Some(*warning)) {
            self.log_event(now, "virtual_mac", Line::warn, format_args!("virtual MAC: {warning}"));
        }
        self.virtual_mac = VirtualMacReport(Some(state));
        let after = self.virtual_mac.error(&self.config);
        if before == after {
            return;
        }
        if let Some(error) = &after {
            self.log_event(now, "virtual_mac", Line::error, format_args!("virtual MAC: {error}"));
        }
        self.apply_link(now, network);
    }
}
