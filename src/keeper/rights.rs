//! Which rights the keeper keeps, and who its workers are.
//!
//! It keeps CAP_NET_ADMIN, for routes, links and settings of the network: it follows what becomes of them, and puts them back
//! at the end. While its workers are another user's it keeps CAP_SETUID, CAP_SETGID, CAP_SETPCAP, CAP_KILL and CAP_SYS_NICE besides,
//! for a crash must not leave it without the means to start another worker, and frames wait for the next one; they are in force
//! for the moments in which a process is started, signalled or scheduled, and at no other time. All else it has done with its rights is done before.

use crate::config::{Plan, Rights};
use crate::io::{Sandbox, User, keep_few, own_uid};

/// What workers are to be; `None` if they keep all rights. An error is a sentence.
pub(super) fn sandbox_of(plan: &Plan) -> Result<Option<Sandbox>, String> {
    if plan.rights == Rights::All {
        return Ok(None);
    }
    let strict = plan.rights == Rights::Few;
    let Some(named) = &plan.user else {
        let user = Some(User::usual()).filter(|user| own_uid() == 0 && user.is_open_to_us());
        if own_uid() == 0 && user.is_none() {
            log::info!("the worker stays root, without rights: this process may not become another user");
        }
        return Ok(Some(Sandbox { user, strict, said: false }));
    };
    let place = &named.place;
    let user =
        User::named(&named.value).ok_or_else(|| format!("{place}: there is no such user; make it, or name another"))?;
    if user.uid == own_uid() {
        return Ok(Some(Sandbox { user: None, strict, said: false }));
    }
    if !user.is_open_to_us() {
        return Err(format!(
            "{place}: this process may not become it; that takes CAP_SETUID and CAP_SETGID, and a user namespace that has it; \
             leave it out, or start tapvs as that user"
        ));
    }
    Ok(Some(Sandbox { user: Some(user), strict, said: false }))
}

/// Keeps what is needed from here on.
pub(super) fn give_up(sandbox: Option<&mut Sandbox>) -> Result<(), String> {
    let Some(sandbox) = sandbox else { return Ok(()) };
    sandbox.heed(keep_few(sandbox.user.is_some()))
}
