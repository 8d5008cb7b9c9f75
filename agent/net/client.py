"""Makes the HTTP clients that the agent uses."""

from __future__ import annotations

import ssl
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from agent.net.incoming import Incoming
from agent.net.outgoing import Outgoing
from agent.net.proxy import ProxyRules
from agent.net.transport import AiohttpTransport

DEFAULT_KEEPALIVE_S = 15.0


class Client(httpx.AsyncClient):
    """An httpx client with a shorter way for requests that are many; made by `open_client`."""

    def __init__(
        self, transport: AiohttpTransport, *, timeout: httpx.Timeout, user_agent: str, base_url: str
    ) -> None:
        super().__init__(
            transport=transport,
            base_url=base_url,
            timeout=timeout,
            headers={"User-Agent": user_agent},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            follow_redirects=False,
            trust_env=False,
        )
        self._way = transport
        self.own_headers = tuple((name.title(), value) for name, value in self.headers.items())
        """What goes with every request that does not say otherwise."""

    async def exchange(self, request: Outgoing) -> Incoming:
        """Sends ``request`` as it is; see `AiohttpTransport.exchange`. Raises `httpx.TransportError`."""
        return await self._way.exchange(request)


def open_client(
    *,
    tls: ssl.SSLContext,
    max_connections: int,
    timeout: httpx.Timeout,
    user_agent: str,
    base_url: str = "",
    keepalive_s: float = DEFAULT_KEEPALIVE_S,
    allow_link_local: bool = False,
    proxies: ProxyRules | None = None,
) -> Client:
    """A client over `AiohttpTransport`, whose guarantees it has; close it with ``aclose``.

    It reads no environment, follows no redirect and keeps no cookie, so that many unrelated callers may share it.
    May be made without a running loop. ``keepalive_s`` should stay below what the servers keep: a request that
    meets a connection just closed by the other side fails as maybe executed.
    """
    transport = AiohttpTransport(
        tls=tls,
        max_connections=max_connections,
        keepalive_s=keepalive_s,
        allow_link_local=allow_link_local,
        proxies=proxies,
    )
    return Client(transport, timeout=timeout, user_agent=user_agent, base_url=base_url)
