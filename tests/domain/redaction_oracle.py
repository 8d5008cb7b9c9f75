"""What redaction must come to, worked out byte by byte; and texts cut into pieces."""

from __future__ import annotations

import itertools

from agent.domain.redaction import MASK


def oracle(raw: bytes, wanted: tuple[bytes, ...]) -> bytes:
    """``raw`` with every byte that some needle covers hidden, and each run of hidden ones shown as one mask."""
    covered = [False] * len(raw)
    for needle in wanted:
        for start in range(len(raw) - len(needle) + 1):
            if raw[start : start + len(needle)] == needle:
                covered[start : start + len(needle)] = [True] * len(needle)
    shown = bytearray()
    for index, hidden in enumerate(covered):
        if not hidden:
            shown.append(raw[index])
        elif index == 0 or not covered[index - 1]:
            shown += MASK.encode()
    return bytes(shown)


def cut(raw: bytes, points: list[int]) -> list[bytes]:
    """``raw`` in pieces, cut at these places."""
    edges = [0, *sorted(min(p, len(raw)) for p in points), len(raw)]
    return [raw[a:b] for a, b in itertools.pairwise(edges)]
