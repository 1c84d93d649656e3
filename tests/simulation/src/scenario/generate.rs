//! Scenarios from seeds.

use std::time::Duration;

use vouchd_vrrp::Stage;
use vouchd_vrrp::wire::Version;

use super::{Change, Event, Kind, Scenario, Spec, Step, Stray};
use crate::coverage::Kind as Input;
use crate::random::Random;

impl Scenario {
    /// The scenario of a seed: two to seven routers, trouble of every kind, and times of quiet in between.
    pub fn generate(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let version = if random.percent(30) { Version::V2 } else { Version::V3 };
        let routers = routers(&mut random, version);
        let mut scenario = Self { seed, version, routers, steps: Vec::new() };
        let start = random.millis(0, 6_000);
        scenario.steps.push(Step::Wait(start));
        for _ in 0..random.between(2, 5) {
            for _ in 0..random.between(1, 8) {
                scenario.trouble(&mut random);
                let pause = match random.between(0, 3) {
                    // In the middle of an election or of a trial.
                    0 => random.millis(0, 5),
                    1 => random.millis(0, 400),
                    _ => random.millis(0, 5_000),
                };
                scenario.steps.push(Step::Wait(pause));
                if random.percent(15) {
                    scenario.steps.push(Step::Heal);
                }
            }
            scenario.steps.push(Step::Settle);
        }
        scenario
    }

    fn trouble(&mut self, random: &mut Random) {
        let count = self.routers.len();
        let router = random.between(0, count as u64 - 1) as usize;
        let other = (router + random.between(1, count as u64 - 1) as usize) % count;
        let step = match random.between(0, 99) {
            0..=4 => Step::Loss(random.choose([5, 10, 20, 30, 50, 100])),
            5..=7 => Step::Cut(router, other),
            8..=11 => Step::Split((0..count).filter(|_| random.percent(50)).collect()),
            12 => Step::Reorder(random.choose([5, 20, 50])),
            13 => Step::Duplicate(random.choose([5, 20, 50])),
            14..=16 => {
                let priority = random.choose([0, 0, 1, 100, 254]);
                for _ in 0..random.choose([1, 1, 3, 30]) {
                    self.steps.push(Step::Forge(priority));
                    self.steps.push(Step::Wait(random.millis(0, 60)));
                }
                return;
            }
            17..=22 => return self.flap(random, router),
            23 => return self.boot(random, router),
            24..=40 => {
                let stage = Stage::ALL[random.between(0, Stage::ALL.len() as u64 - 1) as usize];
                let kind = Input::ALL[random.between(0, Input::ALL.len() as u64 - 1) as usize];
                return self.arm(random, router, stage, kind);
            }
            _ => Step::At(router, self.event(random, router)),
        };
        self.steps.push(step);
    }

    /// A check that changes its mind.
    fn flap(&mut self, random: &mut Random, router: usize) {
        for _ in 0..random.between(2, 8) {
            let event = match random.between(0, 9) {
                0 => Event::Fault,
                1 => Event::Waiting,
                2..=4 => Event::Well,
                _ => Event::Priority(any_priority(random, false)),
            };
            self.steps.push(Step::At(router, event));
            self.steps.push(Step::Wait(random.millis(1, 700)));
        }
        self.steps.push(Step::At(router, Event::Well));
    }

    /// An input in a stage, and what leads to that stage if it is a rare one.
    fn arm(&mut self, random: &mut Random, router: usize, stage: Stage, kind: Input) {
        let owner = self.routers.iter().position(|spec| spec.priority == 255);
        let router = if stage == Stage::OwnerTrial { owner.unwrap_or(router) } else { router };
        self.steps.push(Step::At(router, Event::When(stage, kind)));
        let leads = match stage {
            Stage::OwnerTrial | Stage::Startup => vec![Event::Kill, Event::Start],
            Stage::Starting => vec![Event::Kill, Event::Boot, Event::LinkUp, Event::Well],
            Stage::LinkDown => vec![Event::LinkDown, Event::LinkUp],
            Stage::Waiting => vec![Event::Kill, Event::Boot, Event::LinkUp, Event::Waiting, Event::Well],
            Stage::Fault => vec![Event::Fault, Event::Well],
            Stage::Electing | Stage::Yielding => vec![Event::Well, Event::Priority(random.between(1, 60) as u8)],
            _ => vec![],
        };
        for event in leads {
            self.steps.push(Step::At(router, event));
            self.steps.push(Step::Wait(random.millis(0, 900)));
        }
    }

    /// A process that hears of its link and its checks late, or after other things.
    fn boot(&mut self, random: &mut Random, router: usize) {
        let kill = if random.percent(50) { Event::Kill } else { Event::Stop };
        self.steps.extend([Step::At(router, kill), Step::At(router, Event::Boot)]);
        for _ in 0..random.between(1, 4) {
            let event = self.event(random, router);
            self.steps.push(Step::At(router, event));
            self.steps.push(Step::Wait(random.millis(0, 1_500)));
        }
        self.steps.push(Step::At(router, Event::LinkUp));
        self.steps.push(Step::At(router, Event::Well));
    }

    fn event(&self, random: &mut Random, router: usize) -> Event {
        match random.between(0, 99) {
            0..=24 => Event::Priority(any_priority(random, false)),
            25..=34 => Event::Well,
            35..=40 => Event::Fault,
            41..=42 => Event::Waiting,
            43..=45 => Event::LinkDown,
            46..=50 => Event::LinkUp,
            // Each router has ten addresses of its own.
            51..=52 => Event::Address(self.routers[router].address / 10 * 10 + random.between(0, 9) as u8),
            53..=57 => Event::Freeze(random.millis(10, 9_000)),
            58..=60 => Event::Busy(random.millis(1, 1_500)),
            61..=62 => Event::Refuse,
            63..=64 => Event::Accept,
            65..=68 => Event::Kill,
            69..=71 => Event::Stop,
            72..=76 => Event::Start,
            77 => Event::Boot,
            78..=87 => Event::Reload(self.change(random, router)),
            88..=91 => Event::Repeat,
            92..=97 => Event::Stray(Stray::ALL[random.between(0, Stray::ALL.len() as u64 - 1) as usize].0),
            _ => Event::Overhear,
        }
    }

    fn change(&self, random: &mut Random, router: usize) -> Change {
        match random.between(0, 8) {
            0 => Change::Nothing,
            1 => Change::Priority(any_priority(random, false)),
            2 if self.version == Version::V3 => Change::Interval(random.choose([10, 20, 50, 100, 200])),
            2 | 3 => Change::Preempt(random.percent(50)),
            // The first router may become the owner, so that there is never a second one.
            4 if router == 0 && !self.routers.iter().any(|spec| spec.priority == 255) => Change::Priority(255),
            5 => Change::Pair(random.percent(50)),
            6 => Change::Delays(random.choose([0, 0, 1_000, 5_000])),
            7 => Change::Adverts(random.choose([2, 3, 3, 5])),
            _ => Change::Addresses(random.between(1, 3) as u8),
        }
    }
}

fn routers(random: &mut Random, version: Version) -> Vec<Spec> {
    let count = random.choose([2, 2, 2, 3, 3, 4, 5, 6, 7]);
    let few = random.percent(30);
    let owner = random.between(0, 4 * count);
    let foreign = random.choose([0, 0, 20, 50]);
    let interval = match version {
        Version::V2 => random.choose([100, 100, 100, 200]),
        Version::V3 => random.choose([10, 20, 50, 100, 100, 100, 200]),
    };
    let drift = random.percent(50);
    let pair = if count == 2 { random.choose([0, 100, 100, 50]) } else { random.choose([0, 0, 0, 100]) };
    let adverts = random.choose([0, 0, 0, 50]);
    let delay = random.choose([0, 0, 30]);
    let kernel = random.choose([0, 0, 0, 20, 60]);
    // Addresses and priorities are ordered independently.
    let first = random.between(0, count - 1);
    let spec = |index: u64| {
        let kinds = [Kind::Rfc9568, Kind::Rfc5798, Kind::Keepalived];
        let kind = if random.percent(foreign) { random.choose(kinds) } else { Kind::Vouchd };
        Spec {
            kind,
            address: 10 + 10 * ((index + first) % count) as u8 + random.between(0, 9) as u8,
            priority: if index == owner { 255 } else { any_priority(random, few) },
            interval: match version {
                Version::V3 if random.percent(10) => random.choose([10, 50, 100]),
                Version::V2 | Version::V3 => interval,
            },
            preempt: random.percent(60),
            drift: if drift { random.between(0, 1_000) as i32 - 500 } else { 0 },
            pair: random.percent(pair),
            adverts: if random.percent(adverts) { random.choose([2, 4, 10]) } else { 3 },
            preempt_delay: if random.percent(delay) { random.between(0, 8_000) as u32 } else { 0 },
            startup_delay: if random.percent(delay) { random.between(0, 8_000) as u32 } else { 0 },
            kernel,
        }
    };
    (0..count).map(spec).collect()
}

/// Any priority; with `few`, one of three, so that equal ones are common.
fn any_priority(random: &mut Random, few: bool) -> u8 {
    if few { random.choose([1, 100, 254]) } else { random.between(1, 254) as u8 }
}

/// The shortest scenario in which a yield election has to reach a backup that does not preempt, under loss.
pub fn patient_pair(seed: u64, loss: u8) -> Scenario {
    let wait = Step::Wait(Duration::from_secs(8));
    let steps = vec![wait, Step::Loss(loss), Step::At(0, Event::Priority(60)), Step::SettleLossy];
    let worse = Spec { address: 20, priority: 80, preempt: false, ..Spec::default() };
    Scenario { seed, version: Version::V3, routers: vec![Spec::default(), worse], steps }
}
