"""How the status page says numbers, times and rules."""

from __future__ import annotations

from datetime import UTC, datetime

from agent.domain.route import Match
from agent.observability.html import Markup, tag

NOTHING = "\u2014"


def number(value: int) -> str:
    """With thin spaces between thousands."""
    return f"{value:,}".replace(",", "\u202f")


def plural(count: int, noun: str) -> str:
    """The count with its noun, which gets an s unless it stands alone."""
    return f"{number(count)} {noun}" + ("" if count == 1 else "s")


def moment(epoch_s: float) -> Markup:
    """A point in time, in UTC."""
    at = datetime.fromtimestamp(epoch_s, UTC)
    return tag("time", at.strftime("%Y-%m-%d %H:%M:%S UTC"), datetime=at.isoformat(timespec="seconds"))


def ago(epoch_s: float, now_epoch_s: float) -> Markup:
    """How long ago something was; the exact time shows when pointed at."""
    at = datetime.fromtimestamp(epoch_s, UTC)
    exactly = at.strftime("%Y-%m-%d %H:%M:%S UTC")
    words = f"{about(now_epoch_s - epoch_s)} ago"
    return tag("time", words, datetime=at.isoformat(timespec="seconds"), title=exactly)


def duration(seconds: float) -> str:
    """A length of time for people, in its two largest units."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    minutes, rest_s = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest_s} s" if rest_s else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def about(seconds: float) -> str:
    """A length of time at a glance: its largest unit alone, rounded down."""
    for unit, length_s in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length_s:
            return f"{seconds // length_s:.0f} {unit}"
    return f"{max(0.0, seconds) // 1:.0f} s"


def matches(match: Match) -> str:
    """Which messages a route is for, in words."""
    parts = [
        f"{label} {' or '.join(patterns)}"
        for label, patterns in (
            ("action", match.actions),
            ("blueprint", match.blueprints),
            ("type", match.types),
            ("kind", match.kinds),
        )
        if patterns
    ]
    if match.when is not None:
        parts.append("a condition")
    return ", ".join(parts) or "every message"
