//! The role of a server, and the progress of its start, from its answer to `INFO`.

use std::fmt;

use vouchd_check::{Report, Result};
use vouchd_check_peer::one_of;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Master,
    Replica,
}

impl Role {
    /// Parses the parameter `role`.
    ///
    /// # Errors
    /// If it is another word.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        one_of("role", text, &[("master", Role::Master), ("replica", Role::Replica)])
    }

    pub(crate) fn text(self) -> &'static str {
        match self {
            Role::Master => "master",
            Role::Replica => "replica",
        }
    }
}

/// The answer to `INFO replication`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Info {
    Master {
        /// The replicas that are connected and have received all data.
        replicas: u32,
    },
    Replica {
        /// `host:port`.
        master: String,
        /// Seconds since its last contact to the master; `None` if there never was one.
        silence: Option<u64>,
        is_linked: bool,
        /// Whether it receives all data again.
        is_syncing: bool,
    },
}

impl Info {
    /// `None` if the text says something else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let value = |key: &str| value(text, key);
        let number = |key: &str| value(key).and_then(|number| number.parse::<u64>().ok());
        match value("role")? {
            "master" => {
                let is_online = |line: &&str| {
                    let replica = line.strip_prefix("slave").and_then(|line| line.split_once(':'));
                    replica.is_some_and(|(number, state)| {
                        number.parse::<u32>().is_ok() && state.split(',').any(|word| word == "state=online")
                    })
                };
                let replicas = u32::try_from(text.lines().filter(is_online).count()).unwrap_or(u32::MAX);
                Some(Info::Master { replicas })
            }
            "slave" => {
                let name: String = value("master_host")?.chars().filter(|c| !c.is_control()).take(255).collect();
                let is_linked = value("master_link_status")? == "up";
                let silence =
                    number(if is_linked { "master_last_io_seconds_ago" } else { "master_link_down_since_seconds" });
                let is_syncing = value("master_sync_in_progress") == Some("1");
                Some(Info::Replica {
                    master: format!("{name}:{}", number("master_port")?),
                    silence,
                    is_linked,
                    is_syncing,
                })
            }
            _ => None,
        }
    }

    pub(crate) fn role(&self) -> Role {
        match self {
            Info::Master { .. } => Role::Master,
            Info::Replica { .. } => Role::Replica,
        }
    }

    /// Adds the metrics to a report.
    pub(crate) fn measured(&self, report: Report) -> Report {
        match self {
            Info::Master { replicas } => report.metric("replicas", f64::from(*replicas), ""),
            Info::Replica { silence: Some(seconds), .. } => report.metric("silence", *seconds as f64, "s"),
            Info::Replica { silence: None, .. } => report,
        }
    }
}

impl fmt::Display for Info {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Info::Master { replicas: 1 } => f.write_str("master with 1 replica"),
            Info::Master { replicas } => write!(f, "master with {replicas} replicas"),
            Info::Replica { master, silence, is_linked, is_syncing } => {
                let link = match (is_linked, is_syncing) {
                    (true, _) => "",
                    (false, true) => ", full synchronization in progress",
                    (false, false) => ", link down",
                };
                write!(f, "replica of {master}{link}")?;
                match silence {
                    Some(seconds) => write!(f, ", last contact {seconds} s ago"),
                    None => f.write_str(", no contact yet"),
                }
            }
        }
    }
}

/// The percentage of the data set that a starting server has loaded, from `INFO persistence`.
pub(crate) fn loaded(text: &str) -> Option<u32> {
    let share: f64 = value(text, "loading_loaded_perc")?.parse().ok()?;
    (0.0..=100.0).contains(&share).then_some(share as u32)
}

fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLICA: &str = "# Replication\r\nrole:slave\r\nmaster_host:10.0.0.1\r\nmaster_port:6379\r\n\
        master_link_status:up\r\nmaster_last_io_seconds_ago:3\r\nmaster_sync_in_progress:0\r\nslave_repl_offset:14\r\n";

    #[test]
    fn only_online_replicas_count() {
        let text = "role:master\r\nconnected_slaves:2\r\nslave0:ip=::1,port=1,state=online,offset=1,lag=0\r\n\
            slave1:ip=::1,port=2,state=wait_bgsave,offset=0,lag=0\r\nslave_x:state=online\r\n";
        assert_eq!(Info::parse(text), Some(Info::Master { replicas: 1 }));
        assert_eq!(Info::Master { replicas: 2 }.to_string(), "master with 2 replicas");
    }

    #[test]
    fn replica_reports_its_link() {
        let text_of = |text: &str| Info::parse(text).unwrap().to_string();
        assert_eq!(text_of(REPLICA), "replica of 10.0.0.1:6379, last contact 3 s ago");
        let down =
            REPLICA.replace("status:up", "status:down").replace("last_io_seconds_ago", "link_down_since_seconds");
        assert_eq!(text_of(&down), "replica of 10.0.0.1:6379, link down, last contact 3 s ago");
        let syncing = down.replace("progress:0", "progress:1").replace(":3", ":-1");
        assert_eq!(text_of(&syncing), "replica of 10.0.0.1:6379, full synchronization in progress, no contact yet");
    }

    #[test]
    fn cut_or_other_text_has_no_role() {
        for text in ["", "role", "role:", "role:sentinel", "role:slave", "role:slave\r\nmaster_host:x\r\nmaster_port:x"]
        {
            assert_eq!(Info::parse(text), None, "{text:?}");
        }
        for end in 0..REPLICA.len() {
            // No cut makes it panic.
            let _ = Info::parse(&REPLICA[..end]).map(|info| info.to_string());
        }
    }

    #[test]
    fn loaded_share_is_a_percentage() {
        assert_eq!(loaded("loading:1\r\nloading_loaded_perc:12.94\r\n"), Some(12));
        for text in ["", "loading_loaded_perc:x", "loading_loaded_perc:nan", "loading_loaded_perc:101"] {
            assert_eq!(loaded(text), None, "{text:?}");
        }
    }
}
