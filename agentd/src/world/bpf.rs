//! The programs that hold a command to its destinations, step by step: each is short, has no loop, calls nothing and
//! keeps nothing. The kernel runs it when a process of the command's cgroup connects or binds, on its own copy of
//! the address, which nobody can change any more.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// When the kernel asks a program (`enum bpf_attach_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Hook {
    /// An IPv4 socket is bound to an address.
    Bind4 = 8,
    /// An IPv6 socket is.
    Bind6 = 9,
    /// An IPv4 socket connects.
    Connect4 = 10,
    /// An IPv6 socket connects, to an IPv4 address too.
    Connect6 = 11,
}

impl Hook {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Bind4, Self::Bind6, Self::Connect4, Self::Connect6];

    /// As `<linux/bpf.h>` numbers it.
    pub const fn number(self) -> u32 {
        self as u32
    }
}

/// One step (`struct bpf_insn`), little-endian as both processors are that we build for.
pub type Step = [u8; 8];

/// Load a word of the context that register 1 points to.
const LOAD: u8 = 0x61;
/// Set a register.
const SET: u8 = 0xb7;
/// Skip steps if the lower half of a register is a value.
const SKIP_IF: u8 = 0x16;
/// Skip steps unless it is.
const SKIP_UNLESS: u8 = 0x56;
/// The answer is in register 0: 1 is "go on", 0 is EPERM.
const EXIT: u8 = 0x95;
const CONTEXT: u8 = 1;
const ANSWER: u8 = 0;
/// The first register of the address's words.
const WORDS: u8 = 2;
/// The port's.
const PORT: u8 = 6;

// Places in `struct bpf_sock_addr`. Address and port are in the network's order there.
const AT_ADDRESS4: i16 = 4;
const AT_ADDRESS6: i16 = 8;
const AT_PORT: i16 = 24;
const AT_TYPE: i16 = 32;
const AT_PROTOCOL: i16 = 36;
const STREAM: u32 = 1;
const TCP: u32 = 6;

const fn step(code: u8, register: u8, source: u8, offset: i16, value: u32) -> Step {
    let ([a, b], [c, d, e, f]) = (offset.to_le_bytes(), value.to_le_bytes());
    [code, register | source << 4, a, b, c, d, e, f]
}

const fn load(register: u8, offset: i16) -> Step {
    step(LOAD, register, CONTEXT, offset, 0)
}

const fn set(register: u8, value: u32) -> Step {
    step(SET, register, 0, 0, value)
}

const fn exit() -> Step {
    step(EXIT, 0, 0, 0, 0)
}

/// The program for one hook. `None`: there are more destinations than a jump is long.
pub fn program(hook: Hook, destinations: &[SocketAddr]) -> Option<Vec<Step>> {
    let addresses = destinations.iter().map(|one| (one.ip().to_canonical(), one.port()));
    match hook {
        Hook::Bind4 | Hook::Bind6 => Some(vec![set(ANSWER, 0), exit()]),
        Hook::Connect4 => {
            let v4 = addresses.filter_map(|(address, port)| match address {
                IpAddr::V4(address) => Some(([u32::from_le_bytes(address.octets())], port)),
                IpAddr::V6(_) => None,
            });
            connect(AT_ADDRESS4, v4)
        }
        Hook::Connect6 => connect(AT_ADDRESS6, addresses.map(|(address, port)| (words(address), port))),
    }
}

/// An IPv4 address is written as IPv6 sockets have it: `::ffff:a.b.c.d`.
fn words(address: IpAddr) -> [u32; 4] {
    let address: Ipv6Addr = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    let [a, b, c, d] = split(address.octets());
    [a, b, c, d].map(u32::from_le_bytes)
}

const fn split(octets: [u8; 16]) -> [[u8; 4]; 4] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = octets;
    [[a, b, c, d], [e, f, g, h], [i, j, k, l], [m, n, o, p]]
}

/// TCP to one of these: one comparison for each address that it is not.
fn connect<const N: usize>(at: i16, destinations: impl Iterator<Item = ([u32; N], u16)>) -> Option<Vec<Step>> {
    let mut ports: BTreeMap<[u32; N], BTreeSet<u16>> = BTreeMap::new();
    for (address, port) in destinations {
        ports.entry(address).or_default().insert(port);
    }
    if ports.is_empty() {
        // The kernel takes no program with steps that nothing leads to.
        return Some(vec![set(ANSWER, 0), exit()]);
    }
    let mut steps = vec![
        set(ANSWER, 0),
        load(WORDS, AT_TYPE),
        step(SKIP_IF, WORDS, 0, 1, STREAM),
        exit(),
        load(WORDS, AT_PROTOCOL),
        step(SKIP_IF, WORDS, 0, 1, TCP),
        exit(),
        load(PORT, AT_PORT),
    ];
    let registers = WORDS..PORT;
    steps.extend(registers.clone().zip(0..).take(N).map(|(register, word)| load(register, at + 4 * word)));
    let length = |ports: &BTreeSet<u16>| N + ports.len() + 1;
    let mut left: usize = ports.values().map(length).sum();
    for (address, ports) in &ports {
        let whole = length(ports);
        for (done, (register, word)) in registers.clone().zip(address).enumerate() {
            steps.push(step(SKIP_UNLESS, register, 0, i16::try_from(whole - done - 1).ok()?, *word));
        }
        for (done, port) in ports.iter().enumerate() {
            // Over all that is left, and the refusal after it.
            let skip = i16::try_from(left - N - done).ok()?;
            steps.push(step(SKIP_IF, PORT, 0, skip, u16::from_le_bytes(port.to_be_bytes()).into()));
        }
        steps.push(exit());
        left -= whole;
    }
    steps.extend([exit(), set(ANSWER, 1), exit()]);
    Some(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    /// What the kernel lays before a program.
    fn context(to: SocketAddr, kind: u32, protocol: u32) -> [u8; 64] {
        let mut bytes = [0xaa; 64];
        match to.ip() {
            IpAddr::V4(address) => bytes[4..8].copy_from_slice(&address.octets()),
            IpAddr::V6(address) => bytes[8..24].copy_from_slice(&address.octets()),
        }
        bytes[24..28].copy_from_slice(&[to.port().to_be_bytes().as_slice(), &[0, 0]].concat());
        bytes[32..36].copy_from_slice(&kind.to_le_bytes());
        bytes[36..40].copy_from_slice(&protocol.to_le_bytes());
        bytes
    }

    /// What the kernel would do; every step is counted as reached.
    fn run(steps: &[Step], context: &[u8; 64], reached: &mut BTreeSet<usize>) -> bool {
        let mut registers = [None; 11];
        let mut at = 0;
        loop {
            reached.insert(at);
            let [code, both, a, b, c, d, e, f] = steps[at];
            let (register, source) = (usize::from(both & 0xf), both >> 4);
            let (offset, value) = (i16::from_le_bytes([a, b]), u32::from_le_bytes([c, d, e, f]));
            assert!(offset >= 0, "only forward");
            let place = offset as usize;
            at += 1;
            let is = || registers[register].expect("it was set") == value;
            match code {
                LOAD => {
                    assert_eq!((source, place % 4), (CONTEXT, 0));
                    registers[register] = Some(u32::from_le_bytes(context[place..place + 4].try_into().unwrap()));
                }
                SET => registers[register] = Some(value),
                SKIP_IF => at += if is() { place } else { 0 },
                SKIP_UNLESS => at += if is() { 0 } else { place },
                EXIT => return registers[0].expect("there is an answer") == 1,
                other => panic!("{other:#x}"),
            }
        }
    }

    fn allows(destinations: &[SocketAddr], to: SocketAddr) -> bool {
        let hook = if to.is_ipv4() { Hook::Connect4 } else { Hook::Connect6 };
        run(&program(hook, destinations).unwrap(), &context(to, STREAM, TCP), &mut BTreeSet::new())
    }

    /// Few values, so that addresses and ports are often alike in part.
    fn address() -> impl Strategy<Value = SocketAddr> {
        let byte = || prop_oneof![Just(0_u8), Just(10), Just(127), Just(255)];
        let v4 = [byte(), byte(), byte(), byte()].prop_map(|octets| IpAddr::V4(Ipv4Addr::from(octets)));
        let mapped = v4.clone().prop_map(|ip| match ip {
            IpAddr::V4(ip) => IpAddr::V6(ip.to_ipv6_mapped()),
            IpAddr::V6(_) => ip,
        });
        let word = || prop_oneof![Just(0_u16), Just(1), Just(0x2001), Just(0xffff)];
        let v6 = [word(), word(), word(), word(), word(), word(), word(), word()]
            .prop_map(|words| IpAddr::V6(Ipv6Addr::from(words)));
        (prop_oneof![v4, mapped, v6], prop_oneof![Just(80_u16), Just(443), Just(20480), 1..=u16::MAX])
            .prop_map(SocketAddr::from)
    }

    proptest! {
        #[test]
        fn it_allows_what_is_listed_and_nothing_else(
            listed in proptest::collection::vec(address(), 0..40), other in proptest::collection::vec(address(), 20),
        ) {
            let canonical = |one: &SocketAddr| (one.ip().to_canonical(), one.port());
            let naive = |to: &SocketAddr| listed.iter().any(|one| canonical(one) == canonical(to));
            for to in listed.iter().chain(&other) {
                let same_port = listed.first().map_or(*to, |one| SocketAddr::new(to.ip(), one.port()));
                for to in [*to, same_port] {
                    prop_assert_eq!(allows(&listed, to), naive(&to), "{} in {:?}", to, &listed);
                }
            }
        }
    }

    fn listed(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn it_knows_address_port_and_family() {
        let listed = listed(&["10.0.0.1:443", "[2001:db8::1]:22"]);
        for (to, allowed) in [
            ("10.0.0.1:443", true),
            ("[::ffff:10.0.0.1]:443", true),
            ("[2001:db8::1]:22", true),
            ("10.0.0.1:444", false),
            ("10.0.0.2:443", false),
            ("1.0.0.10:443", false),
            ("10.0.0.1:47873", false),
            ("10.0.0.1:22", false),
            ("[2001:db8::1]:443", false),
            ("[2001:db8::2]:22", false),
            ("[::10.0.0.1]:443", false),
            ("[64:ff9b::10.0.0.1]:443", false),
            ("[::ffff:10.0.0.2]:443", false),
            ("0.0.0.0:443", false),
            ("[::]:22", false),
        ] {
            assert_eq!(allows(&listed, to.parse().unwrap()), allowed, "{to}");
        }
    }

    #[test]
    fn only_tcp_connects_and_nothing_binds() {
        let listed = listed(&["10.0.0.1:443"]);
        let to = listed[0];
        let answer = |hook, kind, protocol| {
            run(&program(hook, &listed).unwrap(), &context(to, kind, protocol), &mut BTreeSet::new())
        };
        assert!(answer(Hook::Connect4, STREAM, TCP));
        for (kind, protocol) in [(2, 17), (1, 262), (1, 132), (3, 6), (2, 6), (1, 0)] {
            assert!(!answer(Hook::Connect4, kind, protocol), "{kind} {protocol}");
        }
        assert!(!answer(Hook::Bind4, STREAM, TCP) && !answer(Hook::Bind6, STREAM, TCP));
    }

    #[test]
    fn every_step_is_reached() {
        for texts in
            [&[][..], &["10.0.0.1:1"], &["[::1]:1", "[::1]:2"], &["10.0.0.1:1", "10.0.0.2:2", "[2001:db8::1]:3"]]
        {
            let destinations = listed(texts);
            for hook in Hook::ALL {
                let steps = program(hook, &destinations).unwrap();
                let mut reached = BTreeSet::new();
                let tries = destinations.iter().flat_map(|one| [(*one, 1, 6), (*one, 2, 6), (*one, 1, 17)]);
                let elsewhere = ["10.0.0.3:9", "[2001:db9::1]:9", "10.0.0.1:9", "10.0.0.2:9", "[::1]:9"];
                let elsewhere =
                    elsewhere.into_iter().chain(["[2001:db8::1]:9", "[::ffff:10.0.0.1]:9", "[::ffff:10.0.0.2]:9"]);
                let elsewhere = elsewhere.map(|to| (to.parse().unwrap(), 1, 6));
                for (to, kind, protocol) in tries.chain(elsewhere) {
                    let mut to: SocketAddr = to;
                    if let (Hook::Connect6, IpAddr::V4(address)) = (hook, to.ip()) {
                        to.set_ip(address.to_ipv6_mapped().into());
                    }
                    run(&steps, &context(to, kind, protocol), &mut reached);
                }
                assert_eq!(reached.len(), steps.len(), "{hook:?} {texts:?}");
            }
        }
    }

    #[test]
    fn more_than_a_jump_is_long_is_no_program() {
        let many = |count: u32| -> Vec<SocketAddr> {
            (0..count).map(|n| SocketAddr::new(Ipv4Addr::from(n).into(), 1)).collect()
        };
        assert!(program(Hook::Connect6, &many(5000)).is_some());
        assert!(program(Hook::Connect6, &many(6000)).is_none());
    }
}
