"""Which values of the environment are secrets, where nobody declares them: in mapping files.

Better that a harmless value is masked than that a token is shown. What plainly is no secret stays readable all the
same, for links and logs would be of no use without it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from agent.domain.invocation import View
from agent.domain.json import Json, texts_in
from agent.domain.redaction import is_maskable, needles
from agent.domain.route import Template

_PUBLIC_WORDS = (
    "HOST|HOSTNAME|PORT|REGION|ZONE|NAMESPACE|CLUSTER|DOMAIN|ENV|ENVIRONMENT|STAGE|TIER|NAME|USER|USERNAME|ORG|"
    "ORGANIZATION|ORGANISATION|BRANCH|REF|PATH|ID|TYPE|VERSION"
)
_PUBLIC_NAME = re.compile(f"(?:[A-Z0-9_]*_)?(?:{_PUBLIC_WORDS})|{_PUBLIC_WORDS.lower()}")
"""Not in lower case with more before it: that may be a GitLab project, whose token is called ``group_project``."""
_PLAIN_PATH = re.compile(r"(?:/[A-Za-z._-]{1,24}){0,3}/?")
"""A webhook's URL may be a secret by its path; words without a digit are where a service was put."""


def is_secret(name: str, value: str) -> bool:
    """Whether the variable's value is to be masked."""
    return not is_public_name(name) and _may_be_secret(value)


def is_public_name(name: str) -> bool:
    """Whether the variable's name says that its value is no secret: a region, a user, a port."""
    return _PUBLIC_NAME.fullmatch(name) is not None


def secret_forms(environment: Mapping[str, str], *, are_encoded: bool) -> Mapping[str, frozenset[bytes]]:
    """The values that are to be masked where an expression makes up the name of the variable that it reads.

    Each with what it is recognised by: itself, and where results ``are_encoded`` (``@base64``) other forms as well.
    """
    return {
        value: needles(value) if are_encoded else frozenset({_encode(value)})
        for value in environment.values()
        if _may_be_secret(value)
    }


@dataclass(frozen=True, slots=True)
class TakenFromEnvironment:
    """An expression that makes up the names of the variables it reads.

    The values of which a form is in its result are masked.
    """

    template: Template
    forms: Mapping[str, frozenset[bytes]] = field(repr=False)

    def render(self, view: View) -> Json:
        """The expression's result; adds what it took to the view's secrets. Raises `TemplateError`."""
        result = self.template.render(view)
        texts = set(texts_in(result))
        if any(map(is_maskable, texts)):
            # What stands in the message as well was not taken from here; a large message is not looked through.
            for text in map(_encode, texts.difference(texts_in(view.value))):
                view.secrets.extend(
                    value for value, forms in self.forms.items() if any(form in text for form in forms)
                )
        return result


def _may_be_secret(value: str) -> bool:
    return is_maskable(value) and not _is_plain_url(value)


def _is_plain_url(value: str) -> bool:
    """Whether it is the address of a service, and nothing more."""
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    is_bare = not (parts.query or parts.fragment or "@" in parts.netloc)
    return parts.scheme in {"http", "https"} and is_bare and _PLAIN_PATH.fullmatch(parts.path) is not None


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
