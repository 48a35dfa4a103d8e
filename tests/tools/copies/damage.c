/* Damages the note of a copy of the library in a plug-in, or what the loader is told of its notes: one damage for each number.
 *
 * usage: damage PLUGIN COPY NUMBER     exit status 1: there are fewer kinds of damage */
#include <elf.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned char *bytes;
static long count;

static bool same(const unsigned char *at)
{
    return memcmp(at, "memarena", 9) == 0;
}

/* The note's head, which lies before its owner. */
static ElfW(Nhdr) * find_note(void)
{
    for (long i = sizeof(ElfW(Nhdr)); i + 16 < count; i += 4) {
        ElfW(Nhdr) *note = (void *)(bytes + i - sizeof *note);
        if (same(bytes + i) && note->n_namesz == 9 && note->n_descsz == 4) return note;
    }
    return NULL;
}

static void change_part(ElfW(Phdr) * part, long kind)
{
    ElfW(Addr) values[] = {0, 1, 0x70000000, (ElfW(Addr)) - 64};
    ElfW(Addr) value = values[kind % 4];
    switch (kind / 4) {
    case 0:
        part->p_vaddr = value;
        break;
    case 1:
        part->p_filesz = value;
        break;
    case 2:
        part->p_vaddr += 4 * (value & 15) + 4;
        break;
    default:
        part->p_align = value;
        break;
    }
}

int main(int argc, char **argv)
{
    if (argc != 4) return fputs("usage: damage PLUGIN COPY NUMBER\n", stderr), 2;
    FILE *in = fopen(argv[1], "rb"), *out = fopen(argv[2], "wb");
    bytes = malloc(1 << 24);
    if (!in || !out || !bytes) return perror("damage"), 2;
    count = (long)fread(bytes, 1, 1 << 24, in);
    long number = atol(argv[3]), note_bytes = (long)sizeof(ElfW(Nhdr)) + 12 + 4;
    ElfW(Nhdr) *note = find_note();
    if (!note) return fputs("damage: no note\n", stderr), 2;
    if (number < note_bytes * 8) {
        ((unsigned char *)note)[number / 8] ^= (unsigned char)(1 << number % 8);
    } else if ((number -= note_bytes * 8) < 4) {
        uint32_t values[] = {0, 0x7fffffff, 0xffffffff, 0xfffffffd};
        note->n_namesz = values[number];
    } else if ((number -= 4) < 4) {
        uint32_t values[] = {0, 0x7fffffff, 0xffffffff, 0xfffffffd};
        note->n_descsz = values[number];
    } else if ((number -= 4) < 16 * 2) {
        ElfW(Ehdr) *head = (void *)bytes;
        ElfW(Phdr) *parts = (void *)(bytes + head->e_phoff);
        for (unsigned i = 0, notes = 0; i < head->e_phnum; i++)
            if (parts[i].p_type == PT_NOTE && (number < 16 || notes++ == 0)) change_part(&parts[i], number % 16);
    } else {
        return 1;
    }
    return fwrite(bytes, 1, (size_t)count, out) == (size_t)count && fclose(out) == 0 ? 0 : 2;
}
