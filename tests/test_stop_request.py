"""Ctrl-C and SIGTERM: granted between steps, the second one at once, and the old handlers come back."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from tools.running.stop_request import StopRequest


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_waits_for_the_check(number, code, capsys):
    with StopRequest() as stop:
        stop.check()
        os.kill(os.getpid(), number)
        assert stop.exit_code == code
        with pytest.raises(KeyboardInterrupt):
            stop.check()
    assert "stopping after this step" in capsys.readouterr().err


def test_the_second_signal_stops_at_once():
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert not stop.at_once
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.at_once


def test_the_handlers_that_were_there_come_back():
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_outside_the_main_thread_it_does_nothing():
    raised = []

    def work() -> None:
        try:
            with StopRequest() as stop:
                stop.check()
        except ValueError as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not raised
