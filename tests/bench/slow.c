/* Stands before the C library in the agent: each fdatasync takes SLOW_SYNC_US microseconds longer,
   as on a slower disk. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

int fdatasync(int fd)
{
    static int (*real)(int);
    static long longer;
    if (real == NULL) {
        const char *text = getenv("SLOW_SYNC_US");
        longer = text != NULL ? atol(text) : 0;
        real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    }
    struct timespec rest = {.tv_sec = longer / 1000000, .tv_nsec = longer % 1000000 * 1000};
    int result = real(fd);
    nanosleep(&rest, NULL);
    return result;
}
