//! The flags of `tapvs run` as a draft.
//!
//! Never checks more than that each word can be read.

use std::net::IpAddr;

use super::draft::{Draft, LinkDraft, ServerDraft, ServiceDraft};
use super::flags::RunArgs;
use super::place::{At, Place, Problems};
use super::spec::{self, ServerSpec, ServiceSpec};
use super::{check_of_word, vrrp_of_word};
use crate::base::Endpoint;
use crate::health::Check;
use crate::outbound::Masquerade;
use crate::service::command::ServiceKey;

fn said<T: std::fmt::Display>(flag: &str, value: T) -> At<T> {
    At { place: Place::flag(flag, &value), value }
}

impl RunArgs {
    /// The flags as a draft; without a configuration file.
    pub(super) fn draft(&self) -> Result<Draft, Problems> {
        let mut problems = Problems::default();
        if self.service.is_none() && !self.server.is_empty() {
            problems.0.push("--server without --service; name the service it belongs to".into());
        }
        if self.service.is_none() && !self.check.is_empty() {
            problems.0.push("--check without --service; name the service whose servers are checked".into());
        }
        let mut checks = Vec::new();
        for word in &self.check {
            match check_of_word(word) {
                Ok(check) => checks.push(check),
                Err(others) => problems.0.extend(others.0),
            }
        }
        let mut vrrps = Vec::new();
        for word in &self.vrrp {
            match vrrp_of_word(word) {
                Ok(vrrp) => vrrps.push(vrrp),
                Err(others) => problems.0.extend(others.0),
            }
        }
        let mut settings = Vec::new();
        for setting in &self.sysctl {
            let place = Place::flag("--sysctl", setting);
            match setting.split_once('=') {
                Some((name, value)) => settings.push(At { value: (name.to_owned(), value.to_owned()), place }),
                None => problems.add(&place, "write NAME=VALUE"),
            }
        }
        if let Some(word) = &self.fast {
            let (value, place) = (("fast".to_owned(), word.clone()), Place::flag("--fast", word));
            settings.push(At { value, place });
        }
        let draft = Draft {
            links: vec![self.link()],
            gateways: self.gateway.iter().map(|hop| said("--gateway", hop.clone())).collect(),
            marks: self.mark.clone(),
            services: self.service.iter().map(|service| self.service(*service, &checks)).collect(),
            rules: self.rules.clone().map(|path| (path, self.local_address.clone())),
            settings,
            vrrps,
            max_flows: self.max_flows.map(|size| said("--max-flows", size)),
            cpu: self.cpu_said(),
            user: self.user_said(),
            sandbox: self.sandbox_said(),
            metrics: self.metrics.map(|at| said("--metrics", Endpoint::new(at.ip(), at.port()))),
            ..Draft::default()
        };
        problems.none_or(draft)
    }

    /// The processor to run on, which may be said beside a file too: hosts that share a file may differ in it.
    pub(super) fn cpu_said(&self) -> Option<At<usize>> {
        self.cpu.map(|cpu| said("--cpu", cpu))
    }

    /// Whether the processes give up their rights, which may be said beside a file too.
    pub(super) fn sandbox_said(&self) -> Option<bool> {
        (self.sandbox || self.no_sandbox).then_some(!self.no_sandbox)
    }

    /// Who handles packets, which may be said beside a file too.
    pub(super) fn user_said(&self) -> Option<At<String>> {
        self.user.as_ref().map(|user| said("--user", user.clone()))
    }

    fn link(&self) -> LinkDraft {
        LinkDraft {
            place: Place::flag(if self.tun.is_some() { "--tun" } else { "--bridge" }, ""),
            bridge: self.bridge.clone().map(|name| said("--bridge", name)),
            tap: self.tap.clone().map(|name| said("--tap", name)),
            tun: self.tun.clone().map(|name| said("--tun", name)),
            addresses: self.address.iter().map(|prefix| said("--address", *prefix)).collect(),
            mac: self.mac.map(|mac| said("--mac", mac)),
            mtu: self.mtu.map(|mtu| said("--mtu", mtu)),
            offload: !self.no_offload,
            forward: self.forward.unwrap_or_default(),
            masquerade: if self.masquerade { Masquerade::On } else { Masquerade::Off },
        }
    }

    fn service(&self, service: ServiceSpec, checks: &[Check]) -> ServiceDraft {
        let key = ServiceKey::Address(service.proto, service.vip);
        let serves = |local: &&IpAddr| self.server.iter().any(|server| server.addr.is_ipv4() == local.is_ipv4());
        let locals = self.local_address.iter().filter(serves);
        let server = |server: &ServerSpec| ServerDraft {
            place: Place::flag("--server", &server.text),
            addr: server.addr,
            port: server.port,
            options: server.options,
            fields: Vec::new(),
            checks: Vec::new(),
        };
        ServiceDraft {
            place: Place::flag(&spec::key_text(key), ""),
            key,
            scheduler: self.scheduler.clone().map(|name| said("--scheduler", name)),
            flags: self.sched_flags.clone().map(|flags| said("--sched-flags", flags)),
            persistent: self.persistent.map(|seconds| said("--persistent", seconds)),
            netmask: None,
            engine: None,
            one_packet: self.ops.then(|| At { value: true, place: Place::flag("--ops", "") }),
            quota: self.limit.unwrap_or_default(),
            syn_proxy: self.syn_proxy.map(|value| At { value, place: Place::flag("--syn-proxy", value.name()) }),
            locals: locals.map(|local| said("--local-address", *local)).collect(),
            servers: self.server.iter().map(server).collect(),
            checks: checks.to_vec(),
            policy: None,
            sorry: None,
        }
    }
}
