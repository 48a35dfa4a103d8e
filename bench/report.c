/* Tables and CSV: see report.h. A ratio that a figure has not is empty in the CSV. */
#define _GNU_SOURCE
#include "report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#ifndef BENCH_FLAGS
#define BENCH_FLAGS "flags unknown"
#endif

#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

static FILE *csv;
static const char *case_name;
static bool needs_columns;

/* ---- Where this ran ---------------------------------------------------------------------------------------------- */

/* The first line of /proc/cpuinfo that names the CPU; ARM kernels give no name there. */
static void cpu_model(char *model, size_t size)
{
    snprintf(model, size, "unknown CPU");
    FILE *file = fopen("/proc/cpuinfo", "r");
    if (!file) return;
    char line[256];
    while (fgets(line, sizeof line, file)) {
        char *value = strstr(line, ": ");
        if (strncmp(line, "model name", 10) != 0 || !value) continue;
        value[strcspn(value, "\n")] = '\0';
        snprintf(model, size, "%s", value + 2);
        break;
    }
    fclose(file);
}

void report_origin(FILE *out, int argc, char **argv)
{
    char model[128], date[32];
    cpu_model(model, sizeof model);
    struct utsname kernel;
    if (uname(&kernel) != 0) memset(&kernel, 0, sizeof kernel);
    time_t now = time(NULL);
    struct tm utc;
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    fprintf(out,
            "# machine: %s, %s, %ld CPUs online, %u usable; kernel: %s %s; compiler: %s, %s; date: %s; command:", model,
            kernel.machine, sysconf(_SC_NPROCESSORS_ONLN), measure_cpus(), kernel.sysname, kernel.release, COMPILER,
            BENCH_FLAGS, date);
    for (int i = 0; i < argc; i++) fprintf(out, " %s", argv[i]);
    fputc('\n', out);
}

void report_open(const char *csv_path, int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0); /* a run takes minutes: show each row as it comes, into a pipe, too */
    report_origin(stdout, argc, argv);
    if (!csv_path) return;
    csv = fopen(csv_path, "w");
    if (!csv) measure_die("cannot write %s", csv_path);
    report_origin(csv, argc, argv);
    fputs("case,peer,threads,measure,unit,median,p10,p90,x_limit,x_glibc\n", csv);
}

void report_close(void)
{
    if (csv && fclose(csv) != 0) measure_die("the CSV file is not complete");
    csv = NULL;
}

/* ---- Rows -------------------------------------------------------------------------------------------------------- */

void report_case(const char *name, const char *title)
{
    bool goes_on = case_name && strcmp(case_name, name) == 0;
    case_name = name;
    putchar('\n');
    if (goes_on) return;
    needs_columns = true;
    printf("%s: %s\n", name, title);
}

static void put_ratio(double ratio)
{
    if (ratio > 0)
        fprintf(csv, ",%.4g", ratio);
    else
        fputc(',', csv);
}

/* The names of peers are prose, whose commas would be columns. */
static void put_csv(const char *peer, unsigned threads, const figure *one)
{
    if (!csv) return;
    fprintf(csv, strchr(peer, ',') ? "%s,\"%s\"" : "%s,%s", case_name, peer);
    fprintf(csv, ",%u,%s,%s,%.6g,%.6g,%.6g", threads, one->measure, one->unit, one->value.median, one->value.p10,
            one->value.p90);
    put_ratio(one->x_limit);
    put_ratio(one->x_glibc);
    fputc('\n', csv);
}

/* The wall time of one thread is its time again, and that of several a part of it: it is for the CSV. */
static bool is_shown(const figure *one)
{
    return strcmp(one->measure, "wall") != 0;
}

static void print_columns(const figure *figures, size_t count)
{
    printf("  %-28s %7s", figures[0].unit, "threads");
    for (size_t i = 0; i < count; i++) {
        if (!is_shown(&figures[i])) continue;
        printf(" %12s", figures[i].measure);
        if (i == 0) printf(" %9s %9s", "p10", "p90");
        if (figures[i].x_limit > 0) printf(" %8s", "x limit");
    }
    if (figures[count - 1].x_glibc > 0) printf(" %12s", "glibc's are");
    putchar('\n');
    needs_columns = false;
}

void report_figures(const char *peer, unsigned threads, const figure *figures, size_t count)
{
    if (needs_columns) print_columns(figures, count);
    printf("  %-28s %7u", peer, threads);
    for (size_t i = 0; i < count; i++) {
        const figure *one = &figures[i];
        put_csv(peer, threads, one);
        if (!is_shown(one)) continue;
        printf(" %12.4g", one->value.median);
        if (i == 0) printf(" %9.4g %9.4g", one->value.p10, one->value.p90);
        if (one->x_limit > 0) printf(" %8.3g", one->x_limit);
    }
    if (figures[count - 1].x_glibc > 0) printf(" %10.3g x", figures[count - 1].x_glibc);
    putchar('\n');
}

void report_time(const char *what, unsigned threads, spread ns)
{
    figure one = {.measure = "time", .unit = "ns", .value = ns};
    printf("  %-40s %7u %12.4g ns (%.4g to %.4g)\n", what, threads, ns.median, ns.p10, ns.p90);
    put_csv(what, threads, &one);
}

void report_value(const char *what, unsigned threads, double value, const char *unit)
{
    figure one = {.measure = "value", .unit = unit, .value = {value, value, value}};
    printf("  %-40s %7u %12.5g %s\n", what, threads, value, unit);
    put_csv(what, threads, &one);
}

void report_note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("  (", stdout);
    vprintf(format, args);
    fputs(")\n", stdout);
    va_end(args);
}
