"""Messages that do not fit the secrets we have, and may fit the one that is on its way to us."""

from __future__ import annotations

from agent.ports import Clock, Delivery

_MOST = 200


class SecondLook:
    """Keeps refused messages for ``patience_s`` from their arrival, to be looked at again meanwhile.

    A secret that Port has renewed reaches a mounted file a minute or so later: what Port signs until then must not
    be lost. Anybody may write what does not fit, so that `_MOST` are kept; beyond, a refusal is final at once.
    """

    def __init__(self, patience_s: float, clock: Clock) -> None:
        self._patience_s = patience_s
        self._clock = clock
        self._kept: list[Delivery] = []

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._kept)

    def keep(self, delivery: Delivery) -> bool:
        """``False``: its time is over, or there is no room."""
        kept_for_s = self._clock.monotonic() - delivery.received_at_s
        if kept_for_s >= self._patience_s or len(self._kept) >= _MOST:
            return False
        self._kept.append(delivery)
        return True

    def take(self) -> list[Delivery]:
        """All of them, to be received again; what still does not fit comes back by `keep`."""
        taken, self._kept = self._kept, []
        return taken
