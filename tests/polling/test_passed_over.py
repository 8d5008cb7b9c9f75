"""What is not for us: for how long it is left out of claims, and when others ask first."""

from __future__ import annotations

from agent.domain.invocation import InvocationKind, RunId
from agent.polling.passed_over import PassedOver

ACTION, NODE = InvocationKind.ACTION_RUN, InvocationKind.NODE_RUN
FIRST, SECOND = RunId("r_1"), RunId("r_2")


def test_each_is_left_out_for_five_minutes_from_when_it_was_passed_over_last() -> None:
    passed_over = PassedOver()
    passed_over.add(ACTION, FIRST, 60.0, now_s=0.0)
    passed_over.add(NODE, SECOND, 160.0, now_s=100.0)
    assert passed_over.left_out(299.0) == [FIRST, SECOND]
    passed_over.add(ACTION, FIRST, 210.0, now_s=150.0)
    assert passed_over.left_out(399.0) == [SECOND, FIRST]
    assert passed_over.left_out(400.0) == [FIRST]
    assert not passed_over.has(NODE, SECOND, 460.0)
    assert passed_over.has(ACTION, FIRST, 460.0)
    assert passed_over.left_out(450.0) == []


def test_of_many_the_last_thousand_are_left_out() -> None:
    passed_over = PassedOver()
    names = [RunId(f"r_{number}") for number in range(1001)]
    for name in names:
        passed_over.add(ACTION, name, 60.0, now_s=0.0)
    assert passed_over.left_out(0.0) == names[1:]


def test_others_ask_first_for_nodes_once_our_claims_on_them_have_ended() -> None:
    passed_over = PassedOver()
    passed_over.add(NODE, FIRST, 60.0, now_s=0.0)
    passed_over.add(NODE, SECOND, 70.0, now_s=0.0)
    assert passed_over.others_first_until_s(59.0, for_s=12.0) is None
    assert passed_over.others_first_until_s(60.0, for_s=12.0) == 72.0
    assert passed_over.others_first_until_s(70.0, for_s=12.0) == 82.0
    assert passed_over.others_first_until_s(82.0, for_s=12.0) is None


def test_a_node_that_we_are_given_again_is_hidden_again_and_an_actions_run_never() -> None:
    passed_over = PassedOver()
    passed_over.add(NODE, FIRST, 60.0, now_s=0.0)
    passed_over.add(ACTION, SECOND, 60.0, now_s=0.0)
    assert passed_over.has(NODE, FIRST, 130.0)
    assert passed_over.others_first_until_s(65.0, for_s=12.0) is None
    assert passed_over.others_first_until_s(131.0, for_s=12.0) == 142.0
    assert not passed_over.has(NODE, RunId("r_3"), 160.0)
    assert passed_over.others_first_until_s(161.0, for_s=12.0) is None
