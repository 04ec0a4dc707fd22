#!/usr/bin/env python3
"""Store the first TLS flight of one client: capture.py FILE PORT

Listens on 127.0.0.1:PORT, takes one connection that starts with a TLS record, reads until the
handshake message is whole (over as many records as it takes), writes those bytes to FILE, closes.
"""
import socket
import sys


def hello(conn):
    data, message, at = b"", b"", 0
    while len(message) < 4 or len(message) < 4 + int.from_bytes(message[1:4], "big"):
        more = conn.recv(65536)
        if not more:
            return None
        data += more
        while len(data) >= at + 5 and len(data) >= at + 5 + int.from_bytes(data[at + 3 : at + 5], "big"):
            end = at + 5 + int.from_bytes(data[at + 3 : at + 5], "big")
            message += data[at + 5 : end]
            at = end
    return data[:at]


with socket.create_server(("127.0.0.1", int(sys.argv[2]))) as server:
    server.settimeout(30)
    while True:
        conn, _ = server.accept()
        with conn:
            conn.settimeout(10)
            data = hello(conn)
        if data:
            break
with open(sys.argv[1], "wb") as out:
    out.write(data)
print(sys.argv[1], len(data), "bytes")
