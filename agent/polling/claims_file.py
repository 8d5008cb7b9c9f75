"""One file of the runs that were acknowledged and are not settled: Port gives them to nobody any more. Blocks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from agent.domain.earlier import Ending
from agent.domain.invocation import InvocationKind, RunId
from agent.slot_file import SlotFile

_SCHEMA = """
CREATE TABLE IF NOT EXISTS claims (
  run_id TEXT NOT NULL PRIMARY KEY, kind TEXT NOT NULL, mark TEXT NOT NULL, begun INTEGER NOT NULL,
  agent TEXT NOT NULL, ending TEXT, until_epoch_s REAL NOT NULL, body BLOB NOT NULL
) WITHOUT ROWID
"""
_COLUMNS = "run_id, kind, mark, begun, agent, ending, until_epoch_s, body"
_PUT = f"INSERT OR REPLACE INTO claims ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - our own words
_TAKE_OUT = "DELETE FROM claims WHERE run_id = ?"
_READ = f"SELECT {_COLUMNS} FROM claims"  # noqa: S608 - our own words


class Mark(StrEnum):
    """How far a run is that is kept."""

    ASKED = "asked"
    """Its acknowledgement was sent, or is about to be; the answer is not known. Nothing was done for it."""
    OURS = "ours"
    """Acknowledged; its work did not begin."""
    BEGUN = "begun"
    """Its work was begun."""
    STOPPED = "stopped"
    """Its work was stopped in order, to be done anew."""
    ENDED = "ended"
    """Its work came to its end, and Port had still to be told."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One run. ``begun``: how often its work was begun, by ``agent`` the last time.

    ``until_epoch_s``: when the claim ended that was acknowledged, in seconds since 1970.
    """

    run_id: RunId
    kind: InvocationKind
    mark: Mark
    begun: int
    agent: str
    ending: Ending | None
    until_epoch_s: float
    body: bytes = field(repr=False)


class ClaimsFile(SlotFile):
    """The runs of one agent; see `SlotFile`."""

    name = "claims-v1-{slot}"
    what = "file of claims"
    schema = _SCHEMA

    def write(self, puts: Iterable[Kept], drops: Iterable[RunId]) -> None:
        """Enters and removes, all or nothing."""
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(_TAKE_OUT, [(run_id,) for run_id in drops])
            self._connection.executemany(_PUT, map(_as_row, puts))

    def read(self) -> list[Kept]:
        """All of them. One that cannot be read, as another version may have written it, is left where it is."""
        return [kept for row in self._connection.execute(_READ) if (kept := _from_row(row)) is not None]

    def _take_over(self, left: Self) -> None:
        if found := left.read():
            self.write(found, ())
            left.write((), [kept.run_id for kept in found])


def _as_row(kept: Kept) -> Sequence[object]:
    return (
        kept.run_id,
        kept.kind,
        kept.mark,
        kept.begun,
        kept.agent,
        kept.ending,
        kept.until_epoch_s,
        kept.body,
    )


def _from_row(row: Sequence[Any]) -> Kept | None:
    run_id, kind, mark, begun, agent, ending, until_epoch_s, body = row
    try:
        end = None if ending is None else Ending(ending)
        return Kept(RunId(run_id), InvocationKind(kind), Mark(mark), begun, agent, end, until_epoch_s, bytes(body))
    except (ValueError, TypeError):
        return None
