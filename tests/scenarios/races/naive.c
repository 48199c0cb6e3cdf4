/* The positive control: decides by a path and uses the path again, as one must not.
 *
 *     naive program PATH GOOD TRIES   runs PATH if its bytes are GOOD's
 *     naive resolve PATH GOOD TRIES   runs PATH if it leads to GOOD
 *     naive read PATH FOLDER TRIES    prints PATH if it leads below FOLDER
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static size_t bytes_of(const char *path, char *to, size_t most) {
    int file = open(path, O_RDONLY);
    if (file < 0) return 0;
    ssize_t got = read(file, to, most);
    close(file);
    return got < 0 ? 0 : (size_t)got;
}

static int may(const char *how, const char *path, const char *good) {
    static char one[1 << 20], two[1 << 20];
    if (!strcmp(how, "program")) {
        size_t a = bytes_of(path, one, sizeof one), b = bytes_of(good, two, sizeof two);
        return a && a == b && !memcmp(one, two, a);
    }
    char resolved[PATH_MAX];
    if (!realpath(path, resolved)) return 0;
    return !strcmp(how, "resolve") ? !strcmp(resolved, good) : !strncmp(resolved, good, strlen(good));
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    const char *how = argv[1], *path = argv[2];
    for (long tries = atol(argv[4]); tries > 0; tries--) {
        if (!may(how, path, argv[3])) continue;
        if (!strcmp(how, "read")) {
            static char text[4096];
            size_t got = bytes_of(path, text, sizeof text);
            if (fwrite(text, 1, got, stdout) != got) return 1;
            continue;
        }
        pid_t child = vfork();
        if (child == 0) {
            execl(path, path, (char *)NULL);
            _exit(127);
        }
        int status;
        waitpid(child, &status, 0);
    }
    return 0;
}
