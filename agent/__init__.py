"""The action agent for Port: takes action runs off Kafka, executes them, and tells Port what happened.

What a Python action needs can be imported from here: `Run` (what it is given), and the outcomes.
"""

from agent.domain.errors import EntityRefusedError
from agent.domain.outcome import Accepted, Failed, Outcome, Succeeded
from agent.ports import RunContext as Run

__version__ = "0.1.0"

__all__ = ["Accepted", "EntityRefusedError", "Failed", "Outcome", "Run", "Succeeded", "__version__"]
