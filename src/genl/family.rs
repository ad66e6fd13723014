//! The family IPVS as the controller of generic netlink tells of it.

use super::numbers::{FAMILY, FAMILY_VERSION, cmd, ctrl, kind, top};
use crate::wire::netlink::{Address, Message, Writer};

/// True if the controller is asked for this family, by name or number.
pub fn asks_for_ipvs(message: &Message) -> bool {
    if message.command() != Some(ctrl::GET_FAMILY) {
        return false;
    }
    let all = message.attributes();
    let named = all.text(ctrl::FAMILY_NAME, 15).is_ok_and(|name| name.as_deref() == Some(FAMILY));
    named || all.half(ctrl::FAMILY_ID) == Ok(Some(kind::IPVS))
}

/// The family as the controller describes it.
pub fn described(flags: u16, to: Address) -> Vec<u8> {
    let (does, dumps) = (ctrl::ADMIN | ctrl::CHECKS | ctrl::DOES, ctrl::ADMIN | ctrl::CHECKS | ctrl::DUMPS);
    let mut writer = Writer::default();
    writer.message((kind::CONTROLLER, flags, to), (ctrl::NEW_FAMILY, ctrl::VERSION), |writer| {
        writer.put_text(ctrl::FAMILY_NAME, FAMILY);
        writer.put_half(ctrl::FAMILY_ID, kind::IPVS);
        writer.put_word(ctrl::FAMILY_VERSION, FAMILY_VERSION.into());
        writer.put_word(ctrl::HEADER_SIZE, 0);
        writer.put_word(ctrl::MAX_ATTRIBUTE, top::MAX.into());
        writer.nest(ctrl::OPERATIONS, |writer| {
            let commands = (cmd::NEW_SERVICE..=cmd::FLUSH).filter(|command| *command != cmd::SET_INFO);
            for (number, command) in (1..).zip(commands) {
                let flags = match command {
                    cmd::GET_SERVICE => does | ctrl::DUMPS,
                    cmd::GET_DEST | cmd::GET_DAEMON => dumps,
                    _ => does,
                };
                writer.nest(number, |writer| {
                    writer.put_word(ctrl::OPERATION_ID, command.into());
                    writer.put_word(ctrl::OPERATION_FLAGS, flags);
                });
            }
        });
    });
    writer.into_bytes()
}
