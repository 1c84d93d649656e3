use vouchd_check::testing::{FakeHost, Script};
use vouchd_check::{ProbeError, Verdict};

use super::*;

const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
const INFO: &[u8] = b"*2\r\n$4\r\nINFO\r\n$11\r\nreplication\r\n";
const MASTER: &str =
    "role:master\r\nconnected_slaves:1\r\nslave0:ip=10.0.0.2,port=6379,state=online,offset=1,lag=0\r\n";

fn replica(status: &str, seconds: u32) -> String {
    let key = if status == "up" { "last_io_seconds_ago" } else { "link_down_since_seconds" };
    format!(
        "role:slave\r\nmaster_host:10.0.0.1\r\nmaster_port:6379\r\nmaster_link_status:{status}\r\nmaster_{key}:{seconds}\r\n"
    )
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

fn serving(info: &str) -> Script {
    Script::new().expects(PING, "+PONG\r\n").expects(INFO, bulk(info))
}

fn host(script: Script) -> FakeHost {
    FakeHost::new()
        .on_connect_tcp(move |address| {
            assert_eq!(address, ADDRESS);
            Ok(script.clone().connection())
        })
        .on_read(|path| Ok((path == "/p").then(|| b"secret\n".to_vec())))
}

#[test]
fn role_replicas_and_silence_decide() {
    type Row = (String, &'static [(&'static str, &'static str)], Verdict, &'static str);
    let (up, down) = (replica("up", 3), replica("down", 40));
    let of = "replica of 10.0.0.1:6379, last contact 3 s ago";
    let cut = "replica of 10.0.0.1:6379, link down, last contact 40 s ago";
    let table: [Row; 10] = [
        (MASTER.to_owned(), &[], Verdict::Pass, "master with 1 replica"),
        (MASTER.to_owned(), &[("role", "master"), ("replicas", "1")], Verdict::Pass, "master with 1 replica"),
        (MASTER.to_owned(), &[("replicas", "2")], Verdict::Warn, "master with 1 replica, expected at least 2"),
        (MASTER.to_owned(), &[("role", "replica")], Verdict::Fail, "master with 1 replica, expected a replica"),
        (up.clone(), &[("role", "replica"), ("max_silence", "3s")], Verdict::Pass, of),
        (up.clone(), &[("max_silence", "2500ms")], Verdict::Fail, "last contact 3 s ago, expected at most 2.5 s"),
        (up, &[("role", "master")], Verdict::Fail, "last contact 3 s ago, expected a master"),
        (down.clone(), &[], Verdict::Warn, cut),
        (down.clone(), &[("max_silence", "1m")], Verdict::Warn, cut),
        (down, &[("max_silence", "30s")], Verdict::Fail, "last contact 40 s ago, expected at most 30 s"),
    ];
    for (info, params, verdict, message) in table {
        let report = host(serving(&info)).run(check, params).unwrap();
        assert_eq!(report.verdict, verdict, "{params:?}: {}", report.message);
        assert!(report.message.starts_with(ADDRESS) && report.message.ends_with(message), "{}", report.message);
        assert_eq!(report.metrics.len(), 1, "{:?}", report.metrics);
    }
}

#[test]
fn login_comes_first_and_a_rejected_one_is_an_error() {
    for (params, auth) in [
        (&[("password_file", "/p")][..], "*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n"),
        (&[("password_file", "/p"), ("user", "ann")], "*3\r\n$4\r\nAUTH\r\n$3\r\nann\r\n$6\r\nsecret\r\n"),
    ] {
        let script = Script::new().expects(auth, "+OK\r\n").expects(PING, "+PONG\r\n").expects(INFO, bulk(MASTER));
        assert_eq!(host(script).run(check, params).unwrap().verdict, Verdict::Pass, "{params:?}");
        let script = Script::new().expects(auth, "-WRONGPASS invalid username-password pair\r\n");
        let error = host(script).run(check, params).unwrap_err().to_string();
        assert!(error.contains("rejects the login: WRONGPASS") && !error.contains("secret"), "{error}");
    }
}

#[test]
fn server_that_does_not_serve_fails_and_one_that_rejects_us_is_an_error() {
    let said = |answer: &str| host(Script::new().expects(PING, answer)).run(check, &[]);
    for answer in ["-LOADING Redis is loading the dataset in memory", "-MASTERDOWN Link with MASTER is down", "-BUSY x"]
    {
        let report = said(&format!("{answer}\r\n")).unwrap();
        assert_eq!((report.verdict, report.message), (Verdict::Fail, format!("{ADDRESS}: {}", &answer[1..])));
    }
    for (answer, expected) in
        [("-NOAUTH Authentication required.", "expected `password_file`"), ("-NOPERM no", "rejects this check")]
    {
        let error = said(&format!("{answer}\r\n")).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let persistence = b"*2\r\n$4\r\nINFO\r\n$11\r\npersistence\r\n";
    let script =
        Script::new().expects(PING, "-LOADING x\r\n").expects(persistence, bulk("loading_loaded_perc:40.2\r\n"));
    let report = host(script).run(check, &[]).unwrap();
    assert_eq!(report, Report::fail(format!("{ADDRESS}: is loading its data set, 40% done")));
}

#[test]
fn other_service_or_cut_answer_fails() {
    for answer in ["", "\r\n", "+PONG", "PONG\r\n", "220 mail\r\n", "+PONGO\r\n", ":1\r\n", "*-1\r\n", "\u{0}\r\n"] {
        let report = host(Script::new().expects(PING, answer)).run(check, &[]).unwrap();
        assert_eq!(report.verdict, Verdict::Fail, "{answer:?}: {}", report.message);
    }
    let whole = bulk(MASTER);
    let lies = ["$-1\r\n", "$4294967295\r\n", "$99999999999\r\n", "$x\r\n", "$2\r\nrole:master\r\n", "$0\r\n\r\n"];
    for answer in (0..whole.len()).map(|end| &whole[..end]).chain(lies) {
        let script = Script::new().expects(PING, "+PONG\r\n").expects(INFO, answer);
        let report = host(script).run(check, &[]).unwrap();
        assert_eq!(report.verdict, Verdict::Fail, "{answer:?}: {}", report.message);
    }
    let host = FakeHost::new().on_connect_unix(|_| Err(ProbeError::Timeout));
    assert_eq!(host.run(check, &[("socket", "/r")]).unwrap(), Report::fail("/r: no answer in time"));
}

#[test]
fn parameters_that_make_no_sense_are_errors() {
    type Row = (&'static [(&'static str, &'static str)], &'static str);
    let table: [Row; 4] = [
        (&[("role", "slave")], "`role`: expected \"master\" or \"replica\", found \"slave\""),
        (&[("user", "ann")], "expected `password_file`"),
        (&[("password_file", "/q")], "`password_file`: /q: no such file"),
        (&[("tls", "true"), ("socket", "/r")], "expected `address` = \"host:port\", or `sni`"),
    ];
    for (params, expected) in table {
        let error = host(Script::new()).run(check, params).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
