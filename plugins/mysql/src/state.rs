//! The role, the replication and the Galera state of a server, from its answers.

use vouchd_check::{Result, Verdict};
use vouchd_check_peer::{Finding, Lag, one_of};

use crate::rows::Row;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Writable,
    ReadOnly,
}

impl Role {
    /// Parses the parameter `role`.
    ///
    /// # Errors
    /// If it is another word.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        one_of("role", text, &[("writable", Role::Writable), ("read-only", Role::ReadOnly)])
    }

    /// Reads the answer to `SELECT @@global.read_only`. Newer servers have more than two values.
    pub(crate) fn of(rows: &[Row]) -> Option<Self> {
        let (_, value) = rows.first()?.first()?;
        match value.as_deref()? {
            "0" | "OFF" => Some(Role::Writable),
            _ => Some(Role::ReadOnly),
        }
    }

    pub(crate) fn text(self) -> &'static str {
        match self {
            Role::Writable => "writable",
            Role::ReadOnly => "read-only",
        }
    }

    pub(crate) fn judge(self, wanted: Option<Role>) -> Finding {
        Finding::role(self.text(), wanted.map(Role::text))
    }
}

fn value<'a>(row: &'a Row, names: &[&str]) -> Option<&'a str> {
    row.iter().find(|(name, _)| names.contains(&name.as_str())).and_then(|(_, value)| value.as_deref())
}

/// Judges the answer to `SHOW REPLICA STATUS`, which has a row per source. Also returns how many seconds the slowest is behind.
pub(crate) fn replication(rows: &[Row], role: Role, bounds: Lag) -> (Finding, Option<u64>) {
    if rows.is_empty() {
        // A source is never behind. A read-only server without a source is a replica that has lost it.
        let finding = match role {
            Role::Writable => Finding::new(Verdict::Pass, "not a replica"),
            Role::ReadOnly => Finding::new(Verdict::Fail, "has no replication source"),
        };
        return (finding, None);
    }
    let mut worst = 0;
    for row in rows {
        let behind = value(row, &["Seconds_Behind_Source", "Seconds_Behind_Master"]);
        let Some(behind) = behind.and_then(|seconds| seconds.parse().ok()) else {
            return (Finding::new(Verdict::Fail, stopped(row)), None);
        };
        worst = worst.max(behind);
    }
    let (verdict, expected) = bounds.judge(worst as f64);
    (Finding::new(verdict, format!("{worst} s behind{expected}")), Some(worst))
}

/// Says which of the replica's threads do not run, and why.
fn stopped(row: &Row) -> String {
    let mut text = "replication has stopped".to_owned();
    let threads = [
        ("receiver", ["Replica_IO_Running", "Slave_IO_Running"]),
        ("applier", ["Replica_SQL_Running", "Slave_SQL_Running"]),
    ];
    for (thread, names) in threads {
        if let Some(state) = value(row, &names).filter(|state| *state != "Yes") {
            text += &format!(", {thread}: {state}");
        }
    }
    let errors = ["Last_IO_Error", "Last_SQL_Error"];
    if let Some(error) = errors.iter().find_map(|name| value(row, &[*name]).filter(|error| !error.is_empty())) {
        text += &format!(" ({})", vouchd_check_peer::quoted(error.as_bytes()));
    }
    text
}

/// The query for the state of a Galera node.
pub(crate) const GALERA: &str = "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_ready', 'wsrep_local_state', \
                          'wsrep_local_state_comment', 'wsrep_cluster_status', 'wsrep_cluster_size')";

/// Judges the answer to [`GALERA`].
pub(crate) fn galera(rows: &[Row]) -> Finding {
    let status = |wanted: &str| {
        let row = rows.iter().find(|row| row.first().is_some_and(|(_, name)| name.as_deref() == Some(wanted)))?;
        row.get(1)?.1.as_deref().filter(|value| !value.is_empty())
    };
    let cluster = status("wsrep_cluster_status").unwrap_or("Disconnected");
    let Some(state) = status("wsrep_local_state").filter(|_| cluster != "Disconnected") else {
        return Finding::new(Verdict::Fail, "not a node of a Galera cluster");
    };
    let name = status("wsrep_local_state_comment").unwrap_or(state);
    let size = status("wsrep_cluster_size").unwrap_or("?");
    let text = format!("{name} in a cluster of {size}");
    if cluster != "Primary" {
        return Finding::new(Verdict::Fail, format!("{text}, which is {cluster}, expected Primary"));
    }
    if status("wsrep_ready") != Some("ON") {
        return Finding::new(Verdict::Fail, format!("{text}, not ready for queries"));
    }
    match state {
        "4" => Finding::new(Verdict::Pass, text),
        // It feeds another node: it serves, but may lag behind.
        "2" => Finding::new(Verdict::Warn, text),
        _ => Finding::new(Verdict::Fail, format!("{text}, expected Synced")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn row(pairs: &[(&str, Option<&str>)]) -> Row {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect()
    }

    #[test]
    fn role_is_read_from_the_variable() {
        for (value, role) in [
            ("0", Role::Writable),
            ("OFF", Role::Writable),
            ("1", Role::ReadOnly),
            ("ON", Role::ReadOnly),
            ("NO_LOCK_NO_ADMIN", Role::ReadOnly),
        ] {
            assert_eq!(Role::of(&[row(&[("@@global.read_only", Some(value))])]), Some(role), "{value}");
        }
        for rows in [vec![], vec![row(&[])], vec![row(&[("@@global.read_only", None)])]] {
            assert_eq!(Role::of(&rows), None);
        }
        assert_eq!(Role::ReadOnly.judge(None), Finding::new(Verdict::Pass, "read-only"));
        let finding = Role::ReadOnly.judge(Some(Role::Writable));
        assert_eq!(finding, Finding::new(Verdict::Fail, "read-only, expected writable"));
        assert!(Role::parse("master").is_err());
    }

    #[test]
    fn slowest_source_decides() {
        let bounds = Lag { warn: Some(Duration::from_secs(5)), fail: Some(Duration::from_secs(30)) };
        let behind = |seconds: &'static str| row(&[("Seconds_Behind_Master", Some(seconds))]);
        let table = [
            (vec![behind("0")], Verdict::Pass, "0 s behind", Some(0)),
            (vec![behind("5")], Verdict::Pass, "5 s behind", Some(5)),
            (vec![behind("6")], Verdict::Warn, "6 s behind, expected at most 5s", Some(6)),
            (vec![behind("1"), behind("31")], Verdict::Fail, "31 s behind, expected at most 30s", Some(31)),
            (vec![], Verdict::Fail, "has no replication source", None),
        ];
        for (rows, verdict, text, lag) in table {
            assert_eq!(replication(&rows, Role::ReadOnly, bounds), (Finding::new(verdict, text), lag));
        }
        let (finding, _) = replication(&[], Role::Writable, bounds);
        assert_eq!(finding, Finding::new(Verdict::Pass, "not a replica"));
    }

    #[test]
    fn stopped_replication_says_where_and_why() {
        let stopped = row(&[
            ("Replica_IO_Running", Some("Connecting")),
            ("Replica_SQL_Running", Some("Yes")),
            ("Seconds_Behind_Source", None),
            ("Last_IO_Error", Some("error connecting to source")),
        ]);
        let (finding, lag) = replication(&[stopped], Role::ReadOnly, Lag::default());
        assert_eq!((finding.verdict, lag), (Verdict::Fail, None));
        assert_eq!(finding.text, "replication has stopped, receiver: Connecting (error connecting to source)");
    }

    #[test]
    fn galera_node_serves_while_synced_with_the_majority() {
        let status = |ready, state, comment, cluster| {
            [
                ("wsrep_local_state", state),
                ("wsrep_local_state_comment", comment),
                ("wsrep_cluster_size", "3"),
                ("wsrep_cluster_status", cluster),
                ("wsrep_ready", ready),
            ]
            .map(|(name, value)| row(&[("Variable_name", Some(name)), ("Value", Some(value))]))
        };
        let table = [
            (status("ON", "4", "Synced", "Primary"), Verdict::Pass, "Synced in a cluster of 3"),
            (status("ON", "2", "Donor/Desynced", "Primary"), Verdict::Warn, "Donor/Desynced in a cluster of 3"),
            (status("ON", "3", "Joined", "Primary"), Verdict::Fail, "Joined in a cluster of 3, expected Synced"),
            (status("OFF", "4", "Synced", "Primary"), Verdict::Fail, "Synced in a cluster of 3, not ready for queries"),
            (
                status("ON", "4", "Synced", "non-Primary"),
                Verdict::Fail,
                "Synced in a cluster of 3, which is non-Primary, expected Primary",
            ),
            (
                status("OFF", "0", "Initialized", "non-Primary"),
                Verdict::Fail,
                "Initialized in a cluster of 3, which is non-Primary, expected Primary",
            ),
            (status("OFF", "", "", ""), Verdict::Fail, "not a node of a Galera cluster"),
            (status("OFF", "0", "Initialized", "Disconnected"), Verdict::Fail, "not a node of a Galera cluster"),
        ];
        for (rows, verdict, text) in table {
            assert_eq!(galera(&rows), Finding::new(verdict, text));
        }
        assert_eq!(galera(&[]).verdict, Verdict::Fail);
    }
}
