# Runs a client at a terminal of its own, as a person would: argv[1] is a list of steps, the rest is the client.
# Steps: ["size", COLUMNS, ROWS], ["send", TEXT], ["want", REGEX] in what was shown since the last that was found.
# All that was shown comes out on stdout, byte for byte; ends as the client ended.
import fcntl, json, os, re, select, struct, subprocess, sys, termios, time

steps, client = json.loads(sys.argv[1]), sys.argv[2:]
master, slave = os.openpty()
shown, found = b"", 0


def resize(columns, rows):
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def own_terminal():
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)


def more(until):
    global shown
    ready, _, _ = select.select([master], [], [], max(0, until - time.monotonic()))
    if not ready:
        return None
    try:
        part = os.read(master, 65536)
    except OSError:
        part = b""
    shown += part
    return bool(part)


resize(100, 30)
if steps and steps[0][0] == "size":
    resize(*steps.pop(0)[1:])
process = subprocess.Popen(client, stdin=slave, stdout=slave, preexec_fn=own_terminal)
os.close(slave)
for kind, *values in steps:
    if kind == "send":
        os.write(master, values[0].encode())
    elif kind == "size":
        resize(*values)
    else:
        until = time.monotonic() + 20
        while not (match := re.search(values[0].encode(), shown[found:])):
            if not more(until):
                sys.stderr.write(f"{values[0]!r} was not shown\n")
                sys.stdout.buffer.write(shown)
                process.kill()
                sys.exit(99)
        found += match.end()
while more(time.monotonic() + 20):
    pass
sys.stdout.buffer.write(shown)
sys.stdout.flush()
sys.exit(process.wait(20))
