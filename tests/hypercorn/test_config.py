"""Hypercorn's configuration with our defaults: sockets, TLS, and wrong settings."""

import gc
import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import hypercorn.config
import pytest
import trustme

from wsnursery.hypercorn import Config, DeploymentError
from wsnursery.hypercorn._config import bind, check_tls

LINUX = hasattr(socket, "TCP_USER_TIMEOUT")


@contextmanager
def bound(config: hypercorn.config.Config) -> Iterator[list[socket.socket]]:
    sockets = bind(config)
    listeners = [*sockets.secure_sockets, *sockets.insecure_sockets]
    try:
        yield listeners
    finally:
        for listener in listeners:
            listener.close()


def configured(cls: type[hypercorn.config.Config] = Config, /, **settings: Any) -> Any:
    return cls.from_mapping({"bind": ["127.0.0.1:0"], **settings})


@pytest.mark.skipif(not LINUX, reason="TCP_USER_TIMEOUT is Linux's")
@pytest.mark.parametrize(("seconds", "milliseconds"), [(30.0, 30000), (0.5, 500), (None, 0)])
def test_a_peer_that_vanishes_is_given_up(seconds: float | None, milliseconds: int) -> None:
    with bound(configured(tcp_user_timeout=seconds)) as (listener,):
        limit = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        assert limit == milliseconds
        listener.listen()
        with socket.create_connection(listener.getsockname()):
            listener.setblocking(True)
            accepted, _ = listener.accept()
            with accepted:
                limit = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
                assert limit == milliseconds


def test_where_the_system_has_no_such_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "TCP_USER_TIMEOUT", raising=False)
    with bound(configured()) as (listener,):
        assert listener.getsockname()[1]


def test_other_sockets_have_no_such_option(tmp_path: Path) -> None:
    with bound(configured(bind=f"unix:{tmp_path / 'socket'}")) as (listener,):
        assert listener.family is socket.AF_UNIX


def test_one_of_hypercorns_own_is_bound_too() -> None:
    with bound(configured(hypercorn.config.Config)) as (listener,):
        assert listener.getsockname()[1]


# The socket that Hypercorn could not bind is closed when its traceback is freed.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("cls", [Config, hypercorn.config.Config])
def test_what_cannot_be_listened_on(cls: type[hypercorn.config.Config], tmp_path: Path) -> None:
    def refusal(address: str) -> str:
        with pytest.raises(DeploymentError) as caught:
            bind(configured(cls, bind=[address]))
        sentence = str(caught.value)
        assert sentence.startswith(f"cannot listen on {address}: ")
        return sentence

    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "Address already in use" in refusal(f"127.0.0.1:{taken.getsockname()[1]}")
    assert "No such file or directory" in refusal(f"unix:{tmp_path / 'missing' / 'socket'}")
    assert "port must be 0-65535" in refusal("127.0.0.1:70000")
    assert "invalid literal" in refusal("fd://x")
    assert "Bad file descriptor" in refusal("fd://1000")
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as datagrams:
        copy = os.dup(datagrams.fileno())  # Hypercorn makes a socket of it, and does not close it
        assert "Unexpected socket type" in refusal(f"fd://{copy}")
    gc.collect()


def test_a_file_has_all_settings(tmp_path: Path) -> None:
    path = tmp_path / "hypercorn.toml"
    path.write_text('bind = "unix:/run/app.sock"\nworkers = 2\ndrain_timeout = 5.5\n')
    for name in (path, str(path), bytes(path)):
        config = Config.from_toml(name)
        assert config.bind == ["unix:/run/app.sock"]
        assert (config.workers, config.drain_timeout, config.drain_code) == (2, 5.5, 1012)
    assert Config().drain_timeout == 15.0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("drain_timout = 5\n", "there is no setting 'drain_timout'"),
        ("workers = \n", "cannot read the configuration"),
        ("\udce4", "cannot read the configuration"),
        (None, "No such file or directory"),
    ],
)
def test_a_file_that_is_wrong(tmp_path: Path, text: str | None, problem: str) -> None:
    path = tmp_path / "hypercorn.toml"
    if text is not None:
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DeploymentError) as caught:
        Config.from_toml(path)
    assert str(path) in str(caught.value)
    assert problem in str(caught.value)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The settings for a certificate of an unknown CA."""
    directory = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    issued.private_key_pem.write_to_path(str(directory / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(directory / "cert.pem"))
    return {
        "certfile": str(directory / "cert.pem"),
        "keyfile": str(directory / "key.pem"),
        "ca_certs": str(directory / "ca.pem"),
    }


def test_a_certificate(certificate: dict[str, Any]) -> None:
    check_tls(configured(**certificate))
    check_tls(configured())
    check_tls(configured(hypercorn.config.Config, **certificate))


@pytest.mark.parametrize("missing", ["certfile", "keyfile"])
def test_half_a_certificate(certificate: dict[str, Any], missing: str) -> None:
    with pytest.raises(DeploymentError, match="set both certfile and keyfile, or none"):
        check_tls(configured(**{**certificate, missing: None}))


@pytest.mark.parametrize("name", ["certfile", "keyfile", "ca_certs"])
def test_a_certificate_that_cannot_be_read(
    certificate: dict[str, Any], name: str, tmp_path: Path
) -> None:
    path = str(tmp_path / "nothing.pem")
    with pytest.raises(DeploymentError) as caught:
        check_tls(configured(**{**certificate, name: path}))
    assert str(caught.value) == f"cannot read {path}: No such file or directory"


def test_a_certificate_that_is_none(certificate: dict[str, Any]) -> None:
    wrong = {**certificate, "keyfile": certificate["certfile"]}
    with pytest.raises(DeploymentError, match=r"cannot serve TLS with .*cert.pem and .*cert.pem"):
        check_tls(configured(**wrong))
