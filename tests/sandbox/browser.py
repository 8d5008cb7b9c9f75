"""Headless Chromium, driven over its own protocol: enough to click, to read and to see what went wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

DEADLINE_S = 30.0
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
    "about:blank",
)


@dataclass
class Tab:
    """One tab. ``troubles`` collects what the page's console and script complained of."""

    socket: aiohttp.ClientWebSocketResponse
    troubles: list[str] = field(default_factory=list)
    _number: int = 0

    async def call(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        await self.socket.send_json({"id": self._number, "method": method, "params": parameters})
        while True:
            told = await self.socket.receive_json(timeout=DEADLINE_S)
            if told.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.troubles.append(json.dumps(told["params"]))
            if told.get("id") == self._number:
                assert "error" not in told, told
                return told["result"]

    async def evaluate(self, script: str) -> Any:
        told = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    async def until(self, script: str) -> Any:
        """The script's value as soon as it is truthy."""
        async with asyncio.timeout(DEADLINE_S):
            while not (value := await self.evaluate(script)):  # noqa: ASYNC110 - the condition is the browser's
                await asyncio.sleep(0.05)
        return value


@asynccontextmanager
async def open_tab(chromium: str, url: str, profile: Path) -> AsyncIterator[Tab]:
    """A tab that has loaded ``url``; the browser is gone afterwards."""
    process = await asyncio.create_subprocess_exec(
        chromium,
        f"--user-data-dir={profile}",
        *ARGUMENTS,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    draining: asyncio.Task[bytes] | None = None
    try:
        assert process.stderr is not None
        line = b""
        async with asyncio.timeout(DEADLINE_S):
            while b"DevTools listening on ws://" not in line:
                line = await process.stderr.readline()
                assert line, "the browser ended before it listened"
        draining = asyncio.create_task(process.stderr.read())
        address = line.decode().split("ws://")[1].split("/")[0]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://{address}/json/list") as response:
                target = next(one for one in await response.json() if one["type"] == "page")
            async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                tab = Tab(socket)
                for domain in ("Runtime", "Log", "Page"):
                    await tab.call(f"{domain}.enable")
                await tab.call("Page.navigate", url=url)
                await tab.until("document.readyState === 'complete' && location.href !== 'about:blank'")
                yield tab
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        if draining is not None:
            await draining
