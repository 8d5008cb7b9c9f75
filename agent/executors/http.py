"""The http executor: sends a request, and takes the answer for the run's outcome."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import httpx

from agent.domain.errors import ConfigurationError, Problem, TemplateError
from agent.domain.invocation import View
from agent.domain.json import JsonObject
from agent.domain.outcome import Accepted, Failed, FailureKind, Outcome, Succeeded
from agent.domain.retry import Backoff, server_epoch_s, server_wait_s
from agent.domain.signature import signature_of
from agent.executors.http_answer import Answer, read_answer
from agent.executors.http_breaker import BreakerRule
from agent.executors.http_failure import failure_of, refusal_of
from agent.executors.http_options import HTTP_SCHEMA, HttpOptions, read_http_options
from agent.executors.http_pool import ClientPool
from agent.executors.http_redirect import (
    MAX_REDIRECTS,
    is_credential,
    is_downgrade,
    onward,
    title_of,
    with_credentials,
)
from agent.executors.http_request import HttpRequest, RequestTemplate
from agent.executors.http_retry import retry_label
from agent.executors.http_targets import Attempt, Targets, TargetSilentError
from agent.executors.http_traces import RequestTraces
from agent.executors.http_url import UnsendableError
from agent.net.client import Client
from agent.net.incoming import Incoming
from agent.net.outgoing import Outgoing, wire_url
from agent.net.proxy import ProxyRules
from agent.net.tls import TlsFileError
from agent.ports import Clock, ExecutorServices, RunContext, TemplateCompiler
from agent.time_limit import TimeLimit

Headers: TypeAlias = Iterable[tuple[str, str]]

_BACKOFF = Backoff()


class HttpFactory:
    """Makes http executors; they share connections, and what is known of targets that do not answer.

    Raises `ConfigurationError` for proxies that can't be used. ``backoff`` paces repeated requests.
    """

    def __init__(self, services: ExecutorServices, *, backoff: Backoff = _BACKOFF) -> None:
        self._services = services
        self._backoff = backoff
        self._pool = ClientPool(ProxyRules(services.environment), services.settings.max_concurrent_runs)
        rule = BreakerRule(services.settings.http_breaker_failures)
        self._targets = Targets(rule, services.observer, services.clock)
        self._traces = RequestTraces(services.observer, services.clock)

    def options_schema(self) -> JsonObject:
        """What may stand under ``http:``."""
        return HTTP_SCHEMA

    def prepare(self, options: JsonObject, path: str, templates: TemplateCompiler) -> HttpExecutor:
        """An executor for one route. Reads its certificate files. Raises `ConfigurationError` with all problems."""
        settings = self._services.settings
        read = read_http_options(options, settings, self._backoff)
        problems: list[Problem] = []
        try:
            self._pool.prepare(read.client)
        except TlsFileError as error:
            problems.append(Problem("routes", str(error), f"{path}.{error.option}"))
        try:
            template = RequestTemplate(options, path, templates)
        except ConfigurationError as error:
            problems += error.problems
        if problems:
            raise ConfigurationError(*problems)
        secret = settings.client_secret if options.get("sign", True) else str
        clock = self._services.clock
        return HttpExecutor(template, read, self._pool, self._targets, self._traces, secret, clock)

    async def close(self) -> None:
        """Closes all connections. Idempotent."""
        await self._pool.close()


class HttpExecutor:
    """Sends one route's requests, many at once; see `agent.ports.Executor`.

    Requests are signed with what ``secret`` gives; an empty one leaves them unsigned.
    """

    def __init__(
        self,
        template: RequestTemplate,
        options: HttpOptions,
        pool: ClientPool,
        targets: Targets,
        traces: RequestTraces,
        secret: Callable[[], str],
        clock: Clock,
    ) -> None:
        self._template = template
        self._options = options
        self._pool = pool
        self._targets = targets
        self._traces = traces
        self._secret = secret
        self._clock = clock

    async def execute(self, run: RunContext) -> Outcome:
        """Sends the request, again where that is safe, until there is an answer to go by."""
        try:
            request = self._template.render(run.view)
        except TemplateError as error:
            return Failed(str(error), FailureKind.BAD_TEMPLATE)
        except UnsendableError as error:
            return Failed(str(error), FailureKind.NOT_STARTED)
        finally:
            for secret in run.view.secrets:
                run.mask(secret)
            for note in run.view.notes:
                run.log(note, level="WARN")
        for secret in _credentials(request):
            run.mask(secret)
        attempt = 1
        while True:
            result = await self._attempt(run, request)
            wait_s = self._wait_s(run, request, result, attempt)
            if wait_s is None:
                return self._outcome(run, request, result)
            run.retried(retry_label(result.status if isinstance(result, Answer) else result))
            run.log(f"sending it again in {wait_s:.1f} s (attempt {attempt + 1} of {self._options.retry.attempts})")
            await asyncio.sleep(wait_s)
            attempt += 1

    async def preview(self, view: View) -> JsonObject:
        """The request without its signature. Raises `TemplateError`, also for what can't be sent."""
        try:
            return self._template.render(view).as_json()
        except UnsendableError as error:
            raise TemplateError(str(error)) from error

    async def _attempt(self, run: RunContext, request: HttpRequest) -> Answer | httpx.TransportError:
        """Sends the request once, and says in the run's log what came of it."""
        began_s = self._clock.monotonic()
        try:
            with self._targets.attempt(request.url) as attempt:
                result = await self._followed(run, request, attempt)
        except TargetSilentError as error:
            run.log(f"{request.title} was not sent: {error}", level="WARN")
            return error
        said = result.title if isinstance(result, Answer) else str(result)
        cut = f", cut after {self._options.max_response_bytes} bytes" if _is_cut(result) else ""
        took_ms = (self._clock.monotonic() - began_s) * 1000
        level = "INFO" if isinstance(result, Answer) and result.is_success else "WARN"
        run.log(
            f"{request.title} ({len(request.content or b'')} bytes): {said}{cut} ({took_ms:.0f} ms)", level=level
        )
        return result

    async def _followed(
        self, run: RunContext, request: HttpRequest, attempt: Attempt
    ) -> Answer | httpx.TransportError:
        if run.traceparent is None:
            return await self._try(run, request, attempt)
        with self._traces.request(run.traceparent, request) as traced:
            traced.result = result = await self._try(run, request, attempt, traced.headers)
        return result

    async def _try(
        self, run: RunContext, request: HttpRequest, attempt: Attempt, more_headers: Headers = ()
    ) -> Answer | httpx.TransportError:
        """One exchange, within its time; tells ``attempt`` what it shows of the target."""
        try:
            # The client's own time-outs are for silence; this one is for a server that answers drop by drop.
            with TimeLimit.after(self._options.connect_timeout_s + self._options.timeout_s):
                return await self._exchange(run, request, attempt, more_headers)
        except TimeoutError:
            failure: httpx.TransportError = httpx.ReadTimeout(f"{request.place} did not end its answer in time")
        except asyncio.CancelledError:
            run.log(
                f"{request.title}: stopped waiting; {request.place} may go on with it all the same", level="WARN"
            )
            if self._clock.monotonic() >= run.deadline_s:
                attempt.failed(httpx.ReadTimeout(f"{request.place} did not answer within the run's time"))
            raise
        except httpx.TransportError as error:
            failure = error
        try:
            attempt.failed(failure)
            return failure
        finally:
            del failure  # its traceback holds this frame: a cycle, and the run would be in it

    async def _exchange(
        self, run: RunContext, request: HttpRequest, attempt: Attempt, more_headers: Headers
    ) -> Answer:
        options = self._options
        signature = dict(self._signature(request.content or b""))
        # A mapping may have copied such headers from somewhere: ours are about these bytes.
        own = [(name, value) for name, value in request.headers if name.title() not in signature]
        headers = [*own, *more_headers, *signature.items()]
        async with self._pool.client(options.client) as client:
            names = {name.lower() for name, _ in headers}
            own_headers = [header for header in client.own_headers if header[0].lower() not in names]
            sent = Outgoing(
                request.method,
                wire_url(request.url),
                with_credentials([*own_headers, *headers], request.url),
                request.content,
                options.timeouts,
            )
            answer = await client.exchange(sent)
            attempt.answered()
            if options.follows_redirects:
                answer = await self._redirected(run, client, sent, answer)
            return await read_answer(answer, options.max_response_bytes)

    async def _redirected(self, run: RunContext, client: Client, sent: Outgoing, answer: Incoming) -> Incoming:
        """The answer to which ``answer`` leads; a redirect, if there are too many. Closes those before it.

        Raises `httpx.ReadError` for every failure: whatever it is, the first request was sent.
        """
        for _ in range(MAX_REDIRECTS):
            try:
                request = onward(sent, answer)
            except httpx.TransportError as error:
                answer.close()
                raise httpx.ReadError(f"{answer.status}: {error}") from error
            if request is None:
                break
            title = title_of(request)
            if is_downgrade(sent, request):
                run.log(f"{answer.status}: redirected to {title}, which is not encrypted", level="WARN")
            else:
                run.log(f"{answer.status}: redirected to {title}")
            answer.close()
            try:
                sent, answer = request, await client.exchange(request)
            except httpx.TransportError as error:
                raise httpx.ReadError(f"redirected to {title}, which failed: {error}") from error
        return answer

    def _signature(self, body: bytes) -> Iterator[tuple[str, str]]:
        if secret := self._secret():
            timestamp = str(int(self._clock.epoch()))
            yield "X-Port-Timestamp", timestamp
            yield "X-Port-Signature", signature_of(body, timestamp, secret)

    def _wait_s(
        self, run: RunContext, request: HttpRequest, result: Answer | httpx.TransportError, attempt: int
    ) -> float | None:
        """How long to wait before the next attempt, ``None`` if there is none."""
        rule = self._options.retry
        asked_s = None
        if isinstance(result, Answer):
            if not rule.after_status(request.method, result.status):
                return None
            now_s = server_epoch_s(result.headers) or self._clock.epoch()
            asked_s = server_wait_s(result.headers, now_s, throttled=result.status == 429)
        elif not rule.after_error(request.method, result):
            return None
        left_s = run.deadline_s - self._clock.monotonic()
        return rule.wait_s(attempt, asked_s, left_s, random.random())  # noqa: S311  # jitter

    def _outcome(self, run: RunContext, request: HttpRequest, result: Answer | httpx.TransportError) -> Outcome:
        if isinstance(result, httpx.TransportError):
            return failure_of(request, result, self._options.timeout_s)
        answer = result.masked(run)
        run.response(request.as_json(), answer.as_json())
        if not answer.is_success and not (self._options.follows_redirects and answer.leads_nowhere):
            excerpt = answer.excerpt(run) if self._options.quotes_answers else ""
            return refusal_of(request, answer, excerpt, follows_redirects=self._options.follows_redirects)
        synchronized = self._options.is_synchronous(invocation_is=run.invocation.method.synchronized)
        return Succeeded() if synchronized else Accepted()


def _is_cut(result: Answer | httpx.TransportError) -> bool:
    return isinstance(result, Answer) and result.truncated


def _credentials(request: HttpRequest) -> Iterator[str]:
    """What of the request is secret by its place: a server may quote it in its answer."""
    if request.url.password:
        yield request.url.password
    for name, value in request.headers:
        if is_credential(name):
            yield from (word for word in (value, value.rpartition(" ")[2]) if word)
