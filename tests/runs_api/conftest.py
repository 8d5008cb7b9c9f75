from __future__ import annotations

from collections.abc import Iterator

import pytest
from stamina import instrumentation


@pytest.fixture(autouse=True)
def _stamina_says_nothing() -> Iterator[None]:
    """Its hooks are global; the agent clears them where it is put together."""
    hooks = instrumentation.get_on_retry_hooks()
    instrumentation.set_on_retry_hooks(())
    yield
    instrumentation.set_on_retry_hooks(hooks)
