/* Stops a command of an agent's at one step between decision and exec. Root, on the host.
 *
 *     tracer PID STEP
 *
 * PID is a shell of the agent's that is about to become sudo. Steps are system calls of sudo and of what it starts,
 * counted from its connection to agentd to the moment the command itself is executed. At STEP everything that is traced
 * is stopped by a real SIGSTOP, let go, and its numbers are printed; what is wanted then is the caller's to do.
 * STEP 0 stops nothing and says how many steps there are, and which is the launcher's first.
 *
 * No PTRACE_O_TRACEEXIT: a tracee that is killed in that stop cannot die.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOCKET "/run/tether/root.sock"
#define LAUNCHER "tether-confine"

static pid_t traced[256];
static int count;
static long step, steps;
static int counting, launched;

static int slot(pid_t pid) {
    for (int i = 0; i < count; i++)
        if (traced[i] == pid) return i;
    if (count == 256) exit(3);
    traced[count] = pid;
    return count++;
}

/* Counting stops does not tell: who is seized inside a call leaves it first. */
static int is_entry(pid_t pid) {
    struct __ptrace_syscall_info about;
    return ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof about, &about) > 0 && about.op == PTRACE_SYSCALL_INFO_ENTRY;
}

static void forget(pid_t pid) {
    for (int i = 0; i < count; i++)
        if (traced[i] == pid) {
            count--;
            traced[i] = traced[count];
        }
}

static int is_launcher(pid_t pid) {
    char path[64], name[32] = {0};
    snprintf(path, sizeof path, "/proc/%d/comm", pid);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    char *got = fgets(name, sizeof name, file);
    fclose(file);
    return got && !strncmp(name, LAUNCHER, strlen(LAUNCHER));
}

static int connects_to_agentd(pid_t pid, struct user_regs_struct *registers) {
    if (registers->orig_rax != 42 /* connect */) return 0;
    struct sockaddr_un address = {0};
    struct iovec local = {&address, sizeof address}, remote = {(void *)registers->rsi, registers->rdx};
    if (registers->rdx > sizeof address || process_vm_readv(pid, &local, 1, &remote, 1, 0) < 0) return 0;
    return address.sun_family == AF_UNIX && !strcmp(address.sun_path, SOCKET);
}

static void stop_all(pid_t current) {
    /* All get the signal while they are still traced; then they are let go into it. */
    for (int i = 0; i < count; i++) kill(traced[i], SIGSTOP);
    for (int i = 0; i < count; i++) {
        pid_t pid = traced[i];
        int status;
        if (pid != current) {
            ptrace(PTRACE_INTERRUPT, pid, 0, 0);
            if (waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status)) continue;
        }
        ptrace(PTRACE_DETACH, pid, 0, SIGSTOP);
        printf("%d\n", pid);
    }
    printf("stopped at %ld\n", steps);
    fflush(stdout);
    exit(0);
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    pid_t first = atoi(argv[1]);
    step = atol(argv[2]);
    long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
                   PTRACE_O_TRACEEXEC;
    if (ptrace(PTRACE_SEIZE, first, 0, options) || ptrace(PTRACE_INTERRUPT, first, 0, 0)) {
        perror("PTRACE_SEIZE");
        return 1;
    }
    slot(first);
    int said = 0;
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, __WALL);
        if (pid < 0) break;
        if (!WIFSTOPPED(status)) {
            forget(pid);
            if (!count) break;
            continue;
        }
        int signal = WSTOPSIG(status), event = status >> 16, pass = 0;
        slot(pid);
        if (!said) {
            said = 1;
            puts("attached");
            fflush(stdout);
        }
        if (signal == (SIGTRAP | 0x80)) {
            struct user_regs_struct registers;
            if (is_entry(pid) && !ptrace(PTRACE_GETREGS, pid, 0, &registers)) {
                if (connects_to_agentd(pid, &registers)) counting = 1;
                if (counting && ++steps == step) stop_all(pid);
                if (counting && !launched && is_launcher(pid)) {
                    launched = 1;
                    printf("launcher %ld\n", steps);
                }
                /* The launcher's own exec is the command's first moment. */
                if (counting && (registers.orig_rax == 59 || registers.orig_rax == 322) && is_launcher(pid)) {
                    printf("steps %ld\n", steps);
                    fflush(stdout);
                    counting = 0;
                }
            }
        } else if (event == PTRACE_EVENT_STOP) {
            /* A new tracee's first stop, or a group stop. */
            if (signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU) {
                ptrace(PTRACE_LISTEN, pid, 0, 0);
                continue;
            }
        } else if (!event) {
            pass = signal;
        }
        ptrace(PTRACE_SYSCALL, pid, 0, pass);
    }
    return 0;
}
