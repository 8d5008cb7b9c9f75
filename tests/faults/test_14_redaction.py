"""What a secret covers is masked in every outlet, byte for byte as an oracle says, wherever the output is cut."""

from __future__ import annotations

import base64
import json
import random
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

import pytest

from agent.domain.json import JsonObject
from agent.domain.redaction import needles
from agent.sandbox import messages
from agent.sandbox.messages import Click
from agent.sandbox.records import RunRecord
from tests.domain.redaction_oracle import cut, oracle
from tests.faults.at_work import all_ended, at_work, summary
from tests.whole.one_agent import OneAgent
from tests.whole.world import CLIENT_SECRET

_WRITER = """
import json, sys, time
for chunk in json.loads(sys.argv[1]):
    sys.stdout.buffer.write(bytes.fromhex(chunk)); sys.stdout.flush(); time.sleep(0.005)
"""

ROUTES = rf"""
- name: writes
  match: {{action: writes}}
  process:
    command: [{sys.executable}, -c, {json.dumps(_WRITER)}, "{{{{ .inputs.chunks | tojson }}}}"]
- name: says
  match: {{action: says}}
  traceback: true
  python: {{callable: "whole_actions:saying_it_everywhere"}}
- name: late
  match: {{action: late}}
  python: {{callable: "whole_actions:masking_late"}}
- name: echoed
  match: {{action: echoed}}
  env: [TARGET]
  http:
    url: "{{{{ env.TARGET }}}}/echo/500"
    headers: {{Content-Type: text/plain}}
    body: "{{{{ .inputs.text }}}}"
- name: output-file
  match: {{action: output_file}}
  process:
    command:
      - sh
      - -c
      - |
        for name in link summary status_label external_run_id mine; do
          printf '%s=%s\n' $name "$1" >>$AGENT_OUTPUT
        done
        printf '%s\n' "$1"; exit 7
      - sh
      - "{{{{ .inputs.text }}}}"
"""

SECRET = 'pä$s/w+rd"1 2\\é'
SAID: dict[str, str] = {
    "plain": SECRET,
    "base64": base64.b64encode(f"user:{SECRET}".encode()).decode(),
    "in a URL": quote(SECRET, safe=""),
    "in JSON": json.dumps({"password": SECRET}),
    "in a shell": shlex.quote(SECRET),
    "twice, touching": SECRET + SECRET,
}
SECRETS = {
    "first": "overlap-XYZ",
    "second": "XYZ-tail-99",
    "selfish": "abcabcabc",
    "many_lines": "-----BEGIN KEY-----\nMIIabc123/+xyz\n-----END KEY-----",
}
"""The first two overlap each other, the third one overlaps itself."""

_WHOLE = "overlap-XYZ-tail-99"


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneAgent]:
    with at_work(tmp_path_factory.mktemp("redaction"), ROUTES) as agent:
        yield agent
        told = agent.world.everything_port_was_told() + agent.output()
        for value in (SECRET, json.dumps(SECRET)[1:-1], quote(SECRET, safe=""), *SECRETS.values()):
            assert value not in told


def _invoke(agent: OneAgent, action: str, inputs: JsonObject, secrets: dict[str, str]) -> str:
    run_id = agent.world.begin_run(action)
    click = Click(run_id, action, {**inputs, **secrets}, "service").with_secret_inputs(CLIENT_SECRET, *secrets)
    agent.deliver(messages.kafka_v1(click))
    return run_id


def _masked(text: str, *secrets: str) -> str:
    wanted = tuple(form for secret in secrets for form in needles(secret))
    return oracle(text.encode(), wanted).decode()


# ── the stream of a child's output ───────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Output:
    """What a child writes, and in which pieces."""

    raw: bytes
    pieces: list[bytes]


def _output(seed: int) -> Output:
    """Secrets whole, in halves, run into each other and in their encodings, between harmless words."""
    dice = random.Random(seed)  # noqa: S311 - no cryptography
    forms = sorted(form.decode() for secret in SECRETS.values() for form in needles(secret))
    words = [_WHOLE, "abcabcabcabcab", SECRETS["many_lines"], "harmless", "XYZ", "overlap-XY"]
    lines = []
    for _ in range(30):
        parts = [
            dice.choice([*words, dice.choice(forms), dice.choice(forms)[:-1]]) for _ in range(dice.randint(1, 4))
        ]
        lines.append("." + dice.choice(["", " ", "x"]).join(parts))
    raw = ("\n".join(lines) + "\n").encode()
    return Output(raw, cut(raw, sorted(dice.randrange(len(raw)) for _ in range(dice.randint(2, 40)))))


@pytest.fixture(scope="module")
def written(agent: OneAgent) -> dict[int, tuple[Output, str]]:
    """By their seeds: outputs, and the runs that wrote them, all at once."""
    outputs = {seed: _output(seed) for seed in range(8)}
    chunks = {seed: [piece.hex() for piece in output.pieces] for seed, output in outputs.items()}
    return {
        seed: (output, _invoke(agent, "writes", {"chunks": list(chunks[seed])}, SECRETS))
        for seed, output in outputs.items()
    }


@pytest.mark.parametrize("seed", range(8))
def test_output_is_masked_as_the_oracle_says_wherever_it_is_split(
    seed: int, agent: OneAgent, written: dict[int, tuple[Output, str]]
) -> None:
    output, run_id = written[seed]
    (run,) = all_ended(agent, [run_id])
    assert run.terminal_statuses == ["SUCCESS"], run
    wanted = tuple(form for secret in SECRETS.values() for form in needles(secret))
    assert run.log_text == oracle(output.raw, wanted).decode().removesuffix("\n"), f"seed {seed}: {output.pieces}"


def test_a_secret_that_is_declared_in_the_middle_counts_from_there_on(agent: OneAgent) -> None:
    (run,) = all_ended(agent, [agent.invoke("late", {"value": "not-secret-yet"})])
    assert run.log_text.splitlines() == ["not-secret-yet", "now [masked]", "[masked]"]


# ── every outlet ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def said(agent: OneAgent) -> dict[tuple[str, str], str]:
    """By form and end: the runs that say the secret everywhere, all at once."""
    cases: dict[tuple[str, str], tuple[str, JsonObject]] = {}
    for form, text in SAID.items():
        cases |= {(form, end): ("says", {"text": f"<{text}>", "end": end}) for end in ("failed", "raised")}
        cases[form, "output file"] = ("output_file", {"text": f"<{text}>"})
        cases[form, "echoed"] = ("echoed", {"text": f"<{text}>"})
    return {name: _invoke(agent, *case, {"password": SECRET}) for name, case in cases.items()}


def _outlets(run: RunRecord) -> dict[str, object]:
    return {
        "link": [link.removeprefix("https://target.example/") for link in run.links],
        "label": run.status_label,
        "external id": run.external_run_id,
    }


@pytest.mark.parametrize("form", SAID)
@pytest.mark.parametrize("end", ["failed", "raised"])
def test_a_python_action_tells_a_secret_nowhere(
    form: str, end: str, agent: OneAgent, said: dict[tuple[str, str], str]
) -> None:
    run_id = said[form, end]
    (run,) = all_ended(agent, [run_id])
    expected = _masked(f"<{SAID[form]}>", SECRET)
    assert _outlets(run) == {"link": [expected], "label": expected, "external id": expected}
    (entity,) = run.entities
    assert entity.body["title"] == expected
    assert entity.body["properties"] == {"p": [expected], expected: 1}
    assert summary(run).startswith(expected)
    first, *others = run.log_text.splitlines()
    assert first == expected
    assert [line for line in others if line.endswith(f"ValueError: {expected}")] == others[-1:]
    agent.wait_settled(run_id)
    logged = [line["event"] for line in agent.lines(run_id=run_id) if "the library says" in line["event"]]
    assert logged == [f"the library says {expected}"]
    assert agent.lines("run finished", run_id=run_id)[0]["detail"].startswith(expected)


@pytest.mark.parametrize("form", SAID)
def test_a_command_tells_a_secret_nowhere(form: str, agent: OneAgent, said: dict[tuple[str, str], str]) -> None:
    (run,) = all_ended(agent, [said[form, "output file"]])
    expected = _masked(f"<{SAID[form]}>", SECRET)
    assert _outlets(run) == {"link": [expected], "label": expected, "external id": expected}
    assert run.log_text == expected
    assert summary(run) == f"exit code 7\n{expected}"


@pytest.mark.parametrize("form", SAID)
def test_an_answer_that_quotes_a_secret_is_masked(
    form: str, agent: OneAgent, said: dict[tuple[str, str], str]
) -> None:
    (run,) = all_ended(agent, [said[form, "echoed"]])
    assert summary(run).endswith(f"500 Internal Server Error: {_masked(f'<{SAID[form]}>', SECRET)}")


def test_nothing_of_all_that_was_a_defect(agent: OneAgent, said: dict[tuple[str, str], str]) -> None:
    all_ended(agent, said.values())
    assert not [line for line in agent.lines() if line["level"] == "critical"]
