"""TLS for outgoing connections: whom we trust, and who we say we are."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from weakref import WeakValueDictionary

import httpx

from agent.domain.errors import AgentError

MOUNTED_AUTHORITIES = Path("/usr/local/share/ca-certificates")
"""Where Port's own agent, too, looks for CAs; what is there and is none in PEM form is passed over."""

_in_use: WeakValueDictionary[object, ssl.SSLContext] = WeakValueDictionary()
"""By all that they were made of."""


class TlsFileError(AgentError):
    """A certificate or key file cannot be used; the text names it and says why.

    ``option`` is the one to mend: ``ca_file``, ``client_cert`` or ``client_key``.
    """

    def __init__(self, option: str, message: str) -> None:
        super().__init__(message)
        self.option = option


def tls_context(
    *,
    verify: bool = True,
    ca_file: Path | None = None,
    client_cert: Path | None = None,
    client_key: Path | None = None,
) -> ssl.SSLContext:
    """A context for client connections: as long as one is in use it is the same for who asks for the same.

    Reads files: some 30 ms, and a MiB to keep. A file that was renewed makes another one. Raises `TlsFileError`.

    ``ca_file`` (PEM, or a directory as OpenSSL hashes it) is trusted in addition to the roots of the system, to
    `MOUNTED_AUTHORITIES` and to those that come with httpx. ``client_key`` may be left out where ``client_cert``
    holds the key, too. With ``verify`` off, anybody may answer, and ``ca_file`` is not read.
    """
    made_of = (verify, *_as_they_are(verify, ca_file, client_cert, client_key))
    context = _in_use.get(made_of)
    if context is None:
        context = _in_use[made_of] = _made(verify, ca_file, client_cert, client_key)
    return context


def _as_they_are(verify: bool, *files: Path | None) -> Iterator[object]:  # noqa: FBT001 - as it was given
    """Every file that a context is made of, and when it was last written."""
    paths = ssl.get_default_verify_paths()
    system = (paths.cafile, paths.capath, paths.openssl_cafile, paths.openssl_capath) if verify else ()
    mounted = _mounted_authorities() if verify else ()
    for path in (*files, *system, *mounted):
        yield path, None if path is None else _modified_ns(Path(path))


def _modified_ns(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def _made(
    verify: bool,  # noqa: FBT001 - as it was given
    ca_file: Path | None,
    client_cert: Path | None,
    client_key: Path | None,
) -> ssl.SSLContext:
    context = httpx.create_ssl_context(verify=verify, trust_env=False)
    if verify:
        context.load_default_certs()
        _trust_system(context)
        if ca_file is not None:
            _trust(context, ca_file)
    if client_cert is not None:
        _present(context, client_cert, client_key)
    elif client_key is not None:
        raise TlsFileError("client_key", "client_key is set without client_cert: a key needs its certificate")
    context.set_alpn_protocols(["http/1.1"])
    return context


def _trust_system(context: ssl.SSLContext) -> None:
    """Where SSL_CERT_FILE or SSL_CERT_DIR are set, OpenSSL looks there *instead* of at the system's own roots."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile != paths.openssl_cafile and Path(paths.openssl_cafile).is_file():
        context.load_verify_locations(cafile=paths.openssl_cafile)
    if paths.capath != paths.openssl_capath and Path(paths.openssl_capath).is_dir():
        context.load_verify_locations(capath=paths.openssl_capath)
    for path in _mounted_authorities():
        with suppress(TlsFileError):
            _trust(context, path)


def _mounted_authorities() -> Iterator[Path]:
    """What operators put where a distribution keeps the CAs of its host; nobody runs its tool that gathers them."""
    for path in sorted(MOUNTED_AUTHORITIES.rglob("*")):
        if path.suffix in (".crt", ".pem", ".cer") and path.is_file():
            yield path


def _trust(context: ssl.SSLContext, ca_file: Path) -> None:
    try:
        if ca_file.is_dir():
            context.load_verify_locations(capath=ca_file)
        else:
            context.load_verify_locations(cafile=ca_file)
    except ssl.SSLError as error:
        raise TlsFileError("ca_file", f"{ca_file} holds no certificates in PEM form ({error.reason})") from error
    except OSError as error:
        raise TlsFileError("ca_file", f"cannot read {ca_file}: {error.strerror}") from error
    # In-house CAs often lack what newer Pythons insist on (an authority key identifier), and what operators have
    # at hand may be an intermediate certificate: whom they name is trusted.
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VerifyFlags.VERIFY_X509_STRICT


def _present(context: ssl.SSLContext, cert: Path, key: Path | None) -> None:
    for option, path in (("client_cert", cert), ("client_key", key)):
        if path is not None:
            _check_readable(option, path)

    def no_password() -> str:
        # Without this OpenSSL would ask on the terminal, and wait.
        raise TlsFileError("client_key", f"{key or cert}: the key is encrypted; give it without a passphrase")

    try:
        context.load_cert_chain(cert, key, password=no_password)
    except ssl.SSLError as error:
        what = f"{cert} and {key}" if key else str(cert)
        raise TlsFileError(
            "client_cert", f"{what}: not a certificate with its key in PEM form ({error.reason})"
        ) from error


def _check_readable(option: str, path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise TlsFileError(option, f"cannot read {path}: {error.strerror}") from error
