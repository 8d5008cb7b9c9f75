import pytest

from agent.domain.errors import (
    AgentError,
    ConfigurationError,
    DecryptionError,
    EntityRefusedError,
    Problem,
    TemplateError,
)


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (Problem("PORT_ORG_ID", "is missing"), "PORT_ORG_ID: is missing"),
        (
            Problem("routes.yaml:7", "is no list", "routes[0].process.command", "one argument per item"),
            "routes.yaml:7: routes[0].process.command: is no list (one argument per item)",
        ),
        (Problem("routes.yaml", "is empty", hint="see the README"), "routes.yaml: is empty (see the README)"),
    ],
)
def test_a_problem_says_where_what_and_how_to_mend_it(problem: Problem, line: str) -> None:
    assert str(problem) == line


def test_a_configuration_error_carries_every_problem() -> None:
    first, second = Problem("A", "is wrong"), Problem("B", "is missing")
    error = ConfigurationError(first, second)
    assert error.problems == (first, second)
    assert str(error) == "A: is wrong\nB: is missing"


@pytest.mark.parametrize("kind", [ConfigurationError, TemplateError, DecryptionError, EntityRefusedError])
def test_every_error_of_ours_is_an_agent_error(kind: type[Exception]) -> None:
    assert issubclass(kind, AgentError)
