"""Asks memarena-httpd, well and badly. One line for each answer: status, X-Request-Id or -, Allow or -, body.

usage: client.py PORT ask METHOD PATH [BODY [ID]]   BODY: text, or @FILE
       client.py PORT chunked PATH BODY        in chunks of 1000 bytes, the length not announced
       client.py PORT batch                    METHOD PATH [BODY] on each line of stdin; all on one connection
       client.py PORT abort COUNT              COUNT clients: each sends half a request, in one of four ways, and goes
       client.py PORT hold COUNT               COUNT clients send half a request, say so, and wait for stdin to end
"""
import http.client
import socket
import struct
import sys

TIMEOUT = 3600  # seconds: a busy machine may take its time


def body_of(text):
    if text.startswith("@"):
        with open(text[1:], "rb") as file:
            return file.read()
    return text.encode()


def print_answer(response):
    fields = [response.getheader("X-Request-Id", "-"), response.getheader("Allow", "-")]
    if response.getheader("Content-Type") != "application/json":
        fields.append("no JSON:")
    print(response.status, *fields, response.read().decode(), flush=True)


def ask(connection, method, path, body=None, number=None):
    headers = {} if number is None else {"X-Request-Id": str(number)}
    connection.request(method, path, None if body is None else body_of(body), headers)
    print_answer(connection.getresponse())


def ask_chunked(connection, path, body):
    bytes_ = body_of(body)
    parts = (bytes_[at:at + 1000] for at in range(0, len(bytes_), 1000))
    connection.request("POST", path, parts, {"Transfer-Encoding": "chunked"}, encode_chunked=True)
    print_answer(connection.getresponse())


HEADER = b"POST /totals HTTP/1.1\r\nHost: localhost\r\n"
HALVES = [
    HEADER + b"Content-Length: 100000\r\n\r\n" + b'{"items":[' + b" " * 40000,
    HEADER + b"Content-Length: 100000\r\n\r\n",
    HEADER + b"Transfer-Encoding: chunked\r\n\r\n400\r\n" + b"[" * 500,
    HEADER + b"Transfer-Encoding: chunked\r\n\r\n5\r\n[1,2,\r\nno size\r\n",
]


def send_half(port, number):
    client = socket.create_connection(("127.0.0.1", port), TIMEOUT)
    try:
        client.sendall(HALVES[number % len(HALVES)])
    except ConnectionError:
        pass  # answered already, which ends the connection: the arena is full
    return client


def abort(port, count):
    for number in range(count):
        client = send_half(port, number)
        if number // len(HALVES) % 2:  # a reset instead of an orderly end
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()


def hold_half(port):
    """The server has begun with the request when it asks for the body, or answers that it has no room."""
    client = socket.create_connection(("127.0.0.1", port), TIMEOUT)
    client.sendall(HEADER + b"Expect: 100-continue\r\nContent-Length: 100000\r\n\r\n")
    client.recv(1, socket.MSG_PEEK)
    try:
        client.sendall(b'{"items":[' + b" " * 40000)
    except ConnectionError:
        pass  # answered already, which ends the connection: the arena is full
    return client


def hold(port, count):
    clients = [hold_half(port) for _ in range(count)]
    print("holding", len(clients), flush=True)
    sys.stdin.read()


def main(port, command, *arguments):
    if command in ("abort", "hold"):
        (abort if command == "abort" else hold)(port, int(arguments[0]))
        return
    connection = http.client.HTTPConnection("127.0.0.1", port, TIMEOUT)
    if command == "batch":
        for number, line in enumerate(sys.stdin):
            ask(connection, *line.rstrip("\n").split(" ", 2), number=number)
    else:
        (ask if command == "ask" else ask_chunked)(connection, *arguments)
    connection.close()


if len(sys.argv) < 3:
    sys.exit(__doc__)
main(int(sys.argv[1]), *sys.argv[2:])
