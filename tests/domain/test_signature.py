from hypothesis import given
from hypothesis import strategies as st

from agent.domain.signature import signature_of

SECRET = "cS9Qz1TestOnlyClientSecret0123456789abcdefXYZ"
TEXT = '{"action":"Create","context":{"runId":"r_1"},"payload":{"properties":{"name":"Grüße"}},"headers":{}}'
VALUE = "v1,SztGR+NhCrdppy15Zx+kwzjQMB7l4aKT8s4liMDG85k="


def test_the_vector_that_node_gives() -> None:
    assert signature_of(TEXT.encode(), "1713277889", SECRET) == VALUE


@given(st.binary(), st.text(), st.text())
def test_body_timestamp_and_secret_all_count(body: bytes, timestamp: str, secret: str) -> None:
    given = (TEXT.encode(), "1713277889", SECRET)
    for changed in [(body, *given[1:]), (given[0], timestamp, given[2]), (*given[:2], secret)]:
        assert (signature_of(*changed) == VALUE) == (changed == given)
