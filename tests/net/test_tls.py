from __future__ import annotations

import asyncio
import gc
import os
import ssl
import weakref
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from agent.net import tls
from agent.net.tls import TlsFileError, tls_context
from tests.net.servers import client, keeps_answering, raw_server, server_tls


def test_a_ca_file_is_trusted_in_addition(authority: trustme.CA, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    plain, with_ca = tls_context(), tls_context(ca_file=ca)
    assert len(plain.get_ca_certs()) > 50
    assert len(with_ca.get_ca_certs()) == len(plain.get_ca_certs()) + 1
    assert with_ca.verify_mode is ssl.CERT_REQUIRED
    assert with_ca.check_hostname


def test_the_variables_of_openssl_add_roots_and_hide_none(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the system are looked for where its OpenSSL was built to look, here in directories of this test."""
    system, added = tmp_path / "system.pem", tmp_path / "added.pem"
    authority.cert_pem.write_to_path(str(system))
    trustme.CA().cert_pem.write_to_path(str(added))
    paths = ssl.get_default_verify_paths()
    monkeypatch.setattr(
        ssl,
        "get_default_verify_paths",
        lambda: paths._replace(
            cafile=str(added), openssl_cafile=str(system), capath="", openssl_capath=str(tmp_path)
        ),
    )
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(added))
    trusted = [cert for cert in tls_context().get_ca_certs() if "trustme" in str(cert["subject"])]
    assert len(trusted) == 2


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_a_variable_of_openssl_that_names_nothing_hides_no_root(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = len(tls_context().get_ca_certs())
    monkeypatch.setenv(name, "/tmp/port-agent/ca-certificates/ca-certificates.crt")
    assert len(tls_context().get_ca_certs()) == usual


def test_authorities_are_trusted_where_ports_own_agent_looks_for_them(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As mounted: a file by itself, or a directory of links."""
    usual = len(tls_context().get_ca_certs())
    monkeypatch.setattr(tls, "MOUNTED_AUTHORITIES", tmp_path)
    mounted = tmp_path / "corp" / "..version"
    mounted.mkdir(parents=True)
    trustme.CA().cert_pem.write_to_path(str(mounted / "two.pem"))
    (tmp_path / "corp" / "two.pem").symlink_to(Path("..version", "two.pem"))
    (tmp_path / "junk.crt").write_text("not a certificate")
    (tmp_path / "readme.txt").write_text("not one either")
    authority.cert_pem.write_to_path(str(tmp_path / "one.crt"))
    context = tls_context()
    assert len(context.get_ca_certs()) == usual + 2
    assert not context.verify_flags & ssl.VerifyFlags.VERIFY_X509_STRICT
    monkeypatch.setattr(tls, "MOUNTED_AUTHORITIES", tmp_path / "nowhere")
    assert len(tls_context().get_ca_certs()) == usual


def test_a_directory_of_certificates_will_do(tmp_path: Path) -> None:
    assert tls_context(ca_file=tmp_path).verify_mode is ssl.CERT_REQUIRED


def test_verification_off_reads_no_ca_file(tmp_path: Path) -> None:
    context = tls_context(verify=False, ca_file=tmp_path / "missing.pem")
    assert context.verify_mode is ssl.CERT_NONE
    assert not context.check_hostname


def test_key_and_certificate_may_be_apart(authority: trustme.CA, tmp_path: Path) -> None:
    issued = authority.issue_cert("agent@corp.test")
    cert, key = tmp_path / "c.pem", tmp_path / "k.pem"
    issued.cert_chain_pems[0].write_to_path(str(cert))
    issued.private_key_pem.write_to_path(str(key))
    tls_context(client_cert=cert, client_key=key)


def test_files_that_cannot_be_used_are_named(authority: trustme.CA, tmp_path: Path) -> None:
    missing, junk, cert = tmp_path / "missing.pem", tmp_path / "junk.pem", tmp_path / "cert.pem"
    junk.write_text("not a certificate")
    authority.issue_cert("agent@corp.test").cert_chain_pems[0].write_to_path(str(cert))
    cases: list[tuple[dict[str, Path], str, str]] = [
        ({"ca_file": missing}, "ca_file", "missing.pem: No such file"),
        ({"ca_file": junk}, "ca_file", "junk.pem holds no certificates"),
        ({"client_cert": missing}, "client_cert", "missing.pem: No such file"),
        ({"client_cert": cert, "client_key": missing}, "client_key", "missing.pem: No such file"),
        ({"client_cert": junk}, "client_cert", "junk.pem"),
        ({"client_cert": cert}, "client_cert", "not a certificate with its key"),
        ({"client_key": cert}, "client_key", "without client_cert"),
    ]
    for files, option, said in cases:
        with pytest.raises(TlsFileError) as caught:
            tls_context(verify=True, **files)
        assert caught.value.option == option
        assert said in str(caught.value)


def test_an_encrypted_key_is_refused_instead_of_asking_the_terminal(authority: trustme.CA, tmp_path: Path) -> None:
    issued = authority.issue_cert("agent@corp.test")
    cert, key = tmp_path / "c.pem", tmp_path / "k.pem"
    issued.cert_chain_pems[0].write_to_path(str(cert))
    plain = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    key.write_bytes(
        plain.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"passphrase"),
        )
    )
    with pytest.raises(TlsFileError, match="passphrase"):
        tls_context(client_cert=cert, client_key=key)


def test_a_client_certificate_is_presented(authority: trustme.CA, tmp_path: Path) -> None:
    async def scenario() -> None:
        issued = authority.issue_cert("agent@corp.test")
        both = tmp_path / "client.pem"
        both.write_bytes(issued.private_key_and_cert_chain_pem.bytes())
        tls = tls_context(client_cert=both)
        demanding = server_tls(authority, demand_client=True)
        async with raw_server(keeps_answering(), demanding) as server, client(authority=authority, tls=tls) as http:
            assert (await http.get(server.url(scheme="https"))).text == "ok"

    asyncio.run(scenario())


def test_verification_can_be_switched_off(authority: trustme.CA) -> None:
    async def scenario() -> None:
        tls = server_tls(authority, "other.test")
        async with raw_server(keeps_answering(), tls) as server, client(tls=tls_context(verify=False)) as http:
            assert (await http.get(server.url(scheme="https"))).text == "ok"

    asyncio.run(scenario())


def test_tls_1_2_servers_are_understood(authority: trustme.CA) -> None:
    async def scenario() -> None:
        tls = server_tls(authority)
        tls.maximum_version = ssl.TLSVersion.TLSv1_2
        async with raw_server(keeps_answering(), tls) as server, client(authority=authority) as http:
            assert (await http.get(server.url(scheme="https"))).text == "ok"

    asyncio.run(scenario())


def test_who_trusts_and_presents_the_same_shares_a_context(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A MiB of certificates each; but what was renewed is read anew."""
    file, mounted = tmp_path / "ca.pem", tmp_path / "mounted"
    authority.cert_pem.write_to_path(str(file))
    mounted.mkdir()
    monkeypatch.setattr(tls, "MOUNTED_AUTHORITIES", mounted)
    plain, one, unverified = tls_context(), tls_context(ca_file=file), tls_context(verify=False)
    assert tls_context() is plain
    assert tls_context(ca_file=file) is one
    assert len({plain, one, unverified}) == 3
    os.utime(file, ns=(0, 0))
    assert tls_context(ca_file=file) is not one
    assert tls_context() is plain
    authority.cert_pem.write_to_path(str(mounted / "another.pem"))
    assert tls_context() is not plain
    assert tls_context(verify=False) is unverified


def test_a_context_that_nobody_uses_is_not_kept(tmp_path: Path) -> None:
    seen = weakref.ref(tls_context(verify=False, ca_file=tmp_path / "not read"))
    gc.collect()
    assert seen() is None
