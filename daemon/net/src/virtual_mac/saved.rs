//! The settings of a parent as they were before vouchd changed them, and the alias that keeps them.

use super::MARK;
use crate::netlink::{InetSetting, InetSettings, Link};

/// What vouchd changes on a parent: the setting and its new value.
const CHANGED: [(InetSetting, u32); 2] = [(InetSetting::ArpIgnore, 1), (InetSetting::ArpAnnounce, 2)];

/// The old values of the settings that vouchd has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Saved(Vec<(InetSetting, u32)>);

impl Saved {
    /// What has to be changed on a parent with these settings.
    pub(super) fn of(now: &InetSettings) -> Self {
        let needs = |setting: InetSetting, wanted: u32| match setting {
            // Any other value is at least as strict, or the operator's own choice.
            InetSetting::ArpIgnore => now.get(setting) == 0,
            _ => now.get(setting) != wanted,
        };
        let changed = CHANGED.iter().filter(|(setting, wanted)| needs(*setting, *wanted));
        Saved(changed.map(|(setting, _)| (*setting, now.get(*setting))).collect())
    }

    /// The settings to make.
    pub(super) fn changes(&self) -> Vec<(InetSetting, u32)> {
        CHANGED.into_iter().filter(|(setting, _)| self.0.iter().any(|(saved, _)| saved == setting)).collect()
    }

    /// The settings to put back: those that nobody else has changed since.
    pub(super) fn restorations(&self, now: &InetSettings) -> Vec<(InetSetting, u32)> {
        let is_ours = |setting: InetSetting| CHANGED.contains(&(setting, now.get(setting)));
        self.0.iter().copied().filter(|(setting, _)| is_ours(*setting)).collect()
    }

    /// Adds what `other` has saved and this has not.
    pub(super) fn extend(&mut self, other: Saved) {
        for (setting, value) in other.0 {
            if !self.0.iter().any(|(saved, _)| *saved == setting) {
                self.0.push((setting, value));
            }
        }
    }

    /// Leaves out what `other` has saved, too.
    pub(super) fn subtract(&mut self, other: &Saved) {
        self.0.retain(|(setting, _)| !other.0.iter().any(|(saved, _)| saved == setting));
    }

    /// The alias of a macvlan on that parent.
    pub(super) fn alias(&self) -> String {
        let mut alias = MARK.to_owned();
        for (setting, value) in &self.0 {
            alias.push_str(&format!(" {}={value}", setting.name()));
        }
        alias
    }

    /// What the alias of a link says.
    pub(super) fn of_link(link: &Link) -> Self {
        Self::parse(link.alias.as_deref().unwrap_or_default())
    }

    /// Reads an alias back. Ignores what it does not know.
    fn parse(alias: &str) -> Self {
        let mut words = alias.split(' ');
        if words.next() != Some(MARK) {
            return Self::default();
        }
        let settings = words.filter_map(|word| {
            let (name, value) = word.split_once('=')?;
            let (setting, _) = CHANGED.into_iter().find(|(setting, _)| setting.name() == name)?;
            Some((setting, value.parse().ok()?))
        });
        Saved(settings.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(arp_ignore: u32, arp_announce: u32) -> InetSettings {
        InetSettings { arp_ignore, arp_announce, ..InetSettings::default() }
    }

    #[test]
    fn alias_keeps_the_old_values_of_what_is_changed() {
        let saved = Saved::of(&settings(0, 1));
        assert_eq!(saved.alias(), "vouchd arp_ignore=0 arp_announce=1");
        assert_eq!(Saved::parse(&saved.alias()), saved);
        assert_eq!(saved.changes(), CHANGED);
    }

    #[test]
    fn setting_that_is_right_already_is_neither_changed_nor_put_back() {
        let saved = Saved::of(&settings(2, 2));
        assert_eq!(saved.alias(), "vouchd");
        assert_eq!(saved.changes(), []);
        assert_eq!(saved.restorations(&settings(1, 2)), []);
    }

    #[test]
    fn setting_that_somebody_changed_since_is_not_put_back() {
        let saved = Saved::of(&settings(0, 0));
        assert_eq!(saved.restorations(&settings(8, 2)), [(InetSetting::ArpAnnounce, 0)]);
    }

    #[test]
    fn alias_of_somebody_else_says_nothing() {
        assert_eq!(Saved::parse("lan arp_ignore=0"), Saved::default());
        assert_eq!(Saved::parse("vouchd arp_ignore=x forwarding=1"), Saved::default());
    }
}
