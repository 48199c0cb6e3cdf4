/* Times calls inside a host; prints one number per line, nanoseconds.
   timer lookup NAME N: N look-ups of a name in one process, the first left out.
   timer cold NAME N: the first look-up in each of N processes.
   timer run N PROGRAM ARG...: N runs of a program, from fork to its end, output discarded. */
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static long long lookup(const char *name) {
    struct passwd entry, *found;
    char buffer[4096];
    long long start = now();
    getpwnam_r(name, &entry, buffer, sizeof buffer, &found);
    return now() - start;
}

static void report(long long nanos) { printf("%lld\n", nanos); fflush(stdout); }

static void run(char **argv) {
    long long start = now();
    pid_t child = fork();
    if (child == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, 0); dup2(null, 1); dup2(null, 2);
        execvp(argv[0], argv);
        _exit(127);
    }
    int status;
    waitpid(child, &status, 0);
    long long took = now() - start;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) { fprintf(stderr, "status %x\n", status); exit(1); }
    report(took);
}

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    if (!strcmp(argv[1], "lookup")) {
        lookup(argv[2]);
        for (int i = atoi(argv[3]); i > 0; i--) report(lookup(argv[2]));
    } else if (!strcmp(argv[1], "cold")) {
        for (int i = atoi(argv[3]); i > 0; i--) {
            if (fork() == 0) { execl("/proc/self/exe", "timer", "once", argv[2], "1", (char *)0); _exit(1); }
            wait(0);
        }
    } else if (!strcmp(argv[1], "once")) {
        report(lookup(argv[2]));
    } else {
        for (int i = atoi(argv[2]); i > 0; i--) run(argv + 3);
    }
    return 0;
}
