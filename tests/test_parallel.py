"""Work on many items: in order, bounded, and stopped where nobody waits for it any more."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speakerdb import settings
from speakerdb.encoder.parallel import AHEAD, Stopped, in_order


@given(st.lists(st.floats(0.0, 0.002), max_size=30))
def test_results_come_in_the_order_of_the_items(waits):
    def work(item, go_on):
        number, wait = item
        time.sleep(wait)
        return number

    assert [future.result() for future in in_order(work, enumerate(waits))] == list(range(len(waits)))


def test_an_error_comes_with_its_own_item_and_the_others_go_on():
    found = list(in_order(lambda item, go_on: 1 / item, [1, 0, 2]))
    assert [future.exception() is None for future in found] == [True, False, True]
    with pytest.raises(ZeroDivisionError):
        found[1].result()


def test_no_more_items_are_taken_than_are_under_way():
    taken = []

    def items():
        for number in range(1_000):
            taken.append(number)
            yield number

    results = in_order(lambda item, go_on: item, items())
    for number in range(5):
        assert next(results).result() == number
        assert len(taken) <= number + 2 + AHEAD * settings.threads()


def test_what_is_under_way_is_told_to_stop_when_nobody_waits_for_it():
    began, ended = threading.Event(), []

    def work(item, go_on):
        if item == 0:
            return item
        began.set()
        try:
            while True:  # a recording of hours
                go_on(1.0, None)
                time.sleep(0.001)
        except Stopped:
            ended.append(item)
            raise

    results = in_order(work, range(100))
    if settings.threads() > 1:
        assert next(results).result() == 0
        began.wait(10)
    results.close()  # hangs where the work is not told
    assert len(ended) <= settings.threads()
