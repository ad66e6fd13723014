//! The one place that opens a TAP or a TUN.
//!
//! Never sets it up.

use std::io;

use crate::base::Medium;
use ::tun::{Configuration, Device, Layer};

/// Opens or creates the device of that name, non-blocking; `vnet_hdr`: with a virtio header in front of each frame.
pub fn open(medium: Medium, name: &str, vnet_hdr: bool) -> io::Result<Device> {
    let mut config = Configuration::default();
    let layer = match medium {
        Medium::Ethernet => Layer::L2,
        Medium::Ip => Layer::L3,
    };
    config.layer(layer).tun_name(name).platform_config(|platform| {
        platform.vnet_hdr(vnet_hdr);
    });
    let device = ::tun::create(&config)?;
    device.set_nonblock()?;
    Ok(device)
}
