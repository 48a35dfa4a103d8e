#define _POSIX_C_SOURCE 200809L /* gmtime_r */
#include "generate.h"

#include <inttypes.h>
#include <stddef.h>
#include <time.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static const struct {
    const char *name, *path;
    unsigned share;      /* of the records, of 100 in all */
    unsigned latency_us; /* the usual one */
    unsigned per_mille;  /* of errors */
} services[] = {{"catalog", "/v1/products", 34, 2400, 1}, {"search", "/v1/search", 22, 18000, 4},
                {"cart", "/v1/carts", 16, 3100, 2},       {"auth", "/v1/sessions", 12, 900, 1},
                {"checkout", "/v1/orders", 8, 41000, 9},  {"payment", "/v1/payments", 5, 120000, 15},
                {"mail", "/v1/messages", 3, 7000, 6}};

static const char *const regions[] = {"eu-west-1", "eu-north-1", "us-east-1", "ap-south-1"};
static const char *const methods[] = {"GET", "GET", "GET", "POST", "PUT", "DELETE"};
static const char *const agents[] = {"Mozilla/5.0 (X11; Linux x86_64) Firefox/128.0", "okhttp/4.12.0", "curl/7.88.1",
                                     "Caf\\u00e9 \\\"Reader\\\" 2.1 (iPad)"};
static const char *const steps[] = {"cache", "db", "render", "queue", "auth"};

/* splitmix64 */
static uint64_t next_random(uint64_t *state)
{
    uint64_t value = *state += 0x9e3779b97f4a7c15;
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
    value = (value ^ value >> 27) * 0x94d049bb133111eb;
    return value ^ value >> 31;
}

static unsigned below(uint64_t *state, unsigned limit)
{
    return (unsigned)(next_random(state) >> 32) % limit;
}

static size_t pick_service(uint64_t *state)
{
    unsigned left = below(state, 100);
    size_t i = 0;
    while (left >= services[i].share) left -= services[i++].share;
    return i;
}

/* Around the usual one, and one time in 50 many times as long. */
static unsigned latency_us(uint64_t *state, unsigned usual)
{
    unsigned latency = usual / 2 + below(state, usual);
    return below(state, 50) == 0 ? latency * (2 + below(state, 20)) : latency;
}

static unsigned status_code(uint64_t *state, unsigned per_mille)
{
    unsigned dice = below(state, 1000);
    if (dice < per_mille) return dice % 2 ? 500 : 503;
    return dice < 960 ? 200 : 404;
}

static void print_time(FILE *out, uint64_t milliseconds)
{
    char text[32];
    struct tm parts;
    time_t seconds = (time_t)(milliseconds / 1000);
    gmtime_r(&seconds, &parts);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
    fprintf(out, "{\"time\":\"%s.%03uZ\"", text, (unsigned)(milliseconds % 1000));
}

static void print_spans(FILE *out, uint64_t *state, unsigned latency)
{
    unsigned count = 1 + below(state, 4);
    fputs(",\"spans\":[", out);
    for (unsigned i = 0; i < count; i++)
        fprintf(out, "%s{\"name\":\"%s\",\"us\":%u}", i ? "," : "", steps[below(state, COUNT_OF(steps))],
                latency / count);
    fputs("]}\n", out);
}

void generate_records(FILE *out, uint64_t count, uint64_t seed)
{
    uint64_t state = seed, milliseconds = 1772323200000; /* 2026-03-01 */
    for (uint64_t i = 0; i < count && !ferror(out); i++) {
        size_t service = pick_service(&state);
        unsigned latency = latency_us(&state, services[service].latency_us);
        milliseconds += below(&state, 20);
        print_time(out, milliseconds);
        fprintf(out, ",\"service\":\"%s\",\"host\":\"%s-%u\"", services[service].name, services[service].name,
                below(&state, 12));
        fprintf(out, ",\"region\":\"%s\"", regions[below(&state, COUNT_OF(regions))]);
        unsigned item = below(&state, 1000000);
        fprintf(out, ",\"method\":\"%s\",\"path\":\"%s/%u\"", methods[below(&state, COUNT_OF(methods))],
                services[service].path, item);
        fprintf(out, ",\"status\":%u", status_code(&state, services[service].per_mille));
        fprintf(out, ",\"latency_us\":%u,\"bytes\":%u", latency, 200 + below(&state, 20000));
        fprintf(out, ",\"trace\":\"%016" PRIx64 "\"", next_random(&state));
        fprintf(out, ",\"user\":{\"id\":%u", below(&state, 100000));
        const char *staff = below(&state, 10) == 0 ? ",\"staff\"" : "";
        fprintf(out, ",\"agent\":\"%s\",\"roles\":[\"buyer\"%s]}", agents[below(&state, COUNT_OF(agents))], staff);
        print_spans(out, &state, latency);
    }
}
