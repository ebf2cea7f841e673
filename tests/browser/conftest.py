"""A real headless Chromium, and pages made from real cards and a real run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ..fork_server import script

ROOT = Path(__file__).resolve().parents[2]
CARDS = ROOT / "leaderboard" / "cards"
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
)


def run_robench(*words: object) -> None:
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([script(), *map(str, words)], capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr


#: Seconds for one command of a browser, which takes less than one where it works.
PATIENCE = 60


class Browser:
    """Show a page and tell what a person would notice of it."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def command(self, name: str, **given: Any) -> Any:
        return self.driver.execute_cdp_cmd(name, given)

    def show(self, page: Path, *, width: int = 1280, scheme: str = "light", scripts: bool = True, media: str = ""):
        """Open the page afresh, as on a screen of this width; return this browser."""
        self.command("Emulation.setScriptExecutionDisabled", value=not scripts)
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.command("Emulation.setDeviceMetricsOverride", **size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.command("Emulation.setEmulatedMedia", media=media, features=features)
        self.command("Storage.clearDataForOrigin", origin="*", storageTypes="all")
        self.driver.get("about:blank")
        for kind in ("browser", "performance"):
            self.driver.get_log(kind)
        self.driver.get(page.as_uri())
        if scripts:
            self.wait_until("return document.readyState === 'complete'")
            self.run("localStorage.clear()")
        return self

    def reload(self) -> None:
        """Load the page again; the driver may return while the old page, or half of the new one, is shown."""
        self.run("window.before = true")
        self.driver.refresh()
        self.wait_until("return !window.before && document.readyState === 'complete'")

    def run(self, script: str, *given: Any) -> Any:
        return self.driver.execute_script(script, *given)

    def wait_until(self, script: str, *given: Any) -> None:
        """Wait for what a page does only after a click has returned, as where it hears of a new address."""
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, 60).until(lambda _: self.run(script, *given))

    def find(self, selector: str) -> Any:
        from selenium.webdriver.common.by import By

        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def press(self, *keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def complaints(self) -> list[str]:
        """Return what the console says, refused scripts and styles included."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Return every address that was asked for since the page was opened."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]

    def open_all(self) -> None:
        self.run("document.querySelectorAll('details').forEach(one => { one.open = true; })")


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Return a headless Chromium; tests are skipped where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    chromedriver = shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        pytest.skip("there is no Chromium here (on Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # Both are named, so that selenium does not look for a driver elsewhere.
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))
    driver.command_executor.client_config.timeout = PATIENCE
    driver.set_page_load_timeout(PATIENCE)
    driver.set_script_timeout(PATIENCE)
    try:
        yield Browser(driver)
    finally:
        driver.quit()


@pytest.fixture(scope="session")
def robench() -> Callable[..., None]:
    """Return a function that runs the installed script and expects it to succeed."""
    return run_robench


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the results folder of a real run on 40 digits, pictures included."""
    root = tmp_path_factory.mktemp("run")
    run_robench(
        *("run", "--defense", "none,tecoa", "--attack", "fgsm,pgd", "--surrogate", "self", "--eps", "4/255,8/255"),
        *(
            "--n",
            40,
            "-p",
            "attack.steps=3",
            "-p",
            "defense.epochs=1",
            "--store",
            root / "store",
            "--out",
            root / "out",
        ),
    )
    return root / "out"


@pytest.fixture(scope="session")
def run_page(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of the small run."""
    page = tmp_path_factory.mktemp("page") / "report.html"
    run_robench("report", small_run, "-o", page)
    return page


@pytest.fixture(scope="session")
def cards_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of the repository's own cards."""
    page = tmp_path_factory.mktemp("page") / "cards.html"
    run_robench("report", CARDS, "-o", page)
    return page
