"""What the example HTTP routes call: a small service of the kind that stands inside everybody's network."""

from __future__ import annotations

import asyncio

from aiohttp import web


def target_routes() -> list[web.RouteDef]:
    """The service's routes, all under ``/target``."""
    return [
        web.post("/target/restart", _restart),
        web.post("/target/notify", _notify),
        web.put("/target/scale", _scale),
    ]


async def _restart(request: web.Request) -> web.Response:
    body = await request.json()
    await asyncio.sleep(0.6)
    name = str(body["service"])
    return web.json_response({"service": name, "url": f"https://ops.sandbox.example/services/{name}"})


async def _notify(request: web.Request) -> web.Response:
    body = await request.json()
    return web.json_response({"notified": 4, "run": body["context"]["runId"]})


async def _scale(_request: web.Request) -> web.Response:
    return web.json_response({"error": "the service is being deployed, try again later"}, status=409)
