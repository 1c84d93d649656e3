//! The metrics of a route: `mtu`, `advmss` and their like (RTA_METRICS).

use std::fmt;

use crate::words::{Mistake, Word, Words, parse_number};

/// A metric of a route. The number is that of RTAX_* in linux/rtnetlink.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// The path MTU in bytes.
    Mtu = 2,
    /// The largest window in bytes.
    Window = 3,
    /// The initial round trip time, in 1/8 ms.
    Rtt = 4,
    /// The variance of the round trip time, in 1/4 ms.
    RttVar = 5,
    /// The slow start threshold, in segments.
    SsThresh = 6,
    /// The largest congestion window, in segments.
    Cwnd = 7,
    /// The largest segment to announce, in bytes.
    AdvMss = 8,
    /// Segments that may be out of order.
    Reordering = 9,
    /// The TTL or hop limit of packets.
    HopLimit = 10,
    /// The initial congestion window, in segments.
    InitCwnd = 11,
    /// RTAX_FEATURE_*: 1 is ECN.
    Features = 12,
    /// The shortest retransmission timeout, in ms.
    RtoMin = 13,
    /// The initial receive window, in segments.
    InitRwnd = 14,
    /// Whether to send acknowledgements at once.
    QuickAck = 15,
    /// Whether to use TCP Fast Open without a cookie.
    FastOpenNoCookie = 17,
}

/// The keyword and the largest value of each.
const METRICS: [(Metric, &str, u32); 15] = [
    (Metric::Mtu, "mtu", 65_535),
    (Metric::Window, "window", u32::MAX),
    (Metric::Rtt, "rtt", u32::MAX),
    (Metric::RttVar, "rttvar", u32::MAX),
    (Metric::SsThresh, "ssthresh", u32::MAX),
    (Metric::Cwnd, "cwnd", u32::MAX),
    (Metric::AdvMss, "advmss", 65_495),
    (Metric::Reordering, "reordering", u32::MAX),
    (Metric::HopLimit, "hoplimit", 255),
    (Metric::InitCwnd, "initcwnd", u32::MAX),
    (Metric::Features, "features", 1),
    (Metric::RtoMin, "rto_min", u32::MAX),
    (Metric::InitRwnd, "initrwnd", u32::MAX),
    (Metric::QuickAck, "quickack", 1),
    (Metric::FastOpenNoCookie, "fastopen_no_cookie", 1),
];

/// The only feature with a name in every release of iproute2.
const FEATURE_ECN: u32 = 1;

/// The metrics of a route.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Metrics {
    /// Each metric at most once, ordered.
    values: Vec<(Metric, u32)>,
    /// Bit n: the metric with the number n is locked, which the kernel then never changes.
    lock: u32,
    /// The algorithm for congestion control.
    congestion: Option<String>,
}

/// The number of `congctl` (RTAX_CC_ALGO).
const CC_ALGO: u32 = 16;

impl Metrics {
    /// Each metric with its value, ordered.
    pub fn values(&self) -> &[(Metric, u32)] {
        &self.values
    }

    /// RTAX_LOCK: bit n is set if the metric with the number n is locked.
    pub fn lock(&self) -> u32 {
        self.lock
    }

    /// The algorithm for congestion control.
    pub fn congestion(&self) -> Option<&str> {
        self.congestion.as_deref()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty() && self.congestion.is_none()
    }

    pub(crate) fn keywords() -> impl Iterator<Item = &'static str> {
        METRICS.iter().map(|(_, keyword, _)| *keyword).chain(["congctl"])
    }

    /// Reads a metric's value if the word names one.
    pub(crate) fn read(&mut self, word: Word<'_>, words: &mut Words<'_>) -> Result<bool, Mistake> {
        let twice = || word.mistake(format!("`{}` is written twice; remove one", word.text));
        if word.text == "congctl" {
            let locked = words.take("lock");
            let name = words.value(word, "the name of an algorithm, like cubic")?;
            // TCP_CA_NAME_MAX with its end.
            if name.text.len() > 15 {
                return Err(name.mistake("expected the name of an algorithm, at most 15 characters"));
            }
            if self.congestion.replace(name.text.to_owned()).is_some() {
                return Err(twice());
            }
            self.lock |= u32::from(locked) << CC_ALGO;
            return Ok(true);
        }
        let Some((metric, _, most)) = METRICS.iter().find(|(_, keyword, _)| *keyword == word.text) else {
            return Ok(false);
        };
        let locked = words.take("lock");
        let value = match metric {
            Metric::Features => features(word, words)?,
            Metric::Rtt => time(word, words, 8)?,
            Metric::RttVar => time(word, words, 4)?,
            Metric::RtoMin => time(word, words, 1)?,
            Metric::Mtu
            | Metric::Window
            | Metric::SsThresh
            | Metric::Cwnd
            | Metric::AdvMss
            | Metric::Reordering
            | Metric::HopLimit
            | Metric::InitCwnd
            | Metric::InitRwnd
            | Metric::QuickAck
            | Metric::FastOpenNoCookie => words.number(word, 0..=u64::from(*most))?,
        };
        if self.values.iter().any(|(other, _)| other == metric) {
            return Err(twice());
        }
        // The kernel takes 0 for "not set", and does not show it.
        if value != 0 || locked {
            self.values.push((*metric, value));
            self.values.sort_unstable();
            self.lock |= u32::from(locked) << (*metric as u32);
        }
        Ok(true)
    }
}

fn features(keyword: Word<'_>, words: &mut Words<'_>) -> Result<u32, Mistake> {
    let word = words.value(keyword, "`ecn`")?;
    if word.text == "ecn" { Ok(FEATURE_ECN) } else { Err(word.mistake("expected `ecn` after `features`")) }
}

/// A time with its unit, or a plain number in the kernel's unit, of which a millisecond has `parts`.
fn time(keyword: Word<'_>, words: &mut Words<'_>, parts: u64) -> Result<u32, Mistake> {
    let expected = "a time like 100ms or 1.5s";
    let word = words.value(keyword, expected)?;
    let milliseconds = |text: &str, unit: f64| {
        let value: f64 = text.parse().ok()?;
        (0.0..=1e9).contains(&value).then(|| (value * unit * parts as f64).round() as u64)
    };
    let value = match word.text {
        text if text.ends_with("ms") => milliseconds(text.trim_end_matches("ms"), 1.0),
        text if text.ends_with('s') => milliseconds(text.trim_end_matches('s'), 1000.0),
        text => parse_number(text),
    };
    let value = value.and_then(|value| u32::try_from(value).ok());
    value.ok_or_else(|| word.mistake(format!("expected {expected} after `{}`", keyword.text)))
}

/// With a space before each.
impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lock = |number: u32| if self.lock & (1 << number) == 0 { "" } else { "lock " };
        for (metric, value) in &self.values {
            let Some((_, keyword, _)) = METRICS.iter().find(|(other, _, _)| other == metric) else { continue };
            write!(f, " {keyword} {}", lock(*metric as u32))?;
            match metric {
                Metric::Features => f.write_str("ecn")?,
                _ => write!(f, "{value}")?,
            }
        }
        match &self.congestion {
            Some(name) => write!(f, " congctl {}{name}", lock(CC_ALGO)),
            None => Ok(()),
        }
    }
}
