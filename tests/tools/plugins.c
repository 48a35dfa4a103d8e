/* Loads plug-ins until one is refused, and calls each. Prints how many there were, and why no more.
 *
 * usage: plugins FUNCTION FILE... */
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    for (int i = 2; i < argc; i++) {
        void *library = dlopen(argv[i], RTLD_NOW | RTLD_LOCAL);
        if (!library) return printf("%d, then: %s\n", i - 2, dlerror()), 1;
        int (*call)(void);
        *(void **)&call = dlsym(library, argv[1]);
        if (!call || (argv[1][0] == 'p' && call() != 42)) return printf("%s: no %s\n", argv[i], argv[1]), 2;
    }
    printf("%d\n", argc - 2);
    return 0;
}
