"""The JSON object of a study of mechanisms: times in ms, errors in percent."""

from collections.abc import Iterator
from typing import Any

from jaxroof.intervals.words import interval_record
from jaxroof.mechanisms.analysis import Scored, ServersResult
from jaxroof.mechanisms.spec import ALL
from jaxroof.studies.record import criterion
from jaxroof.units import PERCENT

Record = dict[str, Any]


def record(result: ServersResult) -> Record:
    """Every row, every group, the table of mechanisms, and the criteria."""
    study, scored = result.study, result.sources
    return {
        "study": study.name,
        "verdict": result.verdict,
        "criteria": [criterion(outcome) for outcome in result.outcomes],
        "interval": interval_record(*(bounds for source in scored.values() for bounds in source.interval.bounds)),
        "groups": [row for key, source in scored.items() for row in _groups(key, source)],
        "rows": [row for key, source in scored.items() for row in _rows(key, source)],
        "mechanisms": [
            {"mechanisms": row, "source": key, "group": group, **_errors(source, group, row)}
            for row in study.rows()
            for key, source in scored.items()
            for group in study.shown(key)
        ],
    }


def _rows(key: str, source: Scored) -> Iterator[Record]:
    measured, interval, lies = source.measured, source.interval, source.inside()
    for i, name in enumerate(measured.names):
        yield {
            "source": key, "name": name, "model": measured.models[i], "batch": float(measured.batches[i]),
            "measured_ms": float(measured.itl_ms[i]), "itl_ms": float(source.itl_ms[ALL][i]),
            "itl_low_ms": float(interval.low_ms[i]), "itl_high_ms": float(interval.high_ms[i]),
            "inside": bool(lies[i]), "itl_signed_pct": float(source.signed()[i]) / PERCENT,
        }  # fmt: skip


def _groups(key: str, source: Scored) -> Iterator[Record]:
    signed, lies, beyond = source.signed(), source.inside(), source.beyond()
    for by, masks in source.groups.items():
        for group, mask in masks.items():
            batches = source.measured.batches[mask]
            yield {
                "source": key, "by": by, "group": group, "points": int(mask.sum()),
                "batch_min": float(batches.min()), "batch_max": float(batches.max()),
                **_errors(source, group, ALL),
                "itl_worst_pct": float(abs(signed[mask]).max()) / PERCENT,
                "inside_pct": float(lies[mask].mean()) / PERCENT,
                "itl_beyond_interval_mape_pct": float(beyond[mask].mean()) / PERCENT,
            }  # fmt: skip


def _errors(source: Scored, group: str, row: str) -> Record:
    """MAPE and mean signed error."""
    signed = float(source.signed(row)[source.mask(group)].mean())
    return {"itl_mape_pct": source.mape(group, row) / PERCENT, "itl_signed_pct": signed / PERCENT}
