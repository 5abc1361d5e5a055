import errno
import socket
from types import SimpleNamespace

import pytest

from tangka_match.errors import ConfigError
from tangka_match.training import process_launcher
from tangka_match.training.process_launcher import check_main_port


def settings(devices=2, num_nodes=1):
    return SimpleNamespace(devices=devices, num_nodes=num_nodes)


@pytest.fixture
def taken(monkeypatch):
    """Let another program listen at MASTER_PORT."""
    with socket.socket() as listener:
        listener.bind(("", 0))
        listener.listen()
        monkeypatch.setenv("MASTER_PORT", str(listener.getsockname()[1]))
        yield listener.getsockname()[1]


def test_taken_port_is_refused(taken):
    with pytest.raises(ConfigError, match=rf"MASTER_PORT={taken}: .*another run has it: .* or unset it"):
        check_main_port(settings())


@pytest.mark.parametrize("port", ["", "29500x", "-1", "99999"])
def test_value_that_is_no_port_is_refused(monkeypatch, port):
    monkeypatch.setenv("MASTER_PORT", port)
    with pytest.raises(ConfigError, match=f"MASTER_PORT='?{port}"):
        check_main_port(settings())


def test_free_port_is_accepted(monkeypatch):
    with socket.socket() as probe:
        probe.bind(("", 0))
        monkeypatch.setenv("MASTER_PORT", str(probe.getsockname()[1]))
    check_main_port(settings())


def test_port_is_checked_on_a_machine_without_ipv6(monkeypatch, taken):
    class Ipv4Only(socket.socket):
        def __init__(self, family=socket.AF_INET, *args):
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            super().__init__(family, *args)

    monkeypatch.setattr(socket, "socket", Ipv4Only)
    with pytest.raises(ConfigError, match=f"MASTER_PORT={taken}: "):
        check_main_port(settings())


@pytest.mark.usefixtures("taken")
def test_single_process_needs_no_port():
    check_main_port(settings(devices=1))


@pytest.mark.usefixtures("taken")
@pytest.mark.parametrize(("name", "value"), [("launcher", "torchrun"), ("is_main_process", False)])
def test_port_that_this_process_does_not_open_is_not_checked(monkeypatch, name, value):
    monkeypatch.setattr(process_launcher, name, lambda: value)
    check_main_port(settings())


@pytest.mark.usefixtures("taken")
def test_port_of_another_node_is_not_checked(monkeypatch):
    monkeypatch.setenv("NODE_RANK", "1")
    check_main_port(settings(num_nodes=2))
