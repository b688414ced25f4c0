"""Fetching from a local server that breaks off, lies, and serves archives that mean harm."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import stat
import threading
import zipfile
from collections.abc import Callable, Iterator

import pytest

from l4s_ensemble.errors import ConfigError, DataError
from l4s_ensemble.sources import download as downloading
from l4s_ensemble.sources import fetch as fetching
from l4s_ensemble.sources.download import RemoteFile, download, unpack
from l4s_ensemble.sources.fetch import fetch

CONTENT = bytes(range(256)) * 4000


class Server:
    """Serves `files`; every answer can be bent by `rule(path, first_byte, times_asked)`."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.links: dict[str, str] = {}
        self.moved: dict[str, str] = {}
        self.asked: list[tuple[str, int]] = []
        self.rule: Callable[[str, int, int], dict[str, int]] = lambda *_: {}
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = server.files.get(self.path)
                first = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
                times = sum(1 for path, _ in server.asked if path == self.path)
                server.asked.append((self.path, first))
                bent = server.rule(self.path, first, times)
                if body is None or "status" in bent:
                    self.send_error(bent.get("status", 404))
                    return
                if self.path in server.moved:
                    self.send_response(302)
                    self.send_header("Location", server.moved[self.path])
                    self.end_headers()
                    return
                if bent.get("ignore_range"):
                    first = 0
                self.send_response(206 if first else 200)
                if first:
                    self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
                self.send_header("Content-Length", str(len(body) - first))
                if self.path in server.links:
                    self.send_header("Link", server.links[self.path])
                self.end_headers()
                self.wfile.write(body[first : first + bent.get("bytes", len(body))])

            def log_message(self, *_: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        self.thread.start()

    def file(self, name: str, content: bytes = CONTENT, **other: str) -> RemoteFile:
        self.files[f"/{name}"] = content
        checksum = other.get("checksum", "md5:" + hashlib.md5(content).hexdigest())
        return RemoteFile(name, f"{self.url}/{name}", len(content), checksum)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name, value in (("SCHEMES", ("http",)), ("TRIES", 4), ("WAIT_S", 0.01)):
        monkeypatch.setattr(downloading, name, value)
    running = Server()
    yield running
    running.http.shutdown()
    running.http.server_close()
    running.thread.join()


def archive(members: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as zipped:
        for name, content in members.items():
            zipped.writestr(name, content)
    return made.getvalue()


@pytest.mark.parametrize(
    ("rule", "asked"),
    [
        (lambda times: {"bytes": 300_000} if times < 3 else {}, [0, 300_000, 600_000, 900_000]),
        (lambda times: {"ignore_range": 1} if times else {"bytes": 300_000}, [0, 300_000]),
        (lambda times: {"status": 503} if times < 2 else {}, [0, 0, 0]),
    ],
    ids=["broken off", "without ranges", "busy"],
)
def test_a_download_goes_on_where_it_stopped(server, tmp_path, rule, asked):
    server.rule = lambda path, first, times: rule(times)
    got = download(server.file("a.zip"), tmp_path / "a.zip")
    assert got.read_bytes() == CONTENT
    assert [first for _, first in server.asked] == asked
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]


def test_a_later_call_resumes_what_an_earlier_one_left(server, tmp_path):
    server.rule = lambda path, first, times: {"bytes": 300_000 if times == 0 else 0}
    with pytest.raises(DataError, match="keeps breaking off"):
        download(server.file("a.zip"), tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()
    server.rule = lambda *_: {}
    download(server.file("a.zip"), tmp_path / "a.zip")
    assert server.asked[-1] == ("/a.zip", 300_000)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_a_wrong_checksum_leaves_nothing(server, tmp_path):
    lying = server.file("a.zip", checksum="md5:" + "0" * 32)
    with pytest.raises(DataError, match="not what the source says"):
        download(lying, tmp_path / "a.zip")
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_an_older_file_is_not_believed(server, tmp_path):
    (tmp_path / "a.zip.part").write_bytes(b"old" * 1000)
    download(server.file("a.zip"), tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_a_refusal_is_told_at_once(server, tmp_path):
    with pytest.raises(DataError, match="HTTP 404"):
        download(RemoteFile("x", f"{server.url}/x", 9), tmp_path / "x")
    assert len(server.asked) == 1


def test_a_users_own_file_is_never_overwritten(server, tmp_path):
    (tmp_path / "a.zip").write_text("mine")
    with pytest.raises(DataError, match="another file stands"):
        download(server.file("a.zip"), tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_text() == "mine"


@pytest.mark.parametrize(
    "name", ["../evil.h5", "TrainData/../../evil.h5", "/etc/evil.h5", "C:/evil.h5", "..\\evil.h5"]
)
def test_no_path_of_an_archive_leaves_the_folder(tmp_path, name):
    zipped = tmp_path / "TrainData.zip"
    zipped.write_bytes(archive({"TrainData/img/image_1.h5": b"x", name: b"evil"}))
    inside = tmp_path / "deep" / "out"
    inside.mkdir(parents=True)
    with pytest.raises(DataError, match="leads out of the folder"):
        unpack(zipped, inside, "TrainData")
    assert list(inside.iterdir()) == [] and not list(tmp_path.rglob("evil*"))


def test_a_link_in_an_archive_is_refused(tmp_path):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as zipped:
        link = zipfile.ZipInfo("TrainData/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        zipped.writestr(link, "/etc/passwd")
    (tmp_path / "a.zip").write_bytes(made.getvalue())
    with pytest.raises(DataError, match="a link"):
        unpack(tmp_path / "a.zip", tmp_path, "TrainData")


def test_a_damaged_archive_leaves_nothing(tmp_path):
    content = bytearray(archive({"TrainData/img/image_1.h5": bytes(10_000)}))
    content[200:300] = b"\xff" * 100
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        unpack(tmp_path / "a.zip", tmp_path, "TrainData")
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]
    (tmp_path / "a.zip").write_text("no zip")
    with pytest.raises(DataError, match="damaged"):
        unpack(tmp_path / "a.zip", tmp_path, "TrainData")


def zenodo(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record with the three archives, in slightly unlike forms."""
    archives = {
        "TrainData.zip": archive(
            {"TrainData/img/image_1.h5": b"i", "TrainData/mask/mask_1.h5": b"m", "__MACOSX/x": b""}
        ),
        "ValidData.zip": archive({"img/image_1.h5": b"v"}),
        "TestData.zip": archive({"data/TestData/img/image_1.h5": b"t"}),
    }
    files = [server.file(name, content) for name, content in archives.items()]
    monkeypatch.setattr(fetching, "PINNED", {"TrainData.zip": files[0].checksum})
    entries = [
        {"key": f.name, "links": {"self": f.url}, "size": f.size, "checksum": f.checksum}
        for f in files
    ]
    server.files["/record"] = json.dumps({"files": entries}).encode()


def test_zenodo_gives_the_official_layout_and_a_second_call_fetches_nothing(
    server, tmp_path, monkeypatch
):
    zenodo(server, monkeypatch)
    told = fetch(tmp_path / "l4s", url=f"{server.url}/record")
    assert told["splits"] == {"train": 2, "valid": 1, "test": 1}
    found = sorted(p.relative_to(tmp_path / "l4s").as_posix() for p in tmp_path.rglob("*.*"))
    assert found == [
        "TestData/img/image_1.h5",
        "TrainData/img/image_1.h5",
        "TrainData/mask/mask_1.h5",
        "ValidData/img/image_1.h5",
    ]
    before = len(server.asked)
    fetch(tmp_path / "l4s", url=f"{server.url}/record")
    assert len(server.asked) == before


def test_a_record_that_contradicts_the_known_checksum_is_not_believed(
    server, tmp_path, monkeypatch
):
    zenodo(server, monkeypatch)
    monkeypatch.setattr(fetching, "PINNED", {"TrainData.zip": "md5:" + "1" * 32})
    with pytest.raises(DataError, match="another checksum than the one known"):
        fetch(tmp_path, url=f"{server.url}/record")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("answer", [b"<html>", b"{}", b'{"files": [{"key": "a"}]}'])
def test_an_answer_that_is_no_record_is_told(server, tmp_path, answer):
    server.files["/record"] = answer
    with pytest.raises(DataError, match="not a record of files"):
        fetch(tmp_path, url=f"{server.url}/record")


def test_hugging_face_comes_in_pages_without_the_stray_images(server, tmp_path):
    def entry(path: str) -> dict[str, object]:
        content = path.encode()
        server.files[f"/datasets/x/resolve/main/{path}"] = content
        oid = hashlib.sha256(content).hexdigest()
        return {"path": path, "size": len(content), "lfs": {"oid": oid}}

    base = "/api/datasets/x/tree/main"
    server.files[f"{base}/images/train"] = json.dumps([entry("images/train/image_1.h5")]).encode()
    server.links[f"{base}/images/train"] = f'<{server.url}{base}/more>; rel="next"'
    server.files[f"{base}/more"] = json.dumps([entry("images/train/image_2.h5")]).encode()
    masks = [entry(f"annotations/train/{n}") for n in ("mask_1.h5", "mask_2.h5", "image_9.h5")]
    server.files[f"{base}/annotations/train"] = json.dumps(masks).encode()
    told = fetch(
        tmp_path,
        source="hugging-face",
        splits=["train"],
        url=f"{server.url}/api/datasets/x",
    )
    assert told["splits"] == {"train": 4}
    names = sorted(p.name for p in tmp_path.rglob("*.h5"))
    assert names == ["image_1.h5", "image_2.h5", "mask_1.h5", "mask_2.h5"]


@pytest.mark.parametrize(
    ("how", "scheme"),
    [(h, s) for h in ("record", "file", "page") for s in ("file", "ftp", "")]
    + [("moved", "ftp"), ("moved", "https")],
)
def test_an_address_of_another_scheme_is_not_followed(server, tmp_path, monkeypatch, how, scheme):
    secret = tmp_path / "secret.json"
    secret.write_text("[]")
    address = f"{scheme}://{secret}" if scheme else str(secret)
    base = "/api/datasets/x/tree/main/images/train"
    entry = {"key": "TrainData.zip", "size": 2, "checksum": "md5:0", "links": {"self": address}}
    monkeypatch.setattr(fetching, "PINNED", {})
    server.files = {"/record": json.dumps({"files": [entry]}).encode(), base: b"[]", "/m": b""}
    server.links[base] = f'<{address}>; rel="next"'
    server.moved["/m"] = address
    source = "hugging-face" if how == "page" else "zenodo"
    record = {"file": "/record", "page": "/api/datasets/x", "moved": "/m"}
    url = address if how == "record" else server.url + record[how]
    with pytest.raises(DataError, match="an address that is not followed"):
        fetch(tmp_path / "l4s", source=source, splits=["train"], url=url)


def test_names_that_do_not_exist_are_told(tmp_path):
    with pytest.raises(ConfigError, match="no such source"):
        fetch(tmp_path, source="elsewhere")
    with pytest.raises(ConfigError, match="no such split"):
        fetch(tmp_path, splits=["all"])
    with pytest.raises(DataError, match="cannot be reached"):
        fetch(tmp_path, url="https://127.0.0.1:9/record")
    with pytest.raises(DataError, match="not followed"):
        fetch(tmp_path, url="http://127.0.0.1:9/record")
