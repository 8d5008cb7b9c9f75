"""Every mistake in a routes file, in the words a person reads."""

from __future__ import annotations

import pytest

from agent.domain.errors import ConfigurationError, Problem
from agent.routing.file import RoutesReader
from tests.routing.helpers import FakeExecutors, problems

HEAD = "routes:\n  - name: a\n    match: {action: x}\n    "


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "",
            (
                "1: the file is empty; `routes:` with a list was expected (a file without routes says so: "
                "`routes: []`)"
            ),
        ),
        (
            "- name: a",
            "1: the file holds a list; `routes:` with a list was expected (begin the file with `routes:`)",
        ),
        ("# x\nroutes:", "2: routes: must be a list, not null"),
        ("routes: {}", "1: routes: must be a list, not an object"),
        ("x-a: 1", "1: `routes` is missing (The routes, in the order in which they are tried)"),
        ("routes: []\nroute: []", "2: route: unknown key `route` (did you mean routes?)"),
        ("x-a: 1\nroutes: []\nxx: 1", "3: xx: unknown key `xx` (known here: routes)"),
        (
            HEAD + "http: {x-a: 1}",
            "4: routes[0].http.x-a: unknown key `x-a` (known here: method, url, timeout, retry, body)",
        ),
        ("routes: [a]", "1: routes[0]: must be an object (key: value), not 'a'"),
        (HEAD + "proces: {}", "4: routes[0].proces: unknown key `proces` (did you mean process?)"),
        (HEAD + "timeout: 5", "2: routes[0]: names no executor; one of http, process is expected"),
        (
            HEAD + "http: {}\n    process: {command: [a]}",
            "2: routes[0]: names 2 executors (http, process); exactly one is expected",
        ),
        (HEAD + "http:", "4: routes[0].http: must be an object (key: value), not null"),
        (
            "routes:\n  - match: {action: x}\n    http: {}",
            "2: routes[0]: `name` is missing (The route's name in logs, metrics and on the status page)",
        ),
        (
            "routes:\n  - name: a\n    http: {}",
            "2: routes[0]: `match` is missing (Which invocations the route is for: all of these must hold)",
        ),
        (
            "routes:\n  - name: ' a'\n    match: {action: x}\n    http: {}",
            "2: routes[0].name: must be a name of 1 to 100 printable characters, not ' a'",
        ),
        ("routes:\n  - name: 5\n    match: {action: x}\n    http: {}", "2: routes[0].name: must be text, not 5"),
        (
            HEAD + "http: {}\n  - name: a\n    match: {action: y}\n    http: {}",
            (
                "5: routes[1].name: the name 'a' is taken: the route at routes.yaml:2 has it (a route's name is "
                "unique)"
            ),
        ),
        (
            HEAD + "http: {}\n    timeout: 10x",
            "5: routes[0].timeout: must be a length of time such as 30s, 10m or 1h30m, not '10x'",
        ),
        (HEAD + "http: {}\n    timeout: [1]", "5: routes[0].timeout: must be a number or text, not a list"),
        (HEAD + "http: {}\n    timeout: 0", "5: routes[0].timeout: must be more than 0"),
        (HEAD + "http: {}\n    timeout: 0s", "5: routes[0].timeout: must be more than 0"),
        (
            HEAD + "process: {command: [a], timeout: 1m}\n    timeout: 2m",
            (
                "4: routes[0].process.timeout: the run's timeout is given twice, here and as routes[0].timeout "
                "(leave one of them out)"
            ),
        ),
        (HEAD + "http: {}\n    max_concurrent: 0", "5: routes[0].max_concurrent: must be at least 1"),
        (HEAD + "http: {}\n    max_attempts: 1.5", "5: routes[0].max_attempts: must be a whole number, not 1.5"),
        (
            HEAD + "http: {}\n    on_interrupted: retry",
            "5: routes[0].on_interrupted: must be fail or rerun, not 'retry' (did you mean rerun?)",
        ),
        (
            HEAD + "http: {}\n    traceback: yes",
            "5: routes[0].traceback: must be true or false, not 'yes' (write true)",
        ),
        (
            HEAD + "http: {}\n    key: .entity.identifier",
            (
                "5: routes[0].key: '.entity.identifier' is text here, not an expression (write \"{{ "
                '.entity.identifier }}")'
            ),
        ),
        (HEAD + "http: {}\n    key: {a: 1}", "5: routes[0].key: must be text, not an object"),
        (
            HEAD + "http: {}\n    decrypt: [.payload.token]",
            (
                "5: routes[0].decrypt[0]: must be a dot path such as payload.properties.token, without a leading "
                "dot or wildcards, not '.payload.token'"
            ),
        ),
        (
            HEAD + "http: {}\n    env: [A B]",
            "5: routes[0].env[0]: must be the name of an environment variable, not 'A B'",
        ),
        (
            HEAD + "http: {}\n    env: [PORT_CLIENT_SECRET]",
            "5: routes[0].env[0]: PORT_CLIENT_SECRET is the agent's own and not given to routes",
        ),
        (
            HEAD + "http: {}\n    secrets: [TOKEM]",
            "5: routes[0].secrets[0]: the environment has no variable TOKEM (did you mean TOKEN?)",
        ),
        (
            HEAD + "http: {}\n    secrets: [Q]",
            (
                "5: routes[0].secrets[0]: the environment has no variable Q (a secret that is not there cannot "
                "be masked)"
            ),
        ),
        ("routes:\n  - name: a\n    match: {}\n    http: {}", "3: routes[0].match: must not be empty"),
        (
            "routes:\n  - name: a\n    match: {acton: x}\n    http: {}",
            "3: routes[0].match.acton: unknown key `acton` (did you mean action?)",
        ),
        (
            "routes:\n  - name: a\n    match: {action: []}\n    http: {}",
            "3: routes[0].match.action: must not be empty",
        ),
        (
            "routes:\n  - name: a\n    match: {action: 5}\n    http: {}",
            "3: routes[0].match.action: must be text or a list, not 5",
        ),
        (
            "routes:\n  - name: a\n    match: {action: [5]}\n    http: {}",
            "3: routes[0].match.action[0]: must be text, not 5",
        ),
        (
            "routes:\n  - name: a\n    match: {kind: action}\n    http: {}",
            (
                "3: routes[0].match.kind: must be action_run or node_run or change_event, not 'action' (did you "
                "mean action_run?)"
            ),
        ),
        (
            "routes:\n  - name: a\n    match:\n      when: .a ==\n    http: {}",
            "4: routes[0].match.when: `.a ==`: syntax error, unexpected end of file (column 4)",
        ),
        (
            HEAD + "http: {}\n  - name: b\n    match: {action: x, blueprint: q}\n    http: {}",
            (
                "6: routes[1].match: is never reached: the route 'a' before it (routes.yaml:2) takes all that it "
                "matches (put the narrower route first, or give the earlier one a `when`)"
            ),
        ),
        (HEAD + "process: {}", "4: routes[0].process: `command` is missing (The program)"),
        (HEAD + "process: {command: ./x}", "4: routes[0].process.command: must be a list, not './x'"),
        (HEAD + "process: {command: []}", "4: routes[0].process.command: must not be empty"),
        (HEAD + "process: {command: [a], env: {A: 1}}", "4: routes[0].process.env.A: must be text, not 1"),
        (
            HEAD + "http: {}\n    command: [a]",
            "5: routes[0].command: unknown key `command` (`command` belongs under `process:`)",
        ),
        (
            HEAD + "url: http://x",
            "4: routes[0].url: unknown key `url` (`url` belongs under `http:`)",
        ),
        (
            HEAD + "http: {}\n    when: .inputs.x",
            "5: routes[0].when: unknown key `when` (`when` belongs under `match:`)",
        ),
        (
            HEAD + "http: {}\n    summary: done",
            "5: routes[0].summary: unknown key `summary` (`summary` belongs under `report:`)",
        ),
        (
            HEAD + "http: {key: a}",
            "4: routes[0].http.key: unknown key `key` (`key` belongs to the route itself, beside `http:`)",
        ),
        (
            HEAD + "process: {command: [a], cwd: /}",
            "4: routes[0].process.cwd: unknown key `cwd` (known here: command, env, shell, timeout)",
        ),
        (
            HEAD + "process: {command: [a], shell: off}",
            "4: routes[0].process.shell: must be true or false, not 'off' (write false)",
        ),
        (
            HEAD + "http: {method: PSOT}",
            "4: routes[0].http.method: must be GET or POST, not 'PSOT' (did you mean POST?)",
        ),
        (HEAD + "http: {timeout: {}}", "4: routes[0].http.timeout: must be a number or text, not an object"),
        (HEAD + "http: {retry: 11}", "4: routes[0].http.retry: must be at most 10"),
        (
            HEAD + "http:\n      url: '{{ .name }}'",
            "5: routes[0].http.url: `.name`: nothing here is called `.name` (did you mean `.inputs.name`?)",
        ),
        (
            HEAD + "http: {}\n    key: '{{ .inputs.a + .response.id }}'",
            (
                "5: routes[0].key: `.inputs.a + .response.id`: nothing here is called `.response` (it is there "
                "after the work, so in `report` and `entities` only)"
            ),
        ),
        (
            "routes:\n  - name: a\n    match:\n      when: .payload.kind == 1\n    http: {}",
            (
                "4: routes[0].match.when: `.payload.kind == 1`: nothing here is called `.payload` (did you mean "
                "`.message.payload`?)"
            ),
        ),
        (
            HEAD + "http: {}\n    report: {link: 'x/{{ .respnse.id }}'}",
            (
                "5: routes[0].report.link: `.respnse.id`: nothing here is called `.respnse` (did you mean "
                "`.response`?)"
            ),
        ),
        (
            HEAD + "http: {}\n    entities: [{blueprint: a, when: .output.x}]",
            (
                "5: routes[0].entities[0].when: `.output.x`: nothing here is called `.output` (did you mean "
                "`.outputs`?)"
            ),
        ),
        (
            HEAD + "http:\n      url: '{{ inputs.name }}'",
            (
                "5: routes[0].http.url: `inputs` is not available: an expression sees one message only (write "
                ".inputs.name)"
            ),
        ),
        (
            HEAD + "http:\n      url: '{{ foo }}'",
            "5: routes[0].http.url: `foo`: foo/0 is not defined (column 2) (text needs double quotes)",
        ),
        (
            HEAD + "http:\n      body:\n        a: '{{ env.TOKEN }}'",
            (
                "6: routes[0].http.body.a: `env.TOKEN` is not visible to this route (list TOKEN under the "
                "route's `env:`)"
            ),
        ),
        (HEAD + "http: {}\n    entities: {blueprint: a}", "5: routes[0].entities: must be a list, not an object"),
        (
            HEAD + "http: {}\n    entities: [{identifier: a}]",
            "5: routes[0].entities[0]: `blueprint` is missing (The entity's blueprint)",
        ),
        (
            HEAD + "http: {}\n    entities: [{blueprint: a, verb: delete}]",
            "5: routes[0].entities[0]: `identifier` is missing",
        ),
        (
            HEAD + "http: {}\n    entities: [{blueprint: a, verb: upsret}]",
            (
                "5: routes[0].entities[0].verb: must be upsert or patch or delete, not 'upsret' (did you mean "
                "upsert?)"
            ),
        ),
        (
            HEAD + "http: {}\n    entities: [{blueprint: a, on: sucess}]",
            (
                "5: routes[0].entities[0].on: must be success or failure or always, not 'sucess' (did you mean "
                "success?)"
            ),
        ),
        (
            HEAD + "http: {}\n    entities: [{blueprint: a, identifier: .inputs.name}]",
            (
                "5: routes[0].entities[0].identifier: '.inputs.name' is text here, not an expression (write \"{{ "
                '.inputs.name }}")'
            ),
        ),
        (
            HEAD + "http: {}\n    entities: [{blueprint: a, properties: {p: '{{ .a'}}]",
            (
                "5: routes[0].entities[0].properties.p: a `{{` is never closed by `}}` (a bracket or quote in it "
                'may be open; write {{ "{{" }} where two braces are meant)'
            ),
        ),
        (
            HEAD + "http: {}\n    report: {links: a}",
            "5: routes[0].report.links: unknown key `links` (did you mean link?)",
        ),
        (
            HEAD + "http: {}\n    report: {link: .response.url}",
            (
                "5: routes[0].report.link: '.response.url' is text here, not an expression (write \"{{ "
                '.response.url }}")'
            ),
        ),
        (
            HEAD + "http: {}\n    report: {status: '{{ input }}'}",
            "5: routes[0].report.status: `input` is not available: an expression sees one message only",
        ),
    ],
)
def test_a_mistake_and_how_it_is_told(text: str, expected: str) -> None:
    assert problems(text, {"TOKEN": "x"}) == [f"routes.yaml:{expected}"]


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    text = (
        "routes:\n"
        "  - name: a\n"
        "    match: {actoin: x}\n"
        "    http: {url: 5}\n"
        "    timeout: soon\n"
        "  - name: a\n"
        "    match: {action: x}\n"
        "    http: {url: '{{ foo }} {{ bar }}'}\n"
        "    key: '{{ )'\n"
        "rotues: []\n"
    )
    assert [problem.split(": ")[:2] for problem in problems(text)] == [
        ["routes.yaml:3", "routes[0].match.actoin"],
        ["routes.yaml:4", "routes[0].http.url"],
        ["routes.yaml:5", "routes[0].timeout"],
        ["routes.yaml:6", "routes[1].name"],
        ["routes.yaml:8", "routes[1].http.url"],
        ["routes.yaml:9", "routes[1].key"],
        ["routes.yaml:10", "rotues"],
    ]


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (
            ConfigurationError(Problem("routes", "no such file", "routes[0].http.ca_file", "mount it")),
            "routes.yaml:4: routes[0].http.ca_file: no such file (mount it)",
        ),
        (
            ConfigurationError(Problem("routes[0].http", "a"), Problem("/ca.pem", "unreadable")),
            "routes.yaml:4: routes[0].http: a\nroutes.yaml:4: routes[0].http: /ca.pem: unreadable",
        ),
        (
            ZeroDivisionError("oops"),
            "routes.yaml:4: routes[0].http: the executor 'http' cannot be prepared: ZeroDivisionError: oops",
        ),
    ],
)
def test_what_an_executor_finds_wrong_is_told_with_file_and_line(failure: Exception, expected: str) -> None:
    reader = RoutesReader(FakeExecutors(failure=failure), {})
    with pytest.raises(ConfigurationError) as caught:
        reader.parse((HEAD + "http: {}").encode(), "routes.yaml")
    reader.close()
    assert str(caught.value) == expected
