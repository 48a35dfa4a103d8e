/* generate: log records of a made-up shop, one JSON object a line, the same for the same seed everywhere. */
#ifndef INGEST_GENERATE_H
#define INGEST_GENERATE_H

#include <stdint.h>
#include <stdio.h>

void generate_records(FILE *out, uint64_t count, uint64_t seed);

#endif
