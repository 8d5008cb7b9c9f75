"""As in `tests.executors`."""

from tests.executors.conftest import _usual_roots_are_read_once

__all__ = ["_usual_roots_are_read_once"]
