//! What a reload cannot change while packets flow: links, the size of memory, rights.
//!
//! Never changes anything.

use crate::base::Endpoint;
use crate::config::{Plan, PlannedLink, Problems, Rights, describe};
use crate::health;
use crate::settings::{self, Effect, Settings};

/// What a reload cannot change, and the processor, which it can.
#[derive(Clone)]
pub(super) struct Running {
    pub(super) links: Vec<PlannedLink>,
    pub(super) settings: Settings,
    pub(super) metrics: Option<Endpoint>,
    pub(super) sandbox: String,
    pub(super) health: Vec<health::Plan>,
    pub(super) cpu: Option<usize>,
}

pub(super) fn sandbox_text(plan: &Plan) -> String {
    describe::sandbox_text(plan.user.as_ref().map(|user| user.value.as_str()), plan.rights != Rights::All)
}

/// What devices and memory depend on cannot change while packets flow.
pub(super) fn check_fixed(running: &Running, plan: &Plan) -> Result<(), Problems> {
    let mut problems = Problems::default();
    if running.links != plan.links {
        let names = |links: &[PlannedLink]| links.iter().map(describe::link_text).collect::<Vec<_>>();
        let (before, after) = (names(&running.links), names(&plan.links));
        before.iter().filter(|link| !after.contains(link)).for_each(|link| problems.0.push(format!("- {link}")));
        after.iter().filter(|link| !before.contains(link)).for_each(|link| problems.0.push(format!("+ {link}")));
        problems.0.push("links cannot change while tapvs runs; put them back, or start tapvs again".into());
    }
    let text = |metrics: Option<Endpoint>| metrics.map_or("none".into(), |at| at.to_string());
    let (before, after) = (running.metrics, plan.metrics.as_ref().map(|at| at.value));
    if before != after {
        let (before, after) = (text(before), text(after));
        problems.0.push(format!("metrics {before} -> {after}: cannot change while tapvs runs; start it again"));
    }
    let sandbox = sandbox_text(plan);
    if running.sandbox != sandbox {
        problems.0.push(format!("{} -> {sandbox}: cannot change while tapvs runs; start it again", running.sandbox));
    }
    for row in settings::ROWS.iter().filter(|row| row.effect == Effect::AtStart) {
        let (before, after) = (running.settings.get(row.name), plan.settings.get(row.name));
        if let (Some(before), Some(after)) = (&before, &after)
            && before != after
        {
            let what = format!("{} {before} -> {after}: cannot change while tapvs runs; start it again", row.name);
            problems.0.push(what);
        }
    }
    problems.none_or(())
}
