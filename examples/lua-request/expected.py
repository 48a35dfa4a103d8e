#!/usr/bin/env python3
"""What handle.lua answers, computed another way.

usage: expected.py <REQUESTS      a line for each
"""
import json
import sys
import urllib.parse


def money(cents):
    return f"{cents // 100}.{cents % 100:02}"


for request in sys.stdin:
    customer, order, lines = "", 0, {}
    for key, value in urllib.parse.parse_qsl(request.rstrip("\n")):
        if key == "item":
            name, price, count = value.split(":")
            line = lines.setdefault(name, {"name": name, "count": 0, "total": 0})
            line["count"] += int(count)
            line["total"] += int(count) * int(price)
        elif key == "customer":
            customer = value
        elif key == "order":
            order = int(value)
    items = sorted(lines.values(), key=lambda line: line["name"].encode())
    total = sum(line["total"] for line in items)
    for line in items:
        line["total"] = money(line["total"])
    answer = {"customer": customer, "order": order, "lines": items, "total": money(total)}
    print(json.dumps(answer, ensure_ascii=False, separators=(",", ":")).replace('\\"', "\\u0022"))
