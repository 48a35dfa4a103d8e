#!/usr/bin/env python3
"""What memarena-ingest prints for a file of good records, computed another way.

usage: expected.py FILE      the lines of the table, without its title
"""
import collections
import json
import sys


def rounded_down(value):
    """To seven significant bits."""
    shift = max(value.bit_length() - 7, 0)
    return value >> shift << shift


def percentile(ordered, percent):
    """By nearest rank."""
    return ordered[-(-len(ordered) * percent // 100) - 1]


services = collections.defaultdict(list)
with open(sys.argv[1], encoding="utf-8") as file:
    for line in file:
        record = json.loads(line)
        services[record["service"]].append(record)

for name, records in sorted(services.items(), key=lambda service: (-len(service[1]), service[0])):
    latencies = sorted(record["latency_us"] for record in records)
    errors = sum(record["status"] >= 500 for record in records)
    milliseconds = [rounded_down(percentile(latencies, percent)) / 1e3 for percent in (50, 99)] + [latencies[-1] / 1e3]
    megabytes = sum(record["bytes"] for record in records) / 1e6
    print(name, len(records), errors, *(f"{value:.3f}" for value in milliseconds + [megabytes]))
