"""A headless Chromium, driven over ChromeDriver's HTTP interface: https://www.w3.org/TR/webdriver/."""

import base64
import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ARGUMENTS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
)  # fmt: skip
STARTUP_SECONDS = 60.0


def missing() -> str:
    """Why no browser can be used; empty where one is there, or has to be."""
    if os.environ.get("REQUIRE_SERVICES") == "1":
        return ""
    names = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"{' and '.join(names)} not installed (Debian: chromium, chromium-driver)" if names else ""


@dataclass(frozen=True)
class Browser:
    """One window. `log` is what the console and the network said since the last call."""

    url: str

    def open(self, page: str) -> None:
        """Loads a page and waits until it is complete; what was logged before is forgotten."""
        self._post("/url", {"url": "about:blank"})
        self.console()
        self.requests()
        self._post("/url", {"url": page})

    def script(self, body: str) -> Any:
        """The value that a script returns."""
        return self._post("/execute/sync", {"script": body, "args": []})

    def cdp(self, command: str, **parameters: Any) -> Any:
        """One command of the DevTools protocol."""
        return self._post("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def console(self) -> list[str]:
        """Messages of the console."""
        return [str(entry["message"]) for entry in self._post("/se/log", {"type": "browser"})]

    def requests(self) -> list[str]:
        """The URLs that were asked for since the last call, that of the page among them."""
        events = [
            json.loads(entry["message"])["message"]
            for entry in self._post("/se/log", {"type": "performance"})
        ]
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def look(self, scheme: str, width: int, path: Path) -> None:
        """A picture of the whole page in a colour scheme, or as it is printed."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.cdp("Emulation.setEmulatedMedia", media="screen", features=features)
        self.cdp(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
        )
        shot = self.cdp("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def printed(self, path: Path) -> None:
        """The page as PDF."""
        self.cdp("Emulation.setEmulatedMedia", media="", features=[])
        path.write_bytes(base64.b64decode(self.cdp("Page.printToPDF", printBackground=True)["data"]))

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return _call(self.url + path, body)


def _call(url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)["value"]
    except urllib.error.HTTPError as error:
        raise AssertionError(error.read().decode()) from error


def assert_shown(page: Path, *, charts: int | None = None) -> str:
    """A report is shown in light, in dark, on a telephone and printed: with its charts, without errors or requests, nothing wider than the
    window. Pictures are left beside it. Returns the title. With REQUIRE_SERVICES=1 a browser has to be there.
    """
    with browser() as window:
        window.open(page.as_uri())
        for scheme, paper in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(17, 22, 29)")):
            window.look(scheme, 1_000, page.with_suffix(f".{scheme}.png"))
            assert window.script("return getComputedStyle(document.body).backgroundColor") == paper
        window.look("light", 390, page.with_suffix(".phone.png"))
        assert window.script("return document.documentElement.scrollWidth") <= 390
        heights = window.script(
            "return [...document.querySelectorAll('svg')].map(one => one.getBoundingClientRect().height)"
        )
        assert charts in {None, len(heights)}
        assert all(height > 50 for height in heights)
        window.printed(page.with_suffix(".pdf"))
        assert window.console() == []
        assert [url for url in window.requests() if not url.startswith("data:")] == [page.as_uri()]
        title = str(window.script("return document.title"))
    assert page.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    return title


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """A browser with a profile of its own, ended with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as profile:
        driver = subprocess.Popen(
            ["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            session = _session(f"http://127.0.0.1:{port}", profile)
            try:
                yield Browser(session)
            finally:
                quit_request = urllib.request.Request(session, method="DELETE")
                with contextlib.suppress(OSError), urllib.request.urlopen(quit_request, timeout=30):
                    pass
        finally:
            driver.terminate()
            driver.wait(30)


def _session(server: str, profile: str) -> str:
    options = {"args": [*ARGUMENTS, f"--user-data-dir={profile}"]}
    capabilities = {
        "browserName": "chrome",
        "goog:chromeOptions": options,
        "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
    }
    deadline = time.monotonic() + STARTUP_SECONDS
    while True:
        try:
            found = _call(f"{server}/session", {"capabilities": {"alwaysMatch": capabilities}})
            return f"{server}/session/{found['sessionId']}"
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
