"""A walk through the page, on the platform as `make up` starts it."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.gateway.page.conftest import Witness
from tests.gateway.platform import Platform

pytestmark = [pytest.mark.model, pytest.mark.platform]
ANSWER_TOKENS = "12"


def test_one_walks_from_a_search_to_steered_answers_and_to_what_tokens_are_made_of(
    page: Page, platform: Platform, witness: Witness
) -> None:
    page.goto(platform.url)
    add_feature(page, "the sea")
    slider = page.get_by_role("slider")
    assert slider.get_attribute("aria-valuetext") == "0.50 strength"
    slider.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "0.55 strength"

    ask(page, "What did you do this weekend?")
    plain, steered = page.get_by_label("Plain answer"), page.get_by_label("Steered answer")
    for answer in (plain, steered):
        expect(answer.locator("footer")).to_contain_text(f"{ANSWER_TOKENS} tokens")
    assert plain.locator(".text").inner_text() != steered.locator(".text").inner_text()
    expect(steered.locator(".token.warm").first).to_be_visible()  # coloured by the feature that steers

    steered.locator(".token").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    panel = page.get_by_label("Token", exact=True)
    expect(panel.locator(".feature-row").first).to_be_visible()
    expect(panel.locator(".effects li").first).to_be_visible()  # what raised its logit
    panel.locator(".feature-name").first.click()
    card = page.get_by_label("Feature", exact=True)
    for heading in ("Tokens it moves", "Activations", "Where it fires", "Push the model alike"):
        expect(card.get_by_role("heading", name=heading)).to_be_visible()
    page.keyboard.press("Escape")
    expect(card).to_have_count(0)

    save_as(page, "seafarer")
    page.reload()
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_role("slider")).to_have_count(0)
    page.get_by_role("link", name="Variants").click()
    page.get_by_role("button", name="Load seafarer").click()
    expect(page.get_by_role("slider")).to_have_attribute("aria-valuetext", "0.55 strength")
    expect(page.get_by_label("Steering", exact=True)).to_contain_text("seafarer")
    assert_decent(witness, platform)


def test_when_inference_is_killed_the_page_says_so_and_goes_on_by_itself(
    page: Page, platform: Platform, witness: Witness
) -> None:
    page.goto(platform.url)
    ask(page, "What did you do this weekend?")
    expect(page.get_by_label("Plain answer").locator("footer")).to_contain_text("tokens")
    before = len(platform.lines)
    platform.kill("inference")
    page.get_by_label("Your question").fill("And before?")
    page.keyboard.press("Enter")
    told = page.get_by_text("The model does not answer.")
    expect(told).to_be_visible()
    platform.wait_for("it starts again", before)
    expect(told).to_have_count(0)
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_label("Plain answer").last.locator("footer")).to_contain_text("tokens")
    assert_decent(witness, platform)


def test_auto_steer_is_followed_to_its_end_and_its_edits_are_applied(
    page: Page, platform: Platform, witness: Witness
) -> None:
    page.goto(f"{platform.url}/#/auto-steer")
    page.get_by_label("The model should").fill("talk about the sea")
    page.get_by_text("More settings").click()
    page.get_by_label("Seconds").fill("10")
    page.get_by_role("button", name="Find edits").click()
    expect(page.get_by_label("Stages").locator("[aria-current]")).to_be_visible()
    expect(page.locator(".verdict")).to_be_visible()
    apply = page.get_by_role("button", name="Apply these edits")
    if apply.count():  # a job that had no time to try anything has none to apply, and says so
        apply.click()
        expect(page.get_by_role("slider").first).to_be_visible()
    assert_decent(witness, platform)


def test_a_link_holds_the_whole_steering(page: Page, platform: Platform) -> None:
    page.goto(platform.url)
    add_feature(page, "music")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Share").click()
    expect(page.get_by_text("Link copied.")).to_be_visible()
    link = page.evaluate("navigator.clipboard.readText()")
    fresh = page.context.new_page()
    fresh.goto(link)
    expect(fresh.get_by_role("slider")).to_have_attribute("aria-valuetext", "0.50 strength")
    assert re.search(r"#/playground$", fresh.url)


def add_feature(page: Page, query: str) -> None:
    page.get_by_label("Find features by meaning").fill(query)
    page.get_by_role("button", name=re.compile("^Add: ")).first.click()
    page.get_by_label("Find features by meaning").fill("")


def ask(page: Page, question: str) -> None:
    page.get_by_label("Settings of answers").click()
    page.get_by_label("Tokens", exact=True).fill(ANSWER_TOKENS)
    page.get_by_label("Your question").fill(question)
    page.keyboard.press("Enter")


def save_as(page: Page, name: str) -> None:
    page.get_by_role("button", name="Save", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill(name)
    dialog.get_by_role("button", name="Save", exact=True).click()
    expect(dialog).to_have_count(0)


def assert_decent(witness: Witness, platform: Platform) -> None:
    """Nothing was asked of another host, and the browser had nothing to complain about."""
    assert witness.hosts == {urlsplit(platform.url).netloc}
    assert witness.complaints == []
