"""Which test or program shows each row of the reliability table. Read it as the table's index."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = {
    1: ["tests/faults/test_bank_faults.py::test_row_1_redis_stands_still", "loadtests/faults/outage.py::outage"],
    2: [
        "tests/faults/test_bank_faults.py::test_row_2_redis_comes_back_empty",
        "tests/faults/test_bank_faults.py::test_row_2_flushall",
        "tests/scoring/test_replica.py::test_a_lost_bank_is_replaced_by_the_replica",
    ],
    3: [
        "tests/faults/test_bank_faults.py::test_row_3_paused_and_killed_connections",
        "tests/faults/test_bank_faults.py::test_row_3_replies_that_are_late_swallowed_sliced_or_cut",
        "tests/faults/test_bank_faults.py::test_row_3_damaged_replies",
        "tests/bank/backends/redis/test_connection.py::test_a_reply_that_comes_late_answers_nobody_else",
    ],
    4: [
        "tests/faults/test_bank_faults.py::test_row_4_cancelled_lookups_give_everything_back",
        "loadtests/faults/lookups.py::storm",
    ],
    5: ["tests/bank/test_interrupted.py::test_redis_out_of_memory"],
    6: [
        "tests/bank/test_interrupted.py::test_a_killed_publisher_leaves_the_active_release",
        "tests/bank/test_publishers.py::test_readers_see_all_old_or_all_new",
    ],
    8: [
        "tests/service/http/test_draining.py::test_no_request_is_lost_between_sigterm_and_readiness",
        "tests/service/test_server.py::test_request_in_flight_at_sigterm_is_answered",
    ],
    9: ["tests/faults/test_overload.py::test_row_9_more_than_can_be_borne", "loadtests/faults/overload.py::overload"],
    10: ["tests/faults/test_schemathesis.py::test_row_10_no_findings"],
    11: [
        "tests/bank/test_histories.py::test_any_history_on_lmdb",
        "tests/bank/test_histories.py::test_any_history_on_redis",
    ],
    12: ["loadtests/faults/soak.py::main"],
    13: [
        "tests/models/recommenders/test_dcn_graph.py::test_torch_plain_and_folded_agree",
        "tests/faults/test_one_score.py::test_row_13_the_served_score_is_that_of_the_network",
    ],
    14: [
        "tests/faults/test_overload.py::test_row_14_bodies_made_to_hurt",
        "tests/faults/test_overload.py::test_row_14_clients_that_never_finish",
        "tests/service/routes/test_bad_requests.py::test_malformed_body_gets_400",
    ],
}


@pytest.mark.parametrize("row", ROWS)
def test_the_index_is_true(row: int) -> None:
    """Every function that is named is there."""
    for name in ROWS[row]:
        file, _, function = name.partition("::")
        text = (ROOT / file).read_text(encoding="utf-8")
        assert re.search(rf"^def {function}\(", text, re.MULTILINE), f"row {row}: {name}"
