"""What is known of a run beside its log and its status: masked, bounded, and kept until it is told."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from agent.domain.json import Json, as_text, compact
from agent.domain.redaction import Redactor
from agent.runs_api.lines import clean
from agent.runs_api.log_buffer import LogLimits

TextName = Literal["summary", "status_label", "external_run_id"]


@dataclass(frozen=True, slots=True)
class ReportLimits:
    """How much is told, in bytes of UTF-8, and when. Port takes bodies of up to 1 MiB.

    ``outputs_bytes`` bounds the JSON text of all outputs together, escapes included: what is sent. The answer
    of a synchronous call has the same bound.
    Details go out before the status if the run goes on for ``early_after_s`` once one of them is set.
    """

    log: LogLimits = field(default_factory=LogLimits)
    summary_bytes: int = 32 * 1024
    text_bytes: int = 1024
    link_bytes: int = 8 * 1024
    links: int = 50
    outputs_bytes: int = 512 * 1024
    early_after_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Details:
    """What one request may tell; ``None`` and empty mean: nothing to tell."""

    links: tuple[str, ...] = ()
    summary: str | None = None
    status_label: str | None = None
    external_run_id: str | None = None
    outputs: Mapping[str, Json] = field(default_factory=dict)


class KnownDetails:
    """The details of one run as they stand, and which of them nobody has been told."""

    def __init__(self, redactor: Redactor, limits: ReportLimits) -> None:
        self.untold: set[str] = set()
        """Names of fields of `Details`; outputs, which are told only at the end, are not among them."""
        self.changes = 0
        """How often anything was set or added."""
        self._redactor = redactor
        self._limits = limits
        self._links: list[str] = []
        self._texts: dict[TextName, str] = {}
        self._outputs: dict[str, Json] = {}
        self._output_bytes: dict[str, int] = {}
        self._outputs_bytes = 0
        self._complaints: set[str] = set()

    @property
    def size_bytes(self) -> int:
        """About how much is known."""
        return self._outputs_bytes + sum(map(len, self._texts.values())) + sum(map(len, self._links))

    def add_link(self, url: Json) -> str | None:
        """Adds a link, unless it is empty or known. Returns why it was left out, if it was; once each."""
        self.changes += 1
        text = self._text(url, self._limits.link_bytes + 1).strip() if url is not None else ""
        if not text or text in self._links:
            return None
        if len(text) > self._limits.link_bytes:
            return self._once(f"a link of more than {self._limits.link_bytes:,} bytes was left out")
        if len(self._links) >= self._limits.links:
            return self._once(f"links were left out: there are {self._limits.links} already")
        self._links.append(text)
        self.untold.add("links")
        return None

    def set_text(self, name: TextName, value: Json) -> None:
        """Replaces a text; null changes nothing."""
        if value is not None:
            self.changes += 1
            max_bytes = self._limits.summary_bytes if name == "summary" else self._limits.text_bytes
            self._texts[name] = self._text(value, max_bytes)
            self.untold.add(name)

    def add_output(self, name: str, value: Json) -> str | None:
        """Adds a named result, or replaces it. Returns why it was left out, if it was, once for each name.

        The value before it is gone either way: nobody shall take an old one for the newest.
        """
        self.changes += 1
        name, value = self._redactor.mask_text(name), self._redactor.mask_json(value)
        self._outputs.pop(name, None)
        self._outputs_bytes -= self._output_bytes.pop(name, 0)
        size_bytes = len(compact({name: value}).encode())
        if self._outputs_bytes + size_bytes > self._limits.outputs_bytes:
            limit = f"the limit of all is {self._limits.outputs_bytes:,} bytes"
            return self._once(f"output {name!r} was left out: {limit}")
        self._outputs_bytes += size_bytes
        self._output_bytes[name] = size_bytes
        self._outputs[name] = value
        return None

    def take_untold(self) -> set[str]:
        """The names of what is untold; counts as told from now on."""
        names, self.untold = self.untold, set()
        return names

    def told(self, names: Collection[str]) -> Details:
        """The named ones as they are now, and the outputs."""
        return Details(
            links=tuple(self._links) if "links" in names else (),
            outputs=self._outputs,
            **{name: text for name, text in self._texts.items() if name in names},
        )

    def conclude(self, own_words: str | None, note: str) -> Details:
        """What is left to tell at the end.

        The outcome's ``own_words`` win over the summary that was set; a ``note`` follows either. The external id is
        told once more, as whoever ends the run may want to know that it has one.
        """
        self.set_text("summary", own_words)
        if note:
            self._texts["summary"] = f"{self._texts.get('summary', '')}\n\n{note}".strip()
            self.untold.add("summary")
        return self.told({*self.untold, "external_run_id"})

    def _once(self, complaint: str) -> str | None:
        """``complaint``, unless it was made before: a loop must not fill the log with it."""
        if complaint in self._complaints:
            return None
        self._complaints.add(complaint)
        return complaint

    def _text(self, value: Json, max_bytes: int) -> str:
        """``value`` as text that may be shown: masked, without control characters, cut."""
        masked = as_text(self._redactor.mask_json(value))
        cleaned = clean(masked)
        if cleaned != masked:  # a secret that was coloured half-way shows up only now
            cleaned = self._redactor.mask_text(cleaned)
        raw = cleaned.encode("utf-8", "replace")
        if len(raw) <= max_bytes:
            return cleaned
        return f"{raw[:max_bytes].decode('utf-8', 'ignore')} … {len(raw) - max_bytes:,} bytes left out …"
