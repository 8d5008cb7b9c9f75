"""The action agent for Port: takes action runs off Kafka, executes them, and tells Port what happened.

What a Python action needs can be imported from here: what it is given (`Run`, or `SyncRun` if it is a plain
function), the outcomes, and what its calls may raise.
"""

from agent.domain.errors import EntityRefusedError
from agent.domain.outcome import Accepted, Failed, Outcome, Succeeded
from agent.executors.sync_run import RunCancelledError, SyncRun
from agent.ports import RunContext as Run

__version__ = "0.1.0"

__all__ = [
    "Accepted",
    "EntityRefusedError",
    "Failed",
    "Outcome",
    "Run",
    "RunCancelledError",
    "Succeeded",
    "SyncRun",
    "__version__",
]
