"""Put rankings into their published form: rounded, cut to length, and without what a terminal or page would obey."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from robench.contracts.threat_model import format_eps
from robench.evidence.attestation import Evidence
from robench.evidence.card import Card, CertificateRecord, ComponentRecord, Scalar
from robench.evidence.plain_text import plain
from robench_leaderboard.ranking.across_datasets import Across, AcrossRow, Mean, across_datasets
from robench_leaderboard.ranking.attack_outcome import AttackOutcome, Score
from robench_leaderboard.ranking.board import Board, boards
from robench_leaderboard.ranking.evidence_rule import EVERYTHING, EvidenceRule
from robench_leaderboard.ranking.repeated_seeds import Repeated
from robench_leaderboard.ranking.row import Row
from robench_leaderboard.render import formatting, json_schema, published_table
from robench_leaderboard.statistics.paired_difference import Difference
from robench_leaderboard.statistics.seed_spread import SeedMean, Spread

#: Longest text of each kind, in characters.
_NAME, _TEXT = 300, 800


def publish(cards: Iterable[Card]) -> json_schema.Leaderboard:
    """Return the rankings of these cards."""
    return of_boards(boards(cards))


def of_boards(found: Iterable[Board], rule: EvidenceRule = EVERYTHING) -> json_schema.Leaderboard:
    """Return rankings that are made already."""
    known = list(found)
    tables = [_across(table) for table in across_datasets(known)]
    shown = [_board(board) for board in known]
    return json_schema.Leaderboard(require=rule.require, boards=shown, across=tables or msgspec.UNSET)


def render_json(board: json_schema.Leaderboard) -> str:
    """Return leaderboard.json: indented, keys in schema order."""
    return msgspec.json.format(msgspec.json.encode(board), indent=1).decode() + "\n"


def _board(board: Board) -> json_schema.Board:
    setting, dataset = board.setting, board.rows[0].cards[0].cell.dataset
    return json_schema.Board(
        dataset=plain(setting.dataset, _NAME),
        parameters=_parameters(dataset.parameters),
        norm=board.rows[0].cards[0].cell.threat.norm,
        eps=setting.eps,
        radius=format_eps(setting.eps),
        shape=setting.shape,
        n=setting.n,
        test=setting.test,
        rows=[_row(row) for row in board.rows],
        repeated=[_repetition(each) for each in board.repeated],
        protocol=setting.protocol or msgspec.UNSET,
    )


def _row(row: Row) -> json_schema.Row:
    card = row.cards[0]
    return json_schema.Row(
        rank=row.rank,
        title=formatting.whole_title(row),
        defense=_component(card.cell.defense),
        victim=_component(card.cell.victim),
        seed=row.seed,
        weights=card.model.defended,
        clean=accuracy(row.clean),
        robust=None if row.headline is None else accuracy(row.headline),
        clean_top5=_accuracy(row.clean_top5),
        robust_top5=_accuracy(row.robust_top5),
        tax=None if row.taxed is None else change(row.taxed),
        gain=None if row.gained is None else change(row.gained),
        transfer={plain(via, _NAME): accuracy(score) for via, score in row.transfer.items()},
        verdict=row.verdict,
        evidence=_evidence(row.evidence),
        reasons=[plain(reason, _TEXT) for reason in row.reasons],
        missing=[plain(what, _NAME) for what in row.missing],
        front=list(row.front),
        cost=_cost(row),
        attacks=[_attack(attack) for attack in row.attacks],
        certified=msgspec.UNSET if row.certified is None else accuracy(row.certified),
        certificates=[_certificate(record) for record in row.certificates] or msgspec.UNSET,
        published=published_table.in_json(row) or msgspec.UNSET,
    )


def _evidence(found: Evidence) -> json_schema.Evidence:
    return json_schema.Evidence(level=found.level, others=found.others, against=found.against)


def _across(table: Across) -> json_schema.Across:
    setting = table.boards[0].setting
    return json_schema.Across(
        victim=plain(table.victim, _NAME),
        norm=table.boards[0].rows[0].cards[0].cell.threat.norm,
        eps=setting.eps,
        radius=format_eps(setting.eps),
        datasets=[plain(name, _NAME) for name in table.datasets],
        rows=[_across_row(row) for row in table.rows],
    )


def _across_row(row: AcrossRow) -> json_schema.AcrossRow:
    places = zip(row.rows, row.seen, row.transfers, strict=True)
    return json_schema.AcrossRow(
        rank=row.rank,
        defense=plain(row.defense, _NAME),
        trained_on=plain(row.source, _NAME),
        seed=row.seed,
        datasets=[None if found is None else _on_dataset(found, seen, through) for found, seen, through in places],
        clean=_mean(row.clean),
        robust=_mean(row.robust),
        clean_top5=_mean(row.clean_top5) or msgspec.UNSET,
        robust_top5=_mean(row.robust_top5) or msgspec.UNSET,
        transfer=_rounded(row.transfer),
        tax_there=_rounded(row.tax_there),
        tax_elsewhere=_rounded(row.tax_elsewhere),
    )


def _on_dataset(row: Row, seen: bool, through: float | None) -> json_schema.OnDataset:
    return json_schema.OnDataset(
        clean=round(row.clean.rate, 6),
        robust=None if row.headline is None else round(row.headline.rate, 6),
        clean_top5=msgspec.UNSET if row.clean_top5 is None else round(row.clean_top5.rate, 6),
        robust_top5=msgspec.UNSET if row.robust_top5 is None else round(row.robust_top5.rate, 6),
        transfer=_rounded(through),
        tax=_rounded(row.tax),
        trained_there=seen,
        verdict=row.verdict,
    )


def _mean(mean: Mean | None) -> json_schema.Mean | None:
    if mean is None:
        return None
    return json_schema.Mean(rate=round(mean.rate, 6), low=round(mean.low, 6), high=round(mean.high, 6))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def accuracy(score: Score) -> json_schema.Accuracy:
    """Return an accuracy with its interval."""
    low, high = score.interval
    return json_schema.Accuracy(
        rate=round(score.rate, 6), low=round(low, 6), high=round(high, 6), correct=score.correct, n=score.n
    )


def _accuracy(score: Score | None) -> json_schema.Accuracy | None:
    return None if score is None else accuracy(score)


def change(difference: Difference) -> json_schema.Change:
    """Return a paired difference with its interval."""
    low, high = difference.interval
    return json_schema.Change(
        points=round(difference.points, 4),
        low=round(low, 4),
        high=round(high, 4),
        p=_digits(difference.p_value),
        only_first=round(difference.only_first),
        only_second=round(difference.only_second),
    )


def _cost(row: Row) -> json_schema.RowCost:
    return json_schema.RowCost(
        trainable=row.trainable,
        parameters=row.parameters,
        fit_seconds=_digits(row.fit_seconds),
        fit_joules=_measured(row.fit_joules),
        craft_ms=_measured(row.craft_ms),
        craft_joules=_measured(row.craft_joules),
        forwards=_measured(row.forwards),
        backwards=_measured(row.backwards),
        score_ms=_measured(row.score_ms),
        peak_bytes=row.peak_bytes,
        devices=[plain(device, _NAME) for device in row.devices],
    )


def _attack(attack: AttackOutcome) -> json_schema.Attack:
    return json_schema.Attack(
        attack=_component(attack.card.cell.attack),
        access=attack.access,
        surrogate=plain(attack.surrogate, _NAME),
        accuracy=accuracy(attack.score),
        top5=_accuracy(attack.top5),
        verdict=attack.verdict,
        card=attack.card.file_name,
        id=attack.card.id,
        credit=plain(attack.card.credit, _NAME),
        precision=attack.card.cell.precision,
    )


def _certificate(record: CertificateRecord) -> json_schema.Certificate:
    return json_schema.Certificate(
        certificate=_component(record.certificate),
        accuracy=accuracy(Score(record.certified, record.n)),
        error=record.error,
    )


def _repetition(each: Repeated) -> json_schema.Repetition:
    return json_schema.Repetition(
        defense=plain(each.rows[0].defense, _NAME),
        victim=plain(each.rows[0].victim, _NAME),
        seeds=list(each.seeds),
        clean=_spread(each.clean),
        robust=_spread(each.robust),
        clean_top5=_seed_mean(each.clean_top5),
        robust_top5=_seed_mean(each.robust_top5),
    )


def _seed_mean(found: SeedMean | None) -> json_schema.SeedMean | msgspec.UnsetType:
    if found is None:
        return msgspec.UNSET
    return json_schema.SeedMean(mean=round(found.mean, 6), deviation=round(found.deviation, 6))


def _spread(found: Spread) -> json_schema.Spread:
    values = (round(value, 6) for value in (found.mean, found.deviation, found.low, found.high))
    mean, deviation, low, high = values
    return json_schema.Spread(mean=mean, deviation=deviation, low=low, high=high)


def _component(record: ComponentRecord) -> json_schema.Component:
    return json_schema.Component(
        name=plain(record.name, _NAME),
        label=plain(record.label, _NAME),
        version=record.version,
        parameters=_parameters(record.parameters),
        plugin=plain(record.plugin, _NAME),
    )


def _parameters(values: Mapping[str, Scalar]) -> dict[str, Scalar]:
    return {
        plain(key, _NAME): plain(value, _NAME) if isinstance(value, str) else value
        for key, value in sorted(values.items())
    }


def _measured(value: float | None) -> float | None:
    return None if value is None else _digits(value)


def _digits(value: float) -> float:
    """Return six significant digits: more than a clock has, and the same text on every machine."""
    return float(f"{value:.6g}")
