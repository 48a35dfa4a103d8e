/* The first process of an emulated machine: runs each program in /tests, says how it ended, and switches the machine off. */
#include <dirent.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
    static const char *const places[][2] = {
        {"/proc", "proc"}, {"/sys", "sysfs"}, {"/dev", "devtmpfs"}, {"/tmp", "tmpfs"}};
    for (int i = 0; i < 4; i++) {
        mkdir(places[i][0], 0755);
        mount(places[i][1], places[i][0], places[i][1], 0, NULL);
    }
    struct dirent **names;
    int count = scandir("/tests", &names, NULL, alphasort), status;
    for (int i = 0; i < count; i++) {
        if (names[i]->d_name[0] == '.') continue;
        char path[300];
        snprintf(path, sizeof path, "/tests/%s", names[i]->d_name);
        pid_t child = fork();
        if (child == 0) {
            execle(path, path, (char *)NULL, (char *[]){"MEMARENA_TEST_SCALE=0.1", NULL});
            _exit(127);
        }
        if (child < 0 || waitpid(child, &status, 0) != child) continue;
        printf("ended: %s %d\n", names[i]->d_name, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
        fflush(stdout);
        while (waitpid(-1, &status, WNOHANG) > 0) continue; /* orphans */
    }
    reboot(RB_POWER_OFF);
    return 1;
}
