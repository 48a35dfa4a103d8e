/* Tables and CSV: see report.h. A row of the CSV has either times, of one block or (in cases whose unit is a call) of
 * one call, or `value` and `unit`; what it has not is empty. */
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

static void describe(FILE *out, int argc, char **argv)
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
    setvbuf(stdout, NULL, _IOLBF, 0); /* a run takes a minute: show each row as it comes, into a pipe, too */
    describe(stdout, argc, argv);
    if (!csv_path) return;
    csv = fopen(csv_path, "w");
    if (!csv) measure_die("cannot write %s", csv_path);
    describe(csv, argc, argv);
    fputs("case,variant,threads,median_ns_per_block,p10,p90,ratio_to_limit," /* what most readers want */
          "release_ns_per_block,ratio_with_release,value,unit\n",
          csv);
}

void report_close(void)
{
    if (csv && fclose(csv) != 0) measure_die("the CSV file is not complete");
    csv = NULL;
}

/* ---- Rows -------------------------------------------------------------------------------------------------------- */

void report_case(const char *name, const char *title, const char *unit)
{
    bool goes_on = case_name && strcmp(case_name, name) == 0;
    case_name = name;
    putchar('\n');
    if (goes_on) return;
    printf("%s: %s\n", name, title);
    printf("  %-34s %7s", "", "threads");
    if (*unit) printf(" %9s/%-5s %9s %9s %9s", "ns", unit, "p10", "p90", "x limit");
    if (strcmp(unit, "block") == 0) printf(" %12s %12s", "+ release ns", "both x limit");
    putchar('\n');
}

/* A name for a field of CSV: the commas of prose would be columns. */
static void put_name(const char *name)
{
    bool quoted = strchr(name, ',') != NULL;
    fprintf(csv, quoted ? "\"%s\"," : "%s,", name);
}

void report_timing(timing row)
{
    printf("  %-34s %7u %15.3f %9.3f %9.3f %9.2f", row.variant, row.threads, row.ns.median, row.ns.p10, row.ns.p90,
           row.ratio);
    if (row.release_ns >= 0) printf(" %12.4f %12.2f", row.release_ns, row.release_ratio);
    putchar('\n');
    if (!csv) return;
    fprintf(csv, "%s,", case_name);
    put_name(row.variant);
    fprintf(csv, "%u,%.4f,%.4f,%.4f,%.4f,", row.threads, row.ns.median, row.ns.p10, row.ns.p90, row.ratio);
    if (row.release_ns >= 0)
        fprintf(csv, "%.6f,%.4f,,\n", row.release_ns, row.release_ratio);
    else
        fputs(",,,\n", csv);
}

void report_value(const char *variant, unsigned threads, double value, const char *unit)
{
    printf("  %-34s %7u %15.2f %s\n", variant, threads, value, unit);
    if (!csv) return;
    fprintf(csv, "%s,", case_name);
    put_name(variant);
    fprintf(csv, "%u,,,,,,,%.4f,%s\n", threads, value, unit);
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
