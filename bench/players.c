/* Starts peers, and talks with them by lines: see players.h and player.c. */
#define _GNU_SOURCE
#include "players.h"

#include "measure.h"
#include "report.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

const peer peers[] = {
#include "peers.inc"
};
const size_t peer_count = sizeof peers / sizeof peers[0];

static char directory[PATH_MAX - 64];
static bool said[PLAYERS_MAX];

void players_find(const char *program)
{
    char *end;
    ssize_t length = readlink("/proc/self/exe", directory, sizeof directory - 1);
    if (length > 0)
        directory[length] = '\0';
    else
        snprintf(directory, sizeof directory, "%s", program);
    end = strrchr(directory, '/');
    if (end) *end = '\0';
    signal(SIGPIPE, SIG_IGN); /* a peer that has gone is noticed by what it does not answer */
}

static void say(const peer *who, const char *why)
{
    if (!said[who - peers]) report_note("%s is left out: %s", who->title, why);
    said[who - peers] = true;
}

/* A line without its end; false at the end of the stream. Byte by byte: a line has few. */
static bool read_line(const seat *at, char *line, size_t size)
{
    size_t length = 0;
    for (;;) {
        ssize_t got = read(at->answers, line + length, 1);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        if (line[length] == '\n') break;
        if (length + 1 < size) length++;
    }
    line[length] = '\0';
    return true;
}

static void launch(seat *at, char *const arguments[])
{
    int commands[2], answers[2];
    if (pipe2(commands, O_CLOEXEC) != 0 || pipe2(answers, O_CLOEXEC) != 0) measure_die("no pipe: %s", strerror(errno));
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, commands[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, answers[1], STDOUT_FILENO);
    extern char **environ;
    int failure = posix_spawn(&at->process, arguments[0], &actions, NULL, arguments, environ);
    if (failure) measure_die("%s: %s", arguments[0], strerror(failure));
    posix_spawn_file_actions_destroy(&actions);
    close(commands[0]);
    close(answers[1]);
    at->commands = commands[1];
    at->answers = answers[0];
}

bool player_start(seat *at, const peer *who, const char *play, unsigned threads, const char *kind, size_t batch)
{
    if (!who->built) {
        char why[128];
        snprintf(why, sizeof why, "not built, it needs %s", *who->package ? who->package : "a C++ compiler");
        say(who, why);
        return false;
    }
    char path[PATH_MAX], thread_count[16], batch_bytes[32], line[256];
    snprintf(path, sizeof path, "%s/peers/memarena-peer-%s", directory, who->file);
    snprintf(thread_count, sizeof thread_count, "%u", threads);
    snprintf(batch_bytes, sizeof batch_bytes, "%zu", batch);
    *at = (seat){.peer = who};
    launch(at, (char *[]){path, (char *)(uintptr_t)play, thread_count, (char *)(uintptr_t)kind, batch_bytes, NULL});
    if (!read_line(at, line, sizeof line)) snprintf(line, sizeof line, "skip its process ended before it began");
    if (strcmp(line, "ready") == 0) return true;
    if (strncmp(line, "skip ", 5) == 0) say(who, line + 5);
    player_stop(at);
    return false;
}

size_t player_turn(seat *at, double figures[FIGURES_MAX])
{
    char line[512];
    if (write(at->commands, "go\n", 3) != 3 || !read_line(at, line, sizeof line)) {
        report_note("%s has gone in the middle of a case", at->peer->title);
        return 0;
    }
    size_t count = 0;
    for (char *next = line, *end; count < FIGURES_MAX; next = end) {
        figures[count] = strtod(next, &end);
        if (end == next) break;
        count++;
    }
    return count;
}

void player_stop(seat *at)
{
    close(at->commands);
    close(at->answers);
    while (waitpid(at->process, NULL, 0) < 0 && errno == EINTR) continue;
}
