/* Kills a program before one of its system calls. Root, on the host.
 *
 *     stepper NAME THREAD STEP SECONDS HOW -p PID              a process that is to start NAME some time
 *     stepper NAME THREAD STEP SECONDS HOW PROGRAM ARGUMENT…   NAME itself
 *
 * Steps are the calls that somebody else can notice, counted for each thread by itself; threads are counted in the order
 * of their making, 0 is the first. Who is killed before a call has not made it, and all before it. A call that changes
 * nothing outside is no step: to die before it is to die before the next one.
 *
 * STEP is CALL:WHAT:N: the Nth step of that call, on something whose name begins so. STEP 0 kills nobody and prints each
 * step. After so many SECONDS the process goes on alone, or the program is killed.
 * HOW is a word of letters, `-` for none of them:
 *     f   steps count from the first fork on
 *     b   the program is this very process, as a unit wants it; what is found is written to /srv/steps/told
 *     l   lies: no rename of the program's is done, and it is told that it was
 *
 * What is followed before NAME is there runs freely, and so do NAME's children.
 * No PTRACE_O_TRACEEXIT: a tracee that is killed in that stop cannot die.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define MANY 256

enum role { FOLLOWED, THREAD, CHILD };

struct tracee {
    pid_t pid;
    enum role role;
    int thread;   /* which, of the subject */
    long steps;   /* so many it has come by */
    long hits;    /* and so many of those that are wanted */
    int known;    /* its maker has told of it */
    int stopped;  /* it waits for that */
    int lied;     /* the call that it is in is not done */
};

static struct tracee all[MANY];
static int count, threads, counting, dead;
static const char *name;
static int wanted_thread, from_fork, lies;
static char wanted_call[32], wanted_what[64];
static long wanted_hit;
static pid_t subject;
static volatile sig_atomic_t late;

static void is_late(int signal) {
    (void)signal;
    late = 1;
}

static struct tracee *find(pid_t pid) {
    for (int i = 0; i < count; i++)
        if (all[i].pid == pid) return &all[i];
    return NULL;
}

static struct tracee *add(pid_t pid) {
    if (count == MANY) exit(3);
    all[count] = (struct tracee){.pid = pid};
    return &all[count++];
}

static void forget(pid_t pid) {
    struct tracee *one = find(pid);
    if (one) *one = all[--count];
}

static int has_name(pid_t pid) {
    char path[64], found[32] = {0};
    snprintf(path, sizeof path, "/proc/%d/comm", pid);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    char *got = fgets(found, sizeof found, file);
    fclose(file);
    found[strcspn(found, "\n")] = 0;
    return got && !strcmp(found, name);
}

/* What a descriptor leads to: a file's last part, or what it is else. */
static void descriptor(pid_t pid, long number, char *what, size_t size) {
    char path[64], link[PATH_MAX];
    snprintf(path, sizeof path, "/proc/%d/fd/%ld", pid, number);
    ssize_t length = readlink(path, link, sizeof link - 1);
    link[length < 0 ? 0 : length] = 0;
    const char *last = strrchr(link, '/');
    if (!strncmp(link, "/dev/", 5)) snprintf(what, size, "device");
    else if (last) snprintf(what, size, "%.100s", last + 1);
    else snprintf(what, size, "%.*s", (int)strcspn(link, ":"), link);
}

/* The last part of a path in its memory. */
static void path_at(pid_t pid, unsigned long long address, char *what, size_t size) {
    char text[PATH_MAX] = {0};
    struct iovec local = {text, sizeof text - 1}, remote = {(void *)address, 1};
    /* To the page's end, and if that was not all of it, on. */
    size_t left = 4096 - address % 4096;
    remote.iov_len = left < sizeof text - 1 ? left : sizeof text - 1;
    ssize_t got = process_vm_readv(pid, &local, 1, &remote, 1, 0);
    if (got > 0 && !memchr(text, 0, got) && (size_t)got < sizeof text - 1) {
        struct iovec rest = {text + got, sizeof text - 1 - got};
        struct iovec more = {(void *)(address + got), sizeof text - 1 - got};
        process_vm_readv(pid, &rest, 1, &more, 1, 0);
    }
    const char *last = strrchr(text, '/');
    snprintf(what, size, "%.200s", last ? last + 1 : text);
}

static int is_outside(const char *what) {
    return !strcmp(what, "socket") || !strcmp(what, "pipe") || !strcmp(what, "device");
}

/* The call's name if it is a step. */
static const char *step_of(pid_t pid, struct __ptrace_syscall_info *about, char *what, size_t size) {
    unsigned long long *with = (unsigned long long *)about->entry.args;
    snprintf(what, size, "-");
    switch (about->entry.nr) {
    case SYS_write: case SYS_writev: case SYS_pwrite64: case SYS_sendto: case SYS_sendmsg:
        descriptor(pid, with[0], what, size);
        return "write";
    case SYS_read: case SYS_readv: case SYS_recvfrom: case SYS_recvmsg:
        descriptor(pid, with[0], what, size);
        return is_outside(what) ? "read" : NULL;
    case SYS_openat:
        if (!(with[2] & (O_CREAT | O_WRONLY | O_RDWR))) return NULL;
        path_at(pid, with[1], what, size);
        return "open";
    case SYS_unlink: path_at(pid, with[0], what, size); return "unlink";
    case SYS_unlinkat: path_at(pid, with[1], what, size); return "unlink";
    case SYS_rename: path_at(pid, with[1], what, size); return "rename";
    case SYS_renameat: case SYS_renameat2: path_at(pid, with[3], what, size); return "rename";
    case SYS_fsync: case SYS_fdatasync: descriptor(pid, with[0], what, size); return "flush";
    case SYS_ftruncate: descriptor(pid, with[0], what, size); return "truncate";
    case SYS_connect: return "connect";
    case SYS_shutdown: return "shutdown";
    case SYS_execve: case SYS_execveat: return "exec";
    case SYS_fork: case SYS_vfork: case SYS_clone: case SYS_clone3: return "fork";
    case SYS_dup2: case SYS_dup3: return "dup";
    case SYS_pipe: case SYS_pipe2: return "pipe";
    case SYS_ioctl:
        /* Asking a terminal for its modes or its size changes nothing. */
        if (with[1] == TCGETS || with[1] == TIOCGWINSZ || with[1] == FIONREAD) return NULL;
        if (with[1] == TIOCSWINSZ) snprintf(what, size, "size");
        return "ioctl";
    case SYS_kill: case SYS_tgkill: case SYS_pidfd_send_signal: return "kill";
    case SYS_pidfd_open: return "pidfd";
    case SYS_wait4: case SYS_waitid: return "wait";
    case SYS_setsid: return "setsid";
    case SYS_prctl: return "prctl";
    case SYS_setgroups: case SYS_setresgid: case SYS_setresuid: return "identity";
    case SYS_exit_group: return "exit";
    default: return NULL;
    }
}

static int is_rename(struct __ptrace_syscall_info *about) {
    return about->entry.nr == SYS_rename || about->entry.nr == SYS_renameat || about->entry.nr == SYS_renameat2;
}

/* A call is not done if its number is none; what it comes to is what the registers say. */
static void lie(struct tracee *one, struct __ptrace_syscall_info *about) {
    struct user_regs_struct registers;
    if (ptrace(PTRACE_GETREGS, one->pid, 0, &registers)) return;
    if (about->op == PTRACE_SYSCALL_INFO_ENTRY && is_rename(about)) {
        registers.orig_rax = -1;
        one->lied = 1;
    } else if (about->op == PTRACE_SYSCALL_INFO_EXIT && one->lied) {
        registers.rax = 0;
        one->lied = 0;
    } else return;
    ptrace(PTRACE_SETREGS, one->pid, 0, &registers);
}

static void at_call(struct tracee *one) {
    struct __ptrace_syscall_info about;
    char what[256];
    if (ptrace(PTRACE_GET_SYSCALL_INFO, one->pid, sizeof about, &about) <= 0) return;
    /* Counting stops does not tell: who is seized inside a call leaves it first. */
    if (one->role == THREAD && counting && !dead && about.op == PTRACE_SYSCALL_INFO_ENTRY) {
        const char *call = step_of(one->pid, &about, what, sizeof what);
        if (call) {
            one->steps++;
            int suits = wanted_hit && one->thread == wanted_thread && !strcmp(call, wanted_call) &&
                        !strncmp(what, wanted_what, strlen(wanted_what));
            int is_it = suits && ++one->hits == wanted_hit;
            if (!wanted_hit || is_it) {
                printf("%s %ld %d %s %s\n", is_it ? "killed" : "step", one->steps, one->thread, call, what);
                fflush(stdout);
            }
            if (is_it) {
                dead = 1;
                kill(subject, SIGKILL);
                return;
            }
        }
    }
    if (lies) lie(one, &about);
}

/* Lets it go on; false if it is no longer traced. */
static void go_on(struct tracee *one, int signal) {
    if (one->role == FOLLOWED) ptrace(PTRACE_CONT, one->pid, 0, signal);
    else if (one->role == THREAD) ptrace(PTRACE_SYSCALL, one->pid, 0, signal);
    else {
        pid_t pid = one->pid;
        ptrace(PTRACE_DETACH, pid, 0, signal);
        forget(pid);
    }
}

static void made(struct tracee *maker, int event) {
    unsigned long number = 0;
    ptrace(PTRACE_GETEVENTMSG, maker->pid, 0, &number);
    enum role role = maker->role;
    if (role == THREAD && event != PTRACE_EVENT_CLONE) {
        role = CHILD;
        counting = 1;
    }
    struct tracee *one = find((pid_t)number);
    if (!one) one = add((pid_t)number);
    one->role = role;
    one->known = 1;
    if (role == THREAD) one->thread = ++threads;
    if (one->stopped) {
        one->stopped = 0;
        go_on(one, 0);
    }
}

static void becomes(struct tracee *one) {
    if (!subject && has_name(one->pid)) {
        subject = one->pid;
        one->role = THREAD;
        counting = !from_fork;
    }
    go_on(one, 0);
}

static void on_stop(pid_t pid, int status) {
    int signal = WSTOPSIG(status), event = status >> 16, pass = 0;
    struct tracee *one = find(pid);
    if (!one || !one->known) {
        /* New, and its maker's word comes later. */
        if (!one) one = add(pid);
        one->stopped = 1;
        return;
    }
    if (signal == (SIGTRAP | 0x80)) at_call(one);
    else if (event == PTRACE_EVENT_EXEC) { becomes(one); return; }
    else if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK || event == PTRACE_EVENT_CLONE) {
        made(one, event);
        one = find(pid);
    } else if (event == PTRACE_EVENT_STOP) {
        /* A new tracee's first stop, or a group stop. */
        if (signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU) {
            ptrace(PTRACE_LISTEN, pid, 0, 0);
            return;
        }
    } else if (!event) pass = signal;
    if (one) go_on(one, pass);
}

/* Becomes the program once it is traced; comes back in the tracer. */
static int be(char **command) {
    int told[2];
    if (pipe2(told, O_CLOEXEC)) exit(1);
    if (fork()) {
        char byte;
        close(told[1]);
        if (read(told[0], &byte, 1) == 1) execv(command[0], command);
        _exit(127);
    }
    /* Nobody is to wait for what this holds open. */
    int nothing = open("/dev/null", O_RDWR), file = open("/srv/steps/told", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (nothing < 0 || file < 0 || dup2(nothing, 0) < 0 || dup2(file, 1) < 0 || dup2(nothing, 2) < 0) exit(1);
    setsid();
    return told[1];
}

int main(int argc, char **argv) {
    if (argc < 7) return 2;
    name = argv[1];
    wanted_thread = atoi(argv[2]);
    if (strcmp(argv[3], "0") && sscanf(argv[3], "%31[^:]:%63[^:]:%ld", wanted_call, wanted_what, &wanted_hit) != 3) return 2;
    int seconds = atoi(argv[4]);
    from_fork = !!strchr(argv[5], 'f');
    lies = !!strchr(argv[5], 'l');
    long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
                   PTRACE_O_TRACEEXEC;
    int is_ours = strcmp(argv[6], "-p") != 0, go = -1;
    pid_t first = getpid();
    if (strchr(argv[5], 'b')) {
        go = be(argv + 6);
        is_ours = 0;
    } else if (is_ours) {
        first = fork();
        if (!first) {
            raise(SIGSTOP);
            execv(argv[6], argv + 6);
            _exit(127);
        }
        int status;
        if (waitpid(first, &status, WUNTRACED) != first) return 1;
    } else {
        first = argc > 7 ? atoi(argv[7]) : 0;
    }
    if (first <= 0 || ptrace(PTRACE_SEIZE, first, 0, options) || ptrace(PTRACE_INTERRUPT, first, 0, 0)) {
        perror("PTRACE_SEIZE");
        return 1;
    }
    add(first)->known = 1;
    if (is_ours) kill(first, SIGCONT);
    if (go >= 0) {
        if (write(go, "", 1) != 1) return 1;
        close(go);
    }
    struct sigaction action = {.sa_handler = is_late};
    sigaction(SIGALRM, &action, NULL);
    /* Again and again: one that comes just before the wait would be missed. */
    struct itimerval until = {.it_value = {seconds, 0}, .it_interval = {0, 100000}};
    setitimer(ITIMER_REAL, &until, NULL);
    int said = 0, over = 0;
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, __WALL);
        if (late && !over) {
            over = 1;
            puts("late");
            fflush(stdout);
            if (!is_ours) return 0;
            dead = 1;
            kill(subject ? subject : first, SIGKILL);
        }
        if (pid < 0) {
            if (errno == EINTR) continue;
            break;
        }
        if (!WIFSTOPPED(status)) {
            forget(pid);
            if (pid == subject || !count) {
                puts("ended");
                fflush(stdout);
                return 0;
            }
            continue;
        }
        if (!said) {
            said = 1;
            puts("attached");
            fflush(stdout);
        }
        on_stop(pid, status);
    }
    return 0;
}
