"""What the agent may do in its container: nothing but write to its two volumes."""

from __future__ import annotations

import pytest

from tests.image.container import ANY_USER, NO_NETWORK, STRICT, image, podman, told_by

pytestmark = pytest.mark.image

FIND_WRITABLE = (
    r"find / \( -path /proc -o -path /sys -o -path /dev \) -prune -o -writable ! -type l -print 2>/dev/null; true"
)


def status(*options: str) -> dict[str, str]:
    """What the kernel says of a process of the image."""
    lines = told_by("cat", "/proc/self/status", options=(*NO_NETWORK, *options)).splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@pytest.mark.parametrize(("options", "uid", "gid"), [((), "10001", "10001"), (ANY_USER, "54321", "0")])
def test_it_has_no_rights_beyond_its_user(options: tuple[str, ...], uid: str, gid: str) -> None:
    told = status(*options)
    assert told["Uid"].split() == [uid] * 4
    assert told["Gid"].split() == [gid] * 4
    assert set(told["Groups"].split()) <= {gid}
    assert {int(told[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert told["NoNewPrivs"] == "1"
    assert told["Seccomp"] == "2"


@pytest.mark.parametrize("options", [(), ANY_USER], ids=["its own user", "any user of group 0"])
def test_nothing_but_the_two_volumes_can_be_written(options: tuple[str, ...]) -> None:
    writable = told_by("sh", "-c", FIND_WRITABLE, options=(*NO_NETWORK, *options))
    assert writable.split() == ["/tmp", "/var/lib/action-agent"]


@pytest.mark.parametrize("user", ["10001:10001", "54321:0"])
def test_nothing_else_could_be_written_if_the_root_were_not_read_only(user: str) -> None:
    """Files of the image that its user owned would be an invitation."""
    lenient = [option for option in STRICT if not option.startswith("--read-only")]
    options = ("--rm", *lenient, *NO_NETWORK, f"--user={user}", "--passwd=false", "--entrypoint=sh")
    found = podman("run", *options, image(), "-c", FIND_WRITABLE).stdout.split()
    # What everybody may write to in any Debian.
    assert set(found) - {"/var/tmp", "/run/lock"} == {"/tmp", "/var/lib/action-agent"}


@pytest.mark.parametrize("place", ["/", "/etc/action-agent", "/opt/action-agent/bin", "/run", "/var/tmp", "/root"])
def test_writing_elsewhere_is_refused(place: str) -> None:
    told = told_by("sh", "-c", f"touch {place}/x 2>&1; true")
    assert "Read-only file system" in told or "Permission denied" in told
