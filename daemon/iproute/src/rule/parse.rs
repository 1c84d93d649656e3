//! From text to a [`Rule`].

use std::ops::RangeInclusive;

use super::{FwMark, PROTOCOLS, Rule, RuleAction};
use crate::words::{Mistake, Word, Words, once, parse_number};
use crate::{Family, Prefix};

const OPTIONS: [&str; 22] = [
    "from",
    "to",
    "not",
    "iif",
    "oif",
    "fwmark",
    "tos",
    "ipproto",
    "sport",
    "dport",
    "uidrange",
    "priority",
    "lookup",
    "goto",
    "nop",
    "blackhole",
    "unreachable",
    "prohibit",
    "l3mdev",
    "suppress_prefixlength",
    "suppress_ifgroup",
    "table",
];

const SUPPRESSED_LENGTHS: RangeInclusive<u64> = 0..=128;

impl Rule {
    /// Reads what follows `ip rule add`.
    ///
    /// # Errors
    /// The first mistake.
    pub fn parse(text: &str) -> Result<Rule, Mistake> {
        let mut words = Words::new(text);
        let family = words.family();
        let mut options = Options::default();
        while let Some(word) = words.next() {
            options.read(word, &mut words)?;
        }
        options.rule(family, &words)
    }
}

#[derive(Default)]
struct Options<'a> {
    invert: Option<()>,
    from: Option<(Option<Prefix>, Word<'a>)>,
    to: Option<(Option<Prefix>, Word<'a>)>,
    iif: Option<String>,
    oif: Option<String>,
    fwmark: Option<FwMark>,
    tos: Option<u8>,
    ip_protocol: Option<u8>,
    source_ports: Option<(u16, u16)>,
    destination_ports: Option<(u16, u16)>,
    users: Option<(u32, u32)>,
    priority: Option<u32>,
    action: Option<(RuleAction, Word<'a>)>,
    suppress_prefix_length: Option<(u32, Word<'a>)>,
    suppress_group: Option<(u32, Word<'a>)>,
}

impl<'a> Options<'a> {
    fn read(&mut self, word: Word<'a>, words: &mut Words<'a>) -> Result<(), Mistake> {
        match word.text {
            "not" => once(&mut self.invert, (), word)?,
            "from" => {
                let prefix = prefix(words.value(word, "a prefix or `all`")?)?;
                once(&mut self.from, (prefix, word), word)?;
            }
            "to" => {
                let prefix = prefix(words.value(word, "a prefix or `all`")?)?;
                once(&mut self.to, (prefix, word), word)?;
            }
            "iif" | "dev" => {
                let name = words.interface(word)?;
                once(&mut self.iif, name, word)?;
            }
            "oif" => {
                let name = words.interface(word)?;
                once(&mut self.oif, name, word)?;
            }
            "fwmark" => {
                let mark = fwmark(word, words)?;
                once(&mut self.fwmark, mark, word)?;
            }
            "tos" | "dsfield" => {
                let tos = words.number(word, 0..=255)?;
                once(&mut self.tos, tos, word)?;
            }
            "ipproto" => {
                let protocol = protocol(words.value(word, "a protocol like tcp")?)?;
                once(&mut self.ip_protocol, protocol, word)?;
            }
            "sport" => {
                let ports = range(words.value(word, "a port, or two like 1024-2048")?, 1..=65_535)?;
                once(&mut self.source_ports, ports, word)?;
            }
            "dport" => {
                let ports = range(words.value(word, "a port, or two like 1024-2048")?, 1..=65_535)?;
                once(&mut self.destination_ports, ports, word)?;
            }
            "uidrange" => {
                let value = words.value(word, "two user ids like 1000-1999")?;
                let users = range(value, 0..=u64::from(u32::MAX - 1))?;
                once(&mut self.users, users, word)?;
            }
            "priority" | "order" | "pref" | "preference" => {
                // 0 is the kernel's own rule for the table local, which must stay the first.
                let priority = words.number(word, 1..=u64::from(u32::MAX))?;
                once(&mut self.priority, priority, word)?;
            }
            "suppress_prefixlength" | "sup_pl" => {
                let length = words.number(word, SUPPRESSED_LENGTHS)?;
                once(&mut self.suppress_prefix_length, (length, word), word)?;
            }
            "suppress_ifgroup" | "sup_group" => {
                let group = words.number(word, 0..=u64::from(u32::MAX - 1))?;
                once(&mut self.suppress_group, (group, word), word)?;
            }
            _ => {
                let action = action(word, words)?;
                if let Some((_, first)) = self.action {
                    let message = format!("a rule has one action, and `{}` is one; remove one", first.text);
                    return Err(word.mistake(message));
                }
                self.action = Some((action, word));
            }
        }
        Ok(())
    }

    fn rule(self, family: Option<Family>, words: &Words<'_>) -> Result<Rule, Mistake> {
        let mut chosen = family;
        for (prefix, word) in [&self.from, &self.to].into_iter().flatten() {
            let Some(prefix) = prefix else { continue };
            if *chosen.get_or_insert(prefix.family()) != prefix.family() {
                let message = "expected prefixes of one family; write one rule for IPv4 and one for IPv6";
                return Err(word.mistake(message));
            }
        }
        // As the program `ip`.
        let family = chosen.unwrap_or(Family::V4);
        let Some((action, action_word)) = self.action else {
            return Err(words.missing("expected what to do: `lookup` a table, `goto` a priority, `blackhole`, ..."));
        };
        let Some(priority) = self.priority else {
            let message = "`priority` is missing; without it the kernel would choose another one on every router";
            return Err(words.missing(message));
        };
        match action {
            RuleAction::Goto(target) if target <= priority => {
                return Err(action_word.mistake(format!("expected a target behind this rule, above {priority}")));
            }
            RuleAction::Goto(_)
            | RuleAction::Nop
            | RuleAction::Blackhole
            | RuleAction::Unreachable
            | RuleAction::Prohibit => {
                let suppress = self.suppress_prefix_length.or(self.suppress_group);
                if let Some((_, word)) = suppress {
                    return Err(word.mistake(format!("only a rule with `lookup` has `{}`", word.text)));
                }
            }
            RuleAction::Lookup(_) | RuleAction::L3Mdev => {}
        }
        let or_all = |prefix: Option<(Option<Prefix>, Word<'_>)>| {
            prefix.and_then(|(prefix, _)| prefix).filter(|prefix| prefix.length > 0).unwrap_or(family.all())
        };
        Ok(Rule {
            family,
            priority,
            invert: self.invert.is_some(),
            from: or_all(self.from),
            to: or_all(self.to),
            iif: self.iif,
            oif: self.oif,
            fwmark: self.fwmark,
            tos: self.tos.unwrap_or(0),
            ip_protocol: self.ip_protocol,
            source_ports: self.source_ports,
            destination_ports: self.destination_ports,
            users: self.users,
            action,
            suppress_prefix_length: self.suppress_prefix_length.map(|(length, _)| length),
            suppress_group: self.suppress_group.map(|(group, _)| group),
        })
    }
}

/// A prefix, or `None` for `all`.
fn prefix(word: Word<'_>) -> Result<Option<Prefix>, Mistake> {
    match word.text {
        "all" | "any" | "default" => Ok(None),
        _ => Prefix::parse(word).map(Some),
    }
}

fn fwmark(keyword: Word<'_>, words: &mut Words<'_>) -> Result<FwMark, Mistake> {
    let expected = "a packet mark like 0x1 or 0x1/0xff";
    let word = words.value(keyword, expected)?;
    let (mark, mask) = word.text.split_once('/').unwrap_or((word.text, "0xffffffff"));
    let number = |text| parse_number(text).and_then(|number| u32::try_from(number).ok());
    match (number(mark), number(mask)) {
        (Some(mark), Some(mask)) if mark & !mask != 0 => {
            Err(word.mistake(format!("the mark {mark:#x} has bits outside of its mask {mask:#x}: no packet matches")))
        }
        (Some(mark), Some(mask)) => Ok(FwMark { mark, mask }),
        (Some(_) | None, _) => Err(word.mistake(format!("expected {expected}"))),
    }
}

fn protocol(word: Word<'_>) -> Result<u8, Mistake> {
    let known = PROTOCOLS.iter().find(|(_, name)| *name == word.text).map(|(number, _)| *number);
    let known = known.or_else(|| (word.text == "icmpv6" || word.text == "icmp6").then_some(58));
    let number = known.or_else(|| word.text.parse().ok()).filter(|number| *number > 0);
    number.ok_or_else(|| {
        let names: Vec<_> = PROTOCOLS.iter().map(|(_, name)| *name).collect();
        word.mistake(format!("expected a number from 1 to 255, or one of: {}", names.join(", ")))
    })
}

fn range<T: TryFrom<u64>>(word: Word<'_>, bounds: RangeInclusive<u64>) -> Result<(T, T), Mistake> {
    let (first, last) = word.text.split_once('-').unwrap_or((word.text, word.text));
    let number = |text| parse_number(text).filter(|number| bounds.contains(number));
    let wrong = || {
        let (low, high) = (bounds.start(), bounds.end());
        word.mistake(format!(
            "expected a number from {low} to {high}, or two like {low}-{high} with the lower one first"
        ))
    };
    let (first, last) = number(first).zip(number(last)).filter(|(first, last)| first <= last).ok_or_else(wrong)?;
    T::try_from(first).ok().zip(T::try_from(last).ok()).ok_or_else(wrong)
}

fn action(word: Word<'_>, words: &mut Words<'_>) -> Result<RuleAction, Mistake> {
    Ok(match word.text {
        "lookup" | "table" => RuleAction::Lookup(words.table(word)?),
        "l3mdev" => RuleAction::L3Mdev,
        "goto" => RuleAction::Goto(words.number(word, 1..=u64::from(u32::MAX))?),
        "nop" => RuleAction::Nop,
        "blackhole" => RuleAction::Blackhole,
        "unreachable" => RuleAction::Unreachable,
        "prohibit" => RuleAction::Prohibit,
        _ => return Err(refused(word)),
    })
}

/// The mistake of a word that is no option, with what to do instead.
fn refused(word: Word<'_>) -> Mistake {
    let message = match word.text {
        "proto" | "protocol" => "the protocol is vouchd's mark, by which it knows its own rules; leave `proto` out",
        "realms" | "realm" => "realms are not supported; use `fwmark`",
        "nat" | "map-to" => "rules that translate addresses are gone from Linux; use nftables",
        "tun_id" => "`tun_id` is not supported; use `fwmark`",
        "track_group" | "no_track" | "track" => {
            "a keyword of keepalived; leave it out: a rule that fails shows in `vouchd status`"
        }
        "add" | "del" | "delete" => "expected only what follows `ip rule add`",
        _ => return Words::unknown(word, &OPTIONS[..21]),
    };
    word.mistake(message)
}
