//! Templates that bind a call, not a client alone (`--pe sip`): found by its Call-ID as well.
//!
//! Never reads a packet.

use std::collections::HashMap;

use super::TemplateKey;
use crate::base::{ConnId, Endpoint, Proto};

type CallKey = (Proto, Endpoint, Endpoint, Box<[u8]>);

/// All of them.
#[derive(Default)]
pub struct Calls {
    templates: HashMap<CallKey, ConnId>,
    keys: HashMap<ConnId, CallKey>,
    /// Templates whose call is new, or that have none any more.
    changed: Vec<ConnId>,
}

impl Calls {
    /// The template of a call.
    pub fn find(&self, key: &TemplateKey, call: &[u8]) -> Option<ConnId> {
        self.templates.get(&(key.proto, key.client, key.virt, call.into())).copied()
    }

    /// Has a template be found by its call.
    pub fn remember(&mut self, key: &TemplateKey, call: &[u8], id: ConnId) {
        let key: CallKey = (key.proto, key.client, key.virt, call.into());
        self.templates.insert(key.clone(), id);
        self.keys.insert(id, key);
        self.changed.push(id);
    }

    /// A template has ended, or binds nobody any more.
    pub fn forget(&mut self, id: ConnId) {
        if let Some(key) = self.keys.remove(&id) {
            self.templates.remove(&key);
            self.changed.push(id);
        }
    }

    /// Those that have changed since they were asked for, each with its call.
    pub fn take_changed(&mut self) -> Vec<(ConnId, Option<Box<[u8]>>)> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|id| (id, self.keys.get(&id).map(|(_, _, _, call)| call.clone()))).collect()
    }

    /// The engine and its data of a template, as listings and other directors are shown them.
    pub fn engine_data(&self, template: ConnId) -> Option<(&'static str, &[u8])> {
        self.keys.get(&template).map(|(_, _, _, call)| ("sip", call.as_ref()))
    }
}
