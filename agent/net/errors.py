"""What can go wrong with a request, in httpx's words, so that "never sent" is told from "maybe executed".

::

    httpx.TransportError
    ├── never sent (see `never_sent`)
    │   ├── ConnectError            refused, unreachable, reset while connecting, TLS handshake failed
    │   │   ├── NameNotFoundError       the name does not resolve
    │   │   ├── CertificateError        the server's certificate was not accepted
    │   │   └── AddressRefusedError     our own guard
    │   ├── ConnectTimeout          no connection in time, or no free one in the pool
    │   ├── ProxyError              the proxy could not be reached, or would not open the tunnel
    │   └── UnsupportedProtocol, LocalProtocolError     the request itself is impossible
    └── maybe executed
        ├── ReadError, ReadTimeout, RemoteProtocolError     no answer, a broken one, or the connection broke
        │   └── UnreadableError         not in the encoding that it claims
        └── WriteError, WriteTimeout                        the request may have arrived all the same

Every text names host and port and no other part of the URL.
"""

from __future__ import annotations

import os
import ssl

import aiohttp
import httpx

CONNECTION_FAILURES = (aiohttp.ClientError, OSError, ValueError)
"""What aiohttp raises: its own errors, the system's (time-outs too), and ValueErrors for what it won't send."""

_NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)


class NameNotFoundError(httpx.ConnectError):
    """The host's name does not resolve, now or at all."""


class CertificateError(httpx.ConnectError):
    """The server's certificate was not accepted; trying again changes nothing."""


class AddressRefusedError(httpx.ConnectError):
    """The address is one that the agent does not call; trying again changes nothing."""


class UnreadableError(httpx.RemoteProtocolError):
    """The answer is not in the encoding that it claims."""


def never_sent(error: httpx.TransportError) -> bool:
    """Whether no byte of the request can have reached the server: then sending it again is safe."""
    return isinstance(error, _NEVER_SENT)


def connect_failure(error: Exception, place: str) -> httpx.TransportError:
    """``error``, raised while a connection to ``place`` (host:port) was being made, as httpx says it."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return httpx.ProxyError(f"the proxy opens no tunnel to {place}: {error.status} {error.message}")
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return httpx.ProxyError(
            f"cannot connect to the proxy {error.host}:{error.port}: {system_text(error.os_error)}"
        )
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return NameNotFoundError(f"the name {error.host!r} does not resolve: {system_text(error.os_error)}")
    if isinstance(error, UnicodeError):
        return NameNotFoundError(f"{place} is no valid host name")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return CertificateError(
            f"the certificate of {place} was not accepted: {_tls_text(error.certificate_error)}"
        )
    if isinstance(error, aiohttp.ClientConnectorError):
        return httpx.ConnectError(f"cannot connect to {place}: {system_text(error.os_error)}")
    if isinstance(error, TimeoutError):
        return httpx.ConnectTimeout(f"no connection to {place} in time")
    if isinstance(error, aiohttp.InvalidURL):
        return httpx.ConnectError(f"{place} is not an address that can be called: {error.description}")
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return httpx.ProxyError(f"the proxy closed the connection while opening a tunnel to {place}")
    return httpx.ConnectError(f"cannot connect to {place}: {system_text(error)}")


def exchange_failure(error: Exception, place: str) -> httpx.TransportError:
    """``error``, raised once there was a connection to ``place``, as httpx says it."""
    if isinstance(error, TimeoutError):
        return httpx.ReadTimeout(f"{place} did not answer in time")
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return httpx.RemoteProtocolError(f"{place} closed the connection without answering")
    if isinstance(error, aiohttp.ClientPayloadError):
        return httpx.RemoteProtocolError(f"{place} closed the connection before its answer was complete")
    if isinstance(error, aiohttp.ClientResponseError):
        return httpx.RemoteProtocolError(f"{place} does not answer in HTTP/1.1")
    if isinstance(error, aiohttp.ClientConnectionResetError):
        return httpx.WriteError(f"{place} closed the connection while the request was being sent")
    return httpx.ReadError(f"the connection to {place} broke: {system_text(error)}")


def system_text(error: BaseException) -> str:
    """What the system said, without addresses and numbers: ``Connection refused``."""
    if isinstance(error, ssl.SSLError):
        return _tls_text(error)
    if isinstance(error, OSError):
        if error.errno is not None and error.errno > 0:
            return os.strerror(error.errno)  # its own text would repeat the address
        return error.strerror or str(error) or type(error).__name__
    return str(error) or type(error).__name__


def _tls_text(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    reason = getattr(error, "reason", None) or str(error)
    return f"TLS: {str(reason).replace('_', ' ').lower()}"
