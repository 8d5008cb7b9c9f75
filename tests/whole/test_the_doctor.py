"""``action-agent doctor``: what it tries, and what it says of each thing that is wrong."""

from __future__ import annotations

import re
import socket
from concurrent.futures import Future
from pathlib import Path

from tests.whole.collector import Collector
from tests.whole.commands import Commands, Ended, command
from tests.whole.world import CLIENT_SECRET, World


def test_doctor_finds_all_well(world: World, tmp_path: Path) -> None:
    commands = Commands(world, tmp_path)
    org = commands.settings["PORT_ORG_ID"]
    for topic in (f"{org}.runs", f"{org}.change.log"):
        world.broker.create_topic(topic)
    world.port.organization["id"] = org
    ended = commands("doctor")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "all is well" in ended.stdout
    assert "FAIL" not in ended.stdout
    for name in (
        "settings",
        "routes",
        "state directory",
        "consumer group",
        "Port's API",
        "organisation",
        "Kafka",
        "topic",
    ):
        assert re.search(rf"^ok +{name}: ", ended.stdout, re.MULTILINE), (name, ended.stdout)
    assert CLIENT_SECRET not in ended.stdout
    assert "trying again" not in ended.stdout


def test_doctor_of_an_agent_that_polls_tries_no_kafka_and_claims_nothing(world: World, tmp_path: Path) -> None:
    commands = Commands(world, tmp_path)
    world.port.organization["id"] = commands.settings["PORT_ORG_ID"]
    ended = commands("doctor", STREAMER_NAME="POLLING", KAFKA_CONSUMER_BOOTSTRAP_SERVERS="127.0.0.1:9")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert re.search(r"^ok +polling: .*Whether they may be is not tried", ended.stdout, re.MULTILINE)
    assert "Kafka:" not in ended.stdout
    assert "consumer group" not in ended.stdout
    assert world.ledger.requests_to("*/claim-pending") == []
    failed = commands("doctor", STREAMER_NAME="POLLING", PORT_CLIENT_SECRET="wrong")
    assert failed.returncode == 1
    assert re.search(r"^FAIL +polling: not tried", failed.stdout, re.MULTILINE)


def test_doctor_says_what_it_is_at_in_whole_lines_before_what_may_take_long(
    world: World, failing_doctor: Future[Ended]
) -> None:
    lines = failing_doctor.result().stdout.splitlines()
    trying = [line for line in lines if line.startswith("      trying ")]
    assert trying == [
        f"      trying Port's API at {world.port.url}, for up to 15 s …",
        "      trying Kafka at 127.0.0.1:9, for up to 45 s …",
    ]
    for line, check in zip(trying, ("Port's API", "Kafka"), strict=True):
        assert re.match(rf"FAIL +{check}: ", lines[lines.index(line) + 1])
    assert all(line.isprintable() for line in lines)


def test_doctor_tries_the_collector_and_warns_where_it_does_not_take_spans(world: World, tmp_path: Path) -> None:
    commands = Commands(world, tmp_path)
    with Collector.serve() as collector:
        headers = {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=s3cret-of-the-collector"}
        traces = {"AGENT_TRACES": "otlp", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector.url}/v1/traces"}
        well = commands("doctor", **traces, **headers)
        assert collector.headers["authorization"] == "s3cret-of-the-collector"
        place = f"{collector.url}/nobody?key=s3cret-of-the-collector"
        ill = commands("doctor", **traces | {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": place}, **headers)
    assert re.search(r"^ok +collector of traces: takes what it is sent$", well.stdout, re.MULTILINE), well.stdout
    assert re.search(r"^WARN +collector of traces: .*404", ill.stdout, re.MULTILINE), ill.stdout
    assert ill.returncode == well.returncode, "spans are lost, and nothing else"
    assert "s3cret" not in well.stdout + well.stderr + ill.stdout + ill.stderr


def test_doctor_says_at_once_why_ports_api_cannot_be_reached_and_tries_on(world: World, tmp_path: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{held.getsockname()[1]}"
        commands = Commands(world, tmp_path)
        with commands.begun("doctor", PORT_API_BASE_URL=f"http://{place}") as doctor:
            assert doctor.stdout is not None
            seen = []
            for line in doctor.stdout:
                seen.append(line)
                if "trying again" in line:
                    break
            assert doctor.poll() is None, seen
            doctor.kill()
    assert seen[-2].startswith(f"      trying Port's API at http://{place}")
    refused = f"POST http://{place}/v1/auth/access_token: cannot connect to {place}: Connection refused"
    assert seen[-1] == f"      {refused}; trying again …\n"
    assert CLIENT_SECRET not in "".join(seen)


def test_doctor_does_not_say_that_it_tries_again_what_is_final(world: World, tmp_path: Path) -> None:
    commands = Commands(world, tmp_path)
    with Collector.serve() as somebody_else:  # answers 404, as any host does that is not Port's
        ended = commands("doctor", PORT_API_BASE_URL=somebody_else.url)
    assert re.search(r"^FAIL +Port's API: .* answered 404", ended.stdout, re.MULTILINE), ended.stdout
    assert "trying again" not in ended.stdout


def test_doctor_names_the_mapping_file_that_is_in_force(world: World, tmp_path: Path) -> None:
    commands = Commands(world, tmp_path)
    mapping = tmp_path / "mapping.json"
    mapping.write_text('[{"enabled": true}]')
    with Collector.serve() as somebody_else:
        ended = commands(
            "doctor",
            PORT_API_BASE_URL=somebody_else.url,
            AGENT_ROUTES_PATH="",
            CONTROL_THE_PAYLOAD_CONFIG_PATH=str(mapping),
        )
    assert f"routes: 1 from {mapping}\n" in ended.stdout


def test_doctor_names_each_thing_that_is_wrong_with_a_hint_and_fails(failing_doctor: Future[Ended]) -> None:
    ended = failing_doctor.result()
    assert ended.returncode == 1
    for name in ("state directory", "Port's API", "Kafka"):
        assert re.search(rf"^FAIL +{name}: ", ended.stdout, re.MULTILINE), (name, ended.stdout)
    assert "AGENT_STATE_DIR" in ended.stdout
    assert "PORT_CLIENT_SECRET" in ended.stdout
    assert "routes: 2 from the built-in ones (AGENT_ROUTES_PATH is not set)\n" in ended.stdout
    assert "checks failed" in ended.stdout
    assert "nobody may see" not in ended.stdout + ended.stderr


def test_doctor_says_where_each_setting_came_from(failing_doctor: Future[Ended]) -> None:
    lines = failing_doctor.result().stdout.splitlines()
    assert lines[0].startswith("ok    settings: PORT_ORG_ID, PORT_CLIENT_ID, PORT_CLIENT_SECRET, ")
    assert lines[0].endswith(" from the environment; the others have their defaults")
    [hint] = [line for line in lines if line.startswith("      -> check PORT_CLIENT_ID")]
    assert "PORT_CLIENT_ID (the environment) and PORT_CLIENT_SECRET (the environment)" in hint
    assert any(line.endswith("or point AGENT_STATE_DIR (the environment) at one") for line in lines)


def test_doctor_warns_of_a_setting_that_is_given_twice(world: World, tmp_path: Path) -> None:
    commands = Commands(world, tmp_path)
    for topic in ("runs", "change.log"):
        world.broker.create_topic(f"{commands.settings['PORT_ORG_ID']}.{topic}")
    (tmp_path / ".env").write_text("LOG_LEVEL=INFO\nPORT_CLIENT_SECRET=an-older-s3cret\n")
    lines = commands("doctor").stdout.splitlines()
    at = lines.index(
        "WARN  settings: PORT_CLIENT_SECRET (the environment) is in force; what .env:2 says of it does not count"
    )
    assert lines[at + 1] == "      -> give it in one place only"
    assert "; LOG_LEVEL from .env; " in lines[0]


def test_doctor_without_settings_says_that_it_needs_them(tmp_path: Path) -> None:
    ended = command("doctor", env={}, cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[0] == "doctor needs these settings; what is wrong:"
    assert "PORT_CLIENT_SECRET: is not set" in ended.stderr
