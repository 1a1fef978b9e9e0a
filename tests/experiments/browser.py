"""Chromium for the tests of the site, without a window and without a network of its own."""

import os
import shutil
from contextlib import contextmanager

import pytest
from selenium import webdriver

CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
CHROMEDRIVER = shutil.which("chromedriver")

needs_chromium = pytest.mark.skipif(
    not (CHROMIUM and CHROMEDRIVER),
    reason="no Chromium with chromedriver (Debian: apt install chromium chromium-driver; elsewhere set CHROMIUM)",
)


@contextmanager
def chromium(profile):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    quiet = "no-first-run disable-background-networking disable-component-update disable-sync disable-quic"
    for argument in f"headless=new no-sandbox disable-gpu hide-scrollbars {quiet} user-data-dir={profile}".split():
        options.add_argument(f"--{argument}")
    browser = webdriver.Chrome(options, webdriver.ChromeService(CHROMEDRIVER))
    try:
        yield browser
    finally:
        browser.quit()


def show_as_phone(browser):
    phone = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
