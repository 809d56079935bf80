//! What stands still in a store's table: its sets and maps, and its rules. In this order: who comes to loopback addresses from
//! outside, what is for a published port, what passes from one device to another, and who appears under whose address.
//!
//! In nft(8)'s words each is written above its rule; `integration/tests/shim_firewall.rs` has nft tell the same.

use super::nf_tables::Expression::{
    Connection, DestinationKind, DestinationNat, In, Is, Map, Mask, Masquerade, Meta, Payload, Value,
};
use super::nf_tables::{
    Batch, Expression, FORWARD, Hook, IP, IP6, OUTPUT, POSTROUTING, PREROUTING, Set, Type, Verdict,
};
use crate::port::syntax::Protocol;
use std::net::Ipv4Addr;

/// `NFT_META_…`, `NFT_CT_…`.
const FROM_DEVICE: u32 = 6;
const TO_DEVICE: u32 = 7;
const FAMILY: u32 = 15;
const PROTOCOL: u32 = 16;
const STATE: u32 = 0;
const DIRECTION: u32 = 1;
const STATUS: u32 = 2;
/// Bits of a connection's state and of its status (`IPS_DST_NAT`).
const ESTABLISHED: u32 = 0x2;
const RELATED: u32 = 0x4;
const DESTINATION_CHANGED: u32 = 0x20;
/// `RTN_LOCAL`.
const LOCAL: u32 = 2;
/// Headers, and where something is in them (RFC 791, RFC 8200; ports are at the same place in all transports).
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;
const DESTINATION_PORT: u32 = 2;
/// `struct ifreq`'s length of a device's name.
const DEVICE: usize = 16;

const fn set(name: &'static str, key: &'static [Type]) -> Set {
    Set { name, key, value: &[], is_interval: false }
}

const fn ranges(name: &'static str, key: &'static [Type]) -> Set {
    Set { name, key, value: &[], is_interval: true }
}

const fn map(name: &'static str, key: &'static [Type], value: &'static [Type]) -> Set {
    Set { name, key, value, is_interval: false }
}

const ADDRESS4: &[Type] = &[Type::Ipv4, Type::Protocol, Type::Port];
const ADDRESS6: &[Type] = &[Type::Ipv6, Type::Protocol, Type::Port];
const TO4: &[Type] = &[Type::Ipv4, Type::Port];
const TO6: &[Type] = &[Type::Ipv6, Type::Port];

/// All that comes and goes is in these.
pub const SETS: [Set; 14] = [
    set("bridges", &[Type::Device]),
    set("internal", &[Type::Device]),
    set("same", &[Type::Device, Type::Device]),
    ranges("subnets4", &[Type::Device, Type::Ipv4]),
    ranges("subnets6", &[Type::Device, Type::Ipv6]),
    ranges("masquerade4", &[Type::Ipv4]),
    ranges("masquerade6", &[Type::Ipv6]),
    set("loopback4", ADDRESS4),
    set("published4", ADDRESS4),
    set("published6", ADDRESS6),
    map("at4", ADDRESS4, TO4),
    map("at6", ADDRESS6, TO6),
    map("any4", &[Type::Protocol, Type::Port], TO4),
    map("any6", &[Type::Protocol, Type::Port], TO6),
];

/// What a key is made of.
#[derive(Clone, Copy)]
enum Field {
    From,
    To,
    Source(u8),
    Destination(u8),
    Protocol,
    Port,
}

impl Field {
    /// Loads it, and how many registers that takes.
    fn load(self, to: u32) -> (Expression, u32) {
        let address = |offset4, offset6, family| match family {
            IP => (Payload(NETWORK, offset4, 4, to), 1),
            _ => (Payload(NETWORK, offset6, 16, to), 4),
        };
        match self {
            Field::From => (Meta(FROM_DEVICE, to), 4),
            Field::To => (Meta(TO_DEVICE, to), 4),
            Field::Source(family) => address(12, 8, family),
            Field::Destination(family) => address(16, 24, family),
            Field::Protocol => (Meta(PROTOCOL, to), 1),
            Field::Port => (Payload(TRANSPORT, DESTINATION_PORT, 2, to), 1),
        }
    }
}

/// Fields, one behind the other, as the key of a set has them.
fn load(fields: &[Field]) -> Vec<Expression> {
    let mut next = 0;
    let load = |field: &Field| {
        let (expression, registers) = field.load(next);
        next += registers;
        expression
    };
    fields.iter().map(load).collect()
}

/// A rule, step by step.
#[derive(Default)]
struct Rule(Vec<Expression>);

impl Rule {
    fn of(mut self, family: u8) -> Rule {
        self.0.extend([Meta(FAMILY, 0), Is(true, vec![family])]);
        self
    }

    fn within(mut self, fields: &[Field], set: &'static str) -> Rule {
        self.0.extend(load(fields));
        self.0.push(In(true, set));
        self
    }

    fn not_within(mut self, fields: &[Field], set: &'static str) -> Rule {
        self.0.extend(load(fields));
        self.0.push(In(false, set));
        self
    }

    fn in_state(mut self, bit: u32) -> Rule {
        self.0.extend([Connection(STATE, 0), Mask(bit), Is(false, vec![0; 4])]);
        self
    }

    /// Its destination was changed by a published port, whoever's.
    fn led(mut self) -> Rule {
        let bit = DESTINATION_CHANGED;
        self.0.extend([Connection(STATUS, 0), Mask(bit), Is(true, bit.to_ne_bytes().to_vec())]);
        self
    }

    /// It goes the way that its connection's first packet went.
    fn original(mut self) -> Rule {
        self.0.extend([Connection(DIRECTION, 0), Is(true, vec![0])]);
        self
    }

    fn and(mut self, steps: impl IntoIterator<Item = Expression>) -> Rule {
        self.0.extend(steps);
        self
    }

    fn ends(self, batch: &mut Batch, chain: &str, verdict: Verdict) {
        batch.rule(chain, &self.and([Expression::Verdict(verdict)]).0);
    }
}

/// An empty table of a store with its sets, chains and rules, in the place of what is there.
pub fn write(batch: &mut Batch) {
    use Field::{Destination, From, Port, Protocol, Source, To};

    batch.anew();
    SETS.iter().for_each(|set| batch.set(set));
    let filter = |number, priority| Some(Hook { kind: "filter", number, priority });
    let nat = |number, priority| Some(Hook { kind: "nat", number, priority });
    batch.chain("guard", filter(PREROUTING, -300));
    batch.chain("publish", None);
    batch.chain("prerouting", nat(PREROUTING, -100));
    batch.chain("output", nat(OUTPUT, -100));
    batch.chain("forward", filter(FORWARD, 0));
    batch.chain("arrive", None);
    batch.chain("postrouting", nat(POSTROUTING, 100));

    // iifname != "lo" ip daddr . meta l4proto . th dport @loopback4 drop
    Rule::default()
        .and([Meta(FROM_DEVICE, 0), Is(false, device("lo"))])
        .of(IP)
        .within(&[Destination(IP), Protocol, Port], "loopback4")
        .ends(batch, "guard", Verdict::Drop);

    // ip daddr != 127.0.0.0/8 dnat ip to ip daddr . meta l4proto . th dport map @at4; likewise without an address, @any4
    let not_loopback4 = [Payload(NETWORK, 16, 1, 0), Is(false, vec![127])];
    let not_loopback6 =
        [Payload(NETWORK, 24, 16, 0), Is(false, std::net::Ipv6Addr::LOCALHOST.octets().to_vec())];
    for (family, not_loopback, at, any, port) in
        [(IP, not_loopback4, "at4", "any4", 1), (IP6, not_loopback6, "at6", "any6", 4)]
    {
        for (fields, map) in [(&[Destination(family), Protocol, Port][..], at), (&[Protocol, Port], any)] {
            let rule = Rule::default().of(family).and(not_loopback.clone()).and(load(fields));
            batch.rule("publish", &rule.and([Map(map), DestinationNat(family, port)]).0);
        }
    }
    for chain in ["prerouting", "output"] {
        // fib daddr type local jump publish
        let is_local = [DestinationKind, Is(true, LOCAL.to_ne_bytes().to_vec())];
        Rule::default().and(is_local).ends(batch, chain, Verdict::Jump("publish"));
    }

    // iifname . oifname @same accept; iifname @internal drop; oifname @internal drop; oifname @bridges jump arrive
    for (fields, set, verdict) in [
        (&[From, To][..], "same", Verdict::Accept),
        (&[From], "internal", Verdict::Drop),
        (&[To], "internal", Verdict::Drop),
        (&[To], "bridges", Verdict::Jump("arrive")),
    ] {
        Rule::default().within(fields, set).ends(batch, "forward", verdict);
    }

    // ct state related accept
    Rule::default().in_state(RELATED).ends(batch, "arrive", Verdict::Accept);
    for (family, set) in [(IP, "published4"), (IP6, "published6")] {
        // ct direction original ct status & dnat == dnat ip daddr . meta l4proto . th dport @published4 accept
        let fields = [Destination(family), Protocol, Port];
        let rule = Rule::default().original().led().of(family).within(&fields, set);
        rule.ends(batch, "arrive", Verdict::Accept);
    }
    // ct direction original ct status & dnat == dnat drop; ct state established accept; drop
    Rule::default().original().led().ends(batch, "arrive", Verdict::Drop);
    Rule::default().in_state(ESTABLISHED).ends(batch, "arrive", Verdict::Accept);
    Rule::default().ends(batch, "arrive", Verdict::Drop);

    let families = [(IP, "subnets4", "masquerade4"), (IP6, "subnets6", "masquerade6")];
    for (family, subnets, _) in families {
        // ct status & dnat == dnat oifname . ip saddr @subnets4 masquerade
        let rule = Rule::default().led().of(family).within(&[To, Source(family)], subnets);
        batch.rule("postrouting", &rule.and([Masquerade]).0);
    }
    for (family, subnets, masquerade) in families {
        // ip saddr @masquerade4 oifname . ip saddr != @subnets4 masquerade
        let rule = Rule::default().of(family).within(&[Source(family)], masquerade);
        let rule = rule.not_within(&[To, Source(family)], subnets);
        batch.rule("postrouting", &rule.and([Masquerade]).0);
    }
}

/// A table of a container's own network namespace, in the place of what is there: questions for names that are sent to an
/// address of its loopback, at port 53, come to these ports there.
#[must_use]
pub fn of_names(server: Ipv4Addr, [udp, tcp]: [u16; 2]) -> Batch {
    let mut batch = Batch::of(IP, super::NAME);
    batch.anew();
    batch.chain("names", Some(Hook { kind: "nat", number: OUTPUT, priority: -100 }));
    for (protocol, port) in [(Protocol::Udp, udp), (Protocol::Tcp, tcp)] {
        // ip daddr 127.0.0.11 udp dport 53 dnat to 127.0.0.11:PORT
        let rule = Rule::default()
            .and([Payload(NETWORK, 16, 4, 0), Is(true, server.octets().to_vec())])
            .and([Meta(PROTOCOL, 0), Is(true, vec![protocol.number()])])
            .and([Payload(TRANSPORT, DESTINATION_PORT, 2, 0), Is(true, 53_u16.to_be_bytes().to_vec())])
            .and([Value(server.octets().to_vec(), 0), Value(port.to_be_bytes().to_vec(), 1)]);
        batch.rule("names", &rule.and([DestinationNat(IP, 1)]).0);
    }
    batch
}

/// A device's name as the kernel compares it.
#[must_use]
pub fn device(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(DEVICE, 0);
    bytes
}
