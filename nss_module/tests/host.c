/* A program as any other: loads the module as glibc does and calls it in the ways that have broken modules. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <grp.h>
#include <nss.h>
#include <pthread.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(x) do { if (!(x)) { fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); exit(1); } } while (0)

static enum nss_status (*pwnam)(const char *, struct passwd *, char *, size_t, int *);
static enum nss_status (*pwuid)(uid_t, struct passwd *, char *, size_t, int *);
static enum nss_status (*grnam)(const char *, struct group *, char *, size_t, int *);
static enum nss_status (*grgid)(gid_t, struct group *, char *, size_t, int *);
static enum nss_status (*groups_of)(const char *, gid_t, long *, long *, gid_t **, long, int *);

static void check_passwd(const struct passwd *pw) {
    CHECK(!strcmp(pw->pw_name, "ag-good") && !strcmp(pw->pw_passwd, "*") && pw->pw_uid == 65536 && pw->pw_gid == 65536);
    CHECK(!strcmp(pw->pw_gecos, "agent of a human") && !strcmp(pw->pw_dir, "/run/tether/home") && !strcmp(pw->pw_shell, "/bin/sh"));
}

static void check_group(const struct group *gr) {
    CHECK(!strcmp(gr->gr_name, "ag-good") && !strcmp(gr->gr_passwd, "*") && gr->gr_gid == 65536);
    CHECK((uintptr_t)gr->gr_mem % sizeof(char *) == 0 && gr->gr_mem[0] == NULL);
}

/* Any size at any alignment, with fences: never a byte outside, ERANGE only when it is too small, else errno stays. */
static void every_size(int what) {
    _Alignas(16) char memory[256];
    int fitted = 0;
    for (size_t start = 0; start < 16; start++)
        for (size_t length = 0; length < 200; length++) {
            struct passwd pw; struct group gr; enum nss_status status;
            char *buffer = memory + 16 + start;
            memset(memory, 0x5a, sizeof memory);
            errno = 77;
            switch (what) {
            case 0: status = pwnam("ag-good", &pw, buffer, length, &errno); break;
            case 1: status = pwuid(65536, &pw, buffer, length, &errno); break;
            case 2: status = grnam("ag-good", &gr, buffer, length, &errno); break;
            default: status = grgid(65536, &gr, buffer, length, &errno); break;
            }
            if (status == NSS_STATUS_TRYAGAIN) CHECK(errno == ERANGE);
            else {
                CHECK(status == NSS_STATUS_SUCCESS && errno == 77);
                if (what < 2) check_passwd(&pw); else check_group(&gr);
                fitted++;
            }
            for (char *p = memory; p < buffer; p++) CHECK(*p == 0x5a);
            for (char *p = buffer + length; p < memory + sizeof memory; p++) CHECK(*p == 0x5a);
        }
    CHECK(fitted > 1000);
}

static void *looks_up(void *rounds) {
    for (long i = 0; i < (long)rounds; i++) {
        struct passwd pw; struct group gr; char buffer[512];
        errno = 5;
        CHECK(pwnam("ag-good", &pw, buffer, sizeof buffer, &errno) == NSS_STATUS_SUCCESS && errno == 5);
        check_passwd(&pw);
        CHECK(grgid(65536, &gr, buffer, sizeof buffer, &errno) == NSS_STATUS_SUCCESS);
        check_group(&gr);
        CHECK(pwnam("ag-nobody", &pw, buffer, sizeof buffer, &errno) == NSS_STATUS_NOTFOUND && errno == 5);
    }
    return NULL;
}

static void unknown_and_hostile(void) {
    static const char *names[] = {"root", "", "ag-", "ag-nobody", "ag-../x", "AG-GOOD", "ag-link", "ag-fifo", "ag-big",
                                  "ag-others", "ag-writable", "ag-mismatch", "ag-human", "ag-dir",
                                  "ag-0123456789012345678901234567890123456789", "\xff\xfe", "systemd-network"};
    struct passwd pw; struct group gr; char buffer[512];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        errno = 9;
        CHECK(pwnam(names[i], &pw, buffer, sizeof buffer, &errno) == NSS_STATUS_NOTFOUND && errno == 9);
        CHECK(grnam(names[i], &gr, buffer, sizeof buffer, &errno) == NSS_STATUS_NOTFOUND && errno == 9);
    }
    static const uid_t uids[] = {0, 1000, 65535, 65537, 99999, 100000, (uid_t)-1, (uid_t)-2};
    for (size_t i = 0; i < sizeof uids / sizeof *uids; i++) {
        CHECK(pwuid(uids[i], &pw, buffer, sizeof buffer, &errno) == NSS_STATUS_NOTFOUND && errno == 9);
        CHECK(grgid(uids[i], &gr, buffer, sizeof buffer, &errno) == NSS_STATUS_NOTFOUND && errno == 9);
    }
}

static void groups(void) {
    long start = 1, size = 1; gid_t *list = malloc(sizeof *list); list[0] = 100;
    errno = 3;
    CHECK(groups_of("ag-good", 100, &start, &size, &list, -1, &errno) == NSS_STATUS_SUCCESS && errno == 3);
    CHECK(start == 2 && size >= 2 && list[0] == 100 && list[1] == 65536);
    CHECK(groups_of("ag-good", 100, &start, &size, &list, -1, &errno) == NSS_STATUS_SUCCESS && start == 2);
    CHECK(groups_of("root", 0, &start, &size, &list, -1, &errno) == NSS_STATUS_NOTFOUND && start == 2);
    long one = 1, full = 1; gid_t *small = malloc(sizeof *small); small[0] = 7;
    CHECK(groups_of("ag-good", 7, &one, &full, &small, 1, &errno) == NSS_STATUS_SUCCESS && one == 1 && small[0] == 7);
    free(list); free(small);
}

static void from_threads_and_after_fork(void) {
    pthread_t threads[8];
    for (int i = 0; i < 8; i++) CHECK(!pthread_create(&threads[i], NULL, looks_up, (void *)2000));
    for (int i = 0; i < 50; i++) { /* fork while the threads are inside */
        pid_t child = fork();
        CHECK(child >= 0);
        if (!child) { alarm(10); looks_up((void *)20); _exit(0); }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    for (int i = 0; i < 8; i++) CHECK(!pthread_join(threads[i], NULL));
}

/* Daemons close everything and reuse the numbers: the module must neither miss nor touch a descriptor. */
static void after_everything_was_closed(void) {
    CHECK(!close_range(3, ~0U, 0));
    int pair[2];
    CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) && pair[0] == 3);
    looks_up((void *)10);
    char byte;
    CHECK(recv(pair[0], &byte, 1, 0) == -1 && errno == EAGAIN && recv(pair[1], &byte, 1, 0) == -1 && errno == EAGAIN);
    CHECK(dup(0) == 5); /* no descriptor was left open */
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    void *module = dlopen(argv[1], RTLD_NOW);
    if (!module) { fprintf(stderr, "%s\n", dlerror()); return 1; }
    CHECK(pwnam = dlsym(module, "_nss_tether_getpwnam_r"));
    CHECK(pwuid = dlsym(module, "_nss_tether_getpwuid_r"));
    CHECK(grnam = dlsym(module, "_nss_tether_getgrnam_r"));
    CHECK(grgid = dlsym(module, "_nss_tether_getgrgid_r"));
    CHECK(groups_of = dlsym(module, "_nss_tether_initgroups_dyn"));
    CHECK(!dlsym(module, "_nss_tether_setpwent") && !dlsym(module, "_nss_tether_getpwent_r"));
    for (int what = 0; what < 4; what++) every_size(what);
    unknown_and_hostile();
    groups();
    from_threads_and_after_fork();
    after_everything_was_closed();
    puts("all held");
    return 0;
}
