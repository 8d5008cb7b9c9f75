"""`action-agent migrate`, and `check` of a mapping file, as commands."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values

from agent.settings import load
from tests.whole.commands import Ended, command

VALUES = Path(__file__).parent.parent / "chart" / "port_agent_values.yaml"
MESSAGE = json.loads(
    (Path(__file__).parent.parent / "drop_in" / "cases" / "argo_resubmit_ok.json").read_text(encoding="utf-8")
)["message_raw"]
SECRETS = ("cS9Qz1TestOnlyClientSecret0123456789abcdefXYZ", "glptt-1f2e3d4c5b", "proxy-passw0rd")
ENV = f"""\
# of the old agent
PORT_ORG_ID=org_1
PORT_CLIENT_ID=client-1
export PORT_CLIENT_SECRET="{SECRETS[0]}"
STREAMER_NAME=KAFKA
KAFKA_CONSUMER_GROUP_ID=org_1.production
KAFKA_CONSUMER_BROKERS=b1:9196
DETAILED_LOGGING=true
USING_LOCAL_PORT_INSTANCE=false

GITLAB_URL=https://gitlab.internal/
my-group_api={SECRETS[1]}
HTTP_PROXY=http://user:{SECRETS[2]}@proxy:3128
CONTROL_THE_PAYLOAD_CONFIG_PATH=/app/config/mapping.json
REGION=it's here
"""
MAPPING: list[dict[str, Any]] = [
    {
        "enabled": '.payload.action.invocationMethod.type == "GITLAB"',
        "url": 'env.GITLAB_URL + "api"',
        "body": {"token": 'env[.payload.action.invocationMethod.groupName + "_api"]', "region": "env.REGION"},
    },
    {
        "enabled": '.action == "trigger_a_workflow"',
        "url": '"https://ci.internal/deploy"',
        "headers": {"A": ".payload.properties.memoised"},
        "fieldsToDecryptPaths": ["payload.properties.token"],
        "report": {"link": ".response.json.link", "externalRunID": ".response.json.id"},
    },
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "old.env").write_text(ENV)
    (tmp_path / "mapping.json").write_text(json.dumps(MAPPING, indent=1))
    return tmp_path


def migrate(home: Path, *arguments: str, **env: str) -> Ended:
    ended = command("migrate", *arguments, env=env, cwd=home)
    for secret in SECRETS:
        assert secret not in ended.stdout + ended.stderr
        assert not any(secret in path.read_text() for path in home.rglob("new*/*"))
    return ended


def flat(ended: Ended) -> str:
    """All that it says, in one line: where lines are broken is none of a test's business."""
    return " ".join(ended.stdout.split())


def settings_said(ended: Ended) -> dict[str, str]:
    lines = ended.stdout.partition("\n\n")[0].replace("\n    ", " ").splitlines()[1:]
    return {line.split()[0]: line.split(maxsplit=1)[1] for line in lines}


def test_each_setting_has_its_verdict(home: Path) -> None:
    ended = migrate(home, "--env", "old.env")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    said = settings_said(ended)
    assert said["PORT_ORG_ID"] == "keeps its meaning"
    assert said["DETAILED_LOGGING"].startswith("changed: messages and bodies never stand in logs")
    assert said["USING_LOCAL_PORT_INSTANCE"].startswith("no longer matters: ")
    assert said["KAFKA_CONSUMER_BROKERS"].startswith("no longer matters: Port's API names the brokers")
    assert said["KAFKA_CONSUMER_GROUP_ID"].startswith("keeps its meaning: this agent begins where the old one")
    assert said["my-group_api"] == said["REGION"] == "a variable for expressions"
    assert said["CONTROL_THE_PAYLOAD_CONFIG_PATH"] == "keeps its meaning: the file is read as it is"


def test_each_mapping_is_told_with_what_changes_for_it(home: Path) -> None:
    """The file is found beside the environment, for its own path is one in a container."""
    lines = migrate(home, "--env", "old.env").stdout.splitlines()
    first = lines.index("  [0] (mapping.json:2): route mapping-1")
    second = next(i for i, line in enumerate(lines) if line.startswith("  [1] ("))
    assert lines[second].endswith("route trigger_a_workflow")
    assert any("computes the name of a variable" in line for line in lines[first:second])
    assert sum("a url or method that comes out null" in line for line in lines[:first]) == 1
    assert not any("a url or method" in line for line in lines[first:])
    assert max(len(line) for line in lines if "mapping.json:" not in line) <= 100
    assert any("a value that cannot be decrypted ends the run as FAILURE" in line for line in lines[second:])
    assert any("a report expression that gives null" in line for line in lines[second:])
    assert any("warning: mapping.json:" in line and "did you mean externalRunId?" in line for line in lines)


def test_without_out_nothing_is_written(home: Path) -> None:
    before = sorted(home.rglob("*"))
    ended = migrate(home, "--env", "old.env")
    assert sorted(home.rglob("*")) == before
    assert ended.stdout.splitlines()[-1] == "nothing is written; with --out DIRECTORY it would be routes.yaml, .env"


def test_what_is_written_is_accepted_once_the_secrets_are_there(home: Path) -> None:
    ended = migrate(home, "--env", "old.env", "--out", "new")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.splitlines()[-2:] == [f"written: new/{name}" for name in ("routes.yaml", ".env")]
    written = (home / "new" / ".env").read_text()
    for name, line in (("PORT_CLIENT_SECRET", 4), ("my-group_api", 12), ("HTTP_PROXY", 13)):
        assert f"# {name}= (see old.env:{line})\n" in written
    assert stat.S_IMODE((home / "new" / ".env").stat().st_mode) == 0o600
    secrets = {"PORT_CLIENT_SECRET": SECRETS[0], "my-group_api": SECRETS[1]}
    checked = command("check", env=secrets, cwd=home / "new")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "2 routes from routes.yaml" in checked.stdout
    assert "warning" not in checked.stdout
    region = "region: '{{ env.REGION }}'"
    assert region in (home / "new" / "routes.yaml").read_text()


def test_values_of_a_variable_survive_the_new_file(home: Path) -> None:
    (home / "old.env").write_text('PORT_ORG_ID=o\nKAFKA_RUNS_TOPIC="a b\'c\\\\d#e$f"\nLOG_LEVEL=\n')
    assert migrate(home, "--env", "old.env", "--out", "new").returncode == 0
    old, new = dotenv_values(home / "old.env"), dotenv_values(home / "new" / ".env")
    assert new["KAFKA_RUNS_TOPIC"] == old["KAFKA_RUNS_TOPIC"] == "a b'c\\d#e$f"
    assert "LOG_LEVEL" not in new


@pytest.mark.parametrize("text", ["a${OTHER}b", "${OTHER:-x}", "$OTHER${", "${${A}}", "'${A}' \\ ${:-$}{B}"])
def test_nothing_is_filled_in_where_a_value_names_another(
    home: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("OTHER", "filled in")
    quoted = text.replace("\\", "\\\\").replace("'", "\\'")
    (home / "old.env").write_text(f"PORT_ORG_ID=o\nOTHER=o\nKAFKA_RUNS_TOPIC='{quoted}'\n")
    assert migrate(home, "--env", "old.env", "--out", "new").returncode == 0
    settings = load(home / "new" / ".env", needs_credentials=False)
    assert text == settings.KAFKA_RUNS_TOPIC


def test_lines_that_set_nothing_are_told_with_their_place(home: Path) -> None:
    (home / "old.env").write_text(f"PORT_ORG_ID=o\n{SECRETS[0]} and more\nLOG_LEVEL=INFO\n")
    ended = migrate(home, "--env", "old.env")
    assert ended.returncode == 0
    assert "  warning: old.env:2: is passed over (write NAME=value)" in ended.stdout.splitlines()
    assert ended.stderr == ""
    assert settings_said(ended).keys() >= {"PORT_ORG_ID", "LOG_LEVEL"}


def test_files_that_are_there_are_kept_unless_forced(home: Path) -> None:
    (home / "new").mkdir()
    (home / "new" / "routes.yaml").write_text("mine")
    ended = migrate(home, "--env", "old.env", "--out", "new")
    assert ended.returncode == 1
    assert "new/routes.yaml: exists already (name another directory, or give --force)" in ended.stdout
    assert ended.stdout.splitlines()[-1] == "1 problem found; nothing is written"
    assert (home / "new" / "routes.yaml").read_text() == "mine"
    assert not (home / "new" / ".env").exists()
    (home / "new" / "routes.yaml").chmod(0o644)
    assert migrate(home, "--env", "old.env", "--out", "new", "--force").returncode == 0
    assert "routes:" in (home / "new" / "routes.yaml").read_text()
    assert stat.S_IMODE((home / "new" / "routes.yaml").stat().st_mode) == 0o600


def test_a_directory_that_cannot_be_made_is_a_problem(home: Path) -> None:
    ended = migrate(home, "--env", "old.env", "--out", "old.env/new")
    assert ended.returncode == 1
    assert "old.env/new: cannot be written into: " in ended.stdout


def test_values_become_ours_without_their_secrets(home: Path) -> None:
    ended = migrate(home, "--values", str(VALUES), "--out", "new")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "make a Secret action-agent-credentials with the keys PORT_CLIENT_ID, PORT_CLIENT_SECRET, " in flat(
        ended
    )
    text = (home / "new" / "values.yaml").read_text()
    assert "client-secret" not in text
    assert "glptt-1" not in text
    values = yaml.safe_load(text)
    assert values["secret"] == {"useExistingSecret": True, "name": "action-agent-credentials"}
    assert values["port"] == {"orgId": "org_BneDtWovPqXaA2VZ", "baseUrl": "https://api.getport.io"}
    assert values["settings"]["KAFKA_CONSUMER_GROUP_ID"] == "org_BneDtWovPqXaA2VZ.production"
    assert values["settings"]["DETAILED_LOGGING"] == "true"
    assert values["strategy"] == {"type": "Recreate", "rollingUpdate": None}
    assert not {"image", "resources", "env", "controlThePayloadConfig"} & values.keys()
    assert values["selfSignedCertificate"]["enabled"] is True
    assert "is no value of port-agent" not in ended.stdout
    assert "secret.annotations are not copied" in ended.stdout
    assert values["routes"]["file"] == (home / "new" / "routes.yaml").read_text()
    assert not (home / "new" / ".env").exists()


def test_both_are_written_where_both_are_given(home: Path) -> None:
    ended = migrate(home, "--values", str(VALUES), "--env", "old.env", "--mapping", "mapping.json", "--out", "new")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert {path.name for path in (home / "new").iterdir()} == {"routes.yaml", "values.yaml", ".env"}
    assert "trigger_a_workflow" in (home / "new" / "routes.yaml").read_text(), "the file of the option wins"


@pytest.mark.parametrize("mapping", ["[]", '[{"enabled": false}, {"enabled": "off"}]'])
def test_where_no_mapping_is_left_nothing_is_taken(home: Path, mapping: str) -> None:
    (home / "values.yaml").write_text(yaml.safe_dump({"env": {}, "controlThePayloadConfig": mapping}))
    ended = migrate(home, "--values", "values.yaml", "--out", "new")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "no mapping is left: as before, the agent takes no message" in ended.stdout
    text = (home / "new" / "values.yaml").read_text()
    assert "routes" not in yaml.safe_load(text)
    assert yaml.safe_load(text)["controlThePayloadConfig"] == "[]"
    assert "# no mapping is left, and the chart takes no routes file without routes" in text


def test_a_secret_that_is_there_already_stays_the_secret(home: Path) -> None:
    old = {
        "secret": {"useExistingSecret": True, "name": "ours"},
        "env": {
            "normal": {
                "PORT_CLIENT_ID": "i",
                "API_TOKEN": SECRETS[1],
                "PORT_CLIENT_SECRET": SECRETS[0],
                "EMPTY": None,
                "WEBHOOK_VERIFY_SSL": False,
            },
            "secret": {"PORT_ORG_ID": "org_of_secret"},
        },
        "podServiceAccount": {"name": "account"},
        "resources": {"limits": {"memory": "1Gi"}},
        "nonsense": 1,
    }
    (home / "values.yaml").write_text(yaml.safe_dump(old))
    ended = migrate(home, "--values", "values.yaml", "--out", "new")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    values = yaml.safe_load((home / "new" / "values.yaml").read_text())
    assert values["secret"] == old["secret"]
    assert values["port"] == {"orgId": "org_of_secret"}
    assert values["extraEnv"] == [{"name": "EMPTY", "value": ""}]
    assert values["settings"] == {"WEBHOOK_VERIFY_SSL": False}
    assert values["serviceAccount"] == {"create": False, "name": "account"}
    assert values["resources"] == {"limits": {"memory": "1Gi"}}
    assert "routes" not in values
    for said in (
        "env.normal.API_TOKEN is not copied",
        "nonsense is no value of port-agent",
        "Secret ours must be",
    ):
        assert said in ended.stdout


def test_what_the_new_agent_would_refuse_is_a_problem_with_its_place(home: Path) -> None:
    (home / "old.env").write_text("PORT_ORG_ID=o\nSTREAMER_NAME=KafkaToWebhookStreamer\nWEBHOOK_VERIFY_SSL=maybe\n")
    ended = migrate(home, "--env", "old.env", "--out", "new")
    assert ended.returncode == 1
    assert "old.env:2: STREAMER_NAME: is refused here: " in ended.stdout
    assert "old.env:3: WEBHOOK_VERIFY_SSL: is refused here: " in ended.stdout
    assert not (home / "new").exists()


TOKEN_OF = ("group_project", "platform_region", "my-group_namespace")
"""Variables of GitLab's projects, of which some are named like what plainly is no secret."""


def computed(*, reads: str = 'env[.payload.action.invocationMethod | .groupName + "_" + .projectName]') -> str:
    return json.dumps([{"url": '"https://gitlab.internal/" + env.CI_REGION', "body": {"token": reads}}])


def test_all_of_env_secret_is_secret_whatever_it_is_called(home: Path) -> None:
    secret = dict.fromkeys(("DEPLOY_REGION", *TOKEN_OF), SECRETS[1])
    (home / "values.yaml").write_text(
        yaml.safe_dump(
            {
                "env": {"secret": secret, "normal": {"CI_REGION": "eu-central"}},
                "controlThePayloadConfig": computed(reads="env.DEPLOY_REGION + env.group_project"),
            }
        )
    )
    (home / "old.env").write_text("PORT_ORG_ID=o\nCI_REGION=eu-central\n")
    ended = migrate(home, "--values", "values.yaml", "--env", "old.env", "--out", "new")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (route,) = yaml.safe_load((home / "new" / "routes.yaml").read_text())["routes"]
    assert sorted(route["secrets"]) == ["DEPLOY_REGION", "group_project"]
    written = (home / "new" / ".env").read_text()
    for name in secret:
        assert f"# {name}= (see values.yaml:" in written
    assert "CI_REGION=eu-central\n" in written


@pytest.mark.parametrize("is_in", ["--env", "--values"])
def test_what_a_computed_name_may_give_is_secret_whatever_it_is_called(home: Path, is_in: str) -> None:
    tokens = dict.fromkeys(TOKEN_OF, SECRETS[1])
    given = {"CI_REGION": "eu-central", "EMPTY": "", **tokens}
    (home / "mapping.json").write_text(computed())
    (home / "given").write_text(
        yaml.safe_dump({"env": {"normal": given}})
        if is_in == "--values"
        else "".join(f"{name}={value}\n" for name, value in given.items())
    )
    ended = migrate(home, is_in, "given", "--mapping", "mapping.json", "--out", "new")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (route,) = yaml.safe_load((home / "new" / "routes.yaml").read_text())["routes"]
    assert set(route["secrets"]) == {*TOKEN_OF, "EMPTY"}
    assert set(route["env"]) == {*TOKEN_OF, "EMPTY", "CI_REGION"}
    said = " ".join(ended.stdout.split()).partition("under `secrets`, since it may be a token's. ")[2]
    listed, _, rest = said.partition(" stand there because they are known: delete of them")
    assert sorted(listed.split(", ")) == sorted({*TOKEN_OF, "EMPTY"}), rest


def test_without_a_mapping_file_tokens_of_projects_stay_where_they_are(home: Path) -> None:
    """The agent itself reads them then, for GitLab's pipelines."""
    (home / "old.env").write_text("REGION=eu-central\n" + "".join(f"{name}={SECRETS[1]}\n" for name in TOKEN_OF))
    assert migrate(home, "--env", "old.env", "--out", "new").returncode == 0
    written = (home / "new" / ".env").read_text()
    assert "REGION=eu-central\n" in written
    for line, name in enumerate(TOKEN_OF, 2):
        assert f"# {name}= (see old.env:{line})\n" in written


def test_without_env_secret_none_is_spoken_of(home: Path) -> None:
    (home / "values.yaml").write_text(yaml.safe_dump({"env": {"normal": {"PORT_ORG_ID": "o"}}}))
    said = flat(migrate(home, "--values", "values.yaml"))
    assert " make a Secret action-agent-credentials with the keys PORT_CLIENT_ID, PORT_CLIENT_SECRET" in said
    assert "env.secret" not in said
    assert "the values in env.secret are not copied: make" in flat(migrate(home, "--values", str(VALUES)))


def test_a_route_that_fails_every_message_is_a_problem_and_written(home: Path) -> None:
    unquoted = {"enabled": '.action == "stop"', "method": "POST", "url": '"https://ci.internal/"'}
    (home / "mapping.json").write_text(
        json.dumps([unquoted, {"url": "empty", "method": "null"}, {"enabled": False, "url": "null"}], indent=1)
    )
    ended = migrate(home, "--mapping", "mapping.json", "--out", "new")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    problems = [line for line in ended.stdout.splitlines() if "fails every message that it takes: " in line]
    assert len(problems) == 2
    assert problems[0].startswith(
        "mapping.json:2: [0]: the route stop fails every message that it takes: its method"
    )
    assert (
        "the route mapping-2 fails every message that it takes: its method and url can only be null" in problems[1]
    )
    written = (home / "new" / "routes.yaml").read_text()
    assert "fails every message that it takes, for its method can only be null" in " ".join(written.split())
    assert "name: stop" in written
    unquoted["method"] = '"POST"'
    (home / "mapping.json").write_text(json.dumps([unquoted, {"url": ".a", "method": '"" + env.M'}]))
    ended = migrate(home, "--mapping", "mapping.json", "--out", "sound", M="x")
    assert ended.returncode == 0, ended.stdout
    assert "fails every" not in ended.stdout + (home / "sound" / "routes.yaml").read_text()


def test_without_files_the_commands_own_environment_counts(home: Path) -> None:
    env = {"PORT_ORG_ID": "o", "REGION": "eu", "UNRELATED": "thing", "my-group_api": SECRETS[1]}
    ended = migrate(home, "--mapping", "mapping.json", "--out", "new", **env)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    said = settings_said(ended)
    assert {"PORT_ORG_ID", "REGION", "KAFKA_CONSUMER_GROUP_ID"} == said.keys()
    assert said["KAFKA_CONSUMER_GROUP_ID"].startswith("changed: is not given")
    routes = yaml.safe_load((home / "new" / "routes.yaml").read_text())["routes"]
    assert routes[0]["env"] == ["GITLAB_URL", "REGION", "my-group_api"]
    assert routes[0]["secrets"] == ["my-group_api"]
    assert "not among the variables that are given: GITLAB_URL" in ended.stdout


def test_variables_of_the_commands_own_environment_are_masked_like_any_other(home: Path) -> None:
    named = [{"url": '"https://ci.internal/" + env.CI_REGION', "headers": {"A": '"x " + env.CI_TOKEN'}}]
    (home / "named.json").write_text(json.dumps(named))
    for there in ({"CI_TOKEN": SECRETS[1], "CI_REGION": "eu"}, {}):
        ended = migrate(home, "--mapping", "named.json", "--out", f"new{len(there)}", **there)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        (route,) = yaml.safe_load((home / f"new{len(there)}" / "routes.yaml").read_text())["routes"]
        assert route["env"] == ["CI_REGION", "CI_TOKEN"]
        assert route["secrets"] == ["CI_TOKEN"]
        assert ("taken for secrets, and needed at start, therefore: CI_TOKEN;" in ended.stdout) is not bool(there)


def test_without_a_mapping_file_that_is_said(home: Path) -> None:
    (home / "old.env").write_text("PORT_ORG_ID=org_1\n")
    ended = migrate(home, "--env", "old.env", "--out", "new")
    assert ended.returncode == 0
    assert "mapping file: none is given" in ended.stdout
    assert "_PATH" not in (home / "new" / ".env").read_text()


def test_a_mapping_file_that_is_named_and_not_here_stays_named(home: Path) -> None:
    """Else the new agent would start without it, and forward everything."""
    (home / "mapping.json").unlink()
    named = {"CONTROL_THE_PAYLOAD_CONFIG_PATH": "/app/config/mapping.json"}
    (home / "values.yaml").write_text(yaml.safe_dump({"env": {"normal": named}}))
    ended = migrate(home, "--env", "old.env", "--values", "values.yaml", "--out", "new")
    assert ended.returncode == 0
    assert "mapping file: CONTROL_THE_PAYLOAD_CONFIG_PATH names one that is not on this machine" in ended.stdout
    assert "none is given" not in ended.stdout
    assert dotenv_values(home / "new" / ".env").items() >= named.items()
    assert yaml.safe_load((home / "new" / "values.yaml").read_text())["settings"] == named
    (home / "named.json").write_text(json.dumps([{"url": '"https://ci.internal/"'}]))
    assert migrate(home, "--values", "values.yaml", "--mapping", "named.json", "--out", "other").returncode == 0
    assert "settings" not in yaml.safe_load((home / "other" / "values.yaml").read_text())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--env", "none.env"), "none.env: cannot be read: No such file or directory"),
        (
            ("--values", "none.yaml"),
            "none.yaml: there is no such file (look at the options --values and --mapping)",
        ),
        (("--mapping", "none.json"), "none.json: there is no such file (look at the options --values and"),
        (("--mapping", "broken.json"), "broken.json:1: [0].url: is a number; expected is a jq expression"),
        (("--values", "list.yaml"), "list.yaml:1: holds no values"),
        (("--values", "no-text.yaml"), "no-text.yaml:2: controlThePayloadConfig: is a list; the text of a mapping"),
        (("--env", "latin.env"), "latin.env: is not UTF-8 text"),
    ],
)
def test_what_cannot_be_read_ends_it_with_2(home: Path, arguments: tuple[str, ...], words: str) -> None:
    (home / "broken.json").write_text('[{"url": 3}]')
    (home / "list.yaml").write_text("[1]")
    (home / "no-text.yaml").write_text("env: {}\ncontrolThePayloadConfig: [{}]\n")
    (home / "latin.env").write_bytes(b"A=\xe4\n")
    ended = migrate(home, *arguments)
    assert ended.returncode == 2
    assert words in ended.stderr


def check(home: Path, *arguments: str, **env: str) -> Ended:
    given = {"PORT_ORG_ID": "o", "PORT_CLIENT_ID": "i", "PORT_CLIENT_SECRET": SECRETS[0]}
    given |= {"CONTROL_THE_PAYLOAD_CONFIG_PATH": "mapping.json"}
    return command("check", *arguments, env=given | env, cwd=home)


def test_check_looks_over_the_mapping_file_that_is_in_force(home: Path) -> None:
    (home / "mapping.json").write_text(json.dumps([{"method": "POST", "link": 1, "url": ".a | @uri"}]))
    ended = check(home)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    warnings = [line for line in ended.stdout.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 2, warnings
    assert "unknown key `link`" in warnings[0]
    assert '(write "\\"POST\\"")' in warnings[1]
    assert "note: mapping.json:1: `@uri` in [0].url: escapes" in ended.stdout


LEFT_OVER = (
    "warning: mapping.json:1: action runs that no mapping takes are left to others, as before "
    "(AGENT_UNROUTED=fail ends them as FAILURE); workflow nodes end as FAILED"
)


def test_where_no_mapping_takes_everything_it_is_said_what_becomes_of_the_rest(home: Path) -> None:
    assert check(home).stdout.splitlines().count(LEFT_OVER) == 1
    assert "no mapping takes" not in check(home, AGENT_UNROUTED="fail").stdout
    ended = migrate(home, "--env", "old.env", "--out", "new")
    assert ended.stdout.splitlines().count(f"  {LEFT_OVER}") == 1
    assert "AGENT_UNROUTED=ignore" in (home / "new" / "routes.yaml").read_text()
    (home / "mapping.json").write_text(json.dumps([*MAPPING, {"enabled": "yes"}]))
    assert "no mapping takes" not in check(home).stdout
    ended = migrate(home, "--env", "old.env", "--out", "all")
    assert "no mapping takes" not in ended.stdout
    assert "AGENT_UNROUTED" not in (home / "all" / "routes.yaml").read_text()


def test_check_tries_messages_on_it_and_shows_none_of_their_values(home: Path) -> None:
    (home / "one.json").write_text(MESSAGE)
    (home / "two.json").write_text("{")
    ended = check(home, "--message", "two.json", "--message", "one.json", REGION="eu")
    assert ended.returncode == 1, "two.json is no message; the other one is tried all the same"
    lines = ended.stdout.splitlines()
    assert "one.json: [0] does not take it: `enabled` gave false, not true" in lines
    assert any(line.startswith("one.json: [1] takes it (mapping.json:") for line in lines)
    assert any(
        "[1].headers.A: gives null on this message; `.payload.properties.memoised`: `.payload.properties` has "
        "memoized, namespace" in line
        for line in lines
    )
    assert any("fieldsToDecryptPaths[0]: nothing to decrypt in one.json: " in line for line in lines)
    assert any(line.startswith("two.json: is no message that can be tried: ") for line in lines)
    assert "hello-world-x9w5h" not in ended.stdout


def test_check_says_that_messages_are_for_mapping_files(home: Path) -> None:
    (home / "one.json").write_text(MESSAGE)
    ended = check(home, "--message", "one.json", CONTROL_THE_PAYLOAD_CONFIG_PATH="")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert (
        "--message is tried on mapping files alone; for routes there is `action-agent explain FILE`" in ended.stdout
    )


def test_check_of_a_message_that_is_not_there_ends_with_2(home: Path) -> None:
    ended = check(home, "--message", "none.json")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "none.json: cannot be read" in ended.stderr
