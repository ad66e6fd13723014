//! What was asked of the director and is to outlive this process: written down as it is answered.
//!
//! Never answers by itself.

use crate::base::{ConnId, Instant, Ledger};
use crate::config::rules_of;
use crate::control;
use crate::control::protocol::{Reply, Request};
use crate::director::Director;
use crate::service::Marks;
use crate::state::State;
use crate::state::facts::Fact;

/// Answers a request; what it changed is written down before anyone is told.
pub(super) fn answer(
    director: &mut Director,
    ledger: &Ledger,
    state: Option<&mut State>,
    request: &Request,
    now: Instant,
) -> Reply {
    let Some(state) = state else { return control::answer(director, ledger, request, now) };
    let before = fact_of(request, director, None);
    let reply = control::answer(director, ledger, request, now);
    match (request, &reply) {
        (Request::Apply(command), Reply::Done) => state.note(command, director, || rules_of(director)),
        (_, Reply::Done | Reply::Set(_)) => {
            if let Some(fact) = fact_of(request, director, before) {
                state.note_fact(fact, director, || rules_of(director));
            }
        }
        _ => {}
    }
    reply
}

/// What a request is about, as it is now; `before` is the same, before it was carried out.
fn fact_of(request: &Request, director: &Director, before: Option<Fact>) -> Option<Fact> {
    match (request, before) {
        (Request::Set(name, _), before) => {
            let value = director.flows.settings.get(name)?;
            let configured = match before {
                Some(Fact::Setting { value, .. }) => value,
                _ => value.clone(),
            };
            Some(Fact::Setting { name: name.clone(), value, configured })
        }
        (Request::AddMark(_) | Request::DeleteMark(_), before) => {
            let rules = director.flows.services.marks().texts();
            let configured = match before {
                Some(Fact::Marks { rules, .. }) => rules,
                _ => rules.clone(),
            };
            Some(Fact::Marks { rules, configured })
        }
        (Request::Standby(on), _) => Some(Fact::Standby(*on)),
        _ => None,
    }
}

/// Has the director heed what an earlier process was told, where the configuration has not changed since or is not
/// looked at; the facts that hold.
pub(super) fn heed(director: &mut Director, facts: Vec<Fact>, is_replacement: bool, now: Instant) -> Vec<Fact> {
    let mut heeded = Vec::new();
    for fact in facts {
        let holds = match &fact {
            Fact::Setting { name, value, configured } => {
                let is_same = is_replacement || director.flows.settings.get(name).as_ref() == Some(configured);
                is_same && director.set(name, value).is_ok()
            }
            Fact::Marks { rules, configured } => {
                let is_same = is_replacement || director.flows.services.marks().texts() == *configured;
                is_same && set_marks(director, rules, now)
            }
            // Another director may have taken over while nobody was here.
            Fact::Standby(_) if !is_replacement => false,
            Fact::Standby(on) => {
                director.presence().stand_by(*on, now);
                true
            }
            Fact::Server(..) => true,
            Fact::Conn(slot, Some(kept)) => director.recall_kept(ConnId(*slot), kept),
            Fact::Conn(_, None) => false,
        };
        if holds {
            heeded.push(fact);
        }
    }
    heeded
}

fn set_marks(director: &mut Director, rules: &[String], now: Instant) -> bool {
    let Ok(marks) = rules.iter().map(|rule| rule.parse()).collect::<Result<Marks, _>>() else { return false };
    director.set_marks(marks, now);
    true
}
