//! Why a packet ended: the one list of names, so that every death has a counter.
//!
//! Never used for people's errors; those are sentences.

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)*) => {
        /// The reason for which a packet was dropped.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum DropReason { $($(#[$doc])* $variant,)* }

        impl DropReason {
            /// Every reason, in the order of the ledger.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$variant,)*];

            /// The name in the ledger, in statistics and in logs.
            pub fn name(self) -> &'static str {
                match self { $(DropReason::$variant => $name,)* }
            }
        }
    };
}

reasons! {
    /// Shorter than its headers say, or lengths that contradict each other.
    Malformed => "malformed",
    /// IPv4 header checksum wrong.
    HeaderChecksum => "header-checksum",
    /// Neither ARP, IPv4 nor IPv6 (VLAN tags included).
    EtherType => "ethertype",
    /// A unicast frame for another station, or multicast that is not ours.
    NotForUs => "not-for-us",
    /// Source or destination address that may not appear on a link (loopback, multicast source, ...).
    Martian => "martian",
    /// An IPv4 packet whose sender wants to choose its way (loose or strict source route).
    SourceRoute => "source-route",
    /// An IPv6 option or routing header that ends a packet: unknown and not to be passed over, or not as it must be; the
    /// sender was told where that is due.
    ExtensionHeader => "extension-header",
    /// The L4 header is cut short.
    TruncatedL4 => "truncated-l4",
    /// A segment with a wrong checksum on a conn whose text is read (FTP's control conn).
    L4Checksum => "l4-checksum",
    /// A header of the PROXY protocol from a client that may send none (its ends were reset), or a segment that has overtaken
    /// the one in which such a header may be (`proxy_client_header`).
    ClientHeader => "client-header",
    /// A virtio header that contradicts the frame, or a segmentation type we do not know.
    Offload => "offload",
    /// A superframe of more segments than anybody sends.
    TinySegments => "tiny-segments",
    /// ARP that is no Ethernet/IPv4 ARP or is not for us.
    Arp => "arp-ignored",
    /// Neighbour discovery that breaks a rule of RFC 4861: hop limit not 255, checksum, option lengths, ...
    NdpInvalid => "ndp-invalid",
    /// Neighbour discovery that is not for us: routers' messages, other stations' questions.
    Ndp => "ndp-ignored",
    /// TTL or hop limit used up; the sender was told where that is due.
    TtlExceeded => "ttl-exceeded",
    /// Larger than the next link takes and may not be cut; the sender was told.
    TooBig => "too-big",
    /// Belongs to no service, and its link forwards nothing, or only what servers open (`forward`).
    NotForwarded => "not-forwarded",
    /// No route to the destination; the sender was told.
    NoRoute => "no-route",
    /// A link-local source wants to leave its link; the sender was told.
    BeyondScope => "beyond-scope",
    /// The next hop does not answer ARP or neighbour discovery.
    NeighbourUnreachable => "neighbour-unreachable",
    /// Newer packets took its place among those that wait for a neighbour.
    HoldQueueFull => "hold-queue-full",
    /// Too many neighbours are solicited already, for the same source or on the same link.
    NeighbourLimit => "neighbour-limit",
    /// From a server in NAT, and of no conn; the server was told (`nat_icmp_send`).
    NoConn => "no-conn",
    /// From the middle of a conn that is not known here: to a service (`unknown` is drop), or from a server in NAT (drop or
    /// adopt).
    UnknownConn => "unknown-conn",
    /// This director stands by: another one answers and forwards.
    Standby => "standby",
    /// No server is available for a new conn; the client was told.
    NoServer => "no-server",
    /// A packet without a Call-ID for a service that is persistent by Call-ID.
    NoCallId => "no-call-id",
    /// A packet of a conn whose dest was removed; silent, as in the kernel.
    DestGone => "dest-gone",
    /// The service takes no more new conns for now, or has as many as it may have (`--limit`).
    ServiceLimit => "service-limit",
    /// Its client has opened as many conns of the service as one may (`--limit`).
    ClientLimit => "client-limit",
    /// Of no conn, to a service with a SYN proxy, and acknowledges nothing that was answered of late (`--syn-proxy`).
    BadCookie => "bad-cookie",
    /// Of a conn whose client has proved itself, and whose server has not answered the SYN: the client sends it again.
    ServerAwaited => "server-awaited",
    /// Of a TCP conn of SIP, and overtook what comes before it, or repeats it otherwise: it is sent again.
    SipOrder => "sip-order",
    /// Sacrificed under pressure (`drop_packet`).
    Defence => "defence",
    /// A message about another director's conns that cannot be read.
    BadSync => "bad-sync",
    /// An advertisement of VRRP that is for no virtual router here, or cannot be believed.
    Vrrp => "vrrp",
    /// The flow table is full.
    FlowTableFull => "flow-table-full",
    /// No free local address and port for FULL-NAT.
    NoLocalPort => "no-local-port",
    /// Addressed to the director itself, and nothing there wants it; answered where an answer is due.
    LocalClosed => "local-closed",
    /// ICMP to the director itself that needs no answer.
    LocalIcmp => "local-icmp",
    /// ICMP error with a wrong checksum or unusable quote.
    BadIcmp => "bad-icmp",
    /// A fragment that contradicts others of its datagram (overlap, lengths), or repeats one.
    FragmentInvalid => "fragment-invalid",
    /// A fragment whose datagram was not complete in time; the sender was told where that is due.
    FragmentTimeout => "fragment-timeout",
    /// A fragment that made room for others: too many datagrams were incomplete.
    FragmentMemory => "fragment-memory",
    /// No room for another header in front of the packet.
    NoHeadroom => "no-headroom",
    /// A method that does not fit the packet: another family, an unsupported encapsulation.
    Unsupported => "unsupported",
    /// The device did not take the frame: its queue is full.
    DeviceBusy => "device-busy",
    /// The device is down or gone.
    DeviceDown => "device-down",
    /// The device refused the frame as invalid: a defect of this program.
    DeviceRefused => "device-refused",
    /// Waiting for a neighbour when the program ended.
    Shutdown => "shutdown",
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_reason_has_a_name_of_its_own() {
        let names: HashSet<_> = DropReason::ALL.iter().map(|r| r.name()).collect();
        assert_eq!(names.len(), DropReason::ALL.len());
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
    }
}
