"""Pictures of the sidecar's page, to be looked at: `python tests/pictures.py FOLDER`, dark, light and on a telephone.

What they show is made up, but for the playground, which asks a provider of testing's.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import browsers
import sidecars
from playwright.sync_api import Page

from guard.decoding.confidence import Token
from guard.errors import Violation
from guard.models.base import Reply
from guard.testing import fake_server
from guard.trace import TraceStore
from guard.trace.records import VALID, Attempt, Call

VALUE = '{"customer": "Ada", "product": "pizza", "size": "large", "count": 2, "price": 9.5}'
FINDINGS = (
    Violation("/count", "/properties/count/minimum", "an integer >= 1", "0"),
    Violation("/size", "/properties/size/enum", 'one of "small", "large"', '"huge"'),
)
#: A schema whose values the playground's prompt states.
GROUNDED = {
    "type": "object",
    "properties": {
        "customer": {"type": "string", "x-guard-from": "input"},
        "product": {"type": "string"},
        "price": {"type": "number", "x-guard-from": "input"},
    },
}
MODELS = ("smollm2", "openai:gpt-5-mini", "openai:qwen3-4b")


def history(chance: random.Random, minutes: int) -> Iterator[Call]:
    """Yield calls of the last minutes, fewer of long ago."""
    now = time.time()
    for minute in range(minutes):
        for _ in range(chance.randrange(1, 9) + (6 if 20 < minute < 30 else 0)):
            yield call(chance, now - minute * 60 - chance.random() * 60)


def call(chance: random.Random, started: float) -> Call:
    """Return a call as it might have been."""
    model = chance.choices(MODELS, (6, 2, 3))[0]
    is_local = model == "smollm2"
    count = chance.choices((1, 2, 3), (84, 11, 5))[0]
    is_bad = count == 3 and chance.random() < 0.5
    goes_up = is_local and count == 3 and not is_bad
    attempts = []
    for number in range(1, count + 1):
        is_good = number == count and not is_bad
        tier = 1 if goes_up and number == count else 0
        name = MODELS[1] if tier else model
        text = VALUE if is_good else VALUE.replace('"large"', '"huge"').replace("2", "0")
        seconds = chance.uniform(0.2, 0.6) if is_local else chance.uniform(0.5, 2.5)
        reply = Reply(
            text, "stop", name.removeprefix("openai:"), 160, 40, seconds=seconds,
            mode="masks" if is_local else "native",
            cost=0.0 if name == "smollm2" else 0.00012 if name == MODELS[1] else None,
            tokens=tuple(tokens(chance, text)) if is_local else (), forced_tokens=22 if is_local else 0,
        )  # fmt: skip
        message = {"role": "user", "content": "Read this order: two large pizzas for Ada, please, at 9.50 each."}
        attempts.append(
            Attempt(
                number, (message,), reply, () if is_good else FINDINGS, tier=tier, model=name,
                reason="" if is_good else "invalid", started=started, seconds=seconds,
            )
        )  # fmt: skip
    took = sum(attempt.seconds for attempt in attempts)
    outcome = "ValidationFailed" if is_bad else VALID
    error = f"{model}: no valid answer after 3 attempts" if is_bad else ""
    return Call(
        "/v1/chat/completions", "order", "", "", model, {"tiers": [model]}, started, took, outcome, error,
        tuple(attempts),
    )  # fmt: skip


def tokens(chance: random.Random, text: str) -> Iterator[Token]:
    """Cut a text into tokens, as masks might have met them."""
    while text:
        size = chance.randrange(1, 7)
        piece, text = text[:size], text[size:]
        is_forced = chance.random() < 0.4
        removed = 0.0 if is_forced else chance.choice((0.0, 0.02, 0.1, 0.4, 0.7, 0.95))
        yield Token(piece, 0.0 if is_forced else -chance.random(), removed, None if is_forced else 1.5, is_forced)


def measured(folder: Path) -> None:
    """Put a version with a shadow report into a registry."""
    shares = [number / 60 for number in range(1, 61)]
    before = [[share, 0.75 - 0.35 * share] for share in shares]
    after = [[share, 1 - 0.35 * share**2] for share in shares]
    kept = [
        {"wanted": wanted, "share": share, "precision": wanted + 0.01} for wanted, share in ((0.8, 0.73), (0.95, 0.35))
    ]
    folder.mkdir(parents=True)
    alone = {"curve": after, "kept": kept}
    (folder / "shadow.json").write_text(json.dumps({"passed": True, "alone": alone, "alone_before": {"curve": before}}))
    (folder / "tuning.json").write_text("{}")


def taken(page: Page, folder: Path, name: str, *, is_whole: bool = True) -> None:
    """Take a picture."""
    page.screenshot(path=folder / f"{name}.png", full_page=is_whole)


def take(folder: Path) -> None:
    """Take all pictures."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        fake_server.Server(VALUE, keeps_alive=True) as provider,
        browsers.opened() as browser,
    ):
        toml = sidecars.model(provider.url, "careful").replace("served-1", "gpt-5-mini")
        toml += sidecars.model(provider.url, "fast", escalate_to=["careful"]).replace("served-1", "qwen3-4b")
        measured(Path(scratch) / "models" / "shop.read" / "1")
        with sidecars.serving(Path(scratch), toml, env={"GUARD_REGISTRY": str(Path(scratch) / "models")}) as sidecar:
            calls = sorted(history(random.Random(7), 58), key=lambda call: call.started)
            TraceStore(sidecar.trace).write_all([(call, None, 60.0) for call in calls])
            whole = next(c for c in TraceStore(sidecar.trace).outlines(200, failed=True) if c.model == "smollm2")
            rated = next(c.number for c in TraceStore(sidecar.trace).latest(limit=50, outcome="valid"))
            address = f"{sidecar.url.removesuffix('/v1')}/ui"
            for scheme in ("light", "dark"):
                for device, width, height in (("desk", 1280, 900), ("phone", 375, 812)):
                    context = browser.new_context(
                        color_scheme=scheme, viewport={"width": width, "height": height}, device_scale_factor=1
                    )
                    page = context.new_page()
                    provider.answers = [fake_server.Answer(VALUE, change=lambda body: [2, body])]
                    thread = threading.Thread(target=lambda: sidecar.chat(model="fast"))
                    thread.start()
                    time.sleep(0.3)
                    page.goto(address)
                    page.wait_for_selector(".column")
                    page.wait_for_selector(".failure")
                    taken(page, folder, f"overview-{scheme}-{device}")
                    thread.join()
                    provider.answers = [VALUE]
                    page.goto(f"{address}#calls")
                    page.wait_for_selector("#list tbody tr")
                    taken(page, folder, f"calls-{scheme}-{device}")
                    page.goto(f"{address}#call/{whole.number}")
                    page.frame_locator("iframe").locator("article").first.wait_for()
                    time.sleep(0.2)
                    taken(page, folder, f"call-{scheme}-{device}")
                    page.goto(f"{address}#call/{rated}")
                    page.get_by_text("Correct it").click()
                    page.frame_locator("iframe").locator("article").first.wait_for()
                    time.sleep(0.2)
                    taken(page, folder, f"feedback-{scheme}-{device}")
                    page.goto(f"{address}#economics")
                    page.wait_for_selector("#shares svg")
                    taken(page, folder, f"economics-{scheme}-{device}")
                    page.goto(f"{address}#playground")
                    page.click("#ask")
                    page.wait_for_selector("#answer pre")
                    taken(page, folder, f"playground-{scheme}-{device}")
                    provider.answers = [VALUE.replace("2", "0").replace("large", "huge")]
                    page.click("#ask")
                    page.wait_for_selector("#answer .findings")
                    page.fill("#schema", '{\n  "type": "object",\n  "properties": {"a" {}}\n}')
                    page.click("#ask")
                    taken(page, folder, f"wrong-{scheme}-{device}")
                    provider.answers = [VALUE]
                    page.fill("#schema", json.dumps(GROUNDED, indent=2))
                    page.click("#ask")
                    page.wait_for_selector(".places")
                    page.locator(".places button").first.focus()
                    taken(page, folder, f"grounded-{scheme}-{device}")
                    context.close()
    print(f"{len(calls)} calls, pictures in {folder}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    chosen = parser.parse_args().folder
    chosen.mkdir(parents=True, exist_ok=True)
    sys.exit(take(chosen))
