/* The least that can be done: sleeps until a second and starts a program so many times, with the
   standard descriptors that a job gets, and nothing on any disk.
   bare COUNT FIRST PERIOD ROUNDS PROGRAM [ARGUMENT...] */
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* Starts one program and returns the end of the pipe that its output comes from. */
static int start(int null, char **words, char **env)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        die("pipe");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, null, 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
    pid_t pid;
    if (posix_spawn(&pid, words[0], &actions, NULL, words, env) != 0)
        die("posix_spawn");
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    return ends[0];
}

int main(int argc, char **argv)
{
    if (argc < 6)
        return 2;
    int count = atoi(argv[1]), period = atoi(argv[3]), rounds = atoi(argv[4]);
    struct timespec due = {.tv_sec = atoll(argv[2])};
    struct rlimit files = {.rlim_cur = (rlim_t)count + 64, .rlim_max = (rlim_t)count + 64};
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int *outputs = calloc((size_t)count, sizeof *outputs);
    if (null < 0 || outputs == NULL || setrlimit(RLIMIT_NOFILE, &files) != 0)
        die("start");

    for (int round = 0; round < rounds; round++, due.tv_sec += period) {
        char variable[64];
        strftime(variable, sizeof variable, "BELLWETHER_SCHEDULED_FOR=%Y-%m-%dT%H:%M:%SZ",
                 gmtime(&due.tv_sec));
        char *env[] = {variable, NULL};
        while (clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &due, NULL) != 0)
            ;
        for (int i = 0; i < count; i++)
            outputs[i] = start(null, argv + 5, env);
        for (int i = 0; i < count; i++) {
            char bytes[4096];
            while (read(outputs[i], bytes, sizeof bytes) > 0)
                ;
            close(outputs[i]);
            if (wait(NULL) < 0)
                die("wait");
        }
    }
    return 0;
}
