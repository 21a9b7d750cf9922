"""The reading as one JSON document for machines."""

import json
from typing import Any

from pneumoscope import __version__
from pneumoscope.codes import severity
from pneumoscope.records import ZONES, Finding, Parcel, Reading
from pneumoscope.results.words import headline

SCHEMA = "pneumoscope/reading/1"


def build_document(reading: Reading) -> Parcel:
    """reading.json, in UTF-8."""
    text = json.dumps(to_dict(reading), ensure_ascii=False, indent=2, allow_nan=False)
    return Parcel(name="reading.json", media_type="application/json", content=text.encode() + b"\n")


def to_dict(reading: Reading) -> dict[str, Any]:
    """Everything in a reading but its voxels; DICOM elements keep their keywords, numbers carry their unit in their name."""
    volume, scores = reading.volume, reading.scores
    return {
        "schema": SCHEMA,
        "pneumoscope": __version__,
        "made_at": reading.made_at.isoformat(),
        "model": {key: getattr(reading.model, key) for key in ("name", "version", "device_uid", "sha256", "manufacturer")},
        "replaces": reading.replaces
        and {"made_at": reading.replaces.made_at.isoformat(), "SOPInstanceUID": reading.replaces.SOPInstanceUID},
        "study": {keyword: getattr(reading.study, keyword) for keyword in type(reading.study).__dataclass_fields__},
        "headline": headline(reading),
        "score": scores.probability if scores.probability is None else round(scores.probability, 4),
        "category": str(scores.category),
        "reason": scores.reason,
        "severity_points": reading.severity_points,
        "severity_points_max": 24,
        "findings": [_finding(finding) for finding in reading.findings],
        "key_slices": [
            {
                "index": key.index,
                "position_mm": round(float(volume.positions_mm[key.index]), 3),
                "SOPInstanceUID": volume.instances[key.index].SOPInstanceUID if volume.instances else None,
                "lesion_area_mm2": round(key.lesion_area_mm2, 1),
                "share": round(key.share, 5),
            }
            for key in reading.key_slices
        ],
        "slices": {
            "position_mm": [round(float(p), 3) for p in volume.positions_mm],
            "evidence": [round(float(e), 4) for e in scores.slice_evidence],
        },
        "notices": [{"code": notice.code, "text": notice.text} for notice in reading.notices],
        "series": [{key: getattr(verdict, key) for key in type(verdict).__dataclass_fields__} for verdict in reading.verdicts],
        "volume": {
            "slices": len(volume.hu),
            "Rows": int(volume.hu.shape[1]),
            "Columns": int(volume.hu.shape[2]),
            "PixelSpacing": list(volume.PixelSpacing),
            "SliceThickness": volume.SliceThickness,
            "extent_mm": round(float(volume.intervals_mm.sum()), 2),
        },
    }


def _finding(finding: Finding) -> dict[str, Any]:
    out: dict[str, Any] = {
        "region": finding.region.value,
        "volume_ml": round(finding.volume_ml, 2),
        "lesion_ml": round(finding.lesion_ml, 3),
        "lesion_uncertainty_ml": round(finding.lesion_uncertainty_ml, 3),
        "ground_glass_ml": round(finding.ground_glass_ml, 3),
        "consolidation_ml": round(finding.consolidation_ml, 3),
        "share": round(finding.share, 6),
        "mean_hu": round(finding.mean_hu, 1) if finding.volume_ml > 0 else None,
    }
    if finding.region in ZONES:
        out["severity_points"], out["severity_band"] = severity(finding.share)
    return out
