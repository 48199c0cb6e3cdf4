/* A session that says how long it lives: COUNT processes, each of which writes the time of the monotonic clock into
   memory that they share, every PERIOD microseconds, until it is killed. TAG is for whoever looks for it.
   stamper COUNT PERIOD TAG; prints "ready FD" when all have written. The memory is descriptor FD. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    int count = atoi(argv[1]), shared = memfd_create("stamps", 0);
    struct timespec period = {0, atol(argv[2]) * 1000}, t;
    if (shared < 0 || ftruncate(shared, count * 8)) { perror("memfd"); return 1; }
    volatile unsigned long long *stamps = mmap(0, count * 8, PROT_READ | PROT_WRITE, MAP_SHARED, shared, 0);
    if (stamps == MAP_FAILED) { perror("mmap"); return 1; }
    for (int i = 0; i < count; i++) {
        pid_t child = fork();
        if (child < 0) { perror("fork"); return 1; }
        if (child == 0) {
            for (;;) {
                clock_gettime(CLOCK_MONOTONIC, &t);
                stamps[i] = t.tv_sec * 1000000000ULL + t.tv_nsec;
                nanosleep(&period, 0);
            }
        }
    }
    for (int i = 0; i < count; i++)
        while (!stamps[i]) nanosleep(&period, 0);
    printf("ready %d\n", shared);
    fflush(stdout);
    for (;;) pause();
}
