"""Every executor under contract: one line each."""

from __future__ import annotations

from tests.contract.executor_rig import Rig
from tests.contract.http_rig import HttpRig
from tests.contract.process_rig import ProcessRig
from tests.contract.python_rig import PythonRig

RIGS: tuple[Rig, ...] = (
    ProcessRig(),
    PythonRig(asynchronous=True),
    PythonRig(asynchronous=False),
    HttpRig(),
)
