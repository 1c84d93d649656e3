//! Random reloads of an active router, while interfaces are renamed and the host's own addresses change. After each reload
//! the kernel has exactly the configured addresses and all of the host's own, no address that stays was off its interface,
//! and `status` agrees.
//!
//! `VOUCHD_FUZZ_RELOADS` sets the number of reloads (default 100; 300 take a minute or two), `VOUCHD_FUZZ_SEED` repeats a run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use vouchd_tests::addresses::{AddressWatch, Form, forms, permanent};
use vouchd_tests::host::Host;
use vouchd_tests::vouchd::{Files, Vouchd};
use vouchd_tests::wait::until;
use vouchd_tests::{Need, Node, Site, system_test};

const NODE: Node = Node::Nginx01;
const PATIENCE: Duration = Duration::from_secs(20);
const INTERFACES: [&str; 2] = ["lan0", "lan1"];
/// Their names while they are renamed.
const OTHER_NAMES: [&str; 2] = ["wan0", "wan1"];

/// splitmix64
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % sides as u64).expect("less than sides")
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.roll(100) < percent
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Instance {
    name: String,
    /// Index into [`INTERFACES`].
    interface: usize,
    vrid: u8,
    owner: bool,
    lease: bool,
    adopt: bool,
    addresses: BTreeMap<Ipv4Addr, u8>,
}

/// The interfaces: their indices, the host's own addresses, and whether they are renamed.
#[derive(Debug, Clone, Default)]
struct Machine {
    indices: [u32; 2],
    hosts: BTreeSet<Form>,
    renamed: [bool; 2],
}

/// For each address, whether vouchd holds it, and whether the host does.
type Held = BTreeMap<Ipv4Addr, (bool, bool)>;

/// What the kernel and `status` have to show.
#[derive(Debug, Default)]
struct Expected {
    forms: BTreeSet<Form>,
    /// By instance: whether it is active, and its addresses.
    instances: BTreeMap<String, (bool, Held)>,
    /// Who holds an address: an active virtual router (its interface and number), or the host (number 0).
    holders: BTreeMap<(u32, Ipv4Addr), (usize, u8)>,
}

fn own(interface: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 20 + u8::try_from(interface).expect("few"), 0, 1)
}

/// One of the few addresses from which all are taken, including the interface's own.
fn pool(interface: usize, dice: &mut Dice) -> Ipv4Addr {
    let last = [1, 100, 101, 102, 103, 104, 105, 106][dice.roll(8)];
    Ipv4Addr::new(10, 20 + u8::try_from(interface).expect("few"), 0, last)
}

fn configuration(dice: &mut Dice, before: &[Instance]) -> Vec<Instance> {
    let mut used = BTreeSet::new();
    let mut instances: Vec<Instance> = Vec::new();
    for position in 0..=dice.roll(4) {
        let known = before.get(position).filter(|_| dice.chance(80));
        let vrid = u8::try_from(position).expect("few") + 1;
        let interface = known.map_or_else(|| dice.roll(2), |it| it.interface);
        // Sometimes under another name.
        let name = if dice.chance(15) { format!("other{vrid}") } else { format!("i{vrid}") };
        let mut addresses = BTreeMap::new();
        if let Some(known) = known {
            addresses.extend(known.addresses.iter().map(|(address, prefix)| (*address, *prefix)));
            addresses.retain(|_, _| dice.chance(70));
        }
        while addresses.len() < 1 + dice.roll(5) {
            addresses.insert(pool(interface, dice), [24, 25, 32][dice.roll(3)]);
        }
        for prefix in addresses.values_mut() {
            if dice.chance(20) {
                *prefix = [24, 25, 32][dice.roll(3)];
            }
        }
        addresses.retain(|address, _| used.insert((interface, *address)));
        if addresses.is_empty() {
            continue;
        }
        let owner = dice.chance(25);
        let (lease, adopt) = (dice.chance(60), !owner && dice.chance(15));
        instances.push(Instance { name, interface, vrid, owner, lease, adopt, addresses });
    }
    if instances.is_empty() { before.to_vec() } else { instances }
}

fn text(instances: &[Instance]) -> String {
    let mut text = String::new();
    for it in instances {
        let addresses: Vec<_> = it.addresses.iter().map(|(address, prefix)| format!("{address}/{prefix}")).collect();
        let _ = write!(
            text,
            "[instance.{}]\ninterface = \"{}\"\nvirtual_router_id = {}\nversion = 3\nadvert_interval = \"200ms\"\n\
             priority = {}\naddresses = {addresses:?}\nlease = \"{}\"\nadopt = {}\n\n",
            it.name,
            INTERFACES[it.interface],
            it.vrid,
            if it.owner { 255 } else { 100 },
            if it.lease { "auto" } else { "off" },
            it.adopt,
        );
    }
    text
}

impl Machine {
    fn name(&self, interface: usize) -> &'static str {
        if self.renamed[interface] { OTHER_NAMES[interface] } else { INTERFACES[interface] }
    }

    /// Makes a random change to the host, and describes it. The interfaces' own addresses stay.
    fn change(&mut self, host: &Host, dice: &mut Dice) -> anyhow::Result<String> {
        let interface = dice.roll(2);
        let name = self.name(interface);
        match dice.roll(4) {
            0 => {
                self.renamed[interface] = !self.renamed[interface];
                let new = self.name(interface);
                host.sh(&format!("ip link set {name} down && ip link set {name} name {new} && ip link set {new} up"))?;
                Ok(format!("{name} is {new} now"))
            }
            1 => {
                let address = pool(interface, dice);
                if address == own(interface) {
                    return Ok("nothing".to_owned());
                }
                let prefix = [24, 32][dice.roll(2)];
                let form = Form { index: self.indices[interface], address, prefix };
                // If vouchd has the same form, the kernel rejects it.
                let added = host.sh(&format!("ip address add {address}/{prefix} dev {name}")).is_ok();
                if added {
                    self.hosts.insert(form);
                }
                Ok(format!("{address}/{prefix} on {name}: added {added}"))
            }
            2 => {
                let index = self.indices[interface];
                let extra = |form: &&Form| form.index == index && form.address != own(interface);
                let Some(form) = self.hosts.iter().find(extra).copied() else { return Ok("nothing".to_owned()) };
                // An adopting instance may have removed it.
                let removed = host.sh(&format!("ip address del {}/{} dev {name}", form.address, form.prefix)).is_ok();
                self.hosts.remove(&form);
                Ok(format!("{}/{} gone from {name}: {removed}", form.address, form.prefix))
            }
            _ => {
                let index = self.indices[interface];
                let held = forms(host)?;
                let ours = held.iter().find(|form| form.index == index && !self.hosts.contains(form));
                let Some(form) = ours else { return Ok("nothing".to_owned()) };
                // Its lease may expire at this moment.
                let _ = host.sh(&format!("ip address del {}/{} dev {name}", form.address, form.prefix));
                Ok(format!("deleted vouchd's {}/{} from {name}", form.address, form.prefix))
            }
        }
    }

    /// What the configuration makes of this machine. Adopted copies are no longer the host's.
    fn expected(&mut self, instances: &[Instance]) -> Expected {
        let mut expected = Expected::default();
        for it in instances {
            let index = self.indices[it.interface];
            let is_there = !self.renamed[it.interface];
            let copies = |hosts: &BTreeSet<Form>, address: Ipv4Addr| -> Vec<u8> {
                let here = hosts.iter().filter(|form| is_there && form.index == index && form.address == address);
                here.map(|form| form.prefix).collect()
            };
            let is_out = !it.owner && it.addresses.contains_key(&own(it.interface));
            let active = is_there && !is_out;
            if it.adopt && is_there {
                let adopted = |form: &Form| {
                    form.index == index && form.address != own(it.interface) && it.addresses.contains_key(&form.address)
                };
                self.hosts.retain(|form| !adopted(form));
            }
            let mut held = BTreeMap::new();
            for (address, prefix) in &it.addresses {
                let copies = copies(&self.hosts, *address);
                let host = if it.owner { !copies.is_empty() } else { copies.contains(prefix) };
                let ours = active && !host;
                if ours {
                    expected.forms.insert(Form { index, address: *address, prefix: *prefix });
                    expected.holders.insert((index, *address), (it.interface, it.vrid));
                }
                held.insert(*address, (ours, host));
            }
            expected.instances.insert(it.name.clone(), (active, held));
        }
        expected.forms.extend(&self.hosts);
        for form in &self.hosts {
            expected.holders.insert((form.index, form.address), (0, 0));
        }
        expected
    }
}

fn now(host: &Host, machine: &Machine) -> BTreeSet<Form> {
    let all = forms(host).unwrap_or_default();
    all.into_iter().filter(|form| machine.indices.contains(&form.index)).collect()
}

/// How the status differs from what is expected, if it does.
fn misfit(status: &Value, expected: &Expected) -> Option<String> {
    let instances = status["instances"].as_array()?;
    let names: BTreeSet<_> = instances.iter().filter_map(|it| it["name"].as_str()).collect();
    if names != expected.instances.keys().map(String::as_str).collect() {
        return Some(format!("instances {names:?}"));
    }
    for (name, (active, held)) in &expected.instances {
        let instance = instances.iter().find(|it| it["name"] == **name)?;
        if (instance["state"] == "active") != *active {
            return Some(format!("{name} is {}: {}", instance["state"], instance["reason"]));
        }
        for (address, (ours, host)) in held {
            let addresses = instance["addresses"].as_array()?;
            let Some(found) = addresses.iter().find(|it| it["address"] == address.to_string()) else {
                return Some(format!("{name} has no {address}"));
            };
            let fits = found["installed"] == *ours && (found["host"] == *host || !active);
            if !fits || (*active && !found["error"].is_null()) {
                return Some(format!("{name}: {found}, expected ours {ours}, the host's {host}"));
            }
        }
    }
    None
}

fn settled(host: &Host, machine: &Machine, vouchd: &Vouchd, expected: &Expected) -> anyhow::Result<()> {
    until("kernel and status to be as configured", PATIENCE, || {
        now(host, machine) == expected.forms && vouchd.status().is_ok_and(|status| misfit(&status, expected).is_none())
    })
    .with_context(|| {
        let status = vouchd.status();
        let misfit = status.as_ref().map(|status| misfit(status, expected));
        let (there, wanted) = (now(host, machine), &expected.forms);
        let missing: Vec<_> = wanted.difference(&there).collect();
        let surplus: Vec<_> = there.difference(wanted).collect();
        format!("missing {missing:?}, surplus {surplus:?}, status: {misfit:?}")
    })
}

fn run(site: &Site, seed: u64, reloads: usize) -> anyhow::Result<()> {
    let host = site.host(NODE);
    let mut dice = Dice(seed);
    let mut machine = Machine::default();
    for (at, name) in INTERFACES.iter().enumerate() {
        host.sh(&format!(
            "ip link add {name} type veth peer name {name}p && ip link set {name} up && ip link set {name}p up && \
             ip address add {}/24 dev {name}",
            own(at)
        ))?;
        machine.indices[at] = vouchd_tests::addresses::index(host, name)?;
        machine.hosts.insert(Form { index: machine.indices[at], address: own(at), prefix: 24 });
    }
    let mut instances = configuration(&mut dice, &[]);
    let vouchd = Vouchd::start_with(site, NODE, Files::without_builtins(site, NODE)?, "")?;
    let drop_in = vouchd.files.drop_in("instances.toml");
    std::fs::write(&drop_in, text(&instances))?;
    let watch = AddressWatch::start(host)?;
    let mut expected = machine.expected(&instances);
    settled(host, &machine, &vouchd, &expected)?;
    let mut what = String::new();
    for turn in 0..reloads {
        if dice.chance(40) {
            what = machine.change(host, &mut dice)?;
            expected = machine.expected(&instances);
            settled(host, &machine, &vouchd, &expected)
                .with_context(|| format!("reload {turn}: {what}\n{}", text(&instances)))?;
        }
        let (start, before) = (watch.count(), now(host, &machine));
        let new = configuration(&mut dice, &instances);
        let old = std::mem::replace(&mut instances, new);
        let was = std::mem::replace(&mut expected, machine.expected(&instances));
        let explained = || format!("reload {turn} after {what:?}, from\n{}to\n{}", text(&old), text(&instances));
        std::fs::write(&drop_in, text(&instances))?;
        if dice.chance(50) {
            vouchd.process.signal(Signal::SIGHUP);
        }
        settled(host, &machine, &vouchd, &expected).with_context(explained)?;
        // The host's before and after, or held before and afterwards by a virtual router that was active all the time.
        let stays = |key: &(u32, Ipv4Addr)| match (was.holders.get(key), expected.holders.get(key)) {
            (Some(before), Some((interface, vrid))) => {
                let ran = |it: &&Instance| (it.interface, it.vrid) == (*interface, *vrid);
                let was_active = old.iter().find(ran).is_some_and(|it| was.instances[&it.name].0);
                *before == (0, 0) && *vrid == 0 || *vrid != 0 && was_active
            }
            _ => false,
        };
        let off: Vec<_> = watch.went_off(start, &before).into_iter().filter(stays).collect();
        ensure!(off.is_empty(), "{off:?} went off: {}", explained());
    }
    ensure!(vouchd.stop()?.success());
    let left: BTreeSet<_> = now(host, &machine);
    ensure!(left == machine.hosts, "after the stop: {left:?}, expected {:?}", machine.hosts);
    let leased: Vec<_> = machine.hosts.difference(&permanent(host)?).copied().collect();
    ensure!(leased.is_empty(), "the host's own addresses have a lifetime: {leased:?}");
    Ok(())
}

#[test]
fn random_reloads_leave_exactly_the_configured_and_the_hosts_own_addresses() {
    system_test("random reloads", &[Need::Vouchd], |site| {
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let reloads = usize::try_from(number("VOUCHD_FUZZ_RELOADS").unwrap_or(100))?;
        let seed = number("VOUCHD_FUZZ_SEED").unwrap_or(20_261_130);
        let start = Instant::now();
        println!("seed {seed} (VOUCHD_FUZZ_SEED), {reloads} reloads (VOUCHD_FUZZ_RELOADS)");
        run(site, seed, reloads).with_context(|| format!("seed {seed}"))?;
        println!("{reloads} reloads in {:.1} s", start.elapsed().as_secs_f64());
        Ok(())
    });
}
