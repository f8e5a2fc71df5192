"""A key or token that a service echoes, in any spelling and any place, is not shown (R37)."""

from __future__ import annotations

import html
import json
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxruns import ResumePolicy, RetryPolicy, RunsClient, run_events
from rxruns._loopback import Wire
from rxruns._transport import Redactor
from rxruns.errors import RunsError
from tests.disposing import RUN
from tests.observing import Seen
from tests.soak import measured
from tests.wire import NDJSON, Act, FakeRuns, raw

TOKEN = "tok-SECRET/of+the\"tests&1<2>=\\'"
KEY = f"mr_sk_{TOKEN}"


def escaped_throughout(text: str) -> str:
    return "".join(f"\\u{ord(char):04X}" for char in text)


SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON of PHP": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "JSON of .NET": lambda text: json.dumps(text)[1:-1].replace("+", "\\u002B").replace("&", "\\u0026"),
    "JSON in JSON": lambda text: json.dumps(json.dumps(text))[1:-1],
    "JSON, all escaped": escaped_throughout,
    "URL": lambda text: quote(text, safe=""),
    "URL, lower case": lambda text: "".join(f"%{ord(char):02x}" for char in text),
    "URL, twice": lambda text: quote(quote(text, safe=""), safe=""),
    "HTML": html.escape,
    "HTML, by number": lambda text: "".join(f"&#{ord(char)};" for char in text),
    "HTML, by hexadecimal number": lambda text: "".join(f"&#x{ord(char):X};" for char in text),
    "repr": lambda text: repr(text)[1:-1],
}


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=4), st.data())
def test_no_spelling_of_a_secret_is_left(secret: str, data: st.DataObject) -> None:
    spell = SPELLINGS[data.draw(st.sampled_from(sorted(SPELLINGS)))]
    before, after = data.draw(st.tuples(st.text("xyz", max_size=3), st.text("xyz", max_size=3)))
    redacted = Redactor([secret]).text(f"{before} <{spell(secret)}> {after}")
    assert f"{before} <[hidden]> {after}" == redacted.replace('\\"', "")  # which JSON in JSON has around it


@given(st.text(), st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1))
def test_a_text_without_the_secret_is_left_as_it_is(text: str, secret: str) -> None:
    redactor = Redactor([f"mr_sk_{secret}"])
    assert text == redactor.text(text) or "mr_sk" in text
    assert text == Redactor(()).text(text)


def test_a_text_of_backslashes_takes_linear_time() -> None:
    text = "\\" * 200_000 + "%25" * 100_000
    assert text == Redactor([KEY]).text(text)


def test_the_callers_own_exception_is_left_as_it_is() -> None:
    try:
        raise LookupError(KEY)
    except LookupError as own:
        frames = own.__traceback__
        inner = OSError(KEY)
        inner.__context__ = own
        Redactor([KEY]).clean(inner, keep=own)
        assert (frames, (KEY,)) == (own.__traceback__, own.args)
        assert ("[hidden]",) == inner.args


# ---- over the wire ----


def echo(spelled: str) -> bytes:
    return spelled.encode("latin-1")


def answer(status: str, body: bytes, kind: str = "application/json", headers: bytes = b"") -> bytes:
    fields = b"Content-Type: %b\r\nContent-Length: %d\r\n%b\r\n" % (kind.encode(), len(body), headers)
    return b"HTTP/1.1 " + status.encode() + b"\r\n" + fields + body


def in_json(text: str) -> bytes:
    """A JSON string with this very spelling inside, where that is one."""
    try:
        json.loads(f'"{text}"')
    except ValueError:
        text = json.dumps(text)[1:-1]
    return f'"{text}"'.encode("latin-1")


CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
LONG = b"x" * 180

PLACES: dict[str, Callable[[str], bytes]] = {
    "an error's message": lambda text: answer("400 No", b'{"message": %b}' % in_json(text)),
    "an error's code": lambda text: answer("409 No", b'{"error": {"code": %b}}' % in_json(text)),
    "an error's request id": lambda text: answer("404 No", b'{"request_id": %b}' % in_json(text)),
    "an error's fields": lambda text: answer(
        "400 No", b'{"fields": [{"field": %b, "message": %b}]}' % (in_json(text), in_json(text))
    ),
    "an error's issues": lambda text: answer(
        "400 No", b'{"issues": [{"code": "A", "path": %b, "message": %b}]}' % (in_json(text), in_json(text))
    ),
    "an error page": lambda text: answer("502 No", b"<p>" + echo(text), "text/html"),
    "where an error page is cut": lambda text: answer("502 No", b"<p>" + b"x" * 4080 + echo(text) + LONG),
    "where an error's text is cut": lambda text: answer("502 No", b"<p>" + b"x" * 480 + echo(text) + LONG),
    "an answer that is not JSON": lambda text: answer("200 OK", b"{" + echo(text)),
    "an answer that is not a run": lambda text: answer("200 OK", b'{"run_id": %b}' % in_json(text)),
    "a name in an answer": lambda text: answer("200 OK", b'{"nodes": {%b: 1}}' % in_json(text)),
    "a request id": lambda text: answer("500 No", b"{}", headers=b"X-Request-Id: " + echo(text) + b"\r\n"),
    "a content type": lambda text: answer("200 OK", b"{}", kind=text),
    "a redirect": lambda text: answer("302 Go", b"", headers=b"Location: http://h/" + echo(text) + b"\r\n"),
    "a redirect's host": lambda text: answer(
        "302 Go", b"", headers=b"Location: http://" + echo(text) + b".example/\r\n"
    ),
    "a status line": lambda text: b"HTTP/1.1 " + echo(text) + b"\r\n\r\n",
    "a status line without a version": lambda text: echo(text) + b"\r\n\r\n",
    "a version": lambda text: b"HTTP/" + echo(text) + b" 200 OK\r\n\r\n",
    "a reason": lambda text: b"HTTP/1.1 500 " + echo(text) + b"\r\nContent-Length: 0\r\n\r\n",
    "a line that is no header": lambda text: answer("200 OK", b"{}", headers=echo(text) + b"\r\nA: b\r\n"),
    "a transfer coding": lambda text: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + echo(text) + b"\r\n\r\n",
    "an encoding": lambda text: answer("200 OK", b"{}", headers=b"Content-Encoding: " + echo(text) + b"\r\n"),
    "a length": lambda text: b"HTTP/1.1 200 OK\r\nContent-Length: " + echo(text) + b"\r\n\r\n{}",
    "a time to wait": lambda text: answer("500 No", b"", headers=b"Retry-After: " + echo(text) + b"\r\n"),
    "a chunk size": lambda text: CHUNKED + echo(text) + b"\r\n\r\n",
    "a chunk extension": lambda text: CHUNKED + b"4;" + echo(text) + b"\r\nnope\r\n0\r\n\r\n",
    "a body that breaks": lambda text: CHUNKED + b"400\r\n" + echo(text),
    "a line that is not JSON": lambda text: answer("200 OK", echo(text) + b"\n", NDJSON),
    "a line that is no event": lambda text: answer(
        "200 OK", b'{"type": "run_started", "run_id": %b}\n' % in_json(text), NDJSON
    ),
    "a type that is no text": lambda text: answer("200 OK", b'{"type": [%b]}\n' % in_json(text), NDJSON),
    "a name in a line": lambda text: answer("200 OK", b'{%b: 1, "seq": "x"}\n' % in_json(text), NDJSON),
    "a line that is not UTF-8": lambda text: answer("200 OK", b'{"a": "\xff%b"}\n' % echo(text), NDJSON),
    "where a line is cut": lambda text: answer("200 OK", LONG + echo(text) + LONG + b"\n", NDJSON),
    "an over-long line": lambda text: answer("200 OK", LONG + echo(text) + b"x" * 8000 + b"\n", NDJSON),
    "a last line": lambda text: answer("200 OK", b'{"a": ' + in_json(text), NDJSON),
}


class Shown:
    """All that can be read of an error, as tools that print frames show it."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._seen: list[BaseException] = []

    def __call__(self, value: object) -> None:
        self.texts += [repr(value), str(value)]
        if isinstance(value, BaseException):
            self._error(value)
        elif hasattr(value, "error"):
            self(value.error)
        elif hasattr(value, "cause"):
            self(value.cause)

    def _error(self, error: BaseException) -> None:
        if any(error is other for other in self._seen):
            return
        self._seen.append(error)
        self.texts += [repr(error.args), repr(vars(error)), pickle.dumps(error).decode("latin-1")]
        self.texts += traceback.format_exception(error)
        self._frames(error.__traceback__)
        for other in {error.__cause__, error.__context__} - {None}:
            assert other is not None
            self.texts.append(str(other))
            self._error(other)

    def _frames(self, current: TracebackType | None) -> None:
        while current is not None:
            if current.tb_frame.f_code.co_filename != __file__:  # the test itself knows the key
                self.texts += [f"{name} = {value!r}" for name, value in current.tb_frame.f_locals.items()]
            current = current.tb_next


def fragments() -> set[str]:
    """Parts of the secret in each spelling: what is left where one is cut, too."""
    return {spell(TOKEN)[:14] for spell in SPELLINGS.values()} | {spell(TOKEN)[:8] for spell in (str, repr)}


@pytest.fixture
def shown(caplog: pytest.LogCaptureFixture) -> Iterator[Shown]:
    with caplog.at_level(logging.DEBUG):
        shown = Shown()
        yield shown
    for record in caplog.records:
        shown.texts += [record.getMessage(), repr(record.args), str(record.exc_text), str(record.exc_info)]
    leaks = [text for text in shown.texts if any(part in text for part in fragments())]
    assert [] == leaks
    measured("R37", "places that show a key or a token that was echoed", len(leaks), 0, "")


def closes(wire: Wire) -> bool:
    return False


OFTEN = ("plain", "JSON in JSON", "JSON of .NET", "URL")


@pytest.mark.parametrize(
    "spelling",
    [pytest.param(name, marks=() if name in OFTEN else pytest.mark.soak) for name in SPELLINGS],
)
@pytest.mark.parametrize("place", PLACES)
def test_R37_a_secret_that_is_echoed_is_not_shown(place: str, spelling: str, shown: Shown) -> None:
    spelled = SPELLINGS[spelling](KEY)
    act: Act = raw(PLACES[place](spelled), then=closes)
    retry = RetryPolicy(max_attempts=2, base_backoff=0.0)
    resume = ResumePolicy(max_reconnects=1, base_backoff=0.0, idle_timeout=20.0)
    options: dict[str, Any] = {"retry": retry, "max_line_bytes": 4096}
    with (
        FakeRuns(*[act] * 40) as service,
        RunsClient(
            api_key=KEY, access_token=TOKEN, base_url=service.url, on_request=shown, **options
        ) as client,
    ):
        for call in (client.get, client.list_events, client.pending_tools):
            try:
                call(RUN)
            except RunsError as error:
                shown(error)
        for policy in (resume, None):
            seen = Seen()
            source = run_events(
                RUN, client=client, resume=policy, on_lifecycle=shown, on_invalid=shown if policy else "raise"
            )
            source.subscribe(seen)
            seen.wait_end()
            shown(seen.error)


def test_R37_a_key_that_a_function_gives_and_that_can_not_be_sent_is_in_no_frame(shown: Shown) -> None:
    with RunsClient(api_key=lambda: f"{KEY} blank", base_url="http://127.0.0.1:1") as client:
        with pytest.raises(RunsError) as caught:
            client.get(RUN)
    shown(caught.value)
