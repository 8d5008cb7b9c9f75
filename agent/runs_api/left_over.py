"""The last words on a run that ended in an earlier life of this agent."""

from __future__ import annotations

from agent.domain.settlement import NothingToReport, Reported, Undelivered
from agent.ports import RunLookup, Standing, Subject
from agent.runs_api.client import RunsClient
from agent.runs_api.journal import Journal
from agent.runs_api.journal_file import Entry
from agent.runs_api.run_report import tell


class LeftOverReport:
    """Implements `agent.ports.LeftOver` for one entry of the journal."""

    def __init__(self, entry: Entry, client: RunsClient, lookup: RunLookup, journal: Journal) -> None:
        self._entry = entry
        self._client = client
        self._lookup = lookup
        self._journal = journal

    @property
    def subject(self) -> Subject:
        """The run."""
        return self._entry.subject

    async def deliver(self) -> Reported:
        """Asks how far the run is, for Port may have been told just before that life ended; then tells it.

        `Undelivered` at the end of the client's time, which the look-up does not know of.
        """
        subject = self.subject
        try:
            with self._client.in_time():
                standing = await self._lookup.standing(subject.run_id, subject.kind)
        except TimeoutError:
            return Undelivered("there was no time left to ask how far the run is")
        if standing is Standing.OVER:
            reported: Reported = NothingToReport()
        else:
            reported = await tell(self._client, self._entry.requests)
        if not isinstance(reported, Undelivered):
            self._journal.drop(self._entry.key)
        return reported
