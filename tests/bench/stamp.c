/* A job that says when it began: its first act is to read the clock. Appends one line to the file
   that it is given: the wall clock in nanoseconds, and the second for which it was started. In C,
   because even an empty Rust program makes a dozen system calls before its own first line. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);

    const char *due = getenv("BELLWETHER_SCHEDULED_FOR");
    if (argc != 2 || due == NULL)
        return 2;
    char line[96];
    int length = snprintf(line, sizeof line, "%lld%09ld %s\n", (long long)now.tv_sec,
                          now.tv_nsec, due);
    int file = open(argv[1], O_WRONLY | O_CREAT | O_APPEND, 0600);
    /* One write of one line: lines of several processes do not mix. */
    return file < 0 || write(file, line, (size_t)length) != length;
}
