# ruff: noqa: E501  tables in Markdown have one line a row
"""The words of the model card; its figures are put in by ``evidence``."""

from typing import Any

from pneumoscope.models import Bundle

Facts = dict[str, Any]

WORDS = """# Model card: {name} {version}

Device UID {device_uid}; sha256 of the weights {sha256}.
Every figure here is written by `python -m pneumoscope.training evidence`, none by hand.

## What it is

A small convolutional network (EfficientNet-Lite0 encoder, U-Net decoder, 3.0 million parameters) that marks lungs and lesions on
axial slices of 192 x 192 pixels of 2 mm; density then draws their outlines at the scan's resolution. The study score is a logistic
function of one number: the largest share of lung that is lesion over any 20 mm of height.

## What it is for

Research: to sort and measure chest CT of adults by signs of pneumonia of the COVID-19 pattern. **It is not a medical device and not
for primary diagnosis.** The score is of a pattern, not of its cause: the data hold next to no other pneumonia, so telling COVID-19
from it is not supported. A clear scan does not exclude an infection.

## What it learned from

| source | used for | images | licence as found |
|---|---|---|---|
| COVID-19 CT lung and infection segmentation (Zenodo 3757476: Coronacases, Radiopaedia) | lung and lesion masks | 1,486 slices of 16 patients | CC BY-NC-SA 4.0 |
| IQ-OTH/NCCD, normal cases | lungs without lesions; half of them get lesions of the first source pasted in | 333 slices, 8 blocks | not verified |
| Pneumoscope's own phantom | exact outlines, bellies and necks | 300 slices | Apache-2.0 |
| SARS-COV-2 Ct-Scan (Soares et al.), training blocks | two numbers of the calibration only | 1,984 slices | CC BY-NC-SA 4.0 |
| UCSD-AI4H COVID-CT, training split | the same two numbers only | 423 slices | none of its own |
| EfficientNet-Lite0 ImageNet weights | the encoder's starting point | | Apache-2.0 |

No image of these is in this repository. One seed was trained; the spread over seeds is not known yet.

## Calibration and categories

Probability = 1 / (1 + exp(-({intercept} + {slope} log10(share + {floor})))). Below {no_sign_below}: "no sign". From {sign_from}:
"sign". Between: "indeterminate". Both sources and both labels weigh the same in the fit. The limit of "no sign" clears 90 % of the
slices without COVID-19 in the training blocks of `sars`; that of "sign" was set beforehand.
"""

MASKS = """
## Masks, against patients held out (experts against each other reach about 0.70 on lesions)

| patient | slices | lung Dice | lesion Dice |
|---|---|---|---|
"""

SLICES = """
## Slices of hospitals whose images the network never saw

The score is the share of lung that is lesion. 95 % intervals: bootstrap of 1,000 over patients or blocks. "Not cleared": share of
COVID-19 slices and of others not called "no sign"; "flagged": those called "sign". `ucsd test` was looked at once, after all choices.

| source | split | slices (COVID-19) | groups | AUC | 95 % | Brier | not cleared | flagged |
|---|---|---|---|---|---|---|---|---|
"""

STUDIES = """
## Three whole studies, against three radiologists' labels per slice

Three studies show that it works; they are no rate. During development they were looked at more than once. AUC of infected against
clean slices, by lesion area over the lung area of the slice, and over the largest lung area of the study (small slices at base and
apex weigh less).

| study | slices (infected) | lung ml | involved | score | category | AUC, of slice | AUC, of largest | notices |
|---|---|---|---|---|---|---|---|---|
"""

PHANTOMS = """
## Phantoms: measured volume over true volume

Lesions of 20 and 5 ml (ground-glass) and 10 ml (consolidation). The network has seen other phantoms of this generator in training.

| slices every | right lung | left lung | lesions | lesion found where there is none |
|---|---|---|---|---|
"""

LIMITS = """
## Limits

* 16 patients gave all real lesion masks; children, other scanners, contrast and other pneumonia are hardly or not among them.
* Lesions below 0.25 ml, and consolidation below 1 ml, are dropped; slices above 5 mm can hide small ones.
* The diaphragm's dome, the apex and motion can be taken for lesion; look at the key slices.
* `ucsd` shows the limit: its negatives hold other lung disease, which the share of lesion cannot tell from COVID-19.
* Calibration was fitted on single 8-bit slices; for whole studies it is an extrapolation.
"""


def card_text(bundle: Bundle, facts: Facts) -> str:
    """The whole card as Markdown."""
    model, calibration = bundle.model, bundle.calibration
    head = WORDS.format(
        name=model.name,
        version=model.version,
        device_uid=model.device_uid,
        sha256=model.sha256[:16],
        **{key: getattr(calibration, key) for key in type(calibration).__dataclass_fields__},
    )
    masks = facts["masks"]
    rows = [f"| {r['patient']} | {r['slices']} | {r['lung']:.3f} | {r['lesion']:.3f} |" for r in masks["patients"]]
    rows.append(f"| mean of patients | | {masks['lung']:.3f} | {masks['lesion']:.3f} |")
    return (
        head
        + MASKS
        + "\n".join(rows)
        + "\n"
        + SLICES
        + "".join(map(_slices, facts["slices"]))
        + STUDIES
        + "".join(map(_study, facts["studies"]))
        + PHANTOMS
        + "".join(map(_phantom, facts["phantoms"]))
        + LIMITS
    )


def _slices(r: Facts) -> str:
    low, high = r["auc_95"]
    return (
        f"| {r['source']} | {r['split']} | {r['n']} ({r['positive']}) | {r['groups']} | {r['auc']:.3f} | {low:.3f} to {high:.3f} "
        f"| {r['brier']:.3f} | {r['not_no_sign'][0]:.0%} / {r['not_no_sign'][1]:.0%} | {r['sign'][0]:.0%} / {r['sign'][1]:.0%} |\n"
    )


def _study(r: Facts) -> str:
    def shown(value: float | None) -> str:
        return "none" if value is None else f"{value:.3f}"

    return (
        f"| {r['study']} | {r['slices']} ({r['infected']}) | {r['lung_ml']} | {r['share_percent']} % | {shown(r['score'])} "
        f"| {r['category']} | {shown(r['auc_share_of_slice'])} | {shown(r['auc_share_of_largest'])} | {', '.join(r['notices']) or 'none'} |\n"
    )


def _phantom(r: Facts) -> str:
    clean = "not measured" if r["clean_lesion_ml"] is None else f"{r['clean_lesion_ml']} ml"
    return f"| {r['spacing_mm']} mm | {r['right']:.3f} | {r['left']:.3f} | {r['lesions']:.3f} | {clean} |\n"
