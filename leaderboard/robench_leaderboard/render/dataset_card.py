"""README.md of a data set repository of cards: the hub's metadata, the ranking, and what the files hold."""

from __future__ import annotations

from collections.abc import Sequence

from robench.evidence.card import Card
from robench.evidence.plain_text import plain
from robench_leaderboard.ranking.board import Board, boards
from robench_leaderboard.render.card_addresses import CardAddress, no_address
from robench_leaderboard.render.markdown import markdown_of

#: One record a card, flat, which the hub shows as a table and ``datasets`` loads.
RECORDS = "results.jsonl"


def dataset_card(cards: Sequence[Card], address: CardAddress = no_address) -> str:
    """Return the page of a data set repository; ``address`` is where a card can be read."""
    import yaml

    found = boards(cards)
    names = sorted({plain(board.setting.dataset.partition("[")[0], 60) for board in found})
    head = {
        "pretty_name": f"Adversarial robustness on {', '.join(names[:3])}{' and more' if len(names) > 3 else ''}",
        "task_categories": ["image-classification"],
        "tags": ["adversarial-robustness", "benchmark", "leaderboard", "robench"],
        "size_categories": ["n<1K" if len(cards) < 1000 else "1K<n<10K"],
        "configs": [{"config_name": "default", "data_files": [{"split": "test", "path": RECORDS}]}],
    }
    metadata = yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=120)
    return f"---\n{metadata}---\n\n{markdown_of(found, address=address)}\n{_files(found)}"


def _files(found: Sequence[Board]) -> str:
    rows = sum(len(board.rows) for board in found)
    return "\n".join(
        [
            "## Files",
            "",
            "| file | holds |",
            "|:--|:--|",
            f"| `{RECORDS}` | a record a card: accuracies as shares, eps in pixel units of images in [0, 1], costs |",
            "| `cards/` | the cards as robench wrote them, which `robench leaderboard cards` weighs again |",
            f"| `leaderboard.json`, `index.html` | the {rows} rows with intervals and verdicts; the sortable page |",
            "",
        ]
    )
