"""The pictures of docs/images: `make pictures`, beside a platform that `hearth up` has started and nobody else uses."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.gateway.page.conftest import FLAGS
from tests.gateway.page.test_walk import add_feature, save_as

FOLDER = Path(__file__).parents[3] / "docs" / "images"
WIDE, TALL, NARROW = (1280, 800), (1280, 1500), (390, 844)
PATIENCE_MS = 120_000
FEATURE = "sea, atlantic, water, ocean"
QUESTION = "What did you do this weekend?"
TOKENS = "40"


def opened(browser: Browser, url: str, size: tuple[int, int], scheme: str) -> Page:
    """The page in a window of its own."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,  # type: ignore[arg-type]
        device_scale_factor=1.5,
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(url)
    return page


def taken(page: Page, name: str) -> None:
    """One picture of what stands there now."""
    page.wait_for_timeout(400)  # until what moves has come to rest
    page.screenshot(path=FOLDER / f"{name}.png")
    sys.stdout.write(f"{name}\n")


def chat(page: Page) -> None:
    """Plain and steered answers."""
    folded = page.locator(".fold")
    if folded.is_visible():
        folded.click()
    add_feature(page, FEATURE)
    if folded.is_visible():
        folded.click()
    page.get_by_label("Settings of answers").click()
    page.get_by_label("Tokens", exact=True).fill(TOKENS)
    page.get_by_label("Settings of answers").click()
    page.get_by_label("Your question").fill(QUESTION)
    page.keyboard.press("Enter")
    for answer in ("Plain answer", "Steered answer"):
        expect(page.get_by_label(answer).locator("footer")).to_contain_text("tokens")


def playground(browser: Browser, url: str) -> None:
    """Answers side by side; a token and what it is made of; a feature's card; the same in Python."""
    page = opened(browser, url, WIDE, "light")
    chat(page)
    taken(page, "playground")
    page.get_by_label("Steered answer").locator(".token").nth(5).click()
    panel = page.get_by_label("Token", exact=True)
    expect(panel.locator(".effects li").first).to_be_visible()
    taken(page, "token")
    panel.locator(".feature-name").first.click()
    expect(page.get_by_role("heading", name="Push the model alike")).to_be_visible()
    taken(page, "feature")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Python").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    taken(page, "python")
    page.keyboard.press("Escape")
    save_as(page, "seafarer")
    page.get_by_role("link", name="Variants").click()
    taken(page, "variants")


def auto_steer(browser: Browser, url: str) -> None:
    """A quick search while it runs, and what it found."""
    page = opened(browser, f"{url}/#/auto-steer", TALL, "light")
    page.get_by_label("The model should").fill("talk about the sea")
    page.get_by_label("Quick").check()
    page.get_by_role("button", name="Find edits").click()
    expect(page.get_by_label("Stages").locator("[aria-current]")).to_be_visible()
    page.wait_for_timeout(12_000)
    taken(page, "auto-steer-running")
    expect(page.locator(".verdict")).to_be_visible()
    taken(page, "auto-steer")


def elsewhere(browser: Browser, url: str) -> None:
    """Dark, narrow, and the contrast of two sets."""
    page = opened(browser, url, WIDE, "dark")
    chat(page)
    taken(page, "playground-dark")
    page = opened(browser, url, NARROW, "light")
    chat(page)
    taken(page, "narrow")
    page = opened(browser, f"{url}/#/contrast", WIDE, "light")
    taken(page, "contrast")


def main(url: str) -> None:
    """All pictures anew."""
    expect.set_options(timeout=PATIENCE_MS)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for part in (playground, auto_steer, elsewhere):
            part(browser, url)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080")
