"""As much of a broker as is needed to refuse a password: three requests of Kafka's protocol, over loopback."""

from __future__ import annotations

import re
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_HANDSHAKE, _VERSIONS, _AUTHENTICATE = 17, 18, 36
_ANSWERS = {
    # error code, then (request, lowest, highest version) of what it understands, the throttle time, no tags
    _VERSIONS: struct.pack(
        ">hb" + 3 * "hhhb" + "ib", 0, 4, _HANDSHAKE, 1, 1, 0, _VERSIONS, 0, 3, 0, _AUTHENTICATE, 0, 0, 0, 0, 0
    ),
    # error code, then the mechanisms
    _HANDSHAKE: struct.pack(">hih13s", 0, 1, 13, b"SCRAM-SHA-512"),
    # SASL_AUTHENTICATION_FAILED, its text, no bytes
    _AUTHENTICATE: struct.pack(">hh11si", 58, 11, b"no such one", 0),
}


class _Conversation(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while (size := self.rfile.read(4)) and size[:2] == b"\0\0":  # else it is TLS
            request = self.rfile.read(*struct.unpack(">i", size))
            (key,) = struct.unpack_from(">h", request)
            if key == _AUTHENTICATE:
                assert isinstance(self.server, _Server)
                self.server.users += re.findall(rb"n=([^,]*),r=", request)
            answer = request[4:8] + _ANSWERS[key]
            self.wfile.write(struct.pack(">i", len(answer)) + answer)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, users: list[bytes]) -> None:
        self.users = users
        super().__init__(("127.0.0.1", 0), _Conversation)


@contextmanager
def refusing_broker(users: list[bytes] | None = None) -> Iterator[str]:
    """Its address, until the block ends; ``users`` is given the names of those whom it has refused."""
    with _Server([] if users is None else users) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield "{}:{}".format(*server.server_address)
        finally:
            server.shutdown()
            thread.join()
