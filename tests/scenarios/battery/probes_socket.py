"""Sockets of every family."""

import array
import ctypes
import fcntl
import os
import socket
import struct
import subprocess

import uring
from kit import Claim, add, address, buffer, call, lacks, mine, params, probe

RUN = "/run/battery"


def heard(name):
    return lambda warden, loot: bool(warden.heard(name))


def _unix(name, path, kind, mode):
    def prepare(warden):
        listening = socket.socket(socket.AF_UNIX, kind)
        if path.startswith("/"):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if os.path.lexists(path):
                os.unlink(path)
            listening.bind(path)
            os.chmod(path, mode)
        else:
            listening.bind("\0" + path)
        if kind != socket.SOCK_DGRAM:
            listening.listen(8)
        warden.listener(name, listening)

    return prepare


def _reach(path, kind):
    def attack():
        where = path if path.startswith("/") else "\0" + path
        talk = socket.socket(socket.AF_UNIX, kind)
        talk.connect(where)
        talk.send(b"attack")

    return attack


for _name, _path, _kind, _mode, _tries in [
    ("unix_of_root", f"{RUN}/root.sock", socket.SOCK_STREAM, 0o600, "connect to a service's socket in /run, 0600"),
    ("unix_of_all", f"{RUN}/all.sock", socket.SOCK_STREAM, 0o666, "connect to a service's socket in /run, 0666"),
    ("unix_in_var", "/var/lib/battery/s.sock", socket.SOCK_STREAM, 0o666, "connect to a service's socket in /var"),
    ("unix_datagram", f"{RUN}/log.sock", socket.SOCK_DGRAM, 0o666, "send to a log socket"),
    ("unix_packets", f"{RUN}/packets.sock", socket.SOCK_SEQPACKET, 0o666, "connect to a packet socket"),
    ("unix_abstract", "battery-abstract", socket.SOCK_STREAM, 0, "connect to an abstract socket"),
    ("unix_abstract_datagram", "battery-log", socket.SOCK_DGRAM, 0, "send to an abstract socket"),
]:
    add(_name, "socket", _tries, "the service heard it", _reach(_path, _kind),
        prepare=_unix(_name, _path, _kind, _mode), judge=heard(_name))


@probe("socket", "send to a log socket from an unconnected socketpair end", "the service heard it",
       prepare=_unix("unix_by_pair", f"{RUN}/pair.sock", socket.SOCK_DGRAM, 0o666), judge=heard("unix_by_pair"))
def unix_by_pair():
    # Filters of socket(2) do not see socketpair(2), and a datagram end can be sent from to anywhere.
    one, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        one.sendto(b"attack", f"{RUN}/pair.sock")
    except OSError:
        call_connect(one, f"{RUN}/pair.sock")
        one.send(b"attack")


def call_connect(one, path):
    one.connect(path)


def _inet(name, family, kind, host):
    def prepare(warden):
        listening = socket.socket(family, kind)
        listening.bind((host, 0))
        if kind == socket.SOCK_STREAM:
            listening.listen(8)
        warden.params[name] = {"port": listening.getsockname()[1], "host": host}
        warden.listener(name, listening)

    return prepare


def _address():
    """The host's own address on its network."""
    probe_socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    probe_socket.connect(("10.77.0.1", 9))
    return probe_socket.getsockname()[0]


def _lazy_inet(name, family, kind, host):
    return lambda warden: _inet(name, family, kind, host or _address())(warden)


def _say(family, kind):
    def attack():
        where = (mine()["host"], mine()["port"])
        talk = socket.socket(family, kind)
        talk.settimeout(2)
        talk.connect(where)
        talk.send(b"attack")

    return attack


for _name, _family, _kind, _host, _tries in [
    ("tcp_loopback", socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1", "TCP to a service on loopback"),
    ("tcp_network", socket.AF_INET, socket.SOCK_STREAM, "", "TCP to an address of the network"),
    ("udp_loopback", socket.AF_INET, socket.SOCK_DGRAM, "127.0.0.1", "UDP to a service on loopback"),
    ("udp_network", socket.AF_INET, socket.SOCK_DGRAM, "", "UDP to an address of the network"),
    ("tcp6_loopback", socket.AF_INET6, socket.SOCK_STREAM, "::1", "TCP over IPv6"),
    ("udp6_loopback", socket.AF_INET6, socket.SOCK_DGRAM, "::1", "UDP over IPv6"),
]:
    add(_name, "socket", _tries, "the service heard it", _say(_family, _kind),
        prepare=_lazy_inet(_name, _family, _kind, _host), judge=heard(_name))


@probe("socket", "TCP opened by sending (MSG_FASTOPEN), which asks no connect", "the service heard it",
       prepare=_lazy_inet("tcp_fast_open", socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1"),
       judge=heard("tcp_fast_open"))
def tcp_fast_open():
    talk = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    talk.sendto(b"attack", 0x20000000, ("127.0.0.1", mine()["port"]))


@probe("socket", "MPTCP to a service on loopback", "the service heard it",
       prepare=_lazy_inet("multipath", socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1"), judge=heard("multipath"),
       impossible=lacks("CONFIG_MPTCP", "MPTCP"))
def multipath():
    talk = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
    talk.connect(("127.0.0.1", mine()["port"]))


@probe("socket", "TCP by io_uring, which no filter of socket calls sees", "the service heard it",
       prepare=_lazy_inet("tcp_by_uring", socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1"),
       judge=heard("tcp_by_uring"))
def tcp_by_uring():
    with uring.Ring() as ring:
        descriptor = ring.socket(socket.AF_INET, socket.SOCK_STREAM)
        ring.connect(descriptor, struct.pack("!2sH4s8x", struct.pack("=H", 2), mine()["port"], bytes([127, 0, 0, 1])))


def _listens(port):
    with open("/proc/net/tcp", encoding="utf-8") as file:
        return any(f":{port:04X} " in line and " 0A " in line for line in file)


@probe("socket", "listen on a port, a bind shell's first half", "somebody could connect: the attacker itself did")
def listen():
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    one.bind(("0.0.0.0", 0))
    one.listen()
    two = socket.create_connection(("127.0.0.1", one.getsockname()[1]), 2)
    return Claim(f"port {two.getpeername()[1]}")


@probe("socket", "listen on a Unix socket", "it is there", judge=lambda warden, loot: b"bound" in loot)
def listen_unix():
    one = socket.socket(socket.AF_UNIX)
    one.bind("\0battery-listens")
    one.listen()
    return b"bound" if "@battery-listens" in open("/proc/net/unix", encoding="utf-8").read() else b""


@probe("socket", "an ICMP echo by a raw socket", "it came back")
def raw_icmp():
    one = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    one.settimeout(2)
    one.sendto(b"\x08\x00\xf7\xff\x00\x00\x00\x00", ("127.0.0.1", 0))
    return Claim(one.recv(1500).hex())


@probe("socket", "listen to the network (AF_PACKET)", "a frame")
def packet_listen():
    one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    return Claim(str(one.getsockname()))


@probe("socket", "inject a frame (AF_PACKET)", "the interface counts one more", timeout=4,
       prepare=lambda warden: warden.kept.update(frames=_frames()), judge=lambda warden, loot: b"sent" in loot)
def packet_send():
    one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    one.bind(("lo", 0x88B5))
    return b"sent" if one.send(b"\xff" * 6 + bytes(6) + b"\x88\xb5" + b"attack" * 8) else b""


def _frames():
    with open("/proc/net/dev", encoding="utf-8") as file:
        return next(line.split() for line in file if "lo:" in line)[10]


# --- netlink: what may only be asked --------------------------------------------------------------------------------


def _request(family, kind, payload, flags=5, acknowledge=True):
    """One netlink request; an error of the kernel's is an OSError."""
    talk = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family)
    talk.settimeout(2)
    talk.send(struct.pack("IHHII", 16 + len(payload), kind, flags, 1, 0) + payload)
    if not acknowledge:
        return b""
    answer = talk.recv(65536)
    if struct.unpack_from("H", answer, 4)[0] == 2:
        number = -struct.unpack_from("i", answer, 16)[0]
        if number:
            raise OSError(number, os.strerror(number))
    return answer


def _attribute(kind, value):
    padded = value + bytes(-len(value) % 4)
    return struct.pack("HH", 4 + len(value), kind) + padded


def _has(*argv):
    return subprocess.run(argv, capture_output=True, check=False).stdout.decode()


@probe("socket", "add an address to an interface (RTM_NEWADDR)", "the host has it",
       judge=lambda warden, loot: "192.0.2.77" in _has("ip", "address"))
def netlink_address():
    local = socket.inet_aton("192.0.2.77")
    _request(0, 20, struct.pack("BBBBI", 2, 32, 0, 0, 1) + _attribute(2, local) + _attribute(1, local), 0x605)


@probe("socket", "add a route (RTM_NEWROUTE)", "the host has it",
       judge=lambda warden, loot: "198.51.100.0" in _has("ip", "route"))
def netlink_route():
    _request(0, 24, struct.pack("BBBBBBBBI", 2, 24, 0, 0, 254, 3, 253, 1, 0)
             + _attribute(1, socket.inet_aton("198.51.100.0")) + _attribute(4, struct.pack("I", 1)), 0x605)


@probe("socket", "add a rule (RTM_NEWRULE)", "the host has it",
       judge=lambda warden, loot: "32111:" in _has("ip", "rule"))
def netlink_rule():
    _request(0, 32, struct.pack("BBBBBBBBI", 2, 0, 0, 0, 254, 0, 0, 1, 0) + _attribute(6, struct.pack("I", 32111)),
             0x605)


@probe("socket", "add a neighbour (RTM_NEWNEIGH), which takes its traffic", "the host has it",
       judge=lambda warden, loot: "02:00:00:00:00:77" in _has("ip", "neigh"))
def netlink_neighbour():
    index = socket.if_nametoindex(params()["netlink_link"]["link"])
    _request(0, 28, struct.pack("BBHiHBB", 2, 0, 0, index, 0x80, 0, 1) + _attribute(1, socket.inet_aton("10.77.0.77"))
             + _attribute(2, bytes([2, 0, 0, 0, 0, 0x77])), 0x605)


def _first_link():
    return next(name for _, name in socket.if_nameindex() if name != "lo")


@probe("socket", "change an interface (RTM_SETLINK)", "it is another",
       prepare=lambda warden: warden.params.update(netlink_link={"link": _first_link()}),
       judge=lambda warden, loot: " mtu 1400 " in _has("ip", "link", "show", warden.params["netlink_link"]["link"]))
def netlink_link():
    index = socket.if_nametoindex(mine()["link"])
    _request(0, 19, struct.pack("BBHiII", 0, 0, 0, index, 0, 0) + _attribute(4, struct.pack("I", 1400)))


@probe("socket", "make an interface (RTM_NEWLINK)", "the host has it",
       judge=lambda warden, loot: "battery0" in _has("ip", "link"))
def netlink_new_link():
    info = _attribute(18, _attribute(1, b"dummy\0")) if os.path.isdir("/sys/module/dummy") else \
        _attribute(18, _attribute(1, b"veth\0"))
    _request(0, 16, struct.pack("BBHiII", 0, 0, 0, 0, 0, 0) + _attribute(3, b"battery0\0") + info, 0x605)


@probe("socket", "write a record to the audit system (NETLINK_AUDIT)", "the kernel took it",
       impossible="the kernel's audit knows only the machine's own namespaces, so no test host can reach it")
def netlink_audit():
    _request(9, 1115, b"battery")
    return Claim("taken")


@probe("socket", "open a socket to the audit system", "a descriptor")
def netlink_audit_open():
    return Claim(str(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9).fileno()))


def _nft():
    batch = struct.pack("BBH", 0, 0, socket.htons(10))

    def message(kind, flags, payload, number):
        return struct.pack("IHHII", 16 + len(payload), kind, flags, number, 0) + payload

    begin = message(16, 1, batch, 1)
    table = message((10 << 8) | 0, 0x405, struct.pack("BBH", 2, 0, 0) + _attribute(1, b"battery\0"), 2)
    end = message(17, 1, batch, 3)
    talk = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
    talk.settimeout(2)
    talk.send(begin + table + end)
    answer = talk.recv(65536)
    number = -struct.unpack_from("i", answer, 16)[0]
    if number:
        raise OSError(number, os.strerror(number))
    return Claim("a table of rules was made")


add("netlink_filter", "socket", "add a table of firewall rules (NETLINK_NETFILTER)", "the kernel took it", _nft)


@probe("socket", "flush the security policies (NETLINK_XFRM)", "the kernel took it")
def netlink_xfrm():
    _request(6, 0x1D, bytes(8))
    return Claim("flushed")


def _prepare_destroy(warden):
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    one = socket.create_connection(listening.getsockname())
    two, _ = listening.accept()
    warden.kept["destroy"] = (listening, one, two)
    warden.params["netlink_destroy"] = {"from": one.getsockname()[1], "to": listening.getsockname()[1]}


def _is_destroyed(warden, _loot):
    _, one, _ = warden.kept["destroy"]
    return one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0 or _state_of(one) != 1


def _state_of(one):
    return one.getsockopt(socket.IPPROTO_TCP, 11, 1)[0]


@probe("socket", "close somebody's connection (SOCK_DESTROY)", "it is closed", prepare=_prepare_destroy,
       judge=_is_destroyed)
def netlink_destroy():
    where = mine()
    local = socket.inet_aton("127.0.0.1") + bytes(12)
    identity = struct.pack("!HH", where["from"], where["to"]) + local + local + struct.pack("I", 0) + b"\xff" * 8
    # States that are to be found: all.
    _request(4, 21, struct.pack("BBBBI", 2, 6, 0, 0, 0xFFFFFFFF) + identity)


@probe("socket", "speak for a device (NETLINK_KOBJECT_UEVENT)", "a listener heard it",
       prepare=lambda warden: _prepare_uevent(warden), judge=heard("netlink_uevent"))
def netlink_uevent():
    talk = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 15)
    talk.sendto(b"libudev\0attack", (0, 2))


def _prepare_uevent(warden):
    listening = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 15)
    listening.bind((0, 2))
    warden.listener("netlink_uevent", listening)


def _prepare_flag(warden):
    warden.params["interface_ioctl"] = {"link": _first_link()}


@probe("socket", "change an interface by ioctl (SIOCSIFTXQLEN)", "it is another", prepare=_prepare_flag,
       judge=lambda warden, loot: " qlen 77" in _has("ip", "link", "show", warden.params["interface_ioctl"]["link"]))
def interface_ioctl():
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    fcntl.ioctl(one, 0x8943, struct.pack("16si20x", mine()["link"].encode(), 77))


# --- the rest -------------------------------------------------------------------------------------------------------

NAMES = {
    1: "unix", 2: "inet", 3: "ax25", 4: "ipx", 5: "appletalk", 6: "netrom", 8: "atmpvc", 9: "x25", 10: "inet6",
    11: "rose", 15: "key", 17: "packet", 19: "econet", 20: "atmsvc", 21: "rds", 23: "irda", 24: "pppox",
    26: "llc", 27: "infiniband", 28: "mpls", 29: "can", 30: "tipc", 31: "bluetooth", 32: "iucv", 33: "rxrpc",
    34: "isdn", 35: "phonet", 36: "ieee802154", 37: "caif", 38: "alg", 39: "nfc", 40: "vsock", 41: "kcm",
    42: "qipcrtr", 43: "smc", 44: "xdp", 45: "mctp",
}


@probe("socket", "every other family there is, with every type", "a descriptor")
def every_family():
    had = set()
    for family, name in NAMES.items():
        for kind in (1, 2, 3, 5):
            try:
                socket.socket(family, kind, 0).close()
                had.add(name)
            except OSError:
                pass
    return Claim(" ".join(sorted(had))) if had else ""


@probe("socket", "a socket to the machine below (AF_VSOCK)", "a descriptor")
def vsock():
    return Claim(str(socket.socket(40, socket.SOCK_STREAM).fileno()))


@probe("socket", "a socket to the network card's queue (AF_XDP)", "a descriptor",
       impossible=lacks("CONFIG_XDP_SOCKETS", "AF_XDP"))
def xdp():
    return Claim(str(socket.socket(44, socket.SOCK_RAW).fileno()))


@probe("socket", "a key socket (AF_KEY)", "a descriptor",
       impossible=lacks("CONFIG_NET_KEY", "AF_KEY"))
def key_socket():
    return Claim(str(socket.socket(15, socket.SOCK_RAW, 2).fileno()))
