#define _POSIX_C_SOURCE 200809L /* getline */
#include "requests.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define MAX_ITEMS 24u
#define MAX_ITEM_BYTES 64u

struct requests {
    FILE *file; /* NULL: they are made up */
    uint64_t left, state;
    uint64_t number;
    char *text;
    size_t capacity;
    int error;
};

/* ---- Lines ------------------------------------------------------------------------------------------------------ */

struct requests *requests_open(const char *path)
{
    FILE *file = path ? fopen(path, "r") : stdin;
    if (!file) return NULL;
    struct requests *requests = calloc(1, sizeof *requests);
    if (requests)
        requests->file = file;
    else if (path)
        fclose(file);
    return requests;
}

static const char *next_line(struct requests *requests, size_t *length)
{
    errno = 0;
    ssize_t got = getline(&requests->text, &requests->capacity, requests->file);
    if (got < 0) {
        requests->error = feof(requests->file) ? 0 : errno;
        return NULL;
    }
    *length = (size_t)got;
    if (*length > 0 && requests->text[*length - 1] == '\n') --*length;
    return requests->text;
}

/* ---- Orders ----------------------------------------------------------------------------------------------------- */

static const char *const customers[] = {"Ada+Lovelace", "Grace+Hopper", "%22Al%22+Turing", "Edsger+Dijkstra"};
static const char *const goods[] = {"tea",   "jam",       "Caf%c3%a9+noir", "bread",  "butter",   "ink",
                                    "paper", "brass+cog", "punch+card",     "candle", "umbrella", "slide+rule"};

struct requests *requests_generate(uint64_t count, uint64_t seed)
{
    struct requests *requests = calloc(1, sizeof *requests);
    char *text = malloc((MAX_ITEMS + 1) * MAX_ITEM_BYTES);
    if (!requests || !text) {
        free(text);
        free(requests);
        return NULL;
    }
    requests->left = count;
    requests->state = seed;
    requests->text = text;
    return requests;
}

static unsigned below(struct requests *requests, unsigned limit) /* splitmix64 */
{
    uint64_t value = requests->state += 0x9e3779b97f4a7c15;
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
    value = (value ^ value >> 27) * 0x94d049bb133111eb;
    return (unsigned)((value ^ value >> 31) >> 32) % limit;
}

static const char *next_order(struct requests *requests, size_t *length)
{
    if (requests->left == 0) return NULL;
    requests->left--;
    const char *customer = customers[below(requests, COUNT_OF(customers))];
    size_t at = (size_t)snprintf(requests->text, MAX_ITEM_BYTES, "customer=%s&order=%llu", customer,
                                 (unsigned long long)++requests->number);
    for (unsigned items = 1 + below(requests, MAX_ITEMS); items > 0; items--) {
        const char *good = goods[below(requests, COUNT_OF(goods))];
        unsigned price = 50 + below(requests, 5000), count = 1 + below(requests, 9);
        at += (size_t)snprintf(requests->text + at, MAX_ITEM_BYTES, "&item=%s:%u:%u", good, price, count);
    }
    *length = at;
    return requests->text;
}

/* ---- Either ----------------------------------------------------------------------------------------------------- */

const char *requests_next(struct requests *requests, size_t *length)
{
    return requests->file ? next_line(requests, length) : next_order(requests, length);
}

int requests_error(const struct requests *requests)
{
    return requests->error;
}

void requests_close(struct requests *requests)
{
    if (requests->file && requests->file != stdin) fclose(requests->file);
    free(requests->text);
    free(requests);
}
