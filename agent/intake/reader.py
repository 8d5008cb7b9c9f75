"""The way in: bytes of a message to an `Invocation` that may be acted on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from agent.domain.invocation import Channel, Invocation
from agent.domain.json import Json
from agent.intake.decode import (
    RunIdFinder,
    change_event,
    declared_type,
    inputs_place,
    invocation_method,
    requested_run,
    reread,
    unwrapped,
)
from agent.intake.parse import DEFAULT_MAX_BYTES, UndecodableError, parse
from agent.intake.secrets import Sealed, dotted, unseal
from agent.intake.signature import SignatureMode, SignatureVerifier, Signed, without_signature
from agent.intake.skim import skim
from agent.ports import Clock, Decoded, NotOurs, Unacceptable, Unexecutable, Verdict

_OWN_CONSUMERS_TYPE = "KAFKA"
"""Messages of this type are for whoever has a route for them; all other types need an agent's flag."""


class MessageIntake:
    """Implements `agent.ports.Intake`. Holds no state; safe in any thread.

    ``secret`` is the organisation's client secret, or a function that gives those that count, the one in force
    first: what was signed and encrypted before a rotation is still in the topic. ``extra_run_id`` is asked for the
    run's id where no documented place has it. ``max_age_s``: see `SignatureVerifier`.
    """

    def __init__(
        self,
        secret: Callable[[], Sequence[str]] | str,
        clock: Clock,
        *,
        mode: SignatureMode = SignatureMode.AUTO,
        max_age_s: float | None = None,
        extra_run_id: RunIdFinder | None = None,
        max_bytes: int = DEFAULT_MAX_BYTES,
    ) -> None:
        self._secrets: Callable[[], Sequence[str]] = partial(tuple, [secret]) if isinstance(secret, str) else secret
        self._verifier = SignatureVerifier(self._secrets, mode, max_age_s, clock)
        self._extra_run_id = extra_run_id
        self._max_bytes = max_bytes

    def decode(self, body: bytes, channel: Channel) -> Verdict:
        """Reads and verifies one message. Never raises, whatever the bytes are.

        Change events are all `Decoded`, as a route may match any of them. Of the runs channel those are that
        are for agents or of type KAFKA; the rest is `NotOurs`. What cannot be read in full is `Unexecutable` where
        it names a run all the same, and is verified like any other. What was polled needs no signature.
        """
        try:
            text, document = parse(body, self._max_bytes)
        except UndecodableError as error:
            unread = Unacceptable("undecodable", str(error))
            return unread if channel is Channel.CHANGE_LOG else self._skim(body, channel, unread)
        if channel is Channel.CHANGE_LOG:
            return Decoded(change_event(document))
        return self._decode_run(text, document, channel)

    def recall(self, body: bytes, channel: Channel) -> Invocation:
        """The invocation of a message that `decode` has let in before: what it was signed with does not matter now.

        A run id of the operator's own path is not looked for again. Raises `UndecodableError` for any other.
        """
        _, document = parse(body, self._max_bytes)
        if channel is Channel.CHANGE_LOG:
            return change_event(document)
        inner = unwrapped(document)
        message = document if inner is None else inner
        method = invocation_method(message)
        return requested_run(without_signature(message, method.type), method)

    def unlock(
        self, invocation: Invocation, paths: Sequence[str], *, listed: bool = True
    ) -> tuple[Invocation, Mapping[str, tuple[str, ...]]]:
        """Opens the encrypted inputs that the message lists and those at ``paths`` (dot paths from its root).

        Not ``listed``: only those at ``paths``, which then begin without a dot. An input that was not given stays
        absent. An object input becomes an object where the message lists it and declares its type, else it stays
        the JSON text as which it was encrypted. Returns the invocation with plain inputs, and by the inputs' names
        (or paths) their plain values, which must be masked from now on. Raises `DecryptionError`: then nothing of
        the invocation may leave the agent.
        """
        named = list(_listed(invocation)) if listed else []
        sealed = [*named, *(Sealed(dotted(path) if listed else tuple(path.split(".")), path) for path in paths)]
        if not sealed:
            return invocation, {}
        document, plain = unseal(invocation.document, sealed, self._secrets())
        return reread(invocation, document), plain

    def _skim(self, body: bytes, channel: Channel, unread: Unacceptable) -> Verdict:
        skimmed = skim(body)
        if skimmed is None:
            return unread
        verdict = self._decode_run(*skimmed, channel)
        match verdict:
            case Decoded(invocation) if invocation.run_id is not None:
                return Unexecutable(invocation, unread.detail)
            case Decoded():
                return unread
            case _:
                return verdict

    def _decode_run(self, text: str, document: Json, channel: Channel) -> Decoded | NotOurs | Unacceptable:
        inner = unwrapped(document)
        wrapped, message = inner is not None, document if inner is None else inner
        method = invocation_method(message)
        # The tutorial, the only source of the wrapped shape, shows it with a WEBHOOK method that is not for
        # agents, yet takes it off this channel with its own consumer: so, as with KAFKA, routes decide.
        if not (method.agent or wrapped or method.type in {"", _OWN_CONSUMERS_TYPE}):
            return NotOurs("not_for_agents")
        is_vouched_for = channel is Channel.POLLED
        signed = Signed(text, document, method.type, method.agent, wrapped)
        refusal = None if is_vouched_for else self._verifier.check(signed)
        trusted = without_signature(message, method.type)
        invocation = requested_run(trusted, method, self._extra_run_id)
        if refusal is not None:
            return Unacceptable(refusal.reason, refusal.detail, invocation.run_id, refusal.may_fit_later)
        return Decoded(invocation)


def _listed(invocation: Invocation) -> Iterator[Sealed]:
    if not invocation.encrypted:  # as in most messages
        return
    place = inputs_place(invocation.document)
    for name in invocation.encrypted if place else ():
        is_object = declared_type(invocation.document, name) == "object"
        yield Sealed((*place, name), name, is_object)
