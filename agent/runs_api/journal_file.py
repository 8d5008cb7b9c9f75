"""One file of outcomes that Port has not accepted yet. Blocks; no threads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias

from agent.domain.invocation import InvocationKind, RunId
from agent.domain.json import as_object, compact
from agent.ports import Subject
from agent.runs_api import wire
from agent.slot_file import SlotFile

Key: TypeAlias = tuple[RunId | None, str]
"""A run, and the message that asked for it: several messages may concern one run."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS outcomes (
  run_id TEXT NOT NULL, origin TEXT NOT NULL, kind TEXT NOT NULL, route TEXT NOT NULL, requests TEXT NOT NULL,
  PRIMARY KEY (run_id, origin)
) WITHOUT ROWID
"""
# All rows in one step: each step of SQLite lets the event loop's thread go on, and has to wait for it afterwards.
_PUT = """
INSERT OR REPLACE INTO outcomes (run_id, origin, kind, route, requests)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
  json_extract(value, '$[3]'), json_extract(value, '$[4]') FROM json_each(?)
"""
_TAKE_OUT = """
DELETE FROM outcomes
WHERE (run_id, origin) IN (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?))
"""
_READ = "SELECT run_id, origin, kind, route, requests FROM outcomes"


@dataclass(frozen=True, slots=True)
class Entry:
    """How a run ended, as the requests that tell Port: to be tried in turn while Port refuses their form."""

    subject: Subject
    requests: tuple[wire.Request, ...]

    @property
    def key(self) -> Key:
        """What it is found by."""
        return self.subject.run_id, self.subject.origin


class JournalFile(SlotFile):
    """The outcomes of one agent; see `SlotFile`."""

    name = "outcomes-v1-{slot}"
    what = "journal"
    schema = _SCHEMA

    def write(self, puts: Sequence[Entry], drops: Sequence[Key]) -> None:
        """Enters and removes, all or nothing."""
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            if drops:
                self._connection.execute(
                    _TAKE_OUT, (compact([[run_id or "", origin] for run_id, origin in drops]),)
                )
            if puts:
                self._connection.execute(_PUT, (compact([_as_row(entry) for entry in puts]),))

    def read(self) -> list[Entry]:
        """All entries. One that cannot be read, as an older version may have written it, is left where it is."""
        return [entry for row in self._connection.execute(_READ) if (entry := _from_row(row)) is not None]

    def _take_over(self, left: Self) -> None:
        if entries := left.read():
            self.write(entries, ())
            left.write((), [entry.key for entry in entries])


def _as_row(entry: Entry) -> Sequence[str]:
    subject = entry.subject
    requests = [{"method": r.method, "route": r.route, "path": r.path, "body": r.body} for r in entry.requests]
    return subject.run_id or "", subject.origin, subject.kind, subject.route, compact(requests)


def _from_row(row: Sequence[str]) -> Entry | None:
    run_id, origin, kind, route, requests = row
    try:
        read = tuple(
            wire.Request(str(r["method"]), str(r["route"]), str(r["path"]), as_object(r["body"]))
            for r in json.loads(requests)
        )
        return Entry(Subject(RunId(run_id), InvocationKind(kind), origin, route), read)
    except (ValueError, KeyError, TypeError):
        return None
