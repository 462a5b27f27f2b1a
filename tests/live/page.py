"""The page in a browser, Debian's Chromium without a screen, while a watch runs: make live.

With LIVE_SCREENSHOTS=FOLDER it leaves pictures of what it saw there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select
from yards import HEIGHT, RATE, WIDTH, until, walk

from linnet.watch.access import set_password

PASSWORD = "what the owl saw"
PICTURES = 76  # in which somebody walks by once, and is away long enough for a clip to end
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


class Running:
    """A watch, its page and what it printed, with the time of each line."""

    def __init__(self, folder: Path, *options: str) -> None:
        video = folder / "yard.mp4"
        with av.open(str(video), "w") as container:
            stream = container.add_stream("libx264", rate=RATE, options={"g": "10"})
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            stream.codec_context.time_base = Fraction(1, RATE)
            for index in range(PICTURES):
                picture = av.VideoFrame.from_ndarray(walk(index), format="rgb24")
                container.mux(stream.encode(picture))
            container.mux(stream.encode())
        script = str(Path(__file__).with_name("yard.py"))
        events = ["--events", str(folder / "events"), "--web", "0", "--record", "1", "--json"]
        self.process = subprocess.Popen(
            [sys.executable, script, "--source", str(video), "--loop", *events, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr
        said: list[str] = []
        while not said or "the page is at" not in said[-1]:
            said.append(self.process.stderr.readline())
            assert said[-1], said
        line = said[-1]
        self.url = line.split()[-1]
        self.events: list[tuple[float, dict[str, Any]]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.events.append((time.monotonic(), json.loads(line)))

    def wait(self, kind: str, after: int, seconds: float = 60) -> tuple[float, dict[str, Any]]:
        """The next event of a kind, of those after a number of them."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for moment, event in self.events[after:]:
                if event["event"] == kind:
                    return moment, event
            time.sleep(0.02)
        raise AssertionError(f"no {kind} within {seconds} s")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    set_password(tmp_path / "events", PASSWORD)
    made = Running(tmp_path)
    yield made
    made.process.terminate()
    assert made.process.wait(30) == 0


@pytest.fixture(params=SIZES)
def browser(request: pytest.FixtureRequest) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    width, height = SIZES[request.param]
    for option in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(option)
    options.add_argument(f"--window-size={width},{height}")
    if request.param == "phone":
        metrics = {"width": width, "height": height, "pixelRatio": 2.0}
        options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService("/usr/bin/chromedriver")
    driver: Any = webdriver.Chrome(options, service)
    driver.kind = request.param
    yield driver
    driver.quit()


def find(browser: Any, selector: str) -> Any:
    return browser.find_element(By.CSS_SELECTOR, selector)


def items(browser: Any) -> list[int]:
    script = "return [...document.querySelectorAll('#visits li')].map(item => +item.dataset.id)"
    return browser.execute_script(script)


def picture(browser: Any, name: str) -> None:
    folder = os.environ.get("LIVE_SCREENSHOTS")
    if folder:
        browser.save_screenshot(f"{folder}/{browser.kind}-{name}.png")


def log_in(browser: Any, url: str) -> None:
    browser.get(url)
    until(lambda: find(browser, "#login").is_displayed())
    find(browser, "#password").send_keys("not the password")
    find(browser, "#login button").click()
    until(lambda: find(browser, "#login p").text == "wrong password")
    picture(browser, "login")
    find(browser, "#password").clear()
    find(browser, "#password").send_keys(PASSWORD)
    find(browser, "#login button").click()
    until(lambda: find(browser, "#app").is_displayed())


def pixels(browser: Any) -> int:
    """A sum of what the picture shows."""
    return browser.execute_script(
        "const c = document.getElementById('live');"
        "return c.getContext('2d').getImageData(0, 0, c.width, c.height).data"
        ".reduce((sum, n, i) => (sum * 31 + n) % 1000003, 7)"
    )


def shown(browser: Any) -> int:
    """The number of the picture that is shown, 0 if there is none yet."""
    return int(find(browser, "#live").get_attribute("data-index") or 0)


def draw(browser: Any, name: str, corners: list[tuple[float, float]]) -> None:
    """A zone, with the mouse; corners in parts of the picture."""
    find(browser, "#draw").click()
    canvas = find(browser, "#live")
    size = canvas.size
    for x, y in corners:
        actions = ActionChains(browser)
        off = round((x - 0.5) * (size["width"] - 4)), round((y - 0.5) * (size["height"] - 4))
        actions.move_to_element_with_offset(canvas, *off).click().perform()
    find(browser, "#name").send_keys(name)
    picture(browser, f"zone-{name}")
    find(browser, "#save").click()
    until(lambda: not find(browser, "#editor").is_displayed())


def test_the_page(running: Running, browser: Any) -> None:
    log_in(browser, running.url)

    until(lambda: shown(browser))
    seen = set()
    until(lambda: seen.add(pixels(browser)) or len(seen) >= 4)  # the picture changes

    moment, event = running.wait("began", len(running.events))
    until(lambda: event["id"] in items(browser))
    late = time.monotonic() - moment
    print(f"{browser.kind}: a visit is on the page {late:.2f} s after it began")
    until(lambda: "pictures" in find(browser, "#status").text)
    picture(browser, "live")
    wide = browser.execute_script("return document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0

    check_filters(browser)
    check_zones(running, browser)
    check_a_visit(browser)
    check_strangers(browser, running.url)


def check_filters(browser: Any) -> None:
    listed = items(browser)
    assert listed
    Select(find(browser, "#label")).select_by_value("person")
    until(lambda: items(browser) == listed)
    set_day = "const d = document.getElementById('day'); d.value = arguments[0]; d.onchange()"
    browser.execute_script(set_day, "2001-02-03")
    until(lambda: items(browser) == [])
    assert find(browser, "#none").text == "Nobody there."
    browser.execute_script(set_day, time.strftime("%Y-%m-%d"))
    until(lambda: set(items(browser)) >= set(listed))
    browser.execute_script(set_day, "")


def check_zones(running: Running, browser: Any) -> None:
    draw(browser, "sky", [(0.1, 0.05), (0.9, 0.05), (0.9, 0.3), (0.1, 0.3)])
    drawn = shown(browser)
    until(lambda: shown(browser) > drawn + 3)  # the watch looks with the new zone
    before = len(running.events)
    time.sleep(1.1 * PICTURES / RATE)  # a whole walk, outside of it
    assert [e for _, e in running.events[before:] if e["event"] in ("began", "entered")] == []
    draw(browser, "path", [(0.3, 0.6), (0.8, 0.6), (0.8, 0.95), (0.3, 0.95)])
    before = len(running.events)
    _, event = running.wait("entered", before)
    assert event["zone"] == "path"
    until(lambda: event["id"] in items(browser))
    Select(find(browser, "#zone")).select_by_value("path")
    entered = lambda: {e["id"] for _, e in running.events if e["event"] == "entered"}  # noqa: E731
    until(lambda: event["id"] in items(browser) and entered() >= set(items(browser)))
    Select(find(browser, "#zone")).select_by_value("sky")
    until(lambda: items(browser) == [])
    Select(find(browser, "#zone")).select_by_value("")
    picture(browser, "zones")
    find(browser, "[title='Remove sky']").click()
    browser.switch_to.alert.accept()
    until(lambda: not browser.find_elements(By.CSS_SELECTOR, "[title='Remove sky']"))


def check_a_visit(browser: Any) -> None:
    until(lambda: open_a_video(browser))
    until(lambda: find(browser, "#visit").is_displayed())
    play = """
        const video = document.querySelector('#clips video'), done = arguments[0];
        const fail = () => done(`error ${video.error && video.error.message}`);
        video.onerror = fail;
        if (video.error) fail();
        const size = () => [video.videoWidth, video.videoHeight];
        video.ontimeupdate = () => video.currentTime > 0.5 && done(size());
        video.play();
    """
    assert browser.execute_async_script(play) == [WIDTH, HEIGHT]
    picture(browser, "visit")
    find(browser, "#close").click()


def open_a_video(browser: Any) -> bool:
    try:
        for item in browser.find_elements(By.CSS_SELECTOR, "#visits li"):
            if "video" in item.text:
                item.find_element(By.TAG_NAME, "button").click()
                return True
    except StaleElementReferenceException:  # the list has just been drawn anew
        pass
    return False


def check_strangers(browser: Any, url: str) -> None:
    """No other host was asked for anything, and the page broke none of its own rules."""
    asked = set()
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked.add(message["params"]["request"]["url"])
    assert {a for a in asked if not a.startswith((url, "blob:", "data:"))} == set()
    errors = [e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE"]
    known = ("401", "403")  # before the password was given
    assert [e for e in errors if not any(f"status of {status}" in e for status in known)] == []


def test_nothing_is_shown_without_the_password(running: Running) -> None:
    for path in ("api/live", "api/visits", "snapshots/1.jpg", "clips/1.mp4"):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(running.url + path)
