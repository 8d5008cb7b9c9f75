"""Everything on one machine with no account: broker, stand-in for Port, page, and the agent with example routes."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, TypeVar

from agent.sandbox.actions import ACTIONS, Invoker
from agent.sandbox.agent_log import LOG_SETTINGS, AgentLog
from agent.sandbox.agent_process import AgentProcess, SandboxError
from agent.sandbox.broker import EmbeddedBroker
from agent.sandbox.ledger import Ledger
from agent.sandbox.leftovers import end_leftovers
from agent.sandbox.page import Page
from agent.sandbox.port_api import PortApi
from agent.sandbox.routes_file import RoutesFile
from agent.sandbox.verdict import table, verdict
from agent.settings import Settings, environment

_DEADLINE_S = 40.0
_INTERRUPTED = 130
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOST = (
    ", and deletes the copied examples with every edit;\n"
    "  action-agent sandbox --routes FILE works with a file of yours, and leaves it"
)
_GONE = (
    "\n  The copied examples are deleted, with what was edited in them;"
    " action-agent sandbox --routes FILE keeps yours."
)
_QUIET_LOG = {"AGENT_LOG_FORMAT": "console", "LOG_LEVEL": "INFO"}
_PROXIES = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"})

T = TypeVar("T")


class _StoppedError(Exception):
    """Somebody asked the sandbox to end."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The parts of a running sandbox."""

    api: PortApi
    page: Page
    invoker: Invoker
    routes: RoutesFile
    agent: AgentProcess
    stopped: asyncio.Event

    async def while_it_runs(self, work: Coroutine[Any, Any, T]) -> T:
        """The work's result.

        Ends it early with `_StoppedError` when the sandbox is to end, and with `SandboxError` when the agent dies.
        """
        task = asyncio.create_task(work)
        died = asyncio.create_task(self.agent.ended())
        stopped = asyncio.create_task(self.stopped.wait())
        everything: set[asyncio.Task[Any]] = {task, died, stopped}
        try:
            await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            if died.done():
                raise SandboxError(f"the agent ended by itself with exit code {died.result()}")
            raise _StoppedError
        finally:
            for other in everything:
                other.cancel()
            await asyncio.gather(*everything, return_exceptions=True)


async def run_sandbox(
    say: Callable[[str], object], *, once: bool, port: int | None = None, routes: Path | None = None
) -> int:
    """Runs the sandbox and returns its exit code.

    ``say`` is given its own words, a line or a few at a time; the agent's log goes to stdout, failures to stderr.
    ``once``: invokes every example, prints how each ended, and returns 0 only if all ended as they should and
    the agent stopped cleanly. Otherwise serves the page on ``port`` (``None``: a free one) until Ctrl-C.
    ``routes`` (an absolute path) replaces the example routes, and makes no sense together with ``once``: the
    agent then stands in the current directory, as with ``run``. Nothing is left behind: no process, no file.
    """
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stopped.set)
    try:
        async with _started(port or 0, routes, stopped, quiet=once) as sandbox:
            return await (_every_example if once else _until_stopped)(sandbox, say)
    except _StoppedError:
        return _INTERRUPTED if once else 0
    except SandboxError as error:
        sys.stderr.write(f"The sandbox failed: {error}\n")
        return 1
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


async def _every_example(sandbox: Sandbox, say: Callable[[str], object]) -> int:
    try:
        async with asyncio.timeout(_DEADLINE_S):
            await sandbox.while_it_runs(sandbox.agent.ready())
            runs = [(action, sandbox.invoker.invoke(action)) for action in ACTIONS]
            await sandbox.while_it_runs(_all_ended(sandbox.api.ledger))
    except TimeoutError:
        sys.stderr.write(f"Not everything ended within {_DEADLINE_S:g} s.\n")
        runs = [(action, run_id) for run_id, action in sandbox.invoker.invoked.items()]
    verdicts = [verdict(action, run_id, sandbox.api.ledger) for action, run_id in runs]
    exit_code = await sandbox.agent.stop()
    say(table(verdicts))
    if exit_code != 0:
        raise SandboxError(f"after SIGTERM the agent's exit code was {exit_code}, expected 0")
    right = sum(not judged.complaints for judged in verdicts)
    if right < len(ACTIONS):
        raise SandboxError(f"{len(ACTIONS) - right} of {len(ACTIONS)} runs did not end as they should")
    if strays := sandbox.api.ledger.strays:
        raise SandboxError(f"the agent sent requests that Port has no route for: {', '.join(strays)}")
    say(f"All {len(verdicts)} runs ended as they should, and the agent stopped cleanly.")
    return 0


async def _all_ended(ledger: Ledger) -> None:
    await ledger.wait_until(lambda seen: not seen.unfinished(), timeout_s=_DEADLINE_S)


async def _until_stopped(sandbox: Sandbox, say: Callable[[str], object]) -> int:
    await sandbox.while_it_runs(sandbox.agent.ready())
    routes = sandbox.routes
    copy = " (a copy, see below)" if routes.is_copy else ""
    say(
        f"\n  Sandbox    {sandbox.page.url}\n  Agent      {sandbox.agent.url}\n  Routes     {routes.path}{copy}\n"
        f"\n  Ctrl-C ends it all{_LOST if routes.is_copy else ''}.\n"
    )
    try:
        await sandbox.while_it_runs(asyncio.Event().wait())
    except _StoppedError:
        exit_code = await sandbox.agent.stop()
        if exit_code != 0:
            raise SandboxError(f"the agent's exit code was {exit_code}, expected 0") from None
        if routes.is_copy:
            say(_GONE)
    return 0


# ── putting it together ──────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def _started(
    port: int, routes: Path | None, stopped: asyncio.Event, *, quiet: bool
) -> AsyncIterator[Sandbox]:
    """The whole sandbox, the agent not yet ready. Whatever happens inside, all of it is ended afterwards."""
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="action-agent-sandbox-")))
        broker = stack.enter_context(EmbeddedBroker())
        api = await stack.enter_async_context(PortApi.serve())
        page = Page(api.ledger, ACTIONS if routes is None else ())
        try:
            await stack.enter_async_context(page.listening(port))
        except OSError as error:
            raise SandboxError(f"cannot listen on port {port} ({error.strerror}): choose another") from error
        topic = f"{api.org_id}.runs"
        for name in (topic, f"{api.org_id}.change.log"):
            broker.create_topic(name)
        invoker = Invoker(api.ledger, broker, topic=topic, client_secret=api.client_secret, target_url=page.url)
        cwd = _copied_examples(home) if routes is None else Path.cwd()
        routes_path = cwd / "routes.yaml" if routes is None else routes
        settings = _agent_settings(api, broker, page.url, home, routes_path)
        if routes is not None and (python_path := environment().get("AGENT_PYTHONPATH")):
            settings["AGENT_PYTHONPATH"] = python_path
        routes_file = RoutesFile(routes_path, is_copy=routes is None, examples=ACTIONS if routes is None else ())
        log = AgentLog(sys.stdout, routes_file, api.ledger.touch)
        log_settings, output = (_QUIET_LOG, home / "agent.log") if quiet else (LOG_SETTINGS, log.take)
        agent = AgentProcess(settings | log_settings, cwd, output)
        try:
            await agent.start()
            page.open(invoker, agent_url=agent.url, routes=routes_file, log=log)
            yield Sandbox(api, page, invoker, routes_file, agent, stopped)
        except SandboxError:
            sys.stderr.write(agent.last_words() + "\n")
            raise
        finally:
            await agent.kill()
            end_leftovers(api.url, api.ledger.runs)


def _copied_examples(home: Path) -> Path:
    """The examples where they may be edited while the sandbox runs."""
    target = home / "examples"
    with as_file(files("agent.sandbox").joinpath("examples")) as shipped:
        shutil.copytree(shipped, target, ignore=shutil.ignore_patterns("__pycache__"))
    for script in target.glob("*.sh"):
        script.chmod(0o755)
    return target


def _agent_settings(
    api: PortApi, broker: EmbeddedBroker, target_url: str, home: Path, routes: Path
) -> dict[str, str]:
    """The agent's environment: ours without any setting of an agent, and with the sandbox's own.

    What could lead it to another organisation, topic or place is set in any case: a `.env` file where it stands
    has no say in that.
    """
    theirs = {*Settings.model_fields, *(f"{name}_FILE" for name in Settings.model_fields)}
    kept = {
        name: value for name, value in environment().items() if name not in theirs and name.upper() not in _PROXIES
    }
    state = home / "state"
    state.mkdir()
    return kept | {
        "PORT_ORG_ID": api.org_id,
        "PORT_CLIENT_ID": api.client_id,
        "PORT_CLIENT_SECRET": api.client_secret,
        "PORT_API_BASE_URL": api.url,
        "KAFKA_CONSUMER_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "KAFKA_CONSUMER_SECURITY_PROTOCOL": "plaintext",
        "KAFKA_CONSUMER_AUTHENTICATION_MECHANISM": "none",
        "KAFKA_CONSUMER_GROUP_ID": f"{api.org_id}.action-agent",
        "KAFKA_CONSUMER_AUTO_OFFSET_RESET": "earliest",
        "KAFKA_RUNS_TOPIC": f"{api.org_id}.runs",
        "KAFKA_CHANGE_LOG_TOPIC": f"{api.org_id}.change.log",
        "AGENT_ROUTES_PATH": str(routes),
        "AGENT_PYTHONPATH": str(routes.parent),
        "AGENT_STATE_DIR": str(state),
        "AGENT_DRAIN_TIMEOUT_S": "3",
        "AGENT_KILL_GRACE_S": "2",
        "AGENT_REPORT_TIMEOUT_S": "3",
        "SANDBOX_TARGET_URL": target_url,
    }
