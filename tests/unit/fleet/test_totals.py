"""Hidden counts in figures: whatever a site hides, the true number lies between the ends."""

from hiding import hide_parts
from hypothesis import given
from hypothesis import strategies as st

from fleet_maker import candidate, midnight, model_window, window
from pneumoscope.fleet.messages import Agreement, Answer, Histogram
from pneumoscope.fleet.totals import alone, totals, whole_of, within

COUNTS = st.lists(st.integers(0, 60), min_size=4, max_size=4)


@given(COUNTS)
def test_what_a_table_hides_lies_between_the_ends(counts: list[int]) -> None:
    hidden = list(hide_parts(dict(enumerate(counts))).values())
    for true, one in zip(counts, within(sum(counts), hidden), strict=True):
        assert one.least <= true <= one.most
        assert one.least <= one.likely <= one.most


def test_two_hidden_cells_share_what_is_left_and_the_usual_one_has_most_of_it() -> None:
    categories = {Answer.SIGN: None, Answer.NO_SIGN: None}
    (row,) = totals(window(midnight(), model_window(read=42, categories=categories)))
    assert (row["sign"], row["sign_most"], row["sign_likely"]) == (1, 41, 2)
    few = {Answer.SIGN: None, Answer.INDETERMINATE: None, Answer.NO_SIGN: 38}
    (row,) = totals(window(midnight(), model_window(read=42, categories=few)))
    assert (row["sign"], row["sign_most"], row["sign_likely"]) == (1, 3, 2)


def test_a_total_that_is_hidden_follows_from_its_parts() -> None:
    (row,) = totals(window(midnight(), model_window(read=50, failed={"reader-crashed": None}), studies=None))
    assert (row["studies"], row["studies_most"]) == (51, 54)
    (row,) = totals(window(midnight(), model_window(agreement=Agreement(answers=None, agreed=30))))
    assert (row["answers"], row["answers_most"], row["agreed_likely"]) == (31, 40, 30)
    (row,) = totals(window(midnight(), model_window(agreement=Agreement(answers=30, agreed=None))))
    assert (row["agreed"], row["agreed_most"], row["agreed_likely"]) == (1, 29, 28)


def test_answers_that_are_hidden_altogether_are_in_no_sum() -> None:
    (row,) = totals(window(midnight(), model_window(agreement=Agreement(answers=None, agreed=None))))
    assert (row["answers"], row["answers_most"], row["agreed_most"]) == (0, 0, 0)


def test_a_window_without_readings_counts_its_studies() -> None:
    (row,) = totals(window(midnight(), studies=7).model_copy(update={"models": ()}))
    assert (row["studies"], row["number"], row["model"]) == (7, 0, "")


def test_scores_of_a_candidate_are_compared_by_the_middles_of_bins() -> None:
    first, second = totals(window(midnight(), model_window(), candidate(pairs=100, same=95)))
    assert (first["studies"], first["differences"]) == (40, 0)
    assert (second["pairs"], second["same"], second["difference_sum"], second["differences"]) == (100, 95, 0.0, 100)
    assert alone(None) == (1, 4, 2)


def test_a_hidden_number_of_readings_follows_from_the_tables_it_is_in() -> None:
    hidden = {Answer.SIGN: None, Answer.NO_SIGN: None}
    one = model_window(read=40).model_copy(update={"read": None, "categories": hidden})
    (row,) = totals(window(midnight(), one, studies=None))
    assert row["read"] <= 40 <= row["read_most"] <= 44
    assert row["studies"] <= 40 <= row["studies_most"] <= 44
    assert row["sign_likely"] == 2
    found = whole_of(([None, None], [None, 30, 6], [0, None, 41]))
    assert found is not None
    assert found.least == 42


def test_a_window_that_hides_everything_is_in_no_sum_and_is_counted() -> None:
    assert whole_of(([None], [0, None])) is None
    bins = {"score": (None,) * 10, "involved_percent": (None,) * 7, "reading_s": (None,) * 7}
    nothing = {name: Histogram(bins=cells) for name, cells in bins.items()}
    one = model_window(read=40).model_copy(update={"read": None, "categories": {Answer.SIGN: None}, **nothing})
    (row,) = totals(window(midnight(), one, studies=None))
    assert (row["untold"], row["studies"], "read" in row) == (1, 0, False)
