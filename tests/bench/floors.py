"""Bare loops, the floors that an agent is compared with: ``python -m tests.bench.floors``.

A loop consumes so many records of a topic, verifies each one's signature, does the work, and tells Port as an agent
does: one log request where there is output, and one status request. It routes nothing, masks nothing, retries
nothing and commits nothing. It prints ``ready`` once it consumes, and one line of JSON when all runs have their
status: the CPU seconds since ``ready`` of itself and of its children.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hmac
import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
import httpx
import uvloop
from confluent_kafka import Consumer, TopicPartition

from agent.net.client import open_client
from agent.net.tls import tls_context
from tests.bench.workload import SECRET

_TIMEOUT_S = 20.0
_BATCH = 500
_COMMAND = ("/bin/echo", "done")
_BEARER = {"Authorization": "Bearer made-up"}
_JSON = {"Content-Type": "application/json"}


class Send(Protocol):
    """Sends one request and reads the answer. Raises where the answer is none of success."""

    async def __call__(self, method: str, url: str, body: bytes, headers: dict[str, str]) -> None:
        """Returns once the answer is read."""


Work = Callable[[str, bytes], Awaitable[str]]
"""Does what the message of a run (its id, the text) asks for; the text for the run's log, if there is any."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a loop has to do."""

    kafka: dict[str, Any]
    topic: str
    url: str
    count: int
    work: str
    client: str
    at_once: int


# ── clients ──────────────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def _client(kind: str, at_once: int) -> AsyncIterator[Send]:
    if kind == "aiohttp":
        connector = aiohttp.TCPConnector(limit=2 * at_once)
        async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
            yield _aiohttp_send(session)
        return
    client: httpx.AsyncClient
    if kind == "transport":
        timeout = httpx.Timeout(30)
        client = open_client(
            tls=tls_context(), max_connections=2 * at_once, timeout=timeout, user_agent="bare loop"
        )
    else:
        limits = httpx.Limits(max_connections=2 * at_once, max_keepalive_connections=2 * at_once)
        client = httpx.AsyncClient(limits=limits, timeout=30, trust_env=False, verify=tls_context())
    async with client:
        yield _httpx_send(client)


def _aiohttp_send(session: aiohttp.ClientSession) -> Send:
    async def send(method: str, url: str, body: bytes, headers: dict[str, str]) -> None:
        async with session.request(method, url, data=body, headers=headers) as answer:
            await answer.read()
            answer.raise_for_status()

    return send


def _httpx_send(client: httpx.AsyncClient) -> Send:
    async def send(method: str, url: str, body: bytes, headers: dict[str, str]) -> None:
        (await client.request(method, url, content=body, headers=headers)).raise_for_status()

    return send


# ── work ─────────────────────────────────────────────────────────────────────────────────────────────


def _work(order: Order, send: Send) -> Work:
    match order.work:
        case "quick" | "slow":
            return _forwarding(f"{order.url}/{order.work}", send)
        case "threads":
            return _spawning_in_threads(order.at_once)
        case "asyncio":
            return _spawning
        case "nothing":
            return _doing_nothing
        case other:
            raise ValueError(f"no such work: {other}")


def _forwarding(url: str, send: Send) -> Work:
    async def forward(run_id: str, text: bytes) -> str:
        await send("POST", url, text, _JSON | {"Idempotency-Key": run_id})
        return f"POST {url}: 200"

    return forward


def _spawning_in_threads(at_once: int) -> Work:
    threads = ThreadPoolExecutor(at_once)

    def spawn() -> str:
        return subprocess.run(_COMMAND, stdin=subprocess.DEVNULL, capture_output=True, check=True).stdout.decode()

    async def work(_run_id: str, _text: bytes) -> str:
        return await asyncio.get_running_loop().run_in_executor(threads, spawn)

    return work


async def _spawning(_run_id: str, _text: bytes) -> str:
    pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*_COMMAND, stdin=null, stdout=pipe, stderr=pipe)
    output, _ = await process.communicate()
    return output.decode()


async def _doing_nothing(_run_id: str, _text: bytes) -> str:
    return ""


# ── the loop ─────────────────────────────────────────────────────────────────────────────────────────


async def _run(order: Order) -> dict[str, float]:
    loop, records = asyncio.get_running_loop(), asyncio.Queue[bytes]()

    def hand_over(values: list[bytes]) -> None:
        for value in values:
            records.put_nowait(value)

    with Consumer({**order.kafka, "group.id": f"{order.topic}.bare", "enable.auto.commit": False}) as consumer:
        _assign(consumer, order.topic)
        async with _client(order.client, order.at_once) as send:
            one = _handler(order, send)
            thread = threading.Thread(
                target=_consume,
                args=(consumer, order.count, lambda values: loop.call_soon_threadsafe(hand_over, values)),
            )
            thread.start()
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            began = os.times()
            left = iter(range(order.count))

            async def keep_handling() -> None:
                for _ in left:
                    await one(await records.get())

            await asyncio.gather(*(keep_handling() for _ in range(order.at_once)))
            ended = os.times()
            thread.join()
    own_s = ended.user + ended.system - began.user - began.system
    children_s = ended.children_user + ended.children_system - began.children_user - began.children_system
    return {"own_s": own_s, "children_s": children_s}


def _assign(consumer: Consumer, topic: str) -> None:
    """To the ends of all partitions, as they are now."""
    places = [
        TopicPartition(topic, number) for number in consumer.list_topics(topic, _TIMEOUT_S).topics[topic].partitions
    ]
    for place in places:
        place.offset = consumer.get_watermark_offsets(place, _TIMEOUT_S)[1]
    consumer.assign(places)


def _consume(consumer: Consumer, count: int, hand_over: Callable[[list[bytes]], object]) -> None:
    """`poll` waits for the next record; `consume` takes what has come with it, and would wait for all of it."""
    while count > 0:
        first = consumer.poll(1.0)
        if first is None:
            continue
        found = [first, *consumer.consume(_BATCH, 0)]
        values = [value for message in found if message.error() is None and (value := message.value()) is not None]
        count -= len(values)
        hand_over([bytes(value) for value in values])


def _handler(order: Order, send: Send) -> Callable[[bytes], Coroutine[Any, Any, None]]:
    work, api = _work(order, send), f"{order.url}/v1/actions/runs"

    async def handle(record: bytes) -> None:
        document = json.loads(record)
        headers = document["headers"]
        signature, at = headers.pop("X-Port-Signature"), headers.pop("X-Port-Timestamp")
        signed = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        digest = hmac.digest(SECRET.encode(), f"{at}.".encode() + signed, "sha256")
        if not hmac.compare_digest("v1," + base64.b64encode(digest).decode(), signature):
            raise ValueError("the signature is wrong")
        run_id = document["context"]["runId"]
        said = await work(run_id, signed)
        if said:
            body = json.dumps({"message": said}).encode()
            await send("POST", f"{api}/{run_id}/logs", body, _BEARER | _JSON)
        await send("PATCH", f"{api}/{run_id}", b'{"status": "SUCCESS"}', _BEARER | _JSON)

    return handle


def main() -> None:
    """Runs one loop, as the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.floors", description=__doc__)
    parser.add_argument("--kafka", required=True, help="JSON: the consumer's configuration")
    parser.add_argument("--topic", required=True)
    parser.add_argument("--url", required=True, help="of tests.bench.server")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--work", choices=["quick", "slow", "threads", "asyncio", "nothing"], required=True)
    parser.add_argument("--client", choices=["aiohttp", "transport", "httpx"], required=True)
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], required=True)
    given = parser.parse_args()
    order = Order(
        json.loads(given.kafka), given.topic, given.url, given.count, given.work, given.client, given.at_once
    )
    run = uvloop.run if given.loop == "uvloop" else asyncio.run
    sys.stdout.write(json.dumps(run(_run(order))) + "\n")


if __name__ == "__main__":
    main()
