"""A long history: reading one message and pages of the list among 1,000,000 rows and among 1,000.

Both stores are filled once a run (``bench.fill``) with done messages, each with its recipient, tag, attempt and events.
Every filter of the listing is asked alone; told is the time that 95 of 100 requests do not exceed.
"""

from __future__ import annotations

import random

from bench.fill import fill_done
from bench.scene import Scene, expect_success
from bench.subjects import Product, Settings, nobody

_FEW = 1_000
_GETS = 200
_LETTER = {"from": "billing@contoso.com", "to": "m@fabrikam.com", "subject": "Invoice", "text": "Attached."}


def run(scene: Scene) -> dict[str, float]:
    """Do one round."""
    few = _measure(scene, _FEW)
    many = _measure(scene, scene.size.rows)
    readings: dict[str, float] = {}
    for name, seconds in many.items():
        readings[f"{name}, ms"] = seconds * 1000
        readings[f"{name}, ms, few rows"] = few[name] * 1000
        readings[f"{name} ÷ few rows"] = seconds / few[name]
    readings["list ÷ few rows, worst filter"] = max(
        readings[f"{name} ÷ few rows"] for name in many if name.startswith("list")
    )
    return readings


def _measure(scene: Scene, rows: int) -> dict[str, float]:
    folder = scene.folder / f"history-{rows}"
    product = Product(folder, Settings(nobody(), scene.ca), start=False)
    if not product.store.exists():
        _fill(scene, product, rows)
    with product:
        product.start()
        paths = _paths(product, rows)
        return {name: _p95(scene, product, each) for name, each in paths.items()}


def _fill(scene: Scene, product: Product, rows: int) -> None:
    """Let the product itself send one message, then multiply it."""
    with scene.product() as sender:
        scene.sink.ask("reset")
        sender.post({**_LETTER, "tags": [{"name": "kind", "value": "invoice"}]})
        scene.await_messages(1, 30)
        sender.stop()
        fill_done(sender.store, rows)
        sender.store.rename(product.store)


def _paths(product: Product, rows: int) -> dict[str, list[str]]:
    middle = product.get(f"{product.path}?limit=1&to=m{rows // 2:012d}@fabrikam.com")["data"][0]
    page = product.get(f"{product.path}?limit=1&created_before={middle['created_at']}")
    ids = [f"msg_{number:026d}" for number in random.Random(6).choices(range(1, rows), k=_GETS)]
    recipient = [f"{product.path}?to=m{number:012d}@fabrikam.com" for number in range(1, rows, max(1, rows // _GETS))]
    return {
        "get": [f"{product.path}/{identity}" for identity in ids],
        "list, newest": [f"{product.path}?limit=20"],
        "list, a page in the middle": [f"{product.path}?limit=20&after={page['next_cursor']}"],
        "list, by status": [f"{product.path}?limit=20&status=sent"],
        "list, by a status that is rare": [f"{product.path}?limit=20&status=failed"],
        "list, by recipient": recipient,
        "list, by sender": [f"{product.path}?limit=20&from=billing@contoso.com"],
        "list, by tag": [f"{product.path}?limit=20&tag=kind:invoice"],
        "list, by a tag that is rare": [f"{product.path}?limit=20&tag=kind:reminder"],
        "list, older than the middle": [f"{product.path}?limit=20&created_before={middle['created_at']}"],
        "list, younger than the middle": [f"{product.path}?limit=20&created_after={middle['created_at']}"],
    }


def _p95(scene: Scene, product: Product, paths: list[str]) -> float:
    told = scene.load.ask(
        "closed", port=product.port, key=product.key, paths=paths, clients=1, requests=_GETS * 2, warm=0.0
    )
    expect_success(told)
    return float(told["p95"])
