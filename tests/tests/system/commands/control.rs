//! The control socket with idle clients, and with a router that hangs.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vouchd_tests::pair::Plan;
use vouchd_tests::vouchd::{Files, INSTANCE, Vouchd, config};
use vouchd_tests::wait::until;
use vouchd_tests::{Need, Node, Site, system_test};

const NEEDS: [Need; 1] = [Need::Vouchd];

fn start(site: &Site) -> anyhow::Result<Vouchd> {
    let plan = Plan { check: None, ..Plan::default() };
    let files = Files::without_builtins(site, Node::Nginx01)?;
    Vouchd::start_with(site, Node::Nginx01, files, &config(Node::Nginx01, &plan))
}

#[test]
fn idle_clients_do_not_block_status() {
    system_test("1500 idle clients", &NEEDS, |site| {
        let vouchd = start(site)?;
        let mut idle = Vec::new();
        for _ in 0..1_500 {
            let client = UnixStream::connect(vouchd.files.control())?;
            // Half of them write a part of a line.
            if idle.len() % 2 == 0 {
                let _ = (&client).write_all(b"sta");
            }
            idle.push(client);
            // Fewer at a time than a process may have open.
            if idle.len() >= 900 {
                idle.drain(..300);
            }
        }
        let asked = Instant::now();
        let status = vouchd.instance(INSTANCE)?;
        ensure!(asked.elapsed() < Duration::from_secs(1), "the answer took {:?}", asked.elapsed());
        ensure!(status["name"] == INSTANCE, "{status}");
        drop(idle);
        Ok(())
    });
}

#[test]
fn clients_that_do_not_read_do_not_block_others() {
    system_test("clients that never read", &NEEDS, |site| {
        let vouchd = start(site)?;
        let mut deaf = Vec::new();
        for _ in 0..64 {
            let mut client = UnixStream::connect(vouchd.files.control())?;
            // The daemon may have closed this connection in favour of a later one.
            let _ = client.write_all(b"status\n");
            deaf.push(client);
        }
        for _ in 0..5 {
            let asked = Instant::now();
            vouchd.status()?;
            ensure!(asked.elapsed() < Duration::from_secs(1), "the answer took {:?}", asked.elapsed());
        }
        Ok(())
    });
}

/// The answer of the socket to a line.
fn ask(vouchd: &Vouchd, line: &str) -> anyhow::Result<serde_json::Value> {
    let mut client = UnixStream::connect(vouchd.files.control())?;
    client.set_read_timeout(Some(Duration::from_secs(10)))?;
    client.write_all(line.as_bytes())?;
    let mut answer = String::new();
    client.read_to_string(&mut answer)?;
    serde_json::from_str(&answer).with_context(|| format!("not JSON: {answer:?}"))
}

#[test]
fn unknown_request_is_answered_with_the_known_ones() {
    system_test("unknown request", &NEEDS, |site| {
        let vouchd = start(site)?;
        let answer = ask(&vouchd, "reboot\n")?;
        ensure!(
            answer["error"].as_str().is_some_and(|error| error.contains("reboot") && error.contains("status")),
            "{answer}"
        );
        Ok(())
    });
}

/// The id of the thread of this name in a process.
fn thread(process: i32, name: &str) -> anyhow::Result<i32> {
    for task in std::fs::read_dir(format!("/proc/{process}/task"))?.flatten() {
        if std::fs::read_to_string(task.path().join("comm"))?.trim() == name {
            return Ok(task.file_name().to_string_lossy().parse()?);
        }
    }
    anyhow::bail!("no thread {name}")
}

/// Stops one thread of a process with ptrace, until it is dropped.
struct Stopped(Pid);

impl Stopped {
    fn new(thread: i32) -> anyhow::Result<Self> {
        let thread = Pid::from_raw(thread);
        nix::sys::ptrace::seize(thread, nix::sys::ptrace::Options::empty())?;
        nix::sys::ptrace::interrupt(thread)?;
        Ok(Self(thread))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = nix::sys::wait::waitpid(self.0, Some(nix::sys::wait::WaitPidFlag::__WALL));
        let _ = nix::sys::ptrace::detach(self.0, None);
    }
}

#[test]
fn hanging_thread_is_named_within_a_second() {
    system_test("one thread stopped", &NEEDS, |site| {
        let vouchd = start(site)?;
        for name in ["protocol", "health"] {
            let stopped = Stopped::new(thread(vouchd.process.pid(), name)?)?;
            let asked = Instant::now();
            let answer = ask(&vouchd, "status\n")?;
            let took = asked.elapsed();
            let error = answer["error"].as_str().unwrap_or_default();
            ensure!(error.contains(&format!("the {name} thread")), "{answer}");
            ensure!(took < Duration::from_secs(1), "the answer took {took:?}");
            drop(stopped);
            until("an answer again", Duration::from_secs(5), || vouchd.status().is_ok())?;
        }
        kill(Pid::from_raw(vouchd.process.pid()), Signal::SIGTERM)?;
        Ok(())
    });
}
