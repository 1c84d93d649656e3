//! The report of a WASI command, from its exit status and standard output.
//!
//! Output that begins with `{` is a report as a JSON object. Of other output the first line is the message, with Nagios
//! performance data after a `|` as metrics.

use serde::Deserialize;
use vouchd_config::ExitCodes;

use crate::contract::types::{Metric, Report, Verdict};

/// A report as a JSON object. The verdict defaults to that of the exit status.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct JsonReport {
    verdict: Option<JsonVerdict>,
    message: String,
    adjust: Option<i16>,
    metrics: Vec<JsonMetric>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum JsonVerdict {
    Pass,
    Warn,
    Fail,
    Fault,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonMetric {
    name: String,
    value: f64,
    #[serde(default)]
    unit: String,
}

/// The answer of a command that exited: a report, or why the check could not be carried out.
pub(in crate::run) fn answer(status: i32, codes: ExitCodes, printed: &str) -> Result<Report, String> {
    let printed = printed.trim();
    let report = if printed.starts_with('{') { json(printed)? } else { plain(printed) };
    let message = if report.message.is_empty() { format!("exit status {status}") } else { report.message };
    let Some(by_status) = verdict(status, codes) else { return Err(message) };
    let verdict = match (report.verdict, by_status) {
        (None, by_status) => by_status,
        (Some(JsonVerdict::Pass), Verdict::Pass) => Verdict::Pass,
        (Some(JsonVerdict::Pass), _) => {
            return Err(format!("the command reports pass but ends with exit status {status}; one of them is wrong"));
        }
        (Some(JsonVerdict::Warn), _) => Verdict::Warn,
        (Some(JsonVerdict::Fail), _) => Verdict::Fail,
        (Some(JsonVerdict::Fault), _) => Verdict::Fault,
    };
    let metric = |m: JsonMetric| Metric { name: m.name, value: m.value, unit: m.unit };
    let metrics = report.metrics.into_iter().map(metric).collect();
    Ok(Report { verdict, message, adjust: report.adjust, metrics })
}

/// The verdict of an exit status. `None`: the check could not be carried out.
fn verdict(status: i32, codes: ExitCodes) -> Option<Verdict> {
    match (codes, status) {
        (_, 0) => Some(Verdict::Pass),
        (ExitCodes::Nagios, 1) => Some(Verdict::Warn),
        (ExitCodes::Nagios, 3) => None,
        (ExitCodes::Plain | ExitCodes::Nagios, _) => Some(Verdict::Fail),
    }
}

fn json(printed: &str) -> Result<JsonReport, String> {
    serde_json::from_str(printed).map_err(|error| {
        format!(
            "what the command printed begins like a report in JSON, but can't be read as one: {error}; expected \
             {{\"verdict\": \"pass\", \"message\": \"…\"}}, and optionally `adjust` and `metrics`"
        )
    })
}

fn plain(printed: &str) -> JsonReport {
    let first = printed.lines().next().unwrap_or_default();
    let (message, data) = first.split_once('|').unwrap_or((first, ""));
    JsonReport { message: message.trim().to_owned(), metrics: performance_data(data), ..JsonReport::default() }
}

/// Reads `'label'=value[unit];[warn];[crit];[min];[max]`, separated by blanks. Skips what is not of that form.
fn performance_data(mut data: &str) -> Vec<JsonMetric> {
    let mut metrics = Vec::new();
    loop {
        data = data.trim_start();
        if data.is_empty() {
            return metrics;
        }
        let Some((name, rest)) = label(data) else { return metrics };
        let (field, rest) = rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len()));
        data = rest;
        let number = field.split(';').next().unwrap_or_default();
        let digits = number.trim_end_matches(|c: char| c.is_alphabetic() || c == '%');
        // Not a number: `U` stands for an unknown value.
        let Ok(value) = digits.parse::<f64>() else { continue };
        let (factor, unit) = unit(&number[digits.len()..]);
        metrics.push(JsonMetric { name, value: value * factor, unit: unit.to_owned() });
    }
}

/// Splits off the label before a `=`.
fn label(data: &str) -> Option<(String, &str)> {
    let Some(mut quoted) = data.strip_prefix('\'') else {
        return data.split_once('=').map(|(name, rest)| (name.to_owned(), rest));
    };
    let mut name = String::new();
    loop {
        let (part, rest) = quoted.split_once('\'')?;
        name.push_str(part);
        match rest.strip_prefix('\'') {
            // Two quotes stand for one.
            Some(more) => {
                name.push('\'');
                quoted = more;
            }
            None => return rest.strip_prefix('=').map(|rest| (name, rest)),
        }
    }
}

/// Converts multiples of seconds and bytes to the base unit: the factor and the unit.
fn unit(printed: &str) -> (f64, &str) {
    const KIB: f64 = 1024.0;
    match printed {
        "ms" => (1e-3, "s"),
        "us" => (1e-6, "s"),
        "KB" => (KIB, "B"),
        "MB" => (KIB * KIB, "B"),
        "GB" => (KIB * KIB * KIB, "B"),
        "TB" => (KIB * KIB * KIB * KIB, "B"),
        other => (1.0, other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_status_is_the_verdict() {
        use ExitCodes::{Nagios, Plain};
        let table = [
            (Plain, 0, Some(Verdict::Pass)),
            (Plain, 1, Some(Verdict::Fail)),
            (Plain, 3, Some(Verdict::Fail)),
            (Plain, 255, Some(Verdict::Fail)),
            (Nagios, 0, Some(Verdict::Pass)),
            (Nagios, 1, Some(Verdict::Warn)),
            (Nagios, 2, Some(Verdict::Fail)),
            (Nagios, 3, None),
            (Nagios, 4, Some(Verdict::Fail)),
            (Nagios, 134, Some(Verdict::Fail)),
            (Nagios, -1, Some(Verdict::Fail)),
        ];
        for (codes, status, expected) in table {
            let found = answer(status, codes, "text\nmore");
            match expected {
                Some(verdict) => {
                    let report = found.unwrap();
                    assert_eq!((report.verdict, report.message.as_str()), (verdict, "text"), "{codes:?} {status}");
                }
                None => assert_eq!(found.unwrap_err(), "text"),
            }
        }
    }

    #[test]
    fn silent_command_has_its_exit_status_as_message() {
        assert_eq!(answer(7, ExitCodes::Plain, " \n").unwrap().message, "exit status 7");
    }

    #[test]
    fn performance_data_become_metrics_in_base_units() {
        type Metrics<'a> = &'a [(&'a str, f64, &'a str)];
        let table: [(&str, Metrics); 8] = [
            ("OK - fine", &[]),
            ("OK|time=12ms;100;200;0", &[("time", 0.012, "s")]),
            ("OK | a=1 b=2.5%;;;0;100", &[("a", 1.0, ""), ("b", 2.5, "%")]),
            ("OK | '/var lib'=3MB 'it''s'=4c", &[("/var lib", 3.0 * 1048576.0, "B"), ("it's", 4.0, "c")]),
            ("OK | unknown=U next=1", &[("next", 1.0, "")]),
            ("OK | a=1 stray", &[("a", 1.0, "")]),
            ("OK | 'open=1", &[]),
            ("OK | =|;'", &[]),
        ];
        for (line, expected) in table {
            let metrics = answer(0, ExitCodes::Plain, line).unwrap().metrics;
            let found: Vec<_> = metrics.iter().map(|m| (m.name.as_str(), m.value, m.unit.as_str())).collect();
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn json_object_is_a_whole_report() {
        let printed = r#"{"verdict": "warn", "message": "slow", "adjust": -7, "metrics": [{"name": "t", "value": 1}]}"#;
        let report = answer(0, ExitCodes::Plain, printed).unwrap();
        assert_eq!((report.verdict, report.message.as_str(), report.adjust), (Verdict::Warn, "slow", Some(-7)));
        assert_eq!(report.metrics[0].name, "t");
        let report = answer(1, ExitCodes::Plain, r#"{"message": "down"}"#).unwrap();
        assert_eq!((report.verdict, report.message.as_str()), (Verdict::Fail, "down"));
    }

    #[test]
    fn contradictory_report_is_an_error() {
        let table = [
            (0, r#"{"verdict": "great"}"#, "begins like a report in JSON"),
            (0, r#"{"verdict": "pass""#, "begins like a report in JSON"),
            (0, r#"{"status": "pass"}"#, "begins like a report in JSON"),
            (1, r#"{"verdict": "pass"}"#, "exit status 1"),
        ];
        for (status, printed, expected) in table {
            let error = answer(status, ExitCodes::Plain, printed).unwrap_err();
            assert!(error.contains(expected), "{printed}: {error}");
        }
    }
}
