from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest
import trustme

from agent.domain.errors import ConfigurationError
from agent.settings import Given, Origin, Settings, defaults, environment, load, misspelt
from tests.docs.settings_table import settings_table, shown_default

ROOT = Path(__file__).parents[1]
NEEDED = {"PORT_ORG_ID": "org_1", "PORT_CLIENT_ID": "id", "PORT_CLIENT_SECRET": "s3cret-s3cret"}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if {name, name.removesuffix("_FILE")} & Settings.model_fields.keys():
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def settings(monkeypatch: pytest.MonkeyPatch, **given: str) -> Settings:
    for name, value in {**NEEDED, **given}.items():
        monkeypatch.setenv(name, value)
    return load()


def problems(monkeypatch: pytest.MonkeyPatch, **given: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        settings(monkeypatch, **given)
    return [str(problem) for problem in caught.value.problems]


def test_everything_but_the_organisation_has_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = settings(monkeypatch)
    assert loaded.PORT_API_BASE_URL == "https://api.port.io"
    assert (loaded.group_id, loaded.runs_topic, loaded.change_log_topic) == (
        "org_1.action-agent",
        "org_1.runs",
        "org_1.change.log",
    )
    assert (loaded.security_protocol, loaded.sasl_mechanism) == ("sasl_ssl", "SCRAM-SHA-512")
    assert loaded.secrets == ("s3cret-s3cret",)
    assert loaded.ca_file is None


def test_every_missing_and_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert [p.where for p in caught.value.problems] == ["PORT_ORG_ID", "PORT_CLIENT_ID", "PORT_CLIENT_SECRET"]
    found = problems(
        monkeypatch,
        PORT_API_BASE_URL="api.port.io",
        AGENT_HTTP_PORT="99999",
        LOG_LEVEL="chatty",
        STREAMER_NAME="carrier-pigeon",
        AGENT_DRAIN_TIMEOUT_S="soon",
        PORT_ORG_ID="  ",
    )
    assert {line.partition(":")[0] for line in found} == {
        "PORT_API_BASE_URL",
        "AGENT_HTTP_PORT",
        "LOG_LEVEL",
        "STREAMER_NAME",
        "AGENT_DRAIN_TIMEOUT_S",
        "PORT_ORG_ID",
    }
    url = "PORT_API_BASE_URL: must be an http(s) URL such as https://api.port.io (given: 'api.port.io')"
    assert url in found


@pytest.mark.parametrize(
    "given",
    ["htp://user:pw123@x", "https//user:pw123@x", "https://user:pw123@x", "https://user:pw123@", "//user:pw[123@x"],
)
def test_no_error_quotes_the_password_in_a_url(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    [line] = problems(monkeypatch, PORT_API_BASE_URL=given)
    assert line.startswith("PORT_API_BASE_URL: must ")
    assert "pw" not in line.replace("password", "")


def test_who_gave_what_is_told_from_the_places_in_their_order() -> None:
    line, file, variable = Origin(".env", 3), Origin("/run/secrets/x"), Origin("the environment")
    given = Given({"A": variable}, {"A": file, "B": file}, {"A": line, "B": line, "C": line})
    assert given.origins == {"A": variable, "B": file, "C": line}
    assert given.overruled == {"A": file, "B": line}
    assert [given.file_of(name) for name in "ABCD"] == [None, Path("/run/secrets/x"), None, None]


def test_an_empty_file_gives_nothing_and_the_env_file_counts(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    lines = [f"{name}={value}" for name, value in NEEDED.items()]
    lines += ["LOG_LEVEL=DEBUG", f"LOG_LEVEL_FILE={tmp_path}/empty", f"PORT_CLIENT_SECRET_FILE={tmp_path}/empty"]
    (tmp_path / ".env").write_text("\n".join(lines))
    loaded = load()
    assert (loaded.LOG_LEVEL, loaded.named("LOG_LEVEL")) == ("DEBUG", "LOG_LEVEL (.env:4)")
    assert loaded.PORT_CLIENT_SECRET.get_secret_value() == NEEDED["PORT_CLIENT_SECRET"]
    assert loaded.file_of("PORT_CLIENT_SECRET") is None
    assert loaded.overruled == {}


def test_what_is_missing_because_its_file_is_empty_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "empty"
    file.touch()
    [line] = problems(monkeypatch, PORT_CLIENT_SECRET="", PORT_CLIENT_SECRET_FILE=str(file))
    assert line.startswith(f"PORT_CLIENT_SECRET: is not set: {file} is empty (")


@pytest.mark.parametrize(
    ("name", "given", "attribute", "expected"),
    [
        ("KAFKA_CONSUMER_SECURITY_PROTOCOL", "SASL_SSL", "security_protocol", "sasl_ssl"),
        ("KAFKA_CONSUMER_SECURITY_PROTOCOL", "plaintext", "security_protocol", "plaintext"),
        ("KAFKA_CONSUMER_BOOTSTRAP_SERVERS", "k:9092", "security_protocol", "plaintext"),
        ("KAFKA_CONSUMER_AUTHENTICATION_MECHANISM", "scram-sha-256", "sasl_mechanism", "SCRAM-SHA-256"),
        ("KAFKA_CONSUMER_AUTO_OFFSET_RESET", "largest", "KAFKA_CONSUMER_AUTO_OFFSET_RESET", "largest"),
        ("USING_LOCAL_PORT_INSTANCE", "True", "USING_LOCAL_PORT_INSTANCE", True),
        ("WEBHOOK_VERIFY_SSL", "False", "WEBHOOK_VERIFY_SSL", False),
        ("WEBHOOK_VERIFY_SSL", "off", "WEBHOOK_VERIFY_SSL", False),
        ("WEBHOOK_VERIFY_SSL", "N", "WEBHOOK_VERIFY_SSL", False),
        ("WEBHOOK_VERIFY_SSL", "", "WEBHOOK_VERIFY_SSL", True),
        ("WEBHOOK_INVOKER_TIMEOUT", " 1e2 ", "WEBHOOK_INVOKER_TIMEOUT", 100.0),
        ("DETAILED_LOGGING", "0", "DETAILED_LOGGING", False),
        ("DETAILED_LOGGING", "", "DETAILED_LOGGING", True),
        ("LOG_LEVEL", "warn", "LOG_LEVEL", "WARNING"),
        ("LOG_LEVEL", "FATAL", "LOG_LEVEL", "CRITICAL"),
        ("LOG_LEVEL", "NOTSET", "LOG_LEVEL", "DEBUG"),
        ("KAFKA_CONSUMER_SECURITY_PROTOCOL", " Plaintext ", "security_protocol", "plaintext"),
        ("KAFKA_CONSUMER_AUTO_OFFSET_RESET", " LATEST", "KAFKA_CONSUMER_AUTO_OFFSET_RESET", "latest"),
        ("KAFKA_CONSUMER_SESSION_TIMEOUT_MS", " 30000 ", "KAFKA_CONSUMER_SESSION_TIMEOUT_MS", 30_000),
        ("KAFKA_RUNS_TOPIC", "org_1.of.mine", "runs_topic", "org_1.of.mine"),
        ("KAFKA_CHANGE_LOG_TOPIC", "", "change_log_topic", "org_1.change.log"),
        ("KAFKA_CONSUMER_GROUP_ID", "org_1.mine", "group_id", "org_1.mine"),
        ("PORT_API_BASE_URL", "https://api.getport.io/", "PORT_API_BASE_URL", "https://api.getport.io"),
        ("PORT_API_BASE_URL", " https://api.getport.io/v1/ ", "PORT_API_BASE_URL", "https://api.getport.io/v1"),
        ("AGENT_SIGNATURE_MAX_AGE_S", "", "AGENT_SIGNATURE_MAX_AGE_S", None),
        ("STREAMER_NAME", "kafka", "STREAMER_NAME", "KAFKA"),
        ("STREAMER_NAME", "Polling", "polls", True),
        ("POLLING_INTERVAL_SECONDS", "15", "POLLING_INTERVAL_SECONDS", 15.0),
        ("POLLING_RUNS_BATCH_SIZE", "5", "POLLING_RUNS_BATCH_SIZE", 5),
        ("POLLING_MAX_FAILURE_DURATION_SECONDS", "0", "POLLING_MAX_FAILURE_DURATION_SECONDS", 0.0),
    ],
)
def test_values_are_taken_as_the_official_agent_takes_them(
    monkeypatch: pytest.MonkeyPatch, name: str, given: str, attribute: str, expected: object
) -> None:
    assert getattr(settings(monkeypatch, **{name: given}), attribute) == expected


def test_the_official_agents_defaults_are_ours() -> None:
    """All but where it begins with Port's own brokers, which take no plain text."""
    expected: dict[str, object] = {
        "USING_LOCAL_PORT_INSTANCE": False,
        "LOG_LEVEL": "INFO",
        "DETAILED_LOGGING": True,
        "STREAMER_NAME": "KAFKA",
        "KAFKA_CONSUMER_SESSION_TIMEOUT_MS": 45_000,
        "KAFKA_CONSUMER_AUTO_OFFSET_RESET": "earliest",
        "WEBHOOK_INVOKER_TIMEOUT": 30.0,
        "WEBHOOK_VERIFY_SSL": True,
    }
    assert {name: Settings.model_fields[name].default for name in expected} == expected


def test_brokers_are_taken_with_and_without_the_official_agents_word_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    brokers = {"KAFKA_CONSUMER_BOOTSTRAP_SERVERS": "localhost:9092"}
    for local in ("True", "False", ""):
        loaded = settings(monkeypatch, **brokers, USING_LOCAL_PORT_INSTANCE=local)
        assert loaded.KAFKA_CONSUMER_BOOTSTRAP_SERVERS == "localhost:9092"
        assert (loaded.security_protocol, "USING_LOCAL_PORT_INSTANCE" in loaded.without_effect) == (
            "plaintext",
            bool(local),
        )


def test_what_is_given_and_has_no_effect_is_known_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings(monkeypatch).without_effect == {}
    assert settings(monkeypatch, DETAILED_LOGGING="false").without_effect == {}
    given = {
        "DETAILED_LOGGING": "True",
        "USING_LOCAL_PORT_INSTANCE": "False",
        "SSL_CERT_FILE": f"{THEIR_CAS}/ca-certificates.crt",
        "CURL_CA_BUNDLE": f"{THEIR_CAS}/ca-certificates.crt",
    }
    idle = settings(monkeypatch, **given).without_effect
    assert set(idle) == set(given)
    assert "never logged" in idle["DETAILED_LOGGING"]
    assert "not here" in idle["SSL_CERT_FILE"]


def test_what_is_given_for_the_other_source_has_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"KAFKA_RUNS_TOPIC": "runs", "POLLING_INTERVAL_SECONDS": "5"}
    assert settings(monkeypatch, **given).without_effect == {"POLLING_INTERVAL_SECONDS": "STREAMER_NAME is KAFKA"}
    given |= {"STREAMER_NAME": "polling", "USING_LOCAL_PORT_INSTANCE": "true"}
    assert settings(monkeypatch, **given).without_effect == {
        "KAFKA_RUNS_TOPIC": "STREAMER_NAME is POLLING",
        "USING_LOCAL_PORT_INSTANCE": "Kafka is not used",
    }


THEIR_CAS = "/tmp/port-agent/ca-certificates"


def test_the_bundle_that_the_official_agent_makes_is_no_reason_not_to_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = f"{THEIR_CAS}/ca-certificates.crt"
    bundles = dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), path)
    assert settings(monkeypatch, **bundles).ca_file is None
    ours = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(ours))
    assert settings(monkeypatch, CURL_CA_BUNDLE=str(ours)).ca_file == ours
    monkeypatch.setattr("agent.settings._THEIR_CA_DIR", str(tmp_path))
    only = {**dict.fromkeys(bundles, ""), "CURL_CA_BUNDLE": str(ours)}
    assert settings(monkeypatch, **only).ca_file == ours, "there is one, so it is meant"
    monkeypatch.setattr("agent.settings._THEIR_CA_DIR", THEIR_CAS)
    for other in ("/tmp/port-agent/elsewhere.crt", "/tmp/port-agent-2/ca-certificates/ca-certificates.crt"):
        [line] = problems(monkeypatch, CURL_CA_BUNDLE=other)
        assert line.startswith(f"CURL_CA_BUNDLE: {other} is not a file")


def test_tokens_of_projects_may_have_names_that_no_shell_takes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of ``<group>_<project>``: from a pod's environment and from a .env file alike."""
    (tmp_path / ".env").write_text("GITLAB_URL=https://gitlab.internal/\nmy-group.sub_my-project=from-the-file\n")
    monkeypatch.setenv("my-group_my.project", "from-the-pod")
    found = environment()
    assert (found["my-group_my.project"], found["my-group.sub_my-project"]) == ("from-the-pod", "from-the-file")
    assert found["GITLAB_URL"] == "https://gitlab.internal/"


def test_the_mechanism_none_goes_with_plaintext_only(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = {"KAFKA_CONSUMER_SECURITY_PROTOCOL": "plaintext", "KAFKA_CONSUMER_AUTHENTICATION_MECHANISM": "none"}
    assert settings(monkeypatch, **plain).security_protocol == "plaintext"
    [line] = problems(monkeypatch, **{**plain, "KAFKA_CONSUMER_SECURITY_PROTOCOL": "SASL_SSL"})
    assert line.startswith("KAFKA_CONSUMER_AUTHENTICATION_MECHANISM: is none, but")


def test_a_secret_may_come_as_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("from-a-file\n")
    monkeypatch.setenv("PORT_CLIENT_SECRET_FILE", str(file))
    for name in ("PORT_ORG_ID", "PORT_CLIENT_ID"):
        monkeypatch.setenv(name, NEEDED[name])
    assert load().PORT_CLIENT_SECRET.get_secret_value() == "from-a-file"


def test_a_secret_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT_CLIENT_SECRET_FILE", "/nowhere/secret")
    with pytest.raises(
        ConfigurationError, match="PORT_CLIENT_SECRET_FILE: /nowhere/secret cannot be read: No such file"
    ):
        load()


def test_a_file_that_cannot_be_read_does_not_hide_what_else_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT_CLIENT_SECRET_FILE", "/nowhere/secret")
    monkeypatch.setenv("LOG_LEVEL", "chatty")
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert [p.where for p in caught.value.problems] == [
        "PORT_CLIENT_SECRET_FILE",
        "PORT_ORG_ID",
        "PORT_CLIENT_ID",
        "LOG_LEVEL",
    ]


def test_the_env_file_may_name_files_too(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from-a-file\n")
    (tmp_path / ".env").write_text(f"PORT_ORG_ID=o\nPORT_CLIENT_ID=i\nPORT_CLIENT_SECRET_FILE={tmp_path}/secret\n")
    assert load().PORT_CLIENT_SECRET.get_secret_value() == "from-a-file"


def test_an_env_file_that_is_not_text_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xff\xfe\x00")
    assert problems(monkeypatch) == [".env: is not UTF-8 text"]


def test_a_wrong_setting_is_told_with_the_file_that_says_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "url").write_text("api.port.io\n")
    (tmp_path / "env").write_text(
        "# first\n\nLOG_LEVEL=INFO\n\n\nexport AGENT_HTTP_PORT='no'\nLOG_LEVEL=chatty\n"
        f"PORT_API_BASE_URL_FILE={tmp_path}/url\nPORT_CLIENT_SECRET_FILE=/nowhere/secret\n"
        "SSL_CERT_FILE=/nowhere/ca.pem\n"
    )
    monkeypatch.setenv("PORT_CLIENT_ID", "id")
    monkeypatch.setenv("STREAMER_NAME", "carrier-pigeon")
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path / "env")
    assert [(p.where, p.path) for p in caught.value.problems] == [
        (f"{tmp_path}/env:9", "PORT_CLIENT_SECRET_FILE"),
        ("PORT_ORG_ID", ""),
        (f"{tmp_path}/url", "PORT_API_BASE_URL"),
        ("STREAMER_NAME", ""),
        (f"{tmp_path}/env:6", "AGENT_HTTP_PORT"),
        (f"{tmp_path}/env:7", "LOG_LEVEL"),
    ]


def test_what_contradicts_itself_is_told_with_the_file_that_says_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("\nSSL_CERT_FILE=/nowhere/ca.pem\n")
    assert problems(monkeypatch) == [
        ".env:2: SSL_CERT_FILE: /nowhere/ca.pem is not a file (is the secret or config map mounted?)"
    ]


def test_each_setting_is_known_to_come_from_one_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from-a-file\n")
    (tmp_path / ".env").write_text(
        "PORT_CLIENT_SECRET=from-dot-env\nLOG_LEVEL=DEBUG\nPORT_ORG_ID=of-dot-env\nFOO=1\n"
    )
    monkeypatch.setenv("PORT_ORG_ID", "org_1")
    monkeypatch.setenv("PORT_CLIENT_ID", "id")
    monkeypatch.setenv("PORT_CLIENT_SECRET_FILE", str(tmp_path / "secret"))
    loaded = load()
    secret = f"{tmp_path}/secret"
    assert loaded.names_by_source() == {
        "the environment": ("PORT_ORG_ID", "PORT_CLIENT_ID"),
        secret: ("PORT_CLIENT_SECRET",),
        ".env": ("LOG_LEVEL",),
    }
    assert loaded.named("LOG_LEVEL") == "LOG_LEVEL (.env:2)"
    assert loaded.named("AGENT_HTTP_PORT") == "AGENT_HTTP_PORT (default)"
    assert loaded.overruled == {"PORT_ORG_ID": Origin(".env", 3), "PORT_CLIENT_SECRET": Origin(".env", 1)}
    assert loaded.PORT_CLIENT_SECRET.get_secret_value() == "from-a-file"
    monkeypatch.setenv("PORT_CLIENT_SECRET", "from-the-environment")
    assert load().overruled["PORT_CLIENT_SECRET"] == Origin(secret)
    assert load().file_of("PORT_CLIENT_SECRET") is None


def test_a_variable_that_is_almost_a_setting_is_told() -> None:
    given = {
        "AGENT_ROUTE_PATH": "r.yaml",
        "AGENT_DRAIN_TIMEOUT": "3",
        "AGENT_SERVICE_HOST": "10.0.0.1",
        "HOME": "/",
    }
    assert [str(problem) for problem in misspelt(given)] == [
        "AGENT_DRAIN_TIMEOUT: is not a setting and has no effect (did you mean AGENT_DRAIN_TIMEOUT_S?)",
        "AGENT_ROUTE_PATH: is not a setting and has no effect (did you mean AGENT_ROUTES_PATH?)",
    ]
    assert misspelt(NEEDED) == []


def test_a_password_in_the_apis_url_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    [line] = problems(monkeypatch, PORT_API_BASE_URL="https://user:pa55word@api.port.io")
    assert "must not hold a user or password" in line
    assert "pa55word" not in line


def test_a_ca_file_without_certificates_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate")
    [line] = problems(monkeypatch, AGENT_KAFKA_CA_FILE=str(tmp_path / "ca.pem"))
    assert line.startswith(f"AGENT_KAFKA_CA_FILE: {tmp_path}/ca.pem holds no certificates in PEM form")


def test_the_environment_wins_over_the_env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lines = [f"{name}={value}" for name, value in NEEDED.items()]
    (tmp_path / ".env").write_text("\n".join([*lines, "LOG_LEVEL=DEBUG", "AGENT_HTTP_PORT=1"]))
    monkeypatch.setenv("AGENT_HTTP_PORT", "2")
    loaded = load()
    assert (loaded.PORT_ORG_ID, loaded.LOG_LEVEL, loaded.AGENT_HTTP_PORT) == ("org_1", "DEBUG", 2)


def test_a_secret_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "s3cret" not in repr(settings(monkeypatch))
    found = problems(monkeypatch, PORT_CLIENT_SECRET="x" * 9, AGENT_HTTP_PORT="no")
    assert "xxxxxxxxx" not in "\n".join(found)


def test_files_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = problems(monkeypatch, AGENT_KAFKA_CA_FILE="/nowhere/ca.pem", SSL_CERT_FILE="/nowhere/too.pem")
    assert [line.partition(":")[0] for line in found] == ["AGENT_KAFKA_CA_FILE", "SSL_CERT_FILE"]


def test_routes_and_a_mapping_file_contradict_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = {"CONTROL_THE_PAYLOAD_CONFIG_PATH": "/etc/mapping.json", "AGENT_ROUTES_PATH": "/etc/routes.yaml"}
    [line] = problems(monkeypatch, **paths)
    assert line.startswith("CONTROL_THE_PAYLOAD_CONFIG_PATH: is set, and AGENT_ROUTES_PATH as well")


def test_settings_for_looking_at_routes_need_no_credentials() -> None:
    assert Path("/r.yaml") == defaults({"AGENT_ROUTES_PATH": "/r.yaml"}).AGENT_ROUTES_PATH
    assert defaults().AGENT_ROUTES_PATH is None


def test_the_environment_is_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_NAME", "value")
    assert environment()["SOME_NAME"] == "value"
    assert environment() is not os.environ


def test_the_env_file_lies_below_the_environment_and_does_not_get_into_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text(
        "HTTPS_PROXY=http://proxy:3128\nDEPLOY_TOKEN=from-the-file\nSOME_NAME=file\nBARE\n"
    )
    for name in ("HTTPS_PROXY", "DEPLOY_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SOME_NAME", "process")
    found = environment()
    assert (found["HTTPS_PROXY"], found["DEPLOY_TOKEN"]) == ("http://proxy:3128", "from-the-file")
    assert found["SOME_NAME"] == "process"
    assert "BARE" not in found
    assert "DEPLOY_TOKEN" not in os.environ


def test_an_env_file_that_is_not_text_adds_nothing_to_the_environment(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xff\xfe\x00")
    assert environment() == dict(os.environ)


def test_settings_without_credentials_are_all_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_UNROUTED", "ignore")
    loaded = load(needs_credentials=False)
    assert (loaded.PORT_ORG_ID, loaded.PORT_CLIENT_ID, loaded.secrets) == ("", "", ("",))
    assert loaded.AGENT_UNROUTED == "ignore"
    monkeypatch.setenv("PORT_CLIENT_SECRET", "s3cret-s3cret")
    assert load(needs_credentials=False).secrets == ("s3cret-s3cret",)
    monkeypatch.setenv("LOG_LEVEL", "chatty")
    with pytest.raises(ConfigurationError) as caught:
        load(needs_credentials=False)
    assert [p.where for p in caught.value.problems] == ["LOG_LEVEL"]


def test_what_traces_need_is_looked_for_before_the_first_span(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "me:s3cret@collector:4318",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "collector/v1/traces",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": "/nope",
        "OTEL_EXPORTER_OTLP_CLIENT_KEY": "/nope/key",
    }
    assert settings(monkeypatch, **wrong).AGENT_TRACES == "off"
    assert settings(monkeypatch, AGENT_TRACES="otlp", OTEL_SDK_DISABLED="true").AGENT_TRACES == "otlp"
    monkeypatch.delenv("OTEL_SDK_DISABLED")
    found = problems(monkeypatch, AGENT_TRACES="otlp")
    url = "must be an http(s) URL such as http://collector.observability.svc:4318"
    assert sorted(found) == [
        "OTEL_EXPORTER_OTLP_CERTIFICATE: /nope is not a file (is the secret or config map mounted?)",
        "OTEL_EXPORTER_OTLP_CLIENT_KEY: /nope/key is not a file (is the secret or config map mounted?)",
        f"OTEL_EXPORTER_OTLP_ENDPOINT: {url}",
        f"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: {url}",
    ]


def test_traces_are_sent_in_the_one_way_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings(monkeypatch, OTEL_EXPORTER_OTLP_PROTOCOL="grpc").AGENT_TRACES == "off"
    (problem,) = problems(monkeypatch, AGENT_TRACES="otlp")
    assert problem.startswith("OTEL_EXPORTER_OTLP_PROTOCOL: is 'grpc', but traces are sent as http/protobuf only")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")  # the more special one
    assert load().AGENT_TRACES == "otlp"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json")
    (problem,) = problems(monkeypatch)
    assert problem.startswith("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: is 'http/json'")


def test_a_variable_of_traces_in_the_env_file_is_read_by_nobody(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("AGENT_TRACES=otlp\nOTEL_SERVICE_NAME=one\nOTEL_TRACES_SAMPLER=always_off\n")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "another")
    (problem,) = problems(monkeypatch)
    assert problem.startswith(
        ".env:3: OTEL_TRACES_SAMPLER: stands in the .env file, where the OpenTelemetry SDK does"
    )
    assert settings(monkeypatch, AGENT_TRACES="off").AGENT_TRACES == "off"


def test_a_variable_that_is_no_setting_is_told_where_the_value_in_force_stands(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("AGENT_TRACES=otlp\nOTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf\n")
    (problem,) = problems(monkeypatch, OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
    assert problem.startswith("OTEL_EXPORTER_OTLP_PROTOCOL: is 'grpc'")


def test_the_example_file_and_the_settings_agree() -> None:
    """Every setting stands in .env.example, in the same order, with its description and its default."""
    expected = []
    for name, field in Settings.model_fields.items():
        assert field.description, f"{name} has no description"
        lead = "" if field.is_required() else "# "
        expected.append((field.description, f"{lead}{name}={shown_default(name, field)}"))
    lines = (ROOT / ".env.example").read_text().splitlines()
    found = [
        (comment.removeprefix("# "), line)
        for comment, line in pairwise(lines)
        if line.removeprefix("# ").partition("=")[0] in Settings.model_fields
    ]
    assert found == expected


def test_the_document_of_settings_has_each_as_it_is() -> None:
    assert settings_table() in (ROOT / "docs" / "settings.md").read_text(), (
        "renew the table in docs/settings.md with: python -m tests.docs.settings_table"
    )
