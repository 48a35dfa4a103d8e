/* An abort at every instruction of every restartable sequence, by force: a breakpoint is planted there, and the signal
 * that it raises aborts the sequence. Its handler allocates from the same arena, too. Each abort must restart the sequence,
 * and nothing may be lost or given out twice. */
#include "threads.h"

#include "platform/rseq.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#if MA_RSEQ

#if MA_RSEQ == 1
typedef unsigned char instruction; /* its first byte */
#define BREAKPOINT 0xCC            /* int3 */
#define RESUMED_AT(context) ((uintptr_t)(context)->uc_mcontext.gregs[REG_RIP])
#else
typedef uint32_t instruction;
#define BREAKPOINT 0xD4200000 /* brk #0 */
#define RESUMED_AT(context) ((uintptr_t)(context)->uc_mcontext.pc)
#endif
#define MIB ((size_t)1 << 20)
#define INSTRUCTIONS_MAX 64
#define TRIES 20000

/* As the kernel sees it (linux/rseq.h); the linker gathers them. */
typedef struct descriptor {
    _Alignas(32) uint32_t version;
    uint32_t flags;
    uint64_t start, length, abort;
} descriptor;
extern const descriptor __start_ma_rseq_cs[], __stop_ma_rseq_cs[];
static memarena *arena;
static test_log blocks;
static instruction *planted, original;
static uintptr_t resumed_at;
static void *handlers_block;
static unsigned aborts;

static void make_writable(uintptr_t code)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = code & ~(page - 1);
    CHECK(!mprotect((void *)begin, 2 * page, PROT_READ | PROT_WRITE | PROT_EXEC));
}

static void plant(instruction what)
{
    *(volatile instruction *)planted = what;
    __builtin___clear_cache((char *)planted, (char *)(planted + 1));
}

static void on_breakpoint(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    resumed_at = RESUMED_AT((ucontext_t *)context);
    plant(original);
    handlers_block = memarena_alloc_aligned(arena, 24, 8);
}

/* Where the instructions of a sequence begin. */
#if MA_RSEQ == 1
extern const char __executable_start[];

static unsigned find_instructions(const descriptor *sequence, uintptr_t *instructions)
{
    char command[256], line[256];
    uintptr_t base = (uintptr_t)__executable_start, begin = sequence->start - base;
    unsigned count = 0;
    (void)snprintf(command, sizeof command,
                   "objdump -d --no-show-raw-insn --start-address=%#lx --stop-address=%#lx /proc/%d/exe",
                   (unsigned long)begin, (unsigned long)(begin + sequence->length), (int)getpid());
    FILE *listing = popen(command, "r");
    CHECK(listing != NULL);
    while (fgets(line, sizeof line, listing)) {
        char *end;
        uintptr_t at = strtoul(line, &end, 16);
        if (line[0] != ' ' || *end != ':') continue;
        CHECK(count < INSTRUCTIONS_MAX);
        instructions[count++] = base + at;
    }
    CHECK(!pclose(listing));
    return count;
}
#else
static unsigned find_instructions(const descriptor *sequence, uintptr_t *instructions)
{
    unsigned count = (unsigned)(sequence->length / sizeof(instruction));
    CHECK(count <= INSTRUCTIONS_MAX);
    for (unsigned i = 0; i < count; i++) instructions[i] = sequence->start + i * sizeof(instruction);
    return count;
}
#endif

/* The sequences that bump, move and close, until one has met the breakpoint. */
static void allocate_until_hit(unsigned long long *random)
{
    for (int i = 0; i < TRIES && resumed_at == 0; i++) {
        size_t size = i % 3 ? test_between(random, 1, i % 64 ? 100 : 6000) : 0; /* 0 takes a road of its own */
        char *block = memarena_alloc_aligned(arena, size, i / 3 % 2 ? 8 : 16);
        if (!block) {
            blocks.count = 0;
            CHECK(memarena_reset(arena));
            continue;
        }
        memset(block, 1, size);
        if (i % 2) {
            char *grown = memarena_realloc(arena, block, size, size + 8);
            CHECK(grown != NULL);
            if (grown != block) test_record(&blocks, 1, block, size);
            block = grown;
            size += 8;
        }
        test_record(&blocks, 1, block, size);
    }
    CHECK(resumed_at != 0);
    CHECK(handlers_block != NULL);
    test_record(&blocks, 1, handlers_block, 24);
}

static void an_abort_at_any_instruction_restarts_the_sequence(void)
{
    unsigned long long random = test_seed(1);
    unsigned sequences = 0;
    for (const descriptor *sequence = __start_ma_rseq_cs; sequence < __stop_ma_rseq_cs; sequence++, sequences++) {
        uintptr_t instructions[INSTRUCTIONS_MAX];
        unsigned count = find_instructions(sequence, instructions);
        CHECK(count >= 5);
        make_writable(sequence->start);
        for (unsigned i = 0; i < count; i++) {
            blocks.count = 0;
            CHECK(memarena_reset(arena));
            resumed_at = 0;
            planted = (instruction *)instructions[i];
            original = *planted;
            plant(BREAKPOINT);
            allocate_until_hit(&random);
            CHECK_EQ(resumed_at, sequence->abort);
            (void)test_check_blocks(arena, &blocks);
            aborts++;
        }
        (void)test_fill(arena, 4096, &blocks, 1);
        (void)test_check_blocks(arena, &blocks);
        CHECK_EQ(memarena_allocated_bytes(arena), memarena_capacity(arena));
    }
    printf("    %u aborts in %u sequences\n", aborts, sequences);
}

static uint64_t descriptor_now(void)
{
    ma_rseq_cpus cpus;
    ma_rseq_find(&cpus);
    return *(uint64_t *)(void *)((char *)__builtin_thread_pointer() + cpus.rseq_cs_at);
}

static void the_kernel_is_told_of_no_sequence_outside_of_them(void)
{
    CHECK(memarena_reset(arena));
    while (memarena_alloc_aligned(arena, 16, 16)) CHECK_EQ(descriptor_now(), 0);
    CHECK_EQ(descriptor_now(), 0); /* nor after one that has given up */
    CHECK(memarena_reset(arena));
}

int main(void)
{
    struct sigaction action = {.sa_sigaction = on_breakpoint, .sa_flags = SA_SIGINFO};
    memarena_stats stats;
    CHECK((arena = memarena_create_with(&(memarena_options){.capacity = MIB, .flags = MEMARENA_PER_CPU})) != NULL);
    memarena_get_stats(arena, &stats, sizeof stats);
    if (stats.per_cpu != 2) SKIP("this system has no restartable sequences, or a sanitizer is watching");
    if (MA_RSEQ == 1 && system("objdump --version >/dev/null 2>&1") != 0) SKIP("objdump is not installed");
    CHECK(!sigaction(SIGTRAP, &action, NULL));
    RUN(an_abort_at_any_instruction_restarts_the_sequence);
    RUN(the_kernel_is_told_of_no_sequence_outside_of_them);
    memarena_destroy(arena);
    test_forget(&blocks);
    return test_done();
}
#else
int main(void)
{
    SKIP("there are no sequences for this processor, or in this build");
}
#endif
