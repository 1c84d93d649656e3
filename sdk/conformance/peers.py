"""What the plugins check: servers on loopback, a process, files. All of them end with this process."""

import http.server
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading

GREETING = b"220 hello\r\n250 more\r\n"


class Peers:
    """Addresses and paths, each with one behaviour."""

    def __init__(self):
        self._directory = tempfile.TemporaryDirectory(prefix="vouchd-conformance-")
        self.directory = pathlib.Path(self._directory.name)
        self.tls = self._context()

        self.closing = serve(lambda client: None)
        self.echo = serve(echo)
        self.silent = serve(listen)
        self.talking = serve(lambda client: talk(client, self.tls))
        self.unix = str(self.directory / "talk.sock")
        serve(lambda client: talk(client, self.tls), socket.AF_UNIX, self.unix)
        self.http = f"http://{web(None)}/question"
        self.https = f"https://{web(self.tls)}/question"
        # Bound but not listening: it refuses connections, and no other program can take the port.
        self._refusing = socket.socket()
        self._refusing.bind(("127.0.0.1", 0))
        self.refusing = "127.0.0.1:%d" % self._refusing.getsockname()[1]

        self.file = str(self.directory / "flag")
        pathlib.Path(self.file).write_bytes("größe 7 up\n".encode())
        self.big_file = str(self.directory / "big")
        pathlib.Path(self.big_file).write_bytes(b"x" * 300_000)
        self.missing_file = str(self.directory / "missing")

        # No other process has this name.
        program = self.directory / f"peer-{os.getpid()}"
        shutil.copy(shutil.which("sleep"), program)
        self.process = subprocess.Popen([program, "100000"])
        self.process_name = program.name

    def _context(self):
        """A self-signed certificate."""
        key, certificate = self.directory / "key.pem", self.directory / "certificate.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
             "-subj", "/CN=peer.test/O=Größe", "-utf8", "-addext", "subjectAltName=DNS:peer.test,DNS:other.test",
             "-keyout", key, "-out", certificate],
            check=True, capture_output=True,
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        return context

    def close(self):
        self.process.kill()
        self.process.wait()
        self._directory.cleanup()


def serve(behave, family=socket.AF_INET, address=("127.0.0.1", 0)):
    """Starts a server that calls `behave` for each client, and then closes the connection."""
    server = socket.socket(family)
    server.bind(address)
    server.listen(64)

    def one(client):
        with client:
            try:
                client.settimeout(60)
                behave(client)
            except OSError:
                pass  # The client left, or rejected the handshake. What the plugin reports is tested.

    def accept():
        while True:
            threading.Thread(target=one, args=[server.accept()[0]], daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return "%s:%d" % server.getsockname() if family == socket.AF_INET else address


def line(client, rest=b""):
    """Receives up to the end of the line. Returns the line, and what followed it."""
    while b"\n" not in rest:
        more = client.recv(65536)
        if not more:
            raise OSError("closed")
        rest += more
    found, _, rest = rest.partition(b"\n")
    return found.strip(), rest


def listen(client):
    while client.recv(65536):
        pass


def echo(client):
    found, _ = line(client)
    client.sendall(b"echo " + found + b"\n")


def talk(client, tls):
    """Greets with two lines, answers `SAY x` with `ok x`, and starts TLS on `STARTTLS`. A client that starts with
    `STARTTLS` gets no greeting: before the handshake nothing may be sent but the answer to that."""
    client.settimeout(0.1)
    try:
        rest = client.recv(65536)
    except TimeoutError:
        rest = b""
    client.settimeout(60)
    if rest.startswith(b"STARTTLS"):
        line(client, rest)
        client.sendall(b"220 go\r\n")
        with tls.wrap_socket(client, server_side=True) as secured:
            answer(secured, b"")
    else:
        client.sendall(GREETING)
        answer(client, rest)


def answer(client, rest):
    while True:
        found, rest = line(client, rest)
        client.sendall(b"ok " + found.removeprefix(b"SAY ") + b"\r\n")


class Question(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        answer = b"you said " + body
        self.send_response(201)
        self.send_header("x-answer", "because-" + self.headers.get("x-question", "nothing"))
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


class Web(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # A rejected handshake, as above.


def web(tls):
    server = Web(("127.0.0.1", 0), Question)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return "127.0.0.1:%d" % server.server_address[1]
