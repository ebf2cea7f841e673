"""What ``robench push`` uploads, and what the hub's refusals mean."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from robench.cli.options import warn
from robench.errors import CardError, SpecError, StoreError

#: OWNER/NAME, as the hub spells it; its own check is stricter and comes after.
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
#: What ``robench export-defense`` writes in any case.
PROGRAM = "model.pt2"
#: Libraries below huggingface_hub, by its version, whose errors mean that the hub was not reached.
_NETWORK = ("httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3")
LOGIN = "log in with 'hf auth login', or set HF_TOKEN to a token that may write"


@dataclass(frozen=True)
class Upload:
    """Hold a folder that is ready to be uploaded, and as what."""

    folder: Path
    kind: Literal["dataset", "model"]
    message: str

    @property
    def files(self) -> list[Path]:
        """Return its files in order."""
        return sorted(path for path in self.folder.rglob("*") if path.is_file())


def repository(text: str) -> str:
    """Return a repository's id; SpecError if it is none."""
    if not _REPOSITORY.fullmatch(text) or "--" in text or ".." in text:
        raise SpecError(f"'{text[:200]}' is no repository of the hub; write OWNER/NAME, such as your-name/my-tecoa.")
    return text


@contextmanager
def prepared(places: tuple[Path, ...]) -> Iterator[Upload]:
    """Give what is uploaded: an exported defense as it lies there, or cards with their pages in a temporary folder.

    Raises:
        SpecError: a folder is empty, or holds neither.
        CardError: a place does not exist, or there are no cards.
    """
    for place in places:
        if not place.exists():
            raise CardError(
                f"{place} does not exist; name a folder of cards, or one that robench export-defense wrote."
            )
        if place.is_dir() and not any(place.iterdir()):
            raise SpecError(
                f"{place} is empty, so there is nothing to push; robench run fills a folder with cards, robench "
                "export-defense one with a model."
            )
    if any((place / PROGRAM).is_file() for place in places):
        if len(places) > 1:
            raise SpecError("An exported defense is pushed alone; name its folder, and push cards in a second call.")
        yield Upload(places[0], "model", "Upload a defended model exported by robench")
        return
    with TemporaryDirectory(prefix="robench-push-") as folder:
        count = _write_cards(places, Path(folder))
        yield Upload(Path(folder), "dataset", f"Upload {count} card{'s' * (count > 1)} of robench")


def _write_cards(places: tuple[Path, ...], folder: Path) -> int:
    """Write cards, records and pages; return how many cards there are."""
    from robench.api.results import record
    from robench.evidence.card_file import write
    from robench.evidence.judged_card import cards_folder
    from robench_leaderboard import read_cards, write_leaderboard
    from robench_leaderboard.render.card_addresses import addresses_in
    from robench_leaderboard.render.dataset_card import RECORDS, dataset_card

    found = read_cards([cards_folder(place) for place in places], warn)
    if not found:
        raise CardError(f"There are no cards in {', '.join(map(str, places))}; name a folder of cards.")
    inside = folder / "cards"
    for card in found:
        write(card, inside)
    lines = (json.dumps(record(card), ensure_ascii=True, allow_nan=False) for card in found)
    (folder / RECORDS).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    write_leaderboard(found, folder, places=[inside])
    (folder / "README.md").write_text(dataset_card(found, addresses_in([inside], folder)), encoding="utf-8")
    return len(found)


def upload(what: Upload, repo: str, *, private: bool) -> str:
    """Create the repository if it is not there, upload the folder as one commit, and return where it is.

    Raises:
        SpecError: nobody is logged in, or the repository is public and was asked to be private.
        StoreError: the hub refused, or was not reached.
    """
    from huggingface_hub import HfApi, get_token

    from robench.api import is_offline

    if is_offline():
        raise SpecError("HF_HUB_OFFLINE or ROBENCH_OFFLINE is set, and pushing needs the hub; unset it, or --dry-run.")
    if get_token() is None:
        raise SpecError(f"Nobody is logged in to the hub; {LOGIN}.")
    api: Any = HfApi(library_name="robench")
    with _refusals(repo):
        url = api.create_repo(repo, repo_type=what.kind, private=private or None, exist_ok=True)
        if private and not api.repo_info(repo, repo_type=what.kind).private:
            raise SpecError(
                f"{repo} is there already, and public, so --private would not hold; make it private on the hub, or "
                "name another repository."
            )
        api.upload_folder(repo_id=repo, repo_type=what.kind, folder_path=what.folder, commit_message=what.message)
    return str(url)


@contextmanager
def _refusals(repo: str) -> Iterator[None]:
    """Turn what the hub's library raises into sentences."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    try:
        yield
    except HFValidationError:
        raise SpecError(
            f"'{repo}' is no repository of the hub; write OWNER/NAME, such as your-name/my-tecoa."
        ) from None
    except LocalTokenNotFoundError:
        raise SpecError(f"Nobody is logged in to the hub; {LOGIN}.") from None
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status in (401, 403):
            raise StoreError(f"The hub does not let you write to {repo} ({status}); {LOGIN}.") from None
        raise StoreError(f"The hub refused {repo} ({_reason(error)}); nothing else was changed.") from None
    except Exception as error:
        if not isinstance(error, OSError) and type(error).__module__.partition(".")[0] not in _NETWORK:
            raise
        raise StoreError(
            f"The hub was not reached ({_reason(error)}); check the network and HF_ENDPOINT, and push again."
        ) from None


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
