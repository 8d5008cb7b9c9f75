"""Records of runs, signed as Port signs them, quickly: one message is built, and the run's id put into its text."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

from agent.domain.signature import signature_of
from agent.sandbox import messages
from agent.sandbox.messages import Click

SECRET = "made-up-secret-of-the-benchmarks-00000"
"""The client secret: messages are signed with it."""

_TEXT = "x" * 900
"""Makes a message of some 1.5 KB, as Port's are."""
_PLACE = "r_000000000000"
_HEADERS = '"headers":{}'


class Workload:
    """Makes records; no two of them are about the same run."""

    def __init__(self, org: str) -> None:
        self._org = org
        self._numbers = itertools.count(1)

    def records(self, action: str, count: int, text: str = _TEXT) -> Iterator[bytes]:
        """Signed messages for agents that name ``action``; ``text`` is their only input."""
        return (record for _, record in self.orders(action, count, text))

    def orders(self, action: str, count: int, text: str = _TEXT) -> Iterator[tuple[str, bytes]]:
        """The same, each with the id of its run."""
        click = Click(_PLACE, action, {"text": text}, "service", org_id=self._org)
        message = messages.wire_text(messages.webhook(click, "http://127.0.0.1:9/", agent=True))
        at_s = int(time.time())
        for _ in range(count):
            run_id = f"r_{next(self._numbers):012d}"
            mine = message.replace(_PLACE, run_id)
            signature = signature_of(mine.encode(), str(at_s), SECRET)
            headers = f'"headers":{{"X-Port-Signature":"{signature}","X-Port-Timestamp":{at_s}}}'
            yield run_id, mine.replace(_HEADERS, headers).encode()
