"""Drives the Chromium of this machine, as someone who looks at the preview would."""

from __future__ import annotations

import base64
import json
import shutil
from typing import TYPE_CHECKING, Any, Final, Self

from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

if TYPE_CHECKING:
    from pathlib import Path

    from selenium.webdriver.remote.webelement import WebElement

WIDTH: Final = 1280
HEIGHT: Final = 900
_PATIENCE_SECONDS: Final = 40
_FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",  # as root there is no other way
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    # Nothing but the page is asked for.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
    f"--window-size={WIDTH},{HEIGHT}",
)

# Every panel of the page is there, none of them loads, and what it draws is drawn.
_SETTLED: Final = """
const panels = [...document.querySelectorAll('main section')];
const loading = panels.some((p) => p.querySelector('[class*=panel-loading-bar-container]')?.children.length);
return panels.length > 0 && !loading && document.querySelector('[role=alert]') === null;
"""


class Chromium:
    """A browser; a context manager."""

    def __enter__(self) -> Self:
        programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
        missing = [name for name, path in programs.items() if path is None]
        assert not missing, f"{' and '.join(missing)} missing; on Debian: apt-get install chromium chromium-driver"
        options = webdriver.ChromeOptions()
        options.binary_location = str(programs["chromium"])
        for flag in _FLAGS:
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(str(programs["chromedriver"])))
        self.resize(WIDTH, HEIGHT)
        return self

    def __exit__(self, *_exception: object) -> None:
        self.driver.quit()

    def resize(self, width: int, height: int, *, phone: bool = False) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 2 if phone else 1, "mobile": phone}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def open(self, url: str) -> None:
        """Go to an address and wait until all panels are drawn."""
        self.forget()
        self.driver.get(url)
        self.settle()

    def settle(self) -> None:
        """Wait until all panels are drawn."""
        self.wait(lambda: self.driver.execute_script(_SETTLED), "the panels are not drawn")

    def wait(self, condition: Any, otherwise: str) -> Any:
        try:
            return WebDriverWait(self.driver, _PATIENCE_SECONDS, poll_frequency=0.2).until(lambda _: condition())
        except TimeoutException:
            text = self.driver.find_element(By.TAG_NAME, "body").text
            msg = f"{otherwise}; {self.complaints()}; the page says:\n{text}"
            raise AssertionError(msg) from None

    def forget(self) -> None:
        """Begin to listen anew."""
        self.driver.get_log("browser")
        self.driver.get_log("performance")

    def complaints(self) -> list[str]:
        """Return what the console was told and which requests failed, since `forget`; of no level below warning."""
        console = [e["message"] for e in self.driver.get_log("browser") if e["level"] in {"WARNING", "SEVERE"}]
        failed = []
        for entry in self.driver.get_log("performance"):
            event = json.loads(entry["message"])["message"]
            told = event["params"]
            if event["method"] == "Network.loadingFailed" and not told.get("canceled"):
                failed.append(f"a request failed: {told.get('errorText')}")
            if event["method"] == "Network.responseReceived" and told["response"]["status"] >= 400:
                failed.append(f"{told['response']['status']} from {told['response']['url']}")
        return console + failed

    def panel(self, title: str, holding: str = "*") -> WebElement:
        """Return the panel with a title, and with an element that an XPath names."""
        found: WebElement = self.driver.find_element(
            By.XPATH, f"//main//section[.//h2[normalize-space()='{title}']][.//{holding}]"
        )
        return found

    def table(self, title: str) -> WebElement:
        """Return the table with a title."""
        return self.panel(title, "*[@role='grid']")

    def panels(self) -> list[tuple[str, str]]:
        """Return title and text of each panel."""
        sections = self.driver.find_elements(By.CSS_SELECTOR, "main section")
        texts = [section.text.partition("\n") for section in sections]
        return [(title, text) for title, _, text in texts]

    def click(self, element: WebElement) -> None:
        """Click an element; then wait until the page has settled."""
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()
        self.settle()

    def picture(self, path: Path) -> None:
        """Write the whole page as a picture."""
        screen = self.driver.execute_script("return [innerWidth, innerHeight]")
        height = self.driver.execute_script("return document.documentElement.scrollHeight")
        self.resize(screen[0], height)
        self.settle()
        taken = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
        path.write_bytes(base64.b64decode(taken["data"]))
        self.resize(*screen)
