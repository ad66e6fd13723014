//! Which rights the keeper keeps, and who its workers are.
//!
//! It keeps CAP_NET_ADMIN, for routes, links and settings of the network: it follows what becomes of them, and puts them back
//! at the end. While its workers are another user's it keeps CAP_SETUID, CAP_SETGID, CAP_SETPCAP and CAP_KILL besides, for a
//! crash must not leave it without the means to start another worker; they are in force for the moments in which a process
//! is started or signalled, and at no other time. All else it has done with its rights is done before.

use crate::config::Plan;
use crate::io::{Sandbox, User, enclose_keeper, keep_few, own_uid};

/// What workers are to be; `None` if they keep all rights. An error is a sentence.
pub(super) fn sandbox_of(plan: &Plan) -> Result<Option<Sandbox>, String> {
    if !plan.sandbox {
        return Ok(None);
    }
    let Some(named) = &plan.user else {
        let user = Some(User::usual()).filter(|user| own_uid() == 0 && user.is_open_to_us());
        if own_uid() == 0 && user.is_none() {
            log::info!("the worker stays root, without rights: this process may not become another user");
        }
        return Ok(Some(Sandbox { user }));
    };
    let place = &named.place;
    let user =
        User::named(&named.value).ok_or_else(|| format!("{place}: there is no such user; make it, or name another"))?;
    if user.uid == own_uid() {
        return Ok(Some(Sandbox { user: None }));
    }
    if !user.is_open_to_us() {
        return Err(format!(
            "{place}: this process may not become it; that takes CAP_SETUID and CAP_SETGID, and a user namespace that has it; \
             leave it out, or start tapvs as that user"
        ));
    }
    Ok(Some(Sandbox { user: Some(user) }))
}

/// Keeps what is needed from here on.
pub(super) fn give_up(sandbox: Option<&Sandbox>) -> Result<(), String> {
    let Some(sandbox) = sandbox else { return Ok(()) };
    let given_up = keep_few(sandbox.user.is_some()).and_then(|()| enclose_keeper());
    given_up.map_err(|error| format!("cannot give up rights: {error}; --no-sandbox keeps them all"))
}
