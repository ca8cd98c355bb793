"""The page in a real browser, headless, against a real server: what people see and do there."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from itertools import dropwhile
from pathlib import Path
from typing import Any

import cv2
import pytest
from websockets.sync.client import connect

from tests.service.api.conftest import Serve, Served, make_clip, serving, until
from tests.service.api.fakes import ColourProvider
from tests.service.api.proxy import below
from tests.service.fakes import scene
from tests.service.streams.cameras import camera

playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
expect: Callable[..., Any] = playwright.expect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE = 60_000
"""Milliseconds; the processes of streams take their time to start on a busy machine."""
PHONE = {"width": 360, "height": 740}
SCENES = (["background"] * 15 + ["red"] * 30 + ["background"] * 15 + ["blue"] * 30) * 40
COURT = {"window": 4, "record": "events", "record_before": 0, "record_after": 0}
HIDE = """hidden => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""
"""A headless browser hides no tab by itself."""
TOKEN = "a-token-for-the-page"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (Debian: apt-get install chromium)")


@pytest.fixture(scope="module")
def court(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clips") / "court.avi", SCENES, (160, 120))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, court: Path) -> Iterator[Served]:
    streams = {"court": COURT | {"source": str(court)}}
    data = tmp_path_factory.mktemp("page") / "data"
    with serving(data, ColourProvider(), streams=streams, allowed_sources=("127.0.0.0/8",)) as one:
        yield one


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Errors(list[str]):
    """What the browser complains of; ``expected`` are words of complaints that a test provokes."""

    def __init__(self) -> None:
        super().__init__()
        self.expected: list[str] = []

    def hear(self, text: str) -> None:
        if not any(words in text for words in self.expected):
            self.append(text)


@pytest.fixture
def errors() -> Errors:
    return Errors()


@pytest.fixture
def page(browser: Any, errors: Errors) -> Iterator[Any]:
    """A page that has to be without errors to its end, and to ask nothing of any other host."""
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.on("console", lambda message: message.type in ("error", "warning") and errors.hear(message.text))
    page.on("pageerror", lambda error: errors.hear(str(error)))
    hosts = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    yield page
    page.close()
    assert errors == []
    assert all(host.startswith("127.0.0.1:") for host in hosts if host)


def card_of(page: Any, name: str) -> Any:
    return page.locator(f'.stream[aria-label="Stream {name}"]')


def shows_a_picture(card: Any) -> bool:
    return bool(card.locator(".picture img").evaluate("image => image.naturalWidth > 0"))


TELL = """async (messages) => {
    const { showLatest } = await import("/page/latest.js");
    for (const [type, id, minute, position, end] of messages) {
        const event = { id, label: id, stream: "hall", started_at: `2026-01-01T12:0${minute}:00Z`,
          start_pts: 0, end_pts: end, mean_confidence: 1 };
        showLatest({ type, position, event, after: 0, until: 9 }, (name) => name);
    }
}"""
"""Tells a page of messages: type, id of the event, minute of its start, position, seconds until its end."""


def quiet_page(page: Any, served: Served) -> Any:
    """The labels of the latest events on a page that hears of none by itself."""
    page.route_web_socket("**/events*", lambda socket: None)
    page.route("**/streams", lambda route: route.fulfill(json={"streams": []}))
    page.goto(served.url)
    expect(page.locator("#connection")).to_have_text("Connected")
    return page.locator("#latest tbody td:nth-child(2)")


def show_many(page: Any, served: Served, number: int) -> Any:
    """The cards of a page that takes the stream of these tests for so many, each with a name of its own."""
    stream = served.client.get("/streams/court").json()
    streams = [stream | {"name": f"court-{one}"} for one in range(number)]
    page.route("**/streams", lambda route: route.fulfill(json={"streams": streams}))
    page.goto(served.url)
    cards = page.locator(".stream")
    expect(cards).to_have_count(number)
    return cards


def with_words(old: str, new: str) -> Callable[[Any], None]:
    """Serves a script with some words replaced, which stand in it once."""

    def change(route: Any) -> None:
        answer = route.fetch()
        assert answer.text().count(old) == 1
        route.fulfill(response=answer, body=answer.text().replace(old, new))

    return change


@pytest.fixture(autouse=True)
def patience() -> None:
    expect.set_options(timeout=PATIENCE)


def test_a_stream_is_shown_with_picture_state_label_and_figures(page: Any, served: Served) -> None:
    """The first thing people come for: what is happening now, and that it is seen."""
    page.goto(served.url)
    card = card_of(page, "court")
    expect(card.locator(".state")).to_have_text("Playing")
    expect(card.locator(".label")).to_have_text("red")
    until(lambda: shows_a_picture(card), 60)
    expect(card.locator(".share")).to_contain_text("%")
    expect(card.locator(".meter")).to_have_attribute("aria-valuenow", "100")
    expect(card.locator(".classified")).not_to_have_text("–")


def test_events_appear_in_the_timeline_and_can_be_read_with_the_keyboard(page: Any, served: Served) -> None:
    """Events are bars with words; a screen reader and a keyboard reach each of them."""
    page.goto(served.url)
    card = card_of(page, "court")
    over = card.locator('.bar:not(.running)[aria-label^="red"]').last
    over.wait_for(state="attached")
    assert "it was over" in over.get_attribute("aria-label")
    assert over.bounding_box()["width"] >= 3
    card.locator('.bar[tabindex="0"]').focus()
    page.keyboard.press("Home")
    expect(card.locator(".readout")).to_contain_text("% on average")
    assert page.evaluate("document.activeElement.className").startswith("bar")
    expect(page.locator("#latest tbody")).to_contain_text("court")


def test_below_the_path_of_a_proxy(page: Any, serve: Serve, court: Path, tmp_path: Path) -> None:
    """Nothing of the page, of its description of the API or of its sockets is asked for at another place."""
    with (
        serve(root_path="/video", streams={"court": COURT | {"source": str(court)}}) as one,
        below("/video", one.url) as url,
    ):
        page.goto(f"{url}/?token={TOKEN}")
        expect(page.locator("#connection")).to_have_text("Connected")
        assert page.url == f"{url}/"
        card = card_of(page, "court")
        until(lambda: shows_a_picture(card), 60)
        expect(card.locator(".label")).to_have_text("red")
        page.locator("#file").set_input_files(make_clip(tmp_path / "short.avi"))
        page.locator("#send").click()
        expect(page.locator(".clip .state")).to_have_text("done")
        page.get_by_role("link", name="API").click()
        expect(page.get_by_role("heading", name="POST /streams", exact=True)).to_be_visible()
        page.get_by_role("link", name="Back").click()
        expect(page.locator("#connection")).to_have_text("Connected")
        page.goto("about:blank")  # before the service ends


def test_the_last_ten_minutes_are_there_at_once(page: Any, served: Served) -> None:
    """Who opens the page later sees the events of before, from the log."""
    until(lambda: len(served.client.get("/streams/court/events").json()["messages"]) > 3, 60)
    page.goto(served.url)
    expect(card_of(page, "court").locator(".bar").first).to_be_attached()
    expect(page.locator("#latest tbody tr").first).to_be_visible()


def test_the_latest_events_do_not_depend_on_how_much_is_told(page: Any, served: Served) -> None:
    """Of many cameras the feed has the last seconds only: events of the last ten minutes are there too."""

    def has_ended() -> bool:
        messages = served.client.get("/streams/court/events?limit=1000").json()["messages"]
        return any(message["phase"] == "ended" for message in messages)

    until(has_ended, 60)
    page.route_web_socket("**/events*", lambda socket: None)  # says nothing
    page.goto(served.url)
    expect(page.locator("#latest tbody tr:not(.running)", has_text="court").first).to_be_attached()


def test_the_latest_events_are_in_the_order_of_their_beginning(page: Any, served: Served) -> None:
    """In whatever order they are told; old news changes nothing, and after a long break all is told anew."""
    labels = quiet_page(page, served)
    page.evaluate(TELL, [["event", "b", 2, 7, 4], ["event", "c", 3, 8, 4], ["event", "a", 1, 3, 4]])
    expect(labels).to_have_text(["c", "b", "a"])
    page.evaluate(TELL, [["event", "b", 2, 6, None]])
    expect(page.locator("#latest tbody tr", has_text="4.0 s")).to_have_count(3)
    page.evaluate(TELL, [["afresh", "", 0, 0, None]])
    expect(labels).to_have_count(0)


def test_what_goes_on_stays_on_top_of_the_latest_events(page: Any, served: Served) -> None:
    """However many shorter ones come meanwhile; once it is over, it stands where it began."""
    labels = quiet_page(page, served)
    page.evaluate(TELL, [["event", "long", 1, 1, None]])
    page.evaluate(TELL, [["event", f"short {number}", 2, 2 + number, 4] for number in range(60)])
    expect(labels).to_have_count(51)
    expect(labels.first).to_have_text("long")
    page.evaluate(TELL, [["event", "older", 0, 70, None], ["event", "long", 1, 71, None]])
    assert labels.all_text_contents()[:3] == ["long", "older", "short 59"]
    page.evaluate(TELL, [["afresh", "", 0, 0, None]])
    page.evaluate(TELL, [["event", "long", 1, 72, None], ["event", "short", 2, 73, 4]])
    page.evaluate(TELL, [["event", "long", 1, 74, 90]])
    expect(labels).to_have_text(["short", "long"])


def test_what_may_have_ended_unheard_is_not_said_to_go_on(page: Any, served: Served) -> None:
    """Where messages are missing, its end may be among them; the next word of an event tells better."""
    labels = quiet_page(page, served)
    page.evaluate(TELL, [["event", "one", 1, 1, None], ["event", "two", 2, 2, None]])
    page.evaluate(TELL, [["gap", "", 0, 0, None]])
    running = page.locator("#latest tr.running")
    expect(running).to_have_count(0)
    expect(labels).to_have_text(["messages 1 to 9 are no longer kept", "two", "one"])
    page.evaluate(TELL, [["event", "one", 1, 10, None]])
    expect(running).to_have_text(re.compile("one.*going on"))
    expect(labels.first).to_have_text("one")


def test_pictures_are_fetched_only_while_somebody_can_see_them(page: Any, served: Served) -> None:
    """Nothing is encoded for nobody: paused, in a hidden tab or out of view, a picture has no connection."""
    page.goto(served.url)
    card = card_of(page, "court")
    until(lambda: served.services.viewers.taken == 1, 60)
    pause = card.locator(".pause")
    pause.click()
    expect(pause).to_have_attribute("aria-pressed", "true")
    expect(card.locator(".placeholder")).to_contain_text("paused")
    until(lambda: served.services.viewers.taken == 0)
    pause.click()
    until(lambda: served.services.viewers.taken == 1)
    page.evaluate(HIDE, True)
    until(lambda: served.services.viewers.taken == 0)
    page.evaluate(HIDE, False)
    until(lambda: served.services.viewers.taken == 1)
    page.set_viewport_size({"width": 360, "height": 300})
    page.locator("footer").scroll_into_view_if_needed()
    until(lambda: served.services.viewers.taken == 0)


def test_windows_side_by_side_leave_connections_for_calls(browser: Any, tmp_path: Path, court: Path) -> None:
    """A browser has six to a host: windows share the live pictures, later ones have what is left."""
    streams = {f"court-{number}": COURT | {"source": str(court)} for number in range(5)}
    with serving(tmp_path / "data", ColourProvider(), streams=streams) as served:
        context = browser.new_context(viewport={"width": 1280, "height": 2000})
        windows = [context.new_page() for _ in range(3)]
        live = [window.locator('.picture img[src*="live.mjpeg"]') for window in windows]
        for window in windows:
            window.goto(served.url)
            expect(window.locator(".picture img")).to_have_count(5)
            assert window.evaluate("fetch('/healthz').then(({ status }) => status)") == 200
        assert [pictures.count() for pictures in live] == [4, 0, 0]
        windows[0].close()
        expect(live[1]).to_have_count(4)
        expect(live[2]).to_have_count(0)
        context.close()


def test_many_streams_are_seen_at_once(page: Any, served: Served) -> None:
    """Twenty cameras fit a screen, and two columns of them a phone; each with its state and label."""
    page.set_viewport_size({"width": 1280, "height": 900})
    cards = show_many(page, served, 20)
    for part in (".name", ".state", ".label"):
        expect(cards.last.locator(part)).to_be_visible()
    expect(cards.last.locator(".timeline")).to_be_hidden()
    expect(cards.last.locator(".label")).to_have_text(re.compile("red|blue|nothing of note"))
    boxes = [card.bounding_box() for card in cards.all()]
    assert max(box["y"] + box["height"] for box in boxes) <= 900
    page.set_viewport_size(PHONE)
    assert len({card.bounding_box()["x"] for card in cards.all()}) == 2
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_how_many_streams_are_shown_is_chosen_and_kept(page: Any, served: Served) -> None:
    """Few are shown in full and many compactly, until somebody says otherwise, who is asked once."""
    cards = show_many(page, served, 10)
    compact = page.get_by_role("button", name="Compact")
    expect(compact).to_have_attribute("aria-pressed", "true")
    compact.press("Enter")
    expect(cards.first.locator(".timeline")).to_be_visible()
    page.reload()
    expect(cards.first.locator(".timeline")).to_be_visible()
    show_many(page, served, 3)
    expect(compact).to_have_attribute("aria-pressed", "false")
    compact.click()
    show_many(page, served, 3)
    expect(compact).to_have_attribute("aria-pressed", "true")
    show_many(page, served, 1)
    expect(compact).to_be_hidden()
    expect(cards.first.locator(".timeline")).to_be_visible()


def test_a_stream_that_is_looked_at_closely_moves(page: Any, served: Served) -> None:
    """Of many pictures four are live: of an opened card and in full screen it is, and others stand still."""
    page.set_viewport_size({"width": 1280, "height": 2000})
    cards = show_many(page, served, 10)
    live = page.locator('.picture img[src*="live.mjpeg"]')
    expect(page.locator(".picture img")).to_have_count(10)
    expect(live).to_have_count(4)
    last = cards.last
    expect(last.locator('img[src*="snapshot"]')).to_have_count(1)
    last.locator(".more summary").press("Enter")
    expect(last.locator('img[src*="live.mjpeg"]')).to_have_count(1)
    expect(last.locator(".timeline")).to_be_visible()
    expect(page.locator('img[src*="snapshot"]')).to_have_count(6)
    expect(live).to_have_count(4)
    whole = cards.nth(8)
    whole.locator(".enlarge").click()
    expect(page.locator(".screen:fullscreen")).to_have_count(1)
    expect(whole.locator('img[src*="live.mjpeg"]')).to_have_count(1)
    expect(last.locator('img[src*="live.mjpeg"]')).to_have_count(1)


def test_screen_readers_hear_of_changes_that_last(page: Any, served: Served) -> None:
    """A camera that flickers is no news, and many that fail together are one."""
    sockets: dict[str, Any] = {}
    stream = served.client.get("/streams/court").json()
    streams = [
        stream | {"name": name, "links": stream["links"] | {"labels": f"/{name}/labels"}} for name in "abcde"
    ]
    page.route("**/streams", lambda route: route.fulfill(json={"streams": streams}))
    page.route_web_socket("**/labels*", lambda socket: sockets.update({socket.url.split("/")[-2]: socket}))
    page.clock.install(time="2026-01-01T12:00:00")
    page.goto(served.url)
    until(lambda: page.wait_for_timeout(20) or len(sockets) == 5)

    def tell(names: str, state: str, reason: str | None = None) -> None:
        told = {"type": "state", "state": state, "reason": reason, "attempt": 1, "next_try_at": None}
        for name in names:
            sockets[name].send(json.dumps(told | {"since": "2026-01-01T12:00:00Z"}))
            expect(card_of(page, name)).to_have_attribute("data-state", state)

    tell("abcde", "live")  # all are open: else the jump below is a call that nobody has answered
    page.clock.pause_at("2026-01-01T12:10:00")
    page.evaluate(
        """() => {
            const announcer = document.querySelector("#announcer");
            const hear = new MutationObserver(() => heard.push(announcer.textContent));
            window.heard = [];
            hear.observe(announcer, { childList: true });
        }"""
    )

    def heard(*texts: str) -> None:
        page.clock.run_for(4000)
        assert page.evaluate("heard") == list(texts)

    tell("abcde", "live")
    heard()
    tell("abcde", "stalled")
    tell("abcde", "live")
    heard()
    tell("abcde", "lost", "nothing listens there")
    many = "5 streams have changed."
    heard(many)
    tell("ab", "frozen")
    heard(many, "a: Frozen. b: Frozen.")
    tell("c", "failed", "it ended")
    heard(many, "a: Frozen. b: Frozen.", "c: Failed, it ended.")


def test_a_refused_address_is_told_in_words(page: Any, served: Served, errors: Errors) -> None:
    """Whoever adds a stream learns from the form itself what is wrong and who can help."""
    errors.expected.append("403")
    page.goto(served.url)
    page.click("#add")
    page.fill("#stream-form [name=name]", "outside")
    page.fill("#stream-form [name=source]", "rtsp://192.0.2.1/camera")
    page.click("#save")
    expect(page.locator("#form-message")).to_contain_text("192.0.2.1: this host is not allowed")
    page.keyboard.press("Escape")
    expect(page.locator("#stream-dialog")).to_be_hidden()
    expect(card_of(page, "outside")).to_have_count(0)


def test_a_stream_is_added_changed_and_removed(page: Any, served: Served) -> None:
    """A camera's whole life on the page; removing asks first."""
    page.goto(served.url)
    with camera() as source:
        page.click("#add")
        page.fill("#stream-form [name=name]", "door")
        page.fill("#stream-form [name=source]", source.address)
        page.click("#save")
        card = card_of(page, "door")
        expect(card.locator(".state")).to_have_text("Live")
        until(lambda: shows_a_picture(card), 60)

        card.locator(".more summary").click()
        expect(card.locator(".by-operator")).to_be_hidden()
        card.locator(".change").click()
        page.get_by_label("red", exact=True).check()
        page.fill("#stream-form [name=enter]", "0.7")
        page.click("#save")
        expect(page.locator("#stream-dialog")).to_be_hidden()
        options = served.client.get("/streams/door").json()["options"]
        assert (options["labels"], options["enter"], options["window"]) == (["red"], 0.7, 32)
        expect(card.locator(".state")).to_have_text("Live")

        source.mode = "closed"
        expect(card.locator(".state")).to_have_text("Lost")
        expect(card.locator(".next")).to_contain_text("Next try")
        expect(card.locator(".label")).to_have_text("–")

        card.locator(".remove").click()
        expect(page.locator("#confirm-dialog")).to_contain_text("Remove door?")
        folder = served.data / "recordings" / "door"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "one.avi").write_bytes(b"RIFF")
        page.get_by_label("Delete its recordings too").check()
        page.click("#confirm")
        expect(card).to_have_count(0)
    assert served.client.get("/streams/door").status_code == 404
    assert not folder.exists()


def test_a_stream_of_the_operator_offers_no_change(page: Any, served: Served) -> None:
    """Nobody is offered a button that the service refuses; the card says who can change it."""
    page.goto(served.url)
    card = card_of(page, "court")
    card.locator(".more summary").click()
    expect(card.locator(".by-operator")).to_be_visible()
    for button in (".change", ".remove"):
        expect(card.locator(button)).to_be_hidden()


def test_a_lost_connection_leaves_no_label_standing(page: Any, served: Served) -> None:
    """While the page hears nothing it claims nothing, and it comes back by itself."""
    sockets: list[Any] = []

    def pass_on(socket: Any) -> None:
        socket.connect_to_server()
        sockets.append(socket)

    page.route_web_socket("**/labels*", pass_on)
    page.goto(served.url)
    card = card_of(page, "court")
    expect(card.locator(".state")).to_have_text("Playing")
    sockets[0].close()
    expect(card.locator(".state")).to_have_text("Not connected")
    assert card.locator(".label").text_content() == "–"
    expect(card.locator(".state")).to_have_text("Playing")
    assert len(sockets) == 2


@pytest.mark.parametrize("asked", ["left unanswered", "aborted"])
def test_a_network_that_is_gone_leaves_no_label_standing(
    page: Any, errors: Errors, served: Served, asked: str
) -> None:
    """Nobody closes the sockets then: calls that find no answer tell, and sockets are opened afresh."""
    errors.expected.append("net::ERR_FAILED")
    held: list[Any] = []
    page.route("**/api.js*", with_words("PATIENCE = 15000", "PATIENCE = 2000"))
    page.goto(served.url)
    card = card_of(page, "court")
    expect(card.locator(".state")).to_have_text("Playing")
    page.route("**/streams", lambda route: route.abort() if asked == "aborted" else held.append(route))
    expect(card.locator(".state")).to_have_text("Not connected")
    expect(card.locator(".label")).to_have_text("–")
    expect(page.locator("#connection")).to_contain_text("Connection lost")
    expect(page.locator("#streams-message")).to_have_text("the service cannot be reached")
    page.unroute("**/streams")
    expect(card.locator(".state")).to_have_text("Playing")
    expect(page.locator("#connection")).to_have_text("Connected")
    expect(page.locator("#streams-message")).to_be_hidden()


def test_a_socket_that_does_not_open_is_given_up(page: Any, served: Served) -> None:
    """A network that swallows a handshake keeps the page waiting for minutes, long after it is back."""
    page.add_init_script(
        """const Real = WebSocket;
        let silent = true;
        WebSocket = function (url) {
            if (!url.includes("/labels") || !silent) return new Real(url);
            silent = false;
            return { readyState: Real.CONNECTING, close() {} };
        };
        WebSocket.OPEN = Real.OPEN;"""
    )
    page.route("**/api.js*", with_words("LONGEST_WAIT = 30000", "LONGEST_WAIT = 2000"))
    page.goto(served.url)
    expect(card_of(page, "court").locator(".state")).to_have_text("Playing")


def test_a_camera_that_is_tried_again_and_again_moves_nothing(page: Any, served: Served) -> None:
    """Why it is away stays to be read during each try, and what lies below stays in its place."""
    sockets: list[Any] = []
    page.route_web_socket("**/labels*", lambda socket: sockets.append(socket))
    page.goto(served.url)
    card = card_of(page, "court")
    until(lambda: page.wait_for_timeout(20) or sockets)

    def tell(state: str, reason: str | None, attempt: int, next_try_at: str | None = None) -> float:
        told = {"type": "state", "state": state, "reason": reason, "attempt": attempt}
        told |= {"since": "2026-01-01T12:00:00Z", "next_try_at": next_try_at}
        sockets[0].send(json.dumps(told))
        expect(card).to_have_attribute("data-state", state)
        return float(card.bounding_box()["height"])

    lost = tell("lost", "nothing listens there", 1, "2100-01-01T12:00:00Z")
    expect(card.locator(".next")).to_contain_text("(attempt 2)")
    assert tell("connecting", None, 2) == lost
    expect(card.locator(".reason")).to_have_text("nothing listens there")
    expect(card.locator(".next")).to_have_text("Trying now (attempt 2)")
    assert tell("lost", "nothing listens there", 2, "2100-01-01T12:00:00Z") == lost
    tell("live", None, 2)
    for line in (".reason", ".next"):
        expect(card.locator(line)).to_be_hidden()


def test_the_limit_of_subscribers_is_no_silence(
    page: Any, errors: Errors, tmp_path: Path, court: Path
) -> None:
    """Who is one too many is told so, and not that the service is gone, unless it is."""
    errors.expected += ["WebSocket connection", "net::ERR_FAILED"]
    with serving(
        tmp_path / "data", ColourProvider(), max_subscribers=1, streams={"court": str(court)}
    ) as served:
        with connect(served.socket_url()) as only:
            only.recv()
            page.goto(served.url)
            reason = card_of(page, "court").locator(".reason")
            expect(reason).to_contain_text("too many listen")
            page.route("**/streams", lambda route: route.abort())
            expect(reason).to_contain_text("The service does not answer")
        page.goto("about:blank")


def test_a_picture_whose_connection_ends_comes_back(page: Any, served: Served) -> None:
    """Browsers do not tell that a live picture has come to its end: it is asked for again, in its place."""
    asked: list[str] = []

    def end_first(route: Any) -> None:
        asked.append(route.request.url)
        if len(asked) > 1:
            route.continue_()
            return
        jpeg = cv2.imencode(".jpg", scene("red", 64, 48))[1].tobytes()
        route.fulfill(
            body=b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + jpeg + b"\r\n--frame--\r\n",
            content_type="multipart/x-mixed-replace; boundary=frame",
        )

    page.route("**/picture.js*", with_words("RENEW = 30000", "RENEW = 1000"))
    page.route("**/live.mjpeg*", end_first)
    page.goto(served.url)
    widths: list[int] = []
    shown = "document.querySelector('.picture img')?.naturalWidth ?? 0"
    until(lambda: widths.append(page.evaluate(shown)) or (widths[-1] == 160 and len(asked) > 3), 60)
    assert all(dropwhile(lambda width: not width, widths))  # one stays until the next one is there
    card_of(page, "court").locator(".pause").click()
    until(lambda: served.services.viewers.taken == 0)


def test_recordings_are_listed(page: Any, served: Served) -> None:
    """The video of an event can be fetched from the card of its stream."""
    until(lambda: served.client.get("/streams/court/recordings").json()["recordings"], 60)
    page.goto(served.url)
    card = card_of(page, "court")
    card.locator(".more summary").click()
    link = card.locator(".recordings a").first
    expect(link).to_be_visible()
    answer = served.client.get(link.get_attribute("href"))
    assert answer.status_code == 200
    assert answer.content[:4] == b"RIFF"


def test_an_upload_comes_to_its_events(page: Any, served: Served, tmp_path: Path) -> None:
    """Clips work beside the streams: progress, events, the annotated video."""
    page.goto(served.url)
    page.set_input_files("#file", make_clip(tmp_path / "my match.avi"))
    page.click("#upload-form summary")
    page.fill("#upload-form [name=window]", "4")
    page.click("#send")
    clip = page.locator(".clip", has_text="my match.avi")
    expect(clip.locator(".state")).to_have_text("done")
    expect(clip.locator("tbody")).to_contain_text("red")
    expect(clip.locator(".note")).to_contain_text("70 frames, judged at")  # the rate is not the video's own
    link = clip.locator(".video")
    expect(link).to_be_visible()
    assert served.client.get(link.get_attribute("href")).content[:4] == b"RIFF"
    clip.locator(".remove").click()
    expect(clip).to_have_count(0)


DROP = """([place, name]) => {
    const data = new DataTransfer();
    data.items.add(new File(["x"], name));
    const within = document.querySelector(place);
    return [...within.querySelectorAll("*"), within].map((part) => {
        const drop = new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
        part.dispatchEvent(drop);
        return drop.defaultPrevented;
    }).every((isTaken) => isTaken);
}"""


def test_dropped_files_never_replace_the_page(page: Any, served: Served) -> None:
    """A browser opens a file that nobody takes: the dashed places take theirs, the rest of the page none."""
    page.goto(served.url)
    expect(page.locator("#main")).to_be_visible()
    assert page.evaluate(DROP, ["#drop", "match.mp4"])
    expect(page.locator("#chosen")).to_have_text("match.mp4")
    assert page.evaluate(DROP, ["label[for=examples]", "curling.jpg"])
    expect(page.locator("#chosen-examples")).to_have_text("1 picture")
    assert page.evaluate(DROP, [".top-bar", "other.mp4"])
    expect(page.locator("#chosen")).to_have_text("match.mp4")


SHIFTS = """window.shifts = [];
new PerformanceObserver((list) => { window.shifts.push(...list.getEntries().map(({ value }) => value)); })
    .observe({ type: "layout-shift" });"""


def test_nothing_jumps_away_from_who_is_about_to_click(page: Any, served: Served) -> None:
    """What is there from the beginning comes with the page; a click that something pushes aside is lost."""
    page.add_init_script(SHIFTS)
    page.goto(served.url)
    until(lambda: page.wait_for_timeout(50) or shows_a_picture(card_of(page, "court")))
    page.wait_for_timeout(500)
    assert sum(page.evaluate("window.shifts")) < 0.1  # what is thought good, as "cumulative layout shift"


def test_who_leaves_during_an_upload_is_asked(page: Any, served: Served, tmp_path: Path) -> None:
    """Leaving ends it; before and afterwards nobody is asked."""
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    page.goto(served.url)
    page.set_input_files("#file", make_clip(tmp_path / "match.avi", ["red"] * 30))
    held: list[Any] = []
    page.route(
        "**/clips", lambda route: held.append(route) if route.request.method == "POST" else route.continue_()
    )
    page.click("#send")
    until(lambda: page.wait_for_timeout(50) or held)
    page.evaluate("setTimeout(() => location.assign('/docs'))")
    until(lambda: page.wait_for_timeout(50) or asked)
    assert asked == ["beforeunload"]
    assert page.url.rstrip("/") == served.url
    held[0].continue_()
    expect(page.locator("#message")).to_have_text("Uploaded.")
    page.goto(f"{served.url}/docs")
    assert asked == ["beforeunload"]


def test_a_label_is_taught_tried_announced_and_forgotten(page: Any, served: Served, tmp_path: Path) -> None:
    """Pictures make a label; the page tells what its trial shows, and offers it to streams once announced."""
    pictures = [tmp_path / f"{number}.png" for number in range(6)]
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(picture), cv2.add(scene("yellow"), number))
    page.goto(served.url)
    page.click("text=Teach a label")
    page.fill("#teach-form [name=label]", "yellow")
    page.set_input_files("#examples", pictures)
    page.click("#teach")
    label = page.locator("#learned .clip", has_text="yellow")
    expect(label.locator(".state")).to_have_text("on trial")
    expect(label.locator(".note")).to_contain_text("judged pictures")
    label.locator(".promote").click()
    expect(label.locator(".state")).to_have_text("announced")
    expect(page.locator("#choices")).to_contain_text("yellow")
    label.locator(".remove").click()
    expect(label).to_have_count(0)
    expect(page.locator("#choices")).not_to_contain_text("yellow")


def test_the_description_shows_what_a_body_may_have(page: Any, served: Served) -> None:
    """Fields of JSON, choices and defaults among them, are not left to be guessed; no mark-up shows."""
    page.goto(f"{served.url}/docs")
    section = page.locator("section", has=page.get_by_role("heading", name="POST /streams", exact=True))
    row = section.locator("tr", has_text="options.on_overload")
    expect(row).to_contain_text("refuse | lower")
    expect(row).to_contain_text('Default: "refuse".')
    expect(section.locator("tr", has_text="source").first).to_contain_text("body, required")
    changing = page.locator("section", has=page.get_by_role("heading", name="PATCH /streams/{name}"))
    expect(changing.locator("tr", has_text="options.rate")).to_have_count(1)
    expect(section.locator("p code").first).to_have_text("rate")
    assert "`" not in page.locator("main").text_content()


def test_the_page_fits_a_phone(page: Any, served: Served) -> None:
    """Nothing is wider than 360 pixels, the open form and the open card included."""
    page.set_viewport_size(PHONE)
    page.goto(served.url)
    card = card_of(page, "court")
    expect(card.locator(".state")).to_have_text("Playing")
    card.locator(".more summary").click()
    page.click("#add")
    page.click("#stream-form summary")
    for place in ("document.documentElement", "document.querySelector('#stream-dialog')"):
        assert page.evaluate(f"{place}.scrollWidth <= {place}.clientWidth")


def test_names_of_any_kind_fit_and_stay_text(page: Any, served: Served) -> None:
    """Without a space, like mark-up, or written from right to left, which turns no number beside it round."""
    hebrew, mark_up, long = "\u05db\u05d3\u05d5\u05e8\u05e1\u05dc", "<img src=x onerror=alert(1)>", 64 * "m"
    label = {"state": "announced", "examples": 9, "warnings": [], "links": {"self": "", "promote": ""}}
    learned = [label | {"name": name} for name in (hebrew, mark_up, long)]
    page.route("**/models/*/labels", lambda route: route.fulfill(json={"learned": learned}))
    event = {"id": "one", "label": hebrew, "stream": "court", "start_pts": 0, "end_pts": None}
    event |= {"started_at": "2100-01-01T12:34:56Z", "mean_confidence": 1, "peak_confidence": 1}
    message = {"position": 1, "phase": "started", "recorded_at": "2100-01-01T12:34:56Z"}
    events = {"messages": [message | {"event": event}]}
    page.route("**/streams/court/events*", lambda route: route.fulfill(json=events))
    page.set_viewport_size(PHONE)
    page.goto(served.url)
    expect(page.locator("#learned strong")).to_have_text([hebrew, mark_up, long])
    expect(card_of(page, "court").locator(".readout")).to_contain_text(f"\u2068{hebrew}\u2069, since")
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


@pytest.mark.parametrize("width", [400, 900, 1100])
def test_the_latest_events_are_read_without_scrolling_sideways(page: Any, served: Served, width: int) -> None:
    """Long labels and names take more lines instead."""
    page.set_viewport_size({"width": width, "height": 740})
    page.goto(served.url)
    page.evaluate(
        """async () => {
            const { showLatest } = await import("/page/latest.js");
            const event = { id: "one", label: "rhythmic gymnastics", stream: "front-door-camera-2",
              started_at: "2026-01-01T12:34:56Z", start_pts: 0, end_pts: 4000, mean_confidence: 1 };
            showLatest({ type: "event", event }, (name) => name);
        }"""
    )
    expect(page.locator("#latest tbody")).to_contain_text("front-door-camera-2")
    table = "document.querySelector('#latest').parentElement"
    assert page.evaluate(f"{table}.scrollWidth <= {table}.clientWidth")


def test_events_of_other_days_have_their_date(page: Any, served: Served) -> None:
    """Where little happens the latest events are days old; at midnight those of today become yesterday's."""
    page.clock.install(time="2026-03-02T23:59:00")
    page.goto(served.url)
    expect(page.locator("#connection")).to_have_text("Connected")
    page.evaluate(
        """async () => {
            const { showLatest } = await import("/page/latest.js");
            for (const day of [1, 2]) {
                const event = { id: day, label: "red", stream: "hall", start_pts: 0, end_pts: 4,
                  started_at: new Date(2026, 2, day, 12, 34, 56), mean_confidence: 1 };
                showLatest({ type: "event", event }, (name) => name);
            }
        }"""
    )
    began = page.locator("#latest tr", has_text="hall").locator("td:first-child")
    expect(began).to_have_text(["12:34:56", "3/1/2026 12:34:56"])
    page.clock.fast_forward("02:00")
    expect(began).to_have_text(["3/2/2026 12:34:56", "3/1/2026 12:34:56"])


def test_the_description_fits_a_phone_and_is_read_with_the_keyboard(page: Any, served: Served) -> None:
    """Paths longer than the screen break; what a field means stands below it, not beyond the edge."""
    page.set_viewport_size(PHONE)
    page.goto(f"{served.url}/docs")
    section = page.locator("section", has=page.get_by_role("heading", name="PATCH /streams/{name}"))
    table = section.get_by_role("group", name="What PATCH /streams/{name} takes")
    expect(table).to_have_attribute("tabindex", "0")
    assert table.evaluate("part => part.scrollWidth <= part.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    landmarks = page.evaluate("[...document.body.children].map(child => child.tagName)")
    assert landmarks == ["HEADER", "MAIN", "FOOTER"]


def test_a_token_is_asked_for_until_it_is_right(
    page: Any, served: Served, tmp_path: Path, errors: Errors
) -> None:
    """A wrong one is told; what copying has added to the right one does no harm."""
    errors.expected.append("401")
    tokens = [{"name": "page", "token": TOKEN, "scopes": ["view"]}]
    with serving(tmp_path / "data", ColourProvider(), tokens=tokens) as guarded:
        page.goto(guarded.url)
        expect(page.locator("#token")).to_be_focused()
        expect(page.locator("#connection")).to_have_text("Waiting for a token")
        page.keyboard.type("no token of this service")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_have_text("The service does not know this token.")
        expect(page.locator("#token")).to_be_focused()
        page.fill("#token", f"\u201c{TOKEN}\u201d\u200b ")
        page.keyboard.press("Enter")
        expect(page.locator("#connection")).to_have_text("Connected")
        expect(page.locator("#access")).to_be_hidden()
        page.goto("about:blank")  # before the service ends


def test_a_token_opens_pictures_and_sockets_too(browser: Any, tmp_path: Path, court: Path) -> None:
    """Where tokens are asked for, the page asks once and then shows all, live pictures included."""
    tokens = [{"name": "page", "token": TOKEN, "scopes": ["view"]}]
    streams = {"court": COURT | {"source": str(court)}}
    with serving(tmp_path / "data", ColourProvider(), tokens=tokens, streams=streams) as served:
        page = browser.new_page()
        page.goto(served.url)
        expect(page.locator("#about")).to_have_text("A valid token is needed")
        page.fill("#token", TOKEN)
        page.click("#access button")
        expect(page.locator("#connection")).to_have_text("Connected")
        card = card_of(page, "court")
        expect(card.locator(".state")).to_have_text("Playing")
        until(lambda: shows_a_picture(card), 60)
        assert TOKEN not in page.url
        for choice in ("#add", "#upload-form", "text=Teach a label"):  # of which it may see the results alone
            expect(page.locator(choice)).to_be_hidden()
        page.close()
