/* Swaps two names as fast as it can, on the machine's last processor, until it is told to end (SIGTERM) and has made
 * enough swaps.
 *
 *     racer A B FILE LEAST      FILE gets the number of swaps made
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile sig_atomic_t over;
static void end(int number) { (void)number; over = 1; }

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    cpu_set_t last;
    CPU_ZERO(&last);
    CPU_SET(sysconf(_SC_NPROCESSORS_ONLN) - 1, &last);
    sched_setaffinity(0, sizeof last, &last);
    signal(SIGTERM, end);
    unsigned long swaps = 0;
    while (!over || swaps < strtoul(argv[4], NULL, 10)) {
        if (syscall(SYS_renameat2, AT_FDCWD, argv[1], AT_FDCWD, argv[2], 2 /* RENAME_EXCHANGE */)) {
            perror("renameat2");
            return 1;
        }
        swaps++;
    }
    /* An even number: everything is where it was. */
    if (swaps % 2) syscall(SYS_renameat2, AT_FDCWD, argv[1], AT_FDCWD, argv[2], 2);
    FILE *file = fopen(argv[3], "w");
    if (!file) return 1;
    fprintf(file, "%lu\n", swaps);
    return fclose(file) != 0;
}
