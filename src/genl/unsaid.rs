//! What a server, or a service, has besides what the kernel's netlink can say: an edit by netlink keeps it.
//!
//! Pure; who edits looks up how it is configured so far.

use crate::control::protocol::FullNat;
use crate::service::command::{ClientAddress, DestOptions, Method, ServiceOptions};

/// The options that an edit leads to, for a server that has these so far.
///
/// To a program that does not know FULL-NAT such a server was shown as NAT, so that its NAT means "as it is".
pub fn keep_unsaid(edit: DestOptions, present: &DestOptions, full_nat: FullNat) -> DestOptions {
    let is_shown_as_nat = full_nat == FullNat::AsNat && present.method == Method::FullNat;
    let method = if edit.method == Method::Nat && is_shown_as_nat { Method::FullNat } else { edit.method };
    let client_address = match (method, edit.client_address) {
        (Method::FullNat, ClientAddress::None) => present.client_address,
        (_, told) => told,
    };
    DestOptions { method, client_address, ..edit }
}

/// The same of a service.
pub fn keep_unsaid_of_service(edit: &mut ServiceOptions, present: &ServiceOptions) {
    (edit.quota, edit.syn_proxy) = (present.quota, present.syn_proxy);
}

/// True if an edit may leave unsaid what its server has.
pub fn may_leave_unsaid(edit: &DestOptions) -> bool {
    matches!(edit.method, Method::Nat | Method::FullNat)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_keeps_what_netlink_cannot_say_and_changes_what_it_says() {
        let (proxy, none) = (ClientAddress::ProxyV2, ClientAddress::None);
        for (edit, present, full_nat, method, client_address) in [
            (Method::FullNat, Method::FullNat, FullNat::Known, Method::FullNat, proxy),
            (Method::Nat, Method::FullNat, FullNat::AsNat, Method::FullNat, proxy),
            (Method::Nat, Method::FullNat, FullNat::Known, Method::Nat, none),
            (Method::Direct, Method::FullNat, FullNat::AsNat, Method::Direct, none),
            (Method::Nat, Method::Direct, FullNat::AsNat, Method::Nat, none),
        ] {
            let edit = DestOptions { method: edit, weight: 7, ..DestOptions::default() };
            let client = if present == Method::FullNat { proxy } else { none };
            let present = DestOptions { method: present, client_address: client, ..DestOptions::default() };
            let kept = keep_unsaid(edit, &present, full_nat);
            assert_eq!(kept, DestOptions { method, client_address, ..edit }, "{edit:?} of {present:?}, {full_nat:?}");
        }
    }
}
