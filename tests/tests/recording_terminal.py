"""Runs a command in a terminal of its own and prints what that showed, byte for byte.

usage: terminal.py [size LINES COLUMNS | type TEXT WHEN]... -- COMMAND...
`type`: once WHEN was shown, TEXT and a newline are typed. `size`: once anything was shown, the terminal has that size.
"""
import fcntl, os, pty, struct, sys, termios

at = sys.argv.index('--')
words, command = sys.argv[1:at], sys.argv[at + 1:]
sizes, typed = [], []
while words:
    if words[0] == 'size':
        sizes.append((int(words[1]), int(words[2])))
    else:
        typed.append((words[1].encode(), words[2].encode()))
    words = words[3:]
pid, master = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 80, 0, 0))
    os.execvp(command[0], command)
shown = b''
while True:
    try:
        data = os.read(master, 65536)
    except OSError:
        break
    if not data:
        break
    shown += data
    if sizes:
        lines, columns = sizes.pop(0)
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack('HHHH', lines, columns, 0, 0))
    if typed and typed[0][1] in shown:
        os.write(master, typed.pop(0)[0] + b'\n')
os.waitpid(pid, 0)
sys.stdout.buffer.write(shown)
