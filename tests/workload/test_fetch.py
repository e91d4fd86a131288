"""Downloads against a server on this machine: whole, resumed, refused, damaged."""

import hashlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from click.testing import CliRunner

from hwsim.cli import fetch as verb
from hwsim.errors import InputError
from hwsim.workload import fetch

CONTENT = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT at /NAME; the name says how the server misbehaves."""

    asked: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        self.asked.append(self.headers["Range"])
        start = int((self.headers["Range"] or "bytes=0-")[6:-1])
        if "missing" in self.path:
            self.send_error(404)
        elif "noranges" in self.path:
            self.answer(200, CONTENT)
        elif start >= len(CONTENT):
            self.send_error(416)
        else:
            self.answer(206 if start else 200, CONTENT[start:], cut=100_000 if "cut" in self.path else None)

    def answer(self, status: int, content: bytes, cut: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:cut])

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[str]:
    Handler.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}/"
        running.shutdown()
        thread.join()


def public(url: str, sha256: str = SHA256) -> fetch.PublicTrace:
    return fetch.PublicTrace(url, sha256, "CC0", "a test")


def test_a_trace_gets_its_name_when_it_is_whole(server: str, tmp_path: Path) -> None:
    path = fetch.fetch(public(server + "trace.csv"), tmp_path)
    assert path == tmp_path / "trace.csv"
    assert path.read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [path]


def test_a_trace_that_is_there_is_not_downloaded_again(server: str, tmp_path: Path) -> None:
    for _ in range(2):
        fetch.fetch(public(server + "trace.csv"), tmp_path)
    assert Handler.asked == [None]


def test_a_download_that_stopped_goes_on_where_it_was(server: str, tmp_path: Path) -> None:
    with pytest.raises(fetch.FetchError, match="got 100000 bytes, expected 256000; run it again: it goes on where it"):
        fetch.fetch(public(server + "cut.csv"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["cut.csv.part"]
    with pytest.raises(fetch.FetchError, match="got 200000 bytes, expected 256000"):
        fetch.fetch(public(server + "cut.csv"), tmp_path)
    assert fetch.fetch(public(server + "cut.csv"), tmp_path).read_bytes() == CONTENT
    assert Handler.asked == [None, "bytes=100000-", "bytes=200000-"]


def test_a_server_without_ranges_sends_it_all_again(server: str, tmp_path: Path) -> None:
    (tmp_path / "noranges.csv.part").write_bytes(b"x" * 300_000)
    (tmp_path / "noranges.csv.part").write_bytes(CONTENT[:5000])
    assert fetch.fetch(public(server + "noranges.csv"), tmp_path).read_bytes() == CONTENT
    assert Handler.asked == ["bytes=5000-"]


def test_a_part_that_is_whole_only_gets_its_name(server: str, tmp_path: Path) -> None:
    (tmp_path / "trace.csv.part").write_bytes(CONTENT)
    assert fetch.fetch(public(server + "trace.csv"), tmp_path).read_bytes() == CONTENT


def test_other_bytes_than_the_pinned_ones_are_not_kept(server: str, tmp_path: Path) -> None:
    with pytest.raises(fetch.FetchError) as caught:
        fetch.fetch(public(server + "trace.csv", "0" * 64), tmp_path)
    assert f"got bytes with sha256 {SHA256}, expected {'0' * 64}; the publisher changed the file" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_of_the_server_is_named(server: str, tmp_path: Path) -> None:
    with pytest.raises(
        fetch.FetchError, match=r"missing.csv: got HTTP 404 \(Not Found\), expected the trace; see whether"
    ):
        fetch.fetch(public(server + "missing.csv"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_a_connection_the_way_out_is_named(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(fetch.FetchError) as caught:
        fetch.fetch(public(f"http://127.0.0.1:{port}/trace.csv"), tmp_path)
    assert "got no connection (" in str(caught.value)
    assert f"or copy the file to {tmp_path / 'trace.csv'} from elsewhere" in str(caught.value)
    assert caught.value.exit_code == 1


def test_bad_places_and_names_are_refused_before_any_connection(tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_text("mine")
    for folder, expected in ((tmp_path, "got a file with other content"), (tmp_path / "no", "got no such directory")):
        with pytest.raises(InputError, match=expected):
            fetch.fetch(public("http://127.0.0.1:9/trace.csv"), folder)
    with pytest.raises(
        InputError, match="burst: got no known trace, expected one of azure-conversation, azure-code, moon"
    ):
        fetch.find("burst")


def test_the_verb_lists_traces_and_reports_the_file(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = CliRunner().invoke(verb.command, [])
    assert [line.split()[0] for line in listed.output.splitlines()] == list(fetch.TRACES)
    monkeypatch.setitem(fetch.TRACES, "mine", public(server + "trace.csv"))
    result = CliRunner().invoke(verb.command, ["mine", "-o", str(tmp_path)])
    assert result.output == f"{tmp_path / 'trace.csv'}: a test, CC0\n"


@pytest.mark.shared
def test_pins_are_those_of_the_traces_at_hand(shared: Path) -> None:
    for name, file in (
        ("azure-conversation", "azure2023/AzureLLMInferenceTrace_conv.csv"),
        ("mooncake-conversation", "mooncake/conversation_trace.jsonl"),
    ):
        assert hashlib.sha256((shared / "traces" / file).read_bytes()).hexdigest() == fetch.TRACES[name].sha256
