//! Nothing that others send fills the log, or causes endless answers and announcements.

use std::time::{Duration, Instant};

use anyhow::ensure;
use vouchd_tests::capture::Capture;
use vouchd_tests::frame::{GROUP, Message, Packet};
use vouchd_tests::injector::Injector;
use vouchd_tests::vouchd::{Files, Vouchd};
use vouchd_tests::wait::sleep_until;
use vouchd_tests::{Need, Node, Site, VIP, system_test};

const NODE: Node = Node::Nginx01;
const VRID: u8 = 55;
const PATIENCE: Duration = Duration::from_secs(10);

fn start(site: &Site, interval: &str) -> anyhow::Result<Vouchd> {
    let config = format!(
        "[instance.web]\ninterface = \"ens33\"\nvirtual_router_id = {VRID}\nversion = 3\npriority = 100\n\
         advert_interval = \"{interval}\"\naddresses = [\"{VIP}\"]\n"
    );
    let vouchd = Vouchd::start_with(site, NODE, Files::without_builtins(site, NODE)?, &config)?;
    vouchd.wait_state("web", "active", PATIENCE)?;
    Ok(vouchd)
}

/// Sends 3,000 messages at up to 1,000 per second, and returns how long that took.
fn flood(site: &Site, mut message: impl FnMut(u16) -> Message) -> anyhow::Result<Duration> {
    let injector = Injector::new(site)?;
    let source = Node::Intruder.address();
    let start = Instant::now();
    for turn in 0..3_000u16 {
        injector.send(&Packet::multicast(source, message(turn).bytes(source, GROUP)))?;
        sleep_until(start + Duration::from_millis(u64::from(turn)));
    }
    Ok(start.elapsed())
}

fn lines(vouchd: &Vouchd, text: &str) -> usize {
    vouchd.process.log().lines().filter(|line| line.contains(text)).count()
}

#[test]
fn flipping_intervals_and_address_lists_are_logged_once_a_second_with_a_count() {
    system_test("differences that flip", &[Need::Vouchd], |site| {
        let vouchd = start(site, "1s")?;
        let model = Message::v3(VRID, 50, VIP);
        let took = flood(site, |turn| Message { interval: 100 + 1 + turn % 2, ..model.clone() })?;
        let most = usize::try_from(took.as_secs())? + 2;
        let logged = lines(&vouchd, "advertises every");
        ensure!((1..=most).contains(&logged), "{logged} lines about the interval in {took:?}");
        let took = flood(site, |turn| {
            let addresses = vec![VIP, [10, 9, 0, u8::try_from(turn % 200).unwrap_or(0)].into()];
            Message { count: 2, addresses, ..model.clone() }
        })?;
        let most = usize::try_from(took.as_secs())? + 2;
        let logged = lines(&vouchd, "set the same addresses on both");
        ensure!((1..=most).contains(&logged), "{logged} lines about the addresses in {took:?}");
        ensure!(lines(&vouchd, " more in the last ") > 0, "no count of the lines that were left out");
        Ok(())
    });
}

#[test]
fn flood_of_lower_advertisements_at_10_ms_gets_few_answers_and_announcements() {
    system_test("lower advertisements at 10 ms", &[Need::Vouchd], |site| {
        let vouchd = start(site, "10ms")?;
        let capture = Capture::start(site)?;
        let (begin, before) = (Instant::now(), lines(&vouchd, "active too"));
        let took = flood(site, |_| Message { interval: 1, ..Message::v3(VRID, 50, VIP) })?;
        let seconds = usize::try_from(took.as_secs())? + 1;
        let (sent, announced) =
            (capture.advertisements(NODE, VRID, begin).len(), capture.announcements(NODE, VIP, begin).len());
        println!("{sent} advertisements, {announced} announcements in {took:?}");
        ensure!(sent <= 115 * seconds, "{sent} advertisements in {took:?}");
        // Three rounds per second of five frames each, and the round that was due anyway.
        ensure!(announced <= 5 * (3 * seconds + 1), "{announced} announcements in {took:?}");
        let logged = lines(&vouchd, "active too") - before;
        ensure!(logged <= seconds + 1, "{logged} lines in {took:?}");
        vouchd.wait_state("web", "active", PATIENCE)
    });
}
