from collections import Counter, defaultdict, deque

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agent.dispatch.admission import SMALL_BYTES, Admission, Ticket

_BUDGET = 5 * SMALL_BYTES


def ticket(
    name: str,
    *,
    route: str = "r",
    lane: str = "a",
    limit: int | None = None,
    key: str | None = None,
    size_bytes: int = 10,
) -> Ticket[str]:
    return Ticket(name, (route, lane), route, limit, key, size_bytes)


def admission(slots: int, max_waiting: int = 1000) -> Admission[str]:
    return Admission(slots, max_waiting=max_waiting, max_waiting_bytes=10_000, max_running_bytes=_BUDGET)


def has_room(room: Admission[str]) -> bool:
    return room.has_room


def admitted(room: Admission[str]) -> list[str]:
    names = []
    while (one := room.admit()) is not None:
        names.append(one.item)
    return names


def test_a_flood_of_one_action_delays_another_by_one_turn() -> None:
    room = admission(slots=1)
    for index in range(10_000):
        room.offer(ticket(f"flood-{index}", lane="flood"))
    first = room.admit()
    assert first is not None
    room.offer(ticket("quiet", lane="quiet"))
    room.release(first)
    second = room.admit()
    assert second is not None
    room.release(second)
    third = room.admit()
    assert third is not None
    assert "quiet" in {second.item, third.item}


def test_where_there_is_only_one_lane_it_has_all_slots() -> None:
    room = admission(slots=20)
    for index in range(30):
        room.offer(ticket(f"{index}"))
    assert len(admitted(room)) == 20


def test_where_there_are_more_a_flood_that_hangs_leaves_others_a_way() -> None:
    room = admission(slots=20)
    quiet = ticket("quiet", lane="quiet")
    room.offer(quiet)
    assert admitted(room) == ["quiet"]
    room.release(quiet)
    flood = [ticket(f"flood-{index}", lane="flood") for index in range(30)]
    for one in flood:
        room.offer(one)
    assert len(admitted(room)) == 18
    for index in range(3):
        room.offer(ticket(f"other-{index}", lane="other"))
    assert admitted(room) == ["other-0", "other-1"]


def test_a_lane_whose_next_is_not_ready_is_passed_over() -> None:
    room = admission(slots=5)
    for name in ("not yet", "behind it"):
        room.offer(ticket(name, lane="a"))
    room.offer(ticket("ready", lane="b"))
    one = room.admit(lambda item: item != "not yet")
    assert one is not None
    assert one.item == "ready"
    assert room.admit(lambda item: item != "not yet") is None
    assert admitted(room) == ["not yet", "behind it"]


def test_few_slots_are_for_everybody() -> None:
    room = admission(slots=3)
    for name in ("a", "b", "c"):
        room.offer(ticket(name, lane="flood"))
    room.offer(ticket("quiet", lane="quiet"))
    assert len(admitted(room)) == 3


def test_runs_of_one_key_go_one_after_another_in_their_order() -> None:
    room = admission(slots=10)
    tickets = [ticket(str(i), key="same") for i in range(3)]
    for one in tickets:
        room.offer(one)
    room.offer(ticket("other", key="other"))
    assert sorted(admitted(room)) == ["0", "other"]
    room.release(tickets[0])
    assert admitted(room) == ["1"]
    room.release(tickets[1])
    assert admitted(room) == ["2"]


def test_a_route_at_its_limit_does_not_hold_up_others() -> None:
    room = admission(slots=10)
    limited = [ticket(f"l{i}", route="limited", limit=1) for i in range(3)]
    for one in limited:
        room.offer(one)
    room.offer(ticket("free", route="free"))
    assert sorted(admitted(room)) == ["free", "l0"]
    assert room.running == 2
    room.release(limited[0])
    assert admitted(room) == ["l1"]


def test_the_waiting_room_is_bounded_by_number_and_by_bytes() -> None:
    room = admission(slots=1, max_waiting=2)
    room.offer(ticket("1"))
    assert has_room(room)
    room.offer(ticket("2"))
    assert not has_room(room)
    room.admit()
    assert has_room(room)
    big = Admission[str](1, max_waiting=100, max_waiting_bytes=15, max_running_bytes=1)
    big.offer(ticket("1"))
    big.offer(ticket("2"))
    assert not has_room(big)


def test_large_messages_are_bounded_by_their_bytes_and_small_ones_by_slots_alone() -> None:
    room = admission(slots=50)
    large = [ticket(f"large-{index}", lane="large", size_bytes=2 * SMALL_BYTES) for index in range(4)]
    for one in large:
        room.offer(one)
    for index in range(20):
        room.offer(ticket(f"small-{index}", lane="small", size_bytes=SMALL_BYTES))
    running = admitted(room)
    assert [name for name in running if name.startswith("large")] == ["large-0", "large-1"]
    assert len(running) == 22
    room.release(large[0])
    assert admitted(room) == ["large-2"]


def test_a_message_beyond_the_budget_has_it_to_itself() -> None:
    room = admission(slots=50)
    huge = [ticket(f"huge-{index}", size_bytes=2 * _BUDGET) for index in range(2)]
    for one in huge:
        room.offer(one)
    assert admitted(room) == ["huge-0"]
    room.release(huge[0])
    assert admitted(room) == ["huge-1"]


def test_bytes_that_become_free_are_for_the_large_one_whose_turn_it_was() -> None:
    """Else one that wants many would wait for as long as others come that want fewer."""
    room = admission(slots=50)
    fewer = [ticket(f"fewer-{index}", lane="fewer", size_bytes=2 * SMALL_BYTES) for index in range(9)]
    for one in fewer[:2]:
        room.offer(one)
    assert len(admitted(room)) == 2
    room.offer(ticket("more", lane="more", size_bytes=4 * SMALL_BYTES))
    for one in fewer[2:]:
        room.offer(one)
    for index in range(3):
        room.offer(ticket(f"small-{index}", lane="small"))
        assert admitted(room) == [f"small-{index}"]  # which goes through the turns of all lanes
    room.release(fewer[0])
    assert admitted(room) == []
    room.release(fewer[1])
    assert admitted(room) == ["more"]


def test_a_large_one_that_may_not_start_for_another_reason_leaves_the_bytes_to_others() -> None:
    room = admission(slots=50)
    first = ticket("first", lane="a", size_bytes=4 * SMALL_BYTES)
    room.offer(first)
    assert admitted(room) == ["first"]
    room.offer(ticket("second", lane="b", size_bytes=4 * SMALL_BYTES))
    assert admitted(room) == []
    room.release(first)
    room.offer(ticket("third", lane="c", size_bytes=4 * SMALL_BYTES))
    one = room.admit(lambda item: item != "second")
    assert one is not None
    assert one.item == "third"


def test_what_is_withdrawn_waits_for_no_bytes() -> None:
    room = admission(slots=50)
    first = ticket("first", lane="a", size_bytes=3 * SMALL_BYTES)
    for one in (first, ticket("second", lane="b", size_bytes=4 * SMALL_BYTES)):
        room.offer(one)
    assert admitted(room) == ["first"]
    room.withdraw()  # of "second", which wanted more bytes than are left
    room.offer(ticket("third", lane="c", size_bytes=SMALL_BYTES + 1))
    assert admitted(room) == ["third"]


def test_what_waits_for_a_slot_is_told_from_what_waits_for_anything_else() -> None:
    """Of more slots, here or elsewhere, only the former would have anything."""
    room = admission(slots=4)
    for one in (ticket("first", route="one-key", key="k"), ticket("second", route="narrow", limit=1)):
        room.offer(one)
    parked = ticket("third", route="asked")
    room.offer(parked)
    assert len(admitted(room)) == 3
    room.park(parked)
    for index in range(10):
        room.offer(ticket(f"behind-{index}", route="one-key", key="k"))
        room.offer(ticket(f"limited-{index}", route="narrow", lane=f"{index}", limit=1))
    assert (room.waiting, room.waiting_for_slot()) == (21, 0)
    wider = [ticket(f"wider-{index}", route="wide", lane=f"{index}", limit=3) for index in range(5)]
    for one in wider:
        room.offer(one)
    assert room.waiting_for_slot() == 3
    assert len(admitted(room)) == 2
    assert room.waiting_for_slot() == 1
    for index in range(5):
        room.offer(ticket(f"free-{index}", route="free"))
    assert room.waiting_for_slot() == 6
    assert room.waiting_for_slot(lambda name: not name.startswith("free")) == 1


def test_a_flood_that_has_its_share_waits_for_slots_though_some_are_free() -> None:
    room = admission(slots=10)
    for index in range(30):
        room.offer(ticket(f"{index}", lane="flood"))
    quiet = ticket("quiet", lane="quiet")
    room.offer(quiet)
    assert len(admitted(room)) == 10
    room.release(quiet)
    assert (room.running, room.waiting_for_slot()) == (9, 21)


def test_withdrawing_leaves_what_runs_with_its_key() -> None:
    room = admission(slots=2)
    running = ticket("running", key="k")
    room.offer(running)
    assert admitted(room) == ["running"]
    waiting = [ticket("a"), ticket("b", key="k"), ticket("c", key="z"), ticket("d", key="k"), ticket("e", key="z")]
    for one in waiting:
        room.offer(one)
    assert {t.item for t in room.withdraw()} == {"a", "b", "c", "d", "e"}
    assert (room.waiting, room.running) == (0, 1)
    for one in (ticket("f", key="k"), ticket("g", key="z")):
        room.offer(one)
    assert admitted(room) == ["g"]
    room.release(running)
    assert admitted(room) == ["f"]


def test_a_parked_run_leaves_its_slot_and_keeps_its_key() -> None:
    room = admission(slots=1)
    parked, behind = ticket("parked", key="k"), ticket("behind", key="k")
    for one in (parked, behind, ticket("free")):
        room.offer(one)
    assert admitted(room) == ["parked"]
    room.park(parked)
    assert (room.waiting, room.running) == (3, 0)
    assert admitted(room) == ["free"]
    room.unpark(parked)
    room.unpark(parked)  # it waits already
    assert room.waiting == 2


def test_a_parked_run_that_was_withdrawn_does_not_come_back() -> None:
    room = admission(slots=1)
    parked = ticket("parked", key="k")
    room.offer(parked)
    assert admitted(room) == ["parked"]
    room.park(parked)
    assert room.withdraw() == [parked]
    room.unpark(parked)
    assert room.admit() is None
    room.offer(ticket("next", key="k"))
    assert admitted(room) == ["next"]


class AdmissionMachine(RuleBasedStateMachine):
    """Any order of arrivals and ends, against the promises of the docstring."""

    @initialize(slots=st.integers(1, 6))
    def open_room(self, slots: int) -> None:
        self.slots = slots
        self.room = admission(slots)
        self.count = 0
        self.running: list[Ticket[str]] = []
        self.waiting: list[Ticket[str]] = []
        self.parked: list[Ticket[str]] = []
        self.order: dict[str, deque[str]] = defaultdict(deque)
        self.lanes: set[object] = set()

    @rule(
        route=st.sampled_from([("r1", 1), ("r2", 2), ("r3", None)]),
        lane=st.sampled_from("ab"),
        key=st.sampled_from([None, "k1", "k2"]),
        size_bytes=st.sampled_from([10, SMALL_BYTES + 1, 3 * SMALL_BYTES, 2 * _BUDGET]),
    )
    def arrive(self, route: tuple[str, int | None], lane: str, key: str | None, size_bytes: int) -> None:
        self.count += 1
        one = ticket(str(self.count), route=route[0], lane=lane, limit=route[1], key=key, size_bytes=size_bytes)
        self.room.offer(one)
        self.lanes.add(one.lane)
        self.waiting.append(one)
        if key is not None:
            self.order[key].append(one.item)

    @rule()
    def start(self) -> None:
        while (one := self.room.admit()) is not None:
            self.waiting.remove(one)
            self.running.append(one)
            if one.key is not None:
                assert self.order[one.key][0] == one.item, "a key's runs start in their order"
        # Nobody who may start is left waiting.
        routes = Counter(t.route for t in self.running)
        with_more, for_slot = routes.copy(), 0
        held_up = [self.is_held_up(one) for one in self.waiting]
        # A large one that wants more bytes than are free holds up other large ones, and its own lane.
        for_bytes = [
            t for t, held in zip(self.waiting, held_up, strict=True) if t.size_bytes > SMALL_BYTES and not held
        ]
        for_bytes = [t for t in for_bytes if not self.fits(t)]
        for one, held in zip(self.waiting, held_up, strict=True):
            is_full = len(self.running) == self.slots
            lacks_bytes = bool(for_bytes) and one.size_bytes > SMALL_BYTES
            lacks_bytes = lacks_bytes or any(t.lane == one.lane for t in for_bytes)
            assert held or is_full or lacks_bytes, f"{one} waits without a reason"
            if not self.is_behind(one) and (one.limit is None or with_more[one.route] < one.limit):
                with_more[one.route] += 1
                for_slot += 1
        assert self.room.waiting_for_slot() == for_slot

    def is_behind(self, one: Ticket[str]) -> bool:
        """Behind another one of its key."""
        keys = {t.key for t in self.running + self.parked}
        return one.key is not None and (
            one.key in keys or next(t for t in self.waiting if t.key == one.key) is not one
        )

    def is_held_up(self, one: Ticket[str]) -> bool:
        """For another reason than slots or bytes."""
        at_limit = one.limit is not None and sum(t.route == one.route for t in self.running) >= one.limit
        beside = sum(t.lane == one.lane for t in self.running)
        has_its_share = self.slots >= 4 and len(self.lanes) > 1 and beside >= self.slots - 1
        return at_limit or self.is_behind(one) or has_its_share

    def fits(self, one: Ticket[str]) -> bool:
        used = sum(t.size_bytes for t in self.running if t.size_bytes > SMALL_BYTES)
        return used == 0 or used + one.size_bytes <= _BUDGET

    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        if self.running:
            one = data.draw(st.sampled_from(self.running))
            self.running.remove(one)
            self.room.release(one)
            if one.key is not None:
                self.order[one.key].popleft()

    @rule(data=st.data())
    def park(self, data: st.DataObject) -> None:
        if self.running:
            one = data.draw(st.sampled_from(self.running))
            self.running.remove(one)
            self.parked.append(one)
            self.room.park(one)

    @rule(data=st.data())
    def unpark(self, data: st.DataObject) -> None:
        if self.parked:
            one = data.draw(st.sampled_from(self.parked))
            self.parked.remove(one)
            self.waiting.insert(0, one)
            self.room.unpark(one)

    @rule()
    def withdraw(self) -> None:
        assert {t.item for t in self.room.withdraw()} == {t.item for t in self.waiting + self.parked}
        self.waiting.clear()
        self.parked.clear()
        running = {t.item for t in self.running}
        for key, queue in self.order.items():
            self.order[key] = deque(item for item in queue if item in running)

    @invariant()
    def bounds_hold(self) -> None:
        if not hasattr(self, "room"):
            return
        assert self.room.running == len(self.running) <= self.slots
        assert self.room.waiting == len(self.waiting) + len(self.parked)
        large = [t.size_bytes for t in self.running if t.size_bytes > SMALL_BYTES]
        assert len(large) < 2 or sum(large) <= _BUDGET
        for name, used in Counter(t.route for t in self.running).items():
            limit = next(t.limit for t in self.running if t.route == name)
            assert limit is None or used <= limit
        keys = [t.key for t in self.running + self.parked if t.key is not None]
        assert len(keys) == len(set(keys)), "two runs of one key at once"


TestAdmissionMachine = AdmissionMachine.TestCase
