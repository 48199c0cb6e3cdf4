"""Signals to others, and everything else that others feel: priority, limits, processors, tracing."""

import ctypes
import fcntl
import os
import resource
import signal
import socket
import struct
import time

import kit
from kit import LIBC, Claim, address, add, buffer, call, mine, probe


def on_a_process(tries, oracle="it is gone or stopped", judge=None, uid=0):
    """A probe of one process of root's, or of a user's."""

    def take(function):
        name = function.__name__

        def lives(warden, loot):
            return not warden.lives(name)

        def attack():
            return function(mine()["pid"])

        add(name, "signal", tries, oracle, attack, prepare=lambda warden: warden.victim(name, uid),
            judge=(lambda warden, loot: judge(warden.params[name]["pid"])) if judge else lives)
        return function

    return take


@on_a_process("kill")
def kill(pid):
    os.kill(pid, signal.SIGKILL)


@on_a_process("stop")
def stop(pid):
    os.kill(pid, signal.SIGSTOP)


@on_a_process("kill its whole group")
def kill_group(pid):
    os.killpg(pid, signal.SIGTERM)


@on_a_process("tkill")
def thread_kill(pid):
    call("tkill", pid, 9)


@on_a_process("tgkill")
def thread_group_kill(pid):
    call("tgkill", pid, pid, 9)


@on_a_process("queue a signal with a value")
def queue_signal(pid):
    call("rt_sigqueueinfo", pid, 15, address(buffer(struct.pack("iii", 15, 0, -1) + bytes(116))))


@on_a_process("through a pidfd")
def pidfd_kill(pid):
    signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGKILL)


@on_a_process("through its folder in /proc")
def proc_folder_kill(pid):
    call("pidfd_send_signal", os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY), 9, 0, 0)


@on_a_process("as the owner of a pipe that gets data (F_SETOWN, F_SETSIG)")
def signal_by_owner(pid):
    reader, writer = os.pipe()
    fcntl.fcntl(reader, 10, 9)
    fcntl.fcntl(reader, fcntl.F_SETOWN, pid)
    fcntl.fcntl(reader, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    os.write(writer, b"x")


@on_a_process("as the owner of a terminal that hangs up (FIOSETOWN)")
def signal_by_socket(pid):
    one, two = socket.socketpair()
    fcntl.fcntl(one, 10, 9)
    fcntl.ioctl(one, 0x8901, struct.pack("i", pid))
    fcntl.fcntl(one, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    two.send(b"x")


@on_a_process("limit its processor time, which kills it when it runs (prlimit)", "its limit is another",
              lambda pid: resource.prlimit(pid, resource.RLIMIT_CPU)[0] == 1)
def limit(pid):
    resource.prlimit(pid, resource.RLIMIT_CPU, (1, 1))


@on_a_process("let it dump core (prlimit)", "its limit is another",
              lambda pid: resource.prlimit(pid, resource.RLIMIT_CORE)[0] == 12345)
def limit_core(pid):
    resource.prlimit(pid, resource.RLIMIT_CORE, (12345, 12345))


@on_a_process("take its descriptors (prlimit)", "its limit is another",
              lambda pid: resource.prlimit(pid, resource.RLIMIT_NOFILE)[0] == 3)
def limit_files(pid):
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, 3))


@on_a_process("lower its priority", "it is nicer", lambda pid: os.getpriority(os.PRIO_PROCESS, pid) == 15)
def priority(pid):
    os.setpriority(os.PRIO_PROCESS, pid, 15)


@on_a_process("lower its group's priority", "it is nicer", lambda pid: os.getpriority(os.PRIO_PROCESS, pid) == 14)
def priority_group(pid):
    os.setpriority(os.PRIO_PGRP, pid, 14)


@on_a_process("lower the priority of all that another user runs", "it is nicer",
              lambda pid: os.getpriority(os.PRIO_PROCESS, pid) == 3, uid=4242)
def priority_user(pid):
    os.setpriority(os.PRIO_USER, 4242, 3)


@on_a_process("raise its priority", "it is less nice", lambda pid: os.getpriority(os.PRIO_PROCESS, pid) == -15)
def priority_up(pid):
    os.setpriority(os.PRIO_PROCESS, pid, -15)


def _io(pid):
    return LIBC.syscall(252, 1, pid)


@on_a_process("its I/O priority", "it is another", lambda pid: _io(pid) == 3 << 13)
def io_priority(pid):
    call("ioprio_set", 1, pid, 3 << 13)


@on_a_process("bind it to one processor", "it is bound", lambda pid: os.sched_getaffinity(pid) == {0})
def affinity(pid):
    os.sched_setaffinity(pid, {0})


@on_a_process("make it a batch job", "its policy is another", lambda pid: os.sched_getscheduler(pid) == os.SCHED_IDLE)
def scheduler(pid):
    os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))


@on_a_process("make it real-time", "its policy is another", lambda pid: os.sched_getscheduler(pid) == os.SCHED_FIFO)
def real_time(pid):
    os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(1))


@on_a_process("sched_setattr", "its policy is another", lambda pid: os.sched_getscheduler(pid) == os.SCHED_BATCH)
def scheduler_attributes(pid):
    call("sched_setattr", pid, address(buffer(struct.pack("IIQiIQQQ", 48, 3, 0, 5, 0, 0, 0, 0))), 0)


def _state(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        return file.read().rsplit(")", 1)[1].split()[0]


@on_a_process("attach to it (PTRACE_ATTACH)", "it saw a tracer", lambda pid: _traced(pid))
def attach(pid):
    call("ptrace", 16, pid, 0, 0)
    os.waitpid(pid, 0x40000000)
    # Left stopped for good: a tracer that only looked would leave no trace.
    call("ptrace", 17, pid, 0, 19)


@on_a_process("attach to it (PTRACE_SEIZE), so that it dies with its tracer (EXITKILL)")
def seize(pid):
    call("ptrace", 0x4206, pid, 0, 0x100000)


def _traced(pid):
    return _state(pid) in "tTZX"


@on_a_process("advise its memory away (process_madvise)", "the kernel took it")
def advise(pid):
    # MADV_COLD, of one page of its code.
    with open(f"/proc/{pid}/maps", encoding="utf-8") as file:
        start = int(file.readline().split("-")[0], 16)
    vector = buffer(struct.pack("QQ", start, 4096))
    return Claim(f"{call('process_madvise', os.pidfd_open(pid), address(vector), 1, 20, 0)} bytes")


# The kernel keeps no trace of it.
kit.PROBES["advise"].judge = None


@on_a_process("migrate its pages", "the kernel took it")
def migrate(pid):
    mask = buffer(struct.pack("Q", 1))
    return Claim(f"{call('migrate_pages', pid, 8, address(mask), address(mask))} left")


kit.PROBES["migrate"].judge = None


@on_a_process("count its instructions (perf_event_open)", "a descriptor")
def perf_other(pid):
    return Claim(f"descriptor {perf(pid)}")


kit.PROBES["perf_other"].judge = None


def perf(pid, kind=1, config=0):
    """A software clock of a process."""
    given = buffer(struct.pack("IIQ", kind, 120, config) + bytes(104))
    return call("perf_event_open", address(given), pid, -1, -1, 0)
