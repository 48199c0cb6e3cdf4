#!/usr/bin/python3
# What a command reaches: one line for each try, its name and "done" or the error. LAB and HOST are replaced.
import errno, os, socket, struct, sys

tcp, six = socket.IPPROTO_TCP, socket.AF_INET6

def tried(name, act):
    try:
        act()
        print(name, "done")
    except OSError as error:
        print(name, errno.errorcode.get(error.errno, error))

def connect(address, port, family=socket.AF_INET, kind=socket.SOCK_STREAM, protocol=0):
    made = socket.socket(family, kind, protocol)
    made.settimeout(5)
    made.connect((address, port))
    return made

def greeted(*to):
    if connect(*to).recv(5) != b"hello":
        raise OSError(errno.EPROTO, "another answer")

def child():
    if os.fork() == 0:
        try:
            connect("127.0.0.2", 7002)
            os._exit(0)
        except OSError as error:
            os._exit(error.errno)
    came = os.waitstatus_to_exitcode(os.wait()[1])
    if came:
        raise OSError(came, "in the child")

def late():
    made = socket.socket()
    made.setsockopt(tcp, 30, 1)
    made.connect(("127.0.0.2", 7002))
    made.send(b"x")

def unix(name):
    socket.socket(socket.AF_UNIX).connect(name)

tried("listed lab", lambda: greeted("LAB", 7001))
tried("listed", lambda: greeted("127.0.0.1", 7002))
tried("listed six", lambda: greeted("::1", 7003, six))
tried("listed mapped", lambda: greeted("::ffff:127.0.0.1", 7002, six))
tried("usual options", lambda: [socket.socket().setsockopt(*one, 1) for one in ((tcp, 1), (1, 9), (tcp, 4), (0, 1))])
tried("port", lambda: connect("127.0.0.1", 7004))
tried("port six", lambda: connect("::1", 7004, six))
tried("port of another", lambda: connect("127.0.0.1", 7001))
tried("port of another six", lambda: connect("::1", 7002, six))
tried("own address", lambda: connect("HOST", 7002))
tried("lab", lambda: connect("LAB", 7002))
tried("loopback", lambda: connect("127.0.0.2", 7002))
tried("zero", lambda: connect("0.0.0.0", 7002))
tried("zero six", lambda: connect("::", 7003, six))
tried("mapped", lambda: connect("::ffff:127.0.0.2", 7002, six))
tried("mapped zero", lambda: connect("::ffff:0.0.0.0", 7002, six))
tried("child", child)
tried("fast open", lambda: socket.socket().sendto(b"x", socket.MSG_FASTOPEN, ("127.0.0.2", 7002)))
tried("fast open listed", lambda: socket.socket().sendto(b"x", socket.MSG_FASTOPEN, ("127.0.0.1", 7002)))
tried("fast open message", lambda: socket.socket().sendmsg([b"x"], [], socket.MSG_FASTOPEN, ("127.0.0.2", 7002)))
tried("fast open late", late)
tried("send elsewhere", lambda: connect("127.0.0.1", 7002).sendto(b"x", ("127.0.0.2", 7002)))
tried("bind", lambda: socket.socket().bind(("127.0.0.1", 7010)))
tried("bind zero", lambda: socket.socket().bind(("127.0.0.1", 0)))
tried("bind six", lambda: socket.socket(six).bind(("::1", 7010)))
tried("listen", lambda: socket.socket().listen())
tried("source route", lambda: socket.socket().setsockopt(0, 4, bytes([1, 0x83, 7, 4, 127, 0, 0, 2])))
tried("device", lambda: socket.socket().setsockopt(1, 25, b"lo\0"))
tried("datagram", lambda: connect("127.0.0.1", 7002, kind=socket.SOCK_DGRAM))
tried("datagram six", lambda: connect("::1", 7003, six, socket.SOCK_DGRAM))
tried("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, tcp))
tried("packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
tried("mptcp", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262))
tried("unix", lambda: unix("/tmp/net-test.sock"))
tried("abstract", lambda: unix("\0net-test"))
