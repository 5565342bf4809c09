"""How much of a file is read is told to who asks for it, and to nobody else."""

import threading

import pytest

from tune_digits.data.files.progress import tell, telling


def test_a_listener_hears_what_is_told_within_its_block():
    heard, outer = [], []
    tell("a.csv", 0.1)
    with telling(lambda *told: outer.append(told)):
        tell("a.csv", 0.2)
        with telling(lambda *told: heard.append(told)):
            tell("a.csv", 0.5)
            tell("b.csv", 1.0)
        with telling(None):
            tell("a.csv", 0.6)
        tell("a.csv", 0.7)
    tell("a.csv", 0.8)
    assert heard == [("a.csv", 0.5), ("b.csv", 1.0)] and outer == [("a.csv", 0.2), ("a.csv", 0.7)]


def test_an_error_ends_the_block_too():
    heard = []
    with pytest.raises(ZeroDivisionError), telling(lambda *told: heard.append(told)):
        tell("a.csv", 1 / 0)
    tell("a.csv", 1.0)
    assert heard == []


def test_readers_in_other_threads_have_listeners_of_their_own():
    heard = []
    with telling(lambda *told: heard.append(told)):
        thread = threading.Thread(target=tell, args=("a.csv", 0.5))
        thread.start()
        thread.join()
    assert heard == []
