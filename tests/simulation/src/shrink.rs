//! Makes a failing scenario shorter, as long as it fails: delta debugging over its steps and its routers.

use std::time::Duration;

use crate::scenario::{Scenario, Step};

/// The shortest scenario that `fails`, found by leaving out ever smaller parts of `scenario`, which must fail itself.
pub fn shrink(scenario: &Scenario, fails: impl Fn(&Scenario) -> bool) -> Scenario {
    let mut best = scenario.clone();
    loop {
        let before = best.clone();
        leave_out_steps(&mut best, &fails);
        leave_out_routers(&mut best, &fails);
        simplify(&mut best, &fails);
        if best == before {
            return best;
        }
    }
}

fn leave_out_steps(best: &mut Scenario, fails: &impl Fn(&Scenario) -> bool) {
    let mut size = best.steps.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        while at < best.steps.len() {
            let mut shorter = best.clone();
            shorter.steps.drain(at..(at + size).min(best.steps.len()));
            if fails(&shorter) {
                *best = shorter;
            } else {
                at += size;
            }
        }
        if size == 1 {
            return;
        }
        size = size.div_ceil(2);
    }
}

fn leave_out_routers(best: &mut Scenario, fails: &impl Fn(&Scenario) -> bool) {
    for router in (0..best.routers.len()).rev() {
        if best.routers.len() > 1
            && let Some(shorter) = without_router(best, router)
            && fails(&shorter)
        {
            *best = shorter;
        }
    }
}

/// `None` if a step names the router.
fn without_router(scenario: &Scenario, router: usize) -> Option<Scenario> {
    let mut shorter = scenario.clone();
    shorter.routers.remove(router);
    let renamed = |known: usize| if known > router { known - 1 } else { known };
    for step in &mut shorter.steps {
        match step {
            Step::At(at, _) if *at == router => return None,
            Step::At(at, _) => *at = renamed(*at),
            Step::Cut(from, to) if *from == router || *to == router => return None,
            Step::Cut(from, to) => (*from, *to) = (renamed(*from), renamed(*to)),
            Step::Split(side) => {
                side.retain(|known| *known != router);
                side.iter_mut().for_each(|known| *known = renamed(*known));
            }
            _ => {}
        }
    }
    Some(shorter)
}

/// Rounds times, and takes away drift and loss.
fn simplify(best: &mut Scenario, fails: &impl Fn(&Scenario) -> bool) {
    for router in 0..best.routers.len() {
        let mut simpler = best.clone();
        simpler.routers[router].drift = 0;
        if simpler != *best && fails(&simpler) {
            *best = simpler;
        }
    }
    for at in 0..best.steps.len() {
        let Step::Wait(duration) = best.steps[at] else { continue };
        for unit in [5_000, 1_000, 500, 100, 10] {
            let unit = Duration::from_millis(unit);
            let rounded = unit * u32::try_from(duration.as_nanos().div_ceil(unit.as_nanos())).unwrap_or(1);
            let mut simpler = best.clone();
            simpler.steps[at] = Step::Wait(rounded);
            if rounded != duration && fails(&simpler) {
                *best = simpler;
                break;
            }
        }
    }
}
