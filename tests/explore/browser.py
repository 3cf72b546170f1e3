"""A headless Chromium over its debugging pipe: no driver, no port, no package."""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
LONGEST = 60.0  # seconds that a condition on the page may take


def find_chromium() -> str | None:
    """Path of a Chromium on this machine."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One tab: runs scripts, sends keys, takes pictures, notes what it requests."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read = write, read
        self._rest, self._count, self._session = b"", 0, ""
        self.requests: list[str] = []
        self.errors: list[str] = []

    def open(self, url: str, *, width: int = 1280, height: int = 800) -> None:
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._call(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1}
        self._call("Emulation.setDeviceMetricsOverride", mobile=False, **size)
        self._call("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """Value of an expression; promises are awaited."""
        found = self._call(
            "Runtime.evaluate",
            expression=script,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        if "exceptionDetails" in found:
            details = found["exceptionDetails"]
            raise AssertionError(details.get("exception", details).get("description"))
        return found["result"].get("value")

    def wait(self, script: str, *, longest: float = LONGEST) -> Any:
        """The expression's value once it is true."""
        end = time.monotonic() + longest
        while time.monotonic() < end:
            found = self.run(script)
            if found:
                return found
            time.sleep(0.02)
        said = self.run("document.getElementById('message')?.textContent")
        raise AssertionError(
            f"after {longest:.0f} s still not: {script}\n{said}\n{self.errors}"
        )

    def key(self, name: str) -> None:
        """Press a key where the focus is."""
        text = {"text": name} if len(name) == 1 else {}
        for kind in ("keyDown", "keyUp"):
            self._call("Input.dispatchKeyEvent", type=kind, key=name, **text)

    def emulate(self, **features: str) -> None:
        """Pretend a media feature, such as prefers_color_scheme="dark"."""
        media = [{"name": n.replace("_", "-"), "value": v} for n, v in features.items()]
        self._call("Emulation.setEmulatedMedia", features=media)

    def picture(self, path: Path) -> None:
        found = self._call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(found["data"]))

    def _call(self, method: str, **params: Any) -> Any:
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method}
        message |= {"params": params} if params else {}
        if self._session and not method.startswith("Target."):
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            found = self._next()
            if found.get("id") == self._count:
                assert "error" not in found, found["error"]
                return found["result"]
            self._note(found)

    def _next(self) -> Any:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], LONGEST)
            assert ready, "Chromium does not answer"
            part = os.read(self._read, 1 << 20)
            assert part, "Chromium has ended"
            self._rest += part
        text, _, self._rest = self._rest.partition(b"\0")
        return json.loads(text)

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event.get("method") == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        if event.get("method") == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(str(details.get("exception", details)))
        if event.get("method") == "Log.entryAdded":
            entry = params["entry"]
            if entry["level"] == "error":
                self.errors.append(f"{entry['text']} {entry.get('url', '')}")


@contextmanager
def chromium(folder: Path) -> Iterator[Page]:
    """A fresh browser whose profile lies in a folder."""
    to_browser, from_page = os.pipe(), os.pipe()
    command = [find_chromium() or "", *FLAGS, f"--user-data-dir={folder}"]
    given, taken = to_browser[0], from_page[1]
    # Chromium reads its commands from 3 and answers on 4.
    shell = f'exec 3<&{given} 4>&{taken}; exec "$@"'
    process = subprocess.Popen(
        ["/bin/bash", "-c", shell, "chromium", *command],
        pass_fds=(given, taken),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for end in (given, taken):
        os.close(end)
    try:
        yield Page(to_browser[1], from_page[0])
    finally:
        process.terminate()
        process.wait(20)
        for end in (to_browser[1], from_page[0]):
            os.close(end)
