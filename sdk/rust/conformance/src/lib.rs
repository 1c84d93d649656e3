//! Behaves as the parameter `do` says, for sdk/conformance: behaviours.py there says what each must show.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use serde::Deserialize;
use vouchd_check::{
    Connection, Context, Error, FileKind, HttpRequest, Level, ProbeError, ProcessQuery, Report, Result, TcpRequest,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    #[serde(rename = "do")]
    what: String,
    text: Option<String>,
    #[serde(default)]
    address: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    url: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    number: i32,
    #[serde(default)]
    insecure: bool,
    #[serde(default, deserialize_with = "vouchd_check::optional_duration")]
    timeout: Option<Duration>,
    #[serde(default)]
    #[expect(dead_code, reason = "only whether it can be read counts")]
    list: Vec<String>,
    #[serde(default)]
    #[expect(dead_code, reason = "only whether it can be read counts")]
    headers: BTreeMap<String, String>,
}

impl Params {
    fn said(&self) -> Result<&str> {
        self.text.as_deref().ok_or_else(|| Error::new("parameter `text` is missing"))
    }

    fn connect(&self, ctx: &Context) -> Result<Connection, ProbeError> {
        if self.path.is_empty() {
            ctx.connect_tcp(&self.address, self.timeout)
        } else {
            ctx.connect_unix(&self.path, self.timeout)
        }
    }
}

/// Why there is no report yet.
enum Stop {
    Unanswered(ProbeError),
    Check(Error),
}

impl From<ProbeError> for Stop {
    fn from(error: ProbeError) -> Self {
        Stop::Unanswered(error)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Check(error)
    }
}

/// Runs the check once.
///
/// # Errors
/// If a parameter makes no sense, or a probe could not be made.
pub fn check(ctx: &Context) -> Result<Report> {
    let params: Params = ctx.params()?;
    if let Some(report) = say(ctx, &params)? {
        return Ok(report);
    }
    match probe(ctx, &params) {
        Ok(report) => Ok(report),
        Err(Stop::Unanswered(error)) => error.or_fail(&params.what),
        Err(Stop::Check(error)) => Err(error),
    }
}

vouchd_check::check!(check);

/// The behaviours without a probe.
fn say(ctx: &Context, p: &Params) -> Result<Option<Report>> {
    let report = match p.what.as_str() {
        "pass" => Report::pass(p.said()?),
        "warn" => Report::warn(p.said()?),
        "fail" => Report::fail(p.said()?),
        "fault" => Report::fault(p.said()?),
        "error" => return Err(Error::new(p.said()?)),
        "adjust" => Report::pass("adjusted").adjust(i16::try_from(p.number).map_err(|e| Error::new(e.to_string()))?),
        "metrics" => Report::pass("measured")
            .metric("seconds", 0.25, "s")
            .metric("size", 1_048_576.0, "B")
            .metric("share", 99.5, "%")
            .metric("count", 3.0, "c")
            .metric("plain", -1.5, "")
            .metric("größe", 1.0, ""),
        "nan" => Report::pass("measured")
            .metric("nan", f64::NAN, "")
            .metric("inf", f64::INFINITY, "")
            .metric("fine", 1.0, ""),
        "panic" => Report::pass(Vec::<String>::new()[p.what.len()].clone()),
        "length" => Report::pass(format!("{} bytes", p.said()?.len())),
        "params" => {
            let all: Vec<_> = ctx.pairs().iter().skip(1).map(|(key, value)| format!("{key}={value}")).collect();
            Report::pass(all.join(" "))
        }
        "context" => Report::pass(format!("{} {}", ctx.name(), ctx.budget().as_millis())),
        "count" => {
            let runs = String::from_utf8_lossy(&ctx.recall()).parse().unwrap_or(0) + 1;
            ctx.remember(runs.to_string().as_bytes());
            Report::pass("counted").metric("runs", f64::from(runs), "c")
        }
        "bytes" => {
            let all: Vec<u8> = (0..=255).collect();
            let found = ctx.recall();
            ctx.remember(&all);
            if found.is_empty() || found == all {
                Report::pass(format!("{} bytes came back", found.len()))
            } else {
                Report::fail(format!("found {found:?}"))
            }
        }
        "remember" => {
            ctx.remember(&vec![0; usize::try_from(p.number).unwrap_or(0)]);
            Report::pass("remembers")
        }
        "log" => {
            for level in [Level::Debug, Level::Info, Level::Warn, Level::Error] {
                ctx.log(level, p.said()?);
            }
            Report::pass("said")
        }
        "flood" => {
            (0..1000).for_each(|number| ctx.log(Level::Info, &format!("line {number}")));
            Report::pass("said")
        }
        "clock" => Report::pass(ctx.now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis().to_string()),
        "loop" => loop {
            std::hint::black_box(0);
        },
        "memory" => {
            let mut held = Vec::new();
            loop {
                held.push(std::hint::black_box(vec![1_u8; 1 << 20]));
            }
        }
        "recurse" => Report::pass(deeper(p.number).to_string()),
        _ => return Ok(None),
    };
    Ok(Some(report))
}

fn deeper(n: i32) -> i32 {
    if n < 0 { 0 } else { deeper(std::hint::black_box(n + 1)) + std::hint::black_box(n) }
}

fn probe(ctx: &Context, p: &Params) -> Result<Report, Stop> {
    Ok(match p.what.as_str() {
        "process" => {
            let found = ctx.find_processes(&ProcessQuery::named(&p.name))?;
            let Some(first) = found.first() else { return Ok(Report::fail("none")) };
            let message = format!("{}: {} {}", found.len(), first.pid, first.name);
            Report::pass(message).metric("age", first.age.as_secs_f64(), "s")
        }
        "tcp" => {
            let reply = ctx.tcp(&TcpRequest {
                send: format!("{}\n", p.said()?).into_bytes(),
                until: Some(b"\n".to_vec()),
                max_bytes: 100_000,
                timeout: p.timeout,
                ..TcpRequest::connect(&p.address)
            })?;
            let message = format!("{} bytes: {}", reply.data.len(), String::from_utf8_lossy(&reply.data));
            Report::pass(message).metric("connect", reply.connect.as_secs_f64(), "s")
        }
        "http" => {
            let response = ctx.http(&HttpRequest {
                headers: vec![("x-question".to_owned(), "why".to_owned())],
                body: p.said()?.as_bytes().to_vec(),
                timeout: p.timeout,
                max_body_bytes: 100_000,
                tls_verify: !p.insecure,
                ..HttpRequest::new("POST", &p.url)
            })?;
            let answer = response.headers.iter().find(|(name, _)| name == "x-answer").map_or("", |(_, value)| value);
            let message = format!("{} {answer} {}", response.status, String::from_utf8_lossy(&response.body));
            Report::pass(message).metric("total", response.total.as_secs_f64(), "s")
        }
        "stat" => {
            let Some(info) = ctx.stat(&p.path)? else { return Ok(Report::warn("no such file")) };
            let kind = match info.kind {
                FileKind::File => "file",
                FileKind::Directory => "directory",
                FileKind::Other => "other",
            };
            Report::pass(kind).metric("size", info.size as f64, "B").metric("age", info.age.as_secs_f64(), "s")
        }
        "read" => {
            let most = u32::try_from(p.number).unwrap_or(0);
            let Some(data) = ctx.read(&p.path, most)? else { return Ok(Report::warn("no such file")) };
            let begin = String::from_utf8_lossy(&data[..data.len().min(20)]);
            Report::pass(format!("{} bytes: {begin}", data.len()))
        }
        "space" => {
            let space = ctx.space(&p.path)?;
            let fits = space.total >= space.available && space.inodes >= space.inodes_available;
            Report::pass(fits.to_string()).metric("total", space.total as f64, "B")
        }
        "resolve" => {
            let found: Vec<_> = ctx.resolve(&p.name, p.timeout)?.iter().map(ToString::to_string).collect();
            Report::pass(found.join(" "))
        }
        "links" => match ctx.links()?.iter().find(|link| link.name == p.name) {
            Some(link) => Report::pass(format!("{} up={} carrier={}", link.name, link.up, link.carrier)),
            None => Report::fail("no such link"),
        },
        "addresses" => match ctx.addresses()?.iter().find(|own| own.ip.to_string() == p.address) {
            Some(own) => Report::pass(format!("{} {}/{}", own.link, own.ip, own.prefix)),
            None => Report::fail("no such address"),
        },
        "talk" => {
            let mut peer = p.connect(ctx)?;
            let mut said = vec![line(&mut peer, p)?, line(&mut peer, p)?];
            peer.send(format!("SAY {}\r\n", p.said()?))?;
            said.push(line(&mut peer, p)?);
            Report::pass(said.join("|"))
        }
        "starttls" => {
            let mut peer = p.connect(ctx)?;
            peer.send("STARTTLS\r\n")?;
            line(&mut peer, p)?;
            let shown = peer.start_tls(&p.name, !p.insecure, None)?;
            peer.send(format!("SAY {}\r\n", p.said()?))?;
            let said = line(&mut peer, p)?;
            ctx.log(Level::Info, shown.problem.as_deref().unwrap_or_default());
            let names = shown.names.join(",");
            let days = shown.not_after.duration_since(shown.not_before).unwrap_or_default().as_secs_f64() / 86_400.0;
            Report::pass(format!("{} {} {} {names} {said}", shown.protocol, shown.subject, shown.issuer))
                .metric("days", days, "")
        }
        "many" => {
            for _ in 0..p.number {
                p.connect(ctx)?;
            }
            Report::pass(format!("{} connections", p.number))
        }
        "hoard" => {
            let held = (0..p.number).map(|_| p.connect(ctx)).collect::<Result<Vec<_>, _>>()?;
            Report::pass(format!("{} connections", held.len()))
        }
        what => return Err(Error::new(format!("parameter `do`: found {what:?}")).into()),
    })
}

/// The next line, without its end.
fn line(peer: &mut Connection, p: &Params) -> Result<String, ProbeError> {
    let line = peer.receive_until("\r\n", 100_000, p.timeout)?;
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}
