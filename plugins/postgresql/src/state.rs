//! The role of a server, and how far a standby is behind, from its answers.

use vouchd_check::{Result, Verdict};
use vouchd_check_peer::{Finding, Lag, one_of};

use crate::session::Row;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Primary,
    /// In recovery: it replays the log of a primary.
    Standby,
}

pub(crate) const ROLE: &str = "SELECT pg_is_in_recovery()";

impl Role {
    /// Parses the parameter `role`.
    ///
    /// # Errors
    /// If it is another word.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        one_of("role", text, &[("primary", Role::Primary), ("standby", Role::Standby)])
    }

    /// Reads the answer to [`ROLE`]; `None` if it is something else.
    pub(crate) fn of(rows: &[Row]) -> Option<Self> {
        match rows.first()?.first()?.as_deref()? {
            "f" => Some(Role::Primary),
            "t" => Some(Role::Standby),
            _ => None,
        }
    }

    pub(crate) fn text(self) -> &'static str {
        match self {
            Role::Primary => "primary",
            Role::Standby => "standby",
        }
    }

    pub(crate) fn judge(self, wanted: Option<Role>) -> Finding {
        Finding::role(self.text(), wanted.map(Role::text))
    }
}

/// Asks whether a standby receives from a primary, and how many seconds it is behind. A standby that receives and has replayed
/// everything is not behind, however old the last transaction is.
pub(crate) const LAG: &str = "SELECT r.receives, CASE WHEN r.receives AND pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0 \
                       ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) END \
                       FROM (SELECT EXISTS (SELECT 1 FROM pg_stat_wal_receiver) AS receives) r";

/// Judges the answer to [`LAG`], and returns how many seconds the standby is behind; `None` if it is something else.
pub(crate) fn lag(rows: &[Row], bounds: Lag) -> Option<(Finding, Option<f64>)> {
    let [receives, seconds] = rows.first()?.as_slice() else { return None };
    let receives = match receives.as_deref()? {
        "t" => "",
        "f" => ", not receiving from a primary",
        _ => return None,
    };
    let Some(seconds) = seconds else {
        let text = format!("has replayed no transaction yet{receives}");
        return Some((Finding::new(Verdict::Fail, text), None));
    };
    // The clocks of two machines differ a little.
    let seconds = seconds.parse::<f64>().ok().filter(|seconds| seconds.is_finite())?.max(0.0);
    let (verdict, expected) = bounds.judge(seconds);
    Some((Finding::new(verdict, format!("{seconds:.1} s behind{expected}{receives}")), Some(seconds)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn row(values: &[Option<&str>]) -> Row {
        values.iter().map(|value| value.map(str::to_owned)).collect()
    }

    #[test]
    fn server_in_recovery_is_a_standby() {
        assert_eq!(Role::of(&[row(&[Some("f")])]), Some(Role::Primary));
        assert_eq!(Role::of(&[row(&[Some("t")])]), Some(Role::Standby));
        for rows in [vec![], vec![row(&[])], vec![row(&[None])], vec![row(&[Some("maybe")])]] {
            assert_eq!(Role::of(&rows), None);
        }
        let finding = Role::Standby.judge(Some(Role::Primary));
        assert_eq!(finding, Finding::new(Verdict::Fail, "standby, expected primary"));
        assert_eq!(Role::Standby.judge(None), Finding::new(Verdict::Pass, "standby"));
        assert!(Role::parse("master").is_err());
    }

    #[test]
    fn lag_of_a_standby_decides() {
        let bounds = Lag { warn: Some(Duration::from_secs(5)), fail: Some(Duration::from_secs(30)) };
        let table = [
            ("t", "0", Verdict::Pass, "0.0 s behind"),
            ("t", "-0.25", Verdict::Pass, "0.0 s behind"),
            ("t", "5.25", Verdict::Warn, "5.2 s behind, expected at most 5s"),
            ("f", "30.5", Verdict::Fail, "30.5 s behind, expected at most 30s, not receiving from a primary"),
            ("f", "1", Verdict::Pass, "1.0 s behind, not receiving from a primary"),
        ];
        for (receives, seconds, verdict, text) in table {
            let (finding, behind) = lag(&[row(&[Some(receives), Some(seconds)])], bounds).unwrap();
            assert_eq!(finding, Finding::new(verdict, text));
            assert_eq!(behind, Some(seconds.parse::<f64>().unwrap().max(0.0)));
        }
        let (finding, behind) = lag(&[row(&[Some("f"), None])], bounds).unwrap();
        assert_eq!((finding.verdict, behind), (Verdict::Fail, None));
        assert_eq!(finding.text, "has replayed no transaction yet, not receiving from a primary");
    }

    #[test]
    fn other_answers_are_none() {
        let bad = [
            vec![],
            vec![row(&[Some("t")])],
            vec![row(&[None, Some("1")])],
            vec![row(&[Some("t"), Some("NaN")])],
            vec![row(&[Some("t"), Some("x")])],
        ];
        for rows in bad {
            assert_eq!(lag(&rows, Lag::default()), None);
        }
    }
}
