/* How the copies of this library in one process find each other: without symbols, since a copy may be hidden in a plug-in.
 *
 * Each copy carries an ELF note. The loader shows the notes of all loaded objects (dl_iterate_phdr), and a note says how
 * far it is from there to a place in the copy's own memory, which leads to the shared memory once the copy has joined:
 *
 *     | 9 | 4 | LAYOUT | "memarena\0" | distance |  ----->  | MAGIC | pointer |  ----->  the shared memory
 *
 * A copy that finds no pointer set maps the memory and sets the first note's pointer, then its own. With glibc all of this
 * happens inside a callback of dl_iterate_phdr, that is under the lock of the loader: no object goes meanwhile. musl has
 * no such lock, and never unmaps an object; there the swap of the first pointer decides.
 *
 * Given up: when the last copy of a process is unloaded the memory stays, since threads may outlive it, and the next copy maps
 * other memory: two pages for each time. Objects in another namespace (dlmopen) are not shown, so a copy that is not in the
 * program's own namespace is told that it cannot know. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* dl_iterate_phdr */
#endif
#include "os.h"

#include "atomic.h"

#if defined(__ELF__) && defined(__has_include)
#if __has_include(<link.h>)
#define FINDS_COPIES
#endif
#endif

#ifdef FINDS_COPIES
#include <errno.h>
#include <link.h>
#include <string.h>

/* What lies in the shared memory, and where: another number, another memory. */
#define LAYOUT 1
#define STRING_OF_(number) #number
#define STRING_OF(number) STRING_OF_(number)
#define OWNER "memarena"

/* Says that a note leads here: notes may be damaged, or another's under the same name. */
#define MAGIC UINT64_C(0x6d61636f70696573)

typedef struct ma_copies_place {
    uint64_t magic;
    uintptr_t pointer; /* NULL until this copy has joined */
} ma_copies_place;

/* Hidden and used: the note refers to it by its name. */
extern __attribute__((visibility("hidden"))) ma_copies_place ma_copies_place_;
__attribute__((used)) ma_copies_place ma_copies_place_ = {.magic = MAGIC};

__asm__(".pushsection .note.memarena, \"a\", %note\n"
        "    .balign 4\n"
        "    .long 9, 4, " STRING_OF(LAYOUT) "\n"
                                             "    .asciz \"" OWNER "\"\n"
                                             "    .balign 4\n"
                                             "1:  .long ma_copies_place_ - 1b\n"
                                             ".popsection\n");

typedef struct search {
    const struct dl_phdr_info *object;
    uintptr_t *first; /* the pointer of the first note */
    void *shared;
    bool has_seen_itself, is_outside;
    unsigned objects;
} search;

/* Whether the loader has mapped this part of the object, with these rights. (Tools that edit objects may leave notes behind.) */
static bool is_loaded(const struct dl_phdr_info *object, uintptr_t at, size_t bytes, ElfW(Word) rights)
{
    for (unsigned i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *load = &object->dlpi_phdr[i];
        uintptr_t offset = at - (object->dlpi_addr + load->p_vaddr);
        if (load->p_type == PT_LOAD && (load->p_flags & rights) == rights && offset <= load->p_filesz &&
            bytes <= load->p_filesz - offset)
            return true;
    }
    return false;
}

static void look_at_place(search *now, uintptr_t at)
{
    ma_copies_place *found = (ma_copies_place *)at;
    if (at % _Alignof(ma_copies_place) != 0 || !is_loaded(now->object, at, sizeof *found, PF_R | PF_W) ||
        found->magic != MAGIC)
        return;
    if (!now->first) now->first = &found->pointer;
    if (found == &ma_copies_place_) now->has_seen_itself = true;
    if (!now->shared) now->shared = (void *)ma_load_acquire(&found->pointer);
}

/* One note at `at`, of at most `room` bytes: what it takes, with what lies before the next. 0: it is none. */
static size_t look_at_note(search *now, uintptr_t at, size_t room, size_t align)
{
    ElfW(Nhdr) head;
    if (room < sizeof head) return 0;
    memcpy(&head, (const void *)at, sizeof head);
    size_t name = sizeof head, content = name + ((head.n_namesz + 3) & ~(size_t)3);
    content = (content + align - 1) & ~(align - 1);
    if (head.n_namesz > room || content > room || head.n_descsz > room - content) return 0;
    if (head.n_type == LAYOUT && head.n_namesz == sizeof OWNER && head.n_descsz == sizeof(int32_t) &&
        memcmp((const void *)(at + name), OWNER, sizeof OWNER) == 0) {
        int32_t distance;
        memcpy(&distance, (const void *)(at + content), sizeof distance);
        look_at_place(now, at + content + (uintptr_t)(intptr_t)distance);
    }
    return (content + head.n_descsz + align - 1) & ~(align - 1);
}

static int look_at_object(struct dl_phdr_info *object, size_t size, void *context)
{
    search *now = context;
    (void)size;
    now->object = object;
#ifdef __GLIBC__
    /* The program itself has no name, and is the first one in its namespace. */
    if (now->objects++ == 0) now->is_outside = object->dlpi_name && object->dlpi_name[0];
#endif
    for (unsigned i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        uintptr_t at = object->dlpi_addr + part->p_vaddr, end = at + part->p_filesz;
        if (part->p_type != PT_NOTE || !is_loaded(object, at, part->p_filesz, PF_R)) continue;
        for (size_t step; (step = look_at_note(now, at, end - at, part->p_align == 8 ? 8 : 4)) != 0;) {
            at += step;
            if (at >= end) break;
        }
    }
    return 0;
}

/* The first call of the outer iteration does all of it: see above. */
static int join(struct dl_phdr_info *object, size_t size, void *context)
{
    search now = {0};
    size_t bytes = *(size_t *)context;
    (void)object, (void)size;
    (void)dl_iterate_phdr(look_at_object, &now);
    if (!now.has_seen_itself || now.is_outside) return 1;
    if (!now.shared) {
        void *mine = ma_os_map(bytes);
        if (!mine) return 1;
        now.shared = mine;
        if (!ma_swap_address_seq_cst(now.first, 0, (uintptr_t)mine)) {
            ma_os_release(mine, bytes);
            now.shared = (void *)ma_load_acquire(now.first);
        }
    }
    ma_store_release(&ma_copies_place_.pointer, (uintptr_t)now.shared);
    return 1;
}

void *ma_os_share(size_t bytes)
{
    int saved = errno;
    if (!ma_load_acquire(&ma_copies_place_.pointer)) (void)dl_iterate_phdr(join, &bytes);
    errno = saved;
    return (void *)ma_load_acquire(&ma_copies_place_.pointer);
}
#elif !defined(_WIN32)
/* Not known here: a process is taken to have one copy. */
void *ma_os_share(size_t bytes)
{
    static uintptr_t shared;
    uintptr_t known = ma_load_acquire(&shared);
    if (known) return (void *)known;
    void *mine = ma_os_map(bytes);
    if (mine && !ma_swap_address_seq_cst(&shared, 0, (uintptr_t)mine)) ma_os_release(mine, bytes);
    return (void *)ma_load_acquire(&shared);
}
#endif
