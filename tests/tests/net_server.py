# Says hello on ports 7001 to 7004 of every address, and on two Unix sockets where it may make them.
import os, select, socket, sys

listening = []
for port in range(7001, 7005):
    made = socket.socket(socket.AF_INET6)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    made.bind(("::", port))
    listening.append(made)
for name in sys.argv[1:]:
    made = socket.socket(socket.AF_UNIX)
    made.bind(name.replace("@", "\0"))
    if name[0] == "/":
        os.chmod(name, 0o777)
    listening.append(made)
for made in listening:
    made.listen(64)
print("ready", flush=True)
kept = []
while True:
    for one in select.select(listening + kept, [], [])[0]:
        if one in listening:
            kept.append(one.accept()[0])
            try:
                kept[-1].send(b"hello\n")
            except OSError:
                pass
        else:
            try:
                left = one.recv(64)
            except OSError:
                left = b""
            if not left:
                print("closed", flush=True)
                one.close()
                kept.remove(one)
