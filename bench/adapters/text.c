/* What jobs read: the same records as lines, as JSON, as XML and as Markdown. */
#include "jobs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct record {
    unsigned id, cents, count, session;
    const char *first, *second, *tag, *other;
};

char text[TEXT_BYTES + 1];
struct document json, xml, markdown;

static unsigned below(unsigned limit)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state % limit);
}

static const char *word(void)
{
    static const char *const words[] = {"tea",   "paper", "lamp",  "stone", "river", "cloud", "wheel", "glass",
                                        "bread", "chair", "north", "cable", "light", "field", "amber", "horse"};
    return words[below(sizeof words / sizeof *words)];
}

static size_t write_line(char *to, size_t room, const struct record *record)
{
    return (size_t)snprintf(to, room,
                            "{\"id\": %u, \"name\": \"%s %s\", \"price\": %u.%02u, \"count\": %u, \"tags\": [\"%s\", "
                            "\"%s\"], \"session\": \"%08x\"}\n",
                            record->id, record->first, record->second, record->cents / 100, record->cents % 100,
                            record->count, record->tag, record->other, record->session);
}

static size_t write_object(char *to, size_t room, const struct record *record)
{
    to[0] = record->id == 1 ? '[' : ',';
    return 1 + write_line(to + 1, room - 1, record);
}

static size_t write_element(char *to, size_t room, const struct record *record)
{
    return (size_t)snprintf(to, room,
                            "%s<item id=\"%u\" session=\"%08x\"><name>%s %s</name><price>%u.%02u</price>"
                            "<count>%u</count><tag>%s</tag><tag>%s</tag></item>\n",
                            record->id == 1 ? "<items>\n" : "", record->id, record->session, record->first,
                            record->second, record->cents / 100, record->cents % 100, record->count, record->tag,
                            record->other);
}

static size_t write_section(char *to, size_t room, const struct record *record)
{
    return (size_t)snprintf(to, room,
                            "## %s %s\n\nSome *%s* and **%s**, as `%s` has it, for [%u.%02u](/items/%u).\n\n"
                            "- %s\n- %s\n\n",
                            record->first, record->second, record->tag, record->other, record->first,
                            record->cents / 100, record->cents % 100, record->id, record->tag, record->other);
}

static void add(struct document *document, size_t (*write)(char *, size_t, const struct record *),
                const struct record *record)
{
    document->bytes += write(document->at + document->bytes, sizeof document->at - document->bytes, record);
    document->records++;
    document->total += record->cents / 100.0 * record->count;
}

static void end(struct document *document, const char *with)
{
    strcpy(document->at + document->bytes, with);
    document->bytes += strlen(with);
}

__attribute__((constructor)) static void write_all(void)
{
    size_t at = 0;
    for (unsigned id = 1; at < TEXT_BYTES; id++) {
        char line[256];
        struct record record = {.id = id, .first = word(), .second = word()};
        record.cents = 100 * (1 + below(99)) + below(100), record.count = 1 + below(9);
        record.tag = word(), record.other = word(), record.session = below(1u << 31);
        size_t length = write_line(line, sizeof line, &record);
        size_t take = length < TEXT_BYTES - at ? length : TEXT_BYTES - at;
        memcpy(text + at, line, take);
        at += take;
        add(&json, write_object, &record);
        add(&xml, write_element, &record);
        add(&markdown, write_section, &record);
    }
    end(&json, "]");
    end(&xml, "</items>\n");
}

struct sum sum_of_message(void)
{
    struct sum sum = {0};
    for (const char *at = text; (at = strstr(at, "\"price\": ")) != NULL; sum.records++) {
        const char *count = strstr(at, "\"count\": "), *last = strchr(at, '}');
        if (!count || !last || last >= text + MESSAGE_BYTES) break;
        sum.total += strtod(at + 9, NULL) * strtod(count + 9, NULL);
        at = last;
    }
    return sum;
}
