/* Plays files again: each argument is an input of ops.c, or a folder of them.
 *
 * usage: replay [-v] FILE-OR-FOLDER...     -v: prints what is called, one call a line
 *
 * On a failure the name of the file is on stderr, after what was found. */
#include "../test.h"
#ifdef WITH_YIELD
#include "../yield.h"
#endif

#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define INPUT_MAX 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
extern bool fuzz_is_verbose;

static char now_playing[4096];
static unsigned long played;

/* There if a sanitizer is: it ends the program in its own way. */
extern void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void say_what_was_played(void)
{
    static const char lead[] = "the input was: ";
    if (write(2, lead, sizeof lead - 1) + write(2, now_playing, strlen(now_playing)) + write(2, "\n", 1) < 0) _exit(1);
}

static void die(int number)
{
    say_what_was_played();
    signal(number, SIG_DFL);
    raise(number);
}

static void play_file(const char *path)
{
    static uint8_t data[INPUT_MAX];
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(2);
    }
    size_t size = fread(data, 1, sizeof data, file);
    fclose(file);
    snprintf(now_playing, sizeof now_playing, "%s", path);
    if (fuzz_is_verbose) printf("%s, %zu bytes\n", path, size);
    /* A copy of its own size, so that a sanitizer sees a read behind it. */
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) exit(2);
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    played++;
}

static void play(const char *path)
{
    DIR *folder = opendir(path);
    if (!folder) {
        play_file(path);
        return;
    }
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char inside[4096];
        if (entry->d_name[0] == '.') continue;
        snprintf(inside, sizeof inside, "%.2000s/%.2000s", path, entry->d_name);
        play_file(inside);
    }
    closedir(folder);
}

int main(int argc, char **argv)
{
    static const int deaths[] = {SIGABRT, SIGALRM, SIGTERM, SIGILL, SIGSEGV, SIGBUS, SIGFPE};
    size_t mine = sizeof deaths / sizeof *deaths;
    if (__sanitizer_set_death_callback) {
        __sanitizer_set_death_callback(say_what_was_played);
        mine = 3;
    }
#ifdef WITH_YIELD
    __atomic_store_n(&test_yield_chance, 0, __ATOMIC_RELAXED); /* there is nobody to yield to */
#endif
    for (size_t i = 0; i < mine; i++) signal(deaths[i], die);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-v") == 0)
            fuzz_is_verbose = true;
        else
            play(argv[i]);
    }
    printf("%lu inputs\n", played);
    return played == 0; /* a test that plays nothing has failed */
}
