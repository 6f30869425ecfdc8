"""Ctrl-C and SIGTERM: granted between steps, the second one at once, and the old handlers come back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
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


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
def test_a_closed_terminal_is_a_stop_unless_it_is_to_be_ignored(monkeypatch):
    """Work since the last save was lost where ssh was cut; what nohup starts goes on."""
    left = []
    monkeypatch.setattr("tools.running.stop_request._leave_terminal", lambda: left.append(True))
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may be under nohup
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert (stop.is_requested, stop.exit_code, left) == (True, 128 + signal.SIGHUP, [True])
            os.kill(os.getpid(), signal.SIGHUP)  # of the shell, and of the kernel
            assert not stop.at_once
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.is_requested
    finally:
        signal.signal(signal.SIGHUP, before)


CLOSED = """
import os, pty, signal, sys, time
from tools.running.stop_request import StopRequest
child, terminal = pty.fork()
if child == 0:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with StopRequest() as stop:
        print("ready", flush=True)
        for _ in range(200):
            time.sleep(0.05)
            if stop.is_requested:
                print("said to nobody", flush=True)
                os._exit(stop.exit_code)
    os._exit(9)
while b"ready" not in os.read(terminal, 99):
    pass
os.close(terminal)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
def test_what_is_said_when_the_terminal_is_gone_is_no_error():
    done = subprocess.run([sys.executable, "-c", CLOSED], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split()[-1] == str(128 + signal.SIGHUP), done.stderr


def test_between_two_items_a_stop_is_granted():
    seen = []
    with StopRequest() as stop, pytest.raises(KeyboardInterrupt):
        for item in stop.between("abc"):
            seen.append(item)
            os.kill(os.getpid(), signal.SIGINT)
    assert seen == ["a"]
