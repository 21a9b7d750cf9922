# ruff: noqa: E501  tables in Markdown have one line a row
"""The words of the model card; its figures are put in by ``evidence``."""

from typing import Any

from pneumoscope.evaluation.page import interval
from pneumoscope.models import Bundle
from pneumoscope.training.ablations import spread

Facts = dict[str, Any]

WORDS = """# Model card: {name} {version}

Device UID {device_uid}; sha256 of the weights {sha256}.
Every figure here is written by `make evidence`, none by hand. Brackets hold 95 % intervals: bootstrap of 2,000, whole patients (or
blocks of neighbouring files, where a source names no patients) drawn with replacement.

## What it is

A small convolutional network (EfficientNet-Lite0 encoder, U-Net decoder, 3.0 million parameters) that marks lungs and lesions on
axial slices of 192 x 192 pixels of 2 mm, and gives each place some evidence for or against the pattern. Density then draws the outlines
at the scan's resolution, and what is the top of the diaphragm is taken out. A study's score is a logistic function of two numbers, taken
over the 20 mm of height whose lung is most involved, so that more or thinner slices earn nothing: the share of the lung that is lesion,
and the pattern, which is the mean evidence over the lesions. A single slice's score is one of its own two numbers. Both explain: the
lesions as masks, the evidence as a map that lies inside them, since nothing else enters the score.

## What it is for

Research: to sort and measure chest CT of adults by signs of pneumonia of the COVID-19 pattern. **It is not a medical device and not
for primary diagnosis.** The score is of a pattern, not of its cause: the data hold next to no other pneumonia, so telling COVID-19
from it is not supported; `cap_001` below, community-acquired pneumonia, is called a sign. A clear scan does not exclude an infection.

Two uses, two limits of the score: to **rule out**, where below {no_sign_below} is "no sign"; to **triage**, where from {sign_from} on is
"sign" (of single slices: {slice_no_sign_below} and {slice_sign_from}). Between them: "indeterminate". "Cannot say" is for studies that are unlike what the model knows, with the reason.

## What it learned from

| source | used for | images | licence as found |
|---|---|---|---|
| COVID-19 CT lung and infection segmentation (Zenodo 3757476: Coronacases, Radiopaedia) | lung and lesion masks | 1,486 slices of 16 patients | CC BY-NC-SA 4.0 |
| IQ-OTH/NCCD, normal cases | lungs without lesions; half of them get lesions of the first source pasted in | 333 slices, 8 blocks | not verified |
| SARS-COV-2 Ct-Scan (Soares et al.), training blocks, not COVID-19 | the same | 984 slices, 8 blocks | CC BY-NC-SA 4.0 |
| a set of normal slices, lungs masked on black, probably CC-CCII | the same | 286 slices | CC BY 3.0 CN, if so |
| Pneumoscope's own phantom | exact outlines, bellies and necks | 300 slices | Apache-2.0 |
| SARS-COV-2 Ct-Scan, training blocks | labels of slices, for the pattern alone | 1,984 slices, 16 blocks | CC BY-NC-SA 4.0 |
| UCSD-AI4H COVID-CT, training split | labels of slices, for the pattern alone | 423 slices | none of its own |
| IQ-OTH/NCCD, training blocks | labels of slices, for the pattern alone: tumours and healthy lungs against healthy lungs with lesions pasted in | 851 slices | not verified |
| EfficientNet-Lite0 ImageNet weights | the encoder's starting point | | Apache-2.0 |

No image of these is in this repository. Labels of slices taught the pattern and never the masks.

## Calibration

Study: 1 / (1 + exp(-({intercept} + {slope} log10(share + {floor}) + {pattern_slope} pattern))), drawn in to lie between
1 - {surest} and {surest}, since so few independent blocks can vouch for no more.
Slice: 1 / (1 + exp(-({slice_intercept} + {slice_slope} log10(share + {floor}) + {slice_pattern_slope} pattern))).
A hospital that installs this is not among those that it learned from. So the numbers are fitted on what two other networks of the same
recipe say, each about the source that it never saw: `sars` and `ucsd`, training and validation groups, both sources and both labels
weighing the same. What the pattern counts against the share is what ranks best, on average over the slices of both and the runs below;
the rest is Platt's method, with a level for each source, of which the mean is taken. At the hospitals of the training the pattern could
count for more. The study's numbers come from runs of 16 neighbouring slices of `sars`, which stand for studies. "No sign" is below what 95 % of the positive
runs reach (90 % of slices, of which many show nothing). "Sign" is from where 95 % of the negative runs stay below; of slices, from where
sensitivity and specificity add up to most.

![Reliability of slices of ucsd test, which was used for no choice](images/reliability.svg)
"""

MASKS = """
## Masks, against patients held out (experts against each other reach about 0.70 on lesions)

| patient | slices | lung Dice | lesion Dice | lesion found / drawn |
|---|---|---|---|---|
"""

SLICES = """
## Slices

`ucsd test` was used for no choice; versions before this one were measured on it too. Both sources were in training with other patients or blocks: what a hospital unknown to the network
may expect stands in the table of ingredients, in the rows of sources left out. Labels are those of the sources: of the patient in `sars`, where a COVID-19 slice may show nothing; "not COVID-19" in `ucsd` holds other lung disease.

| source | slices (positive) | patients or blocks | AUC | accuracy, triage | rule-out: sensitivity, specificity | triage: sensitivity, specificity | calibration error | Brier |
|---|---|---|---|---|---|---|---|---|
"""

STRETCHES = """
The same for runs of 16 neighbouring slices of `sars`, scored by the worst pair, as a study is by its worst stretch. The slices of `train`
were learned from.

| source | runs (positive) | blocks | AUC | accuracy, triage | rule-out: sensitivity, specificity | triage: sensitivity, specificity | calibration error | Brier |
|---|---|---|---|---|---|---|---|---|
"""

RUNS = """
## What each ingredient bought, and how much chance is in it

Slice AUCs of networks trained alike but for what is named; mean and standard deviation over seeds where there are several. The network
that is shipped is the first seed, whatever it reached. In brackets after the AUC: the source's slices, or its labels, were in training.

| network | seeds | lung Dice | lesion Dice | sars, all | sars val | ucsd, all but test | ucsd val | ucsd test |
|---|---|---|---|---|---|---|---|---|
"""

SHORTCUTS = """
## Tests for shortcuts

(a) Lungs painted over: AUC must fall to chance. All but the lungs painted over: AUC must stay.

| source | slices | as it is | lungs painted over | only lungs |
|---|---|---|---|---|
"""

GIVEAWAYS = """
(b) What gives a source away without any disease: logistic regression on size, border, sharpness and range, learnt on training groups,
judged on validation groups. (c) What a careless split reports: nearest neighbours among whole pictures, split at random and by group.

| source | (b) giveaways alone | (c) split at random | (c) split by group |
|---|---|---|---|
"""

WORST = """
## The worst errors

Of the validation groups: the ten positives with the lowest score and the ten negatives with the highest. The licences forbid to show
them here; `make evidence` writes a page with their pictures and what the network marked in them, `build/failures.html`.

| slice | label | score | share of lung |
|---|---|---|---|
"""

STUDIES = """
## Three whole studies, against three radiologists' labels per slice

Three studies show that it works; they are no rate. During development they were looked at more than once, and the rule for the top of
the diaphragm was made by looking at `normal_001`. AUC of infected against
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

GOALS = """
## Goals, and whether they are reached

| goal | reached | |
|---|---|---|
"""

LIMITS = """
## Limits

* 16 patients gave all real lesion masks; children, other scanners, contrast and other pneumonia are hardly or not among them.
* Lesions below 0.25 ml, and consolidation below 1 ml, are dropped; slices above 5 mm can hide small ones.
* The apex and motion can be taken for lesion; look at the key slices.
* `ucsd` shows the limit: its negatives hold other lung disease, of which the score tells only some from COVID-19.
* Labels of slices help most at the hospitals they come from; the rows of sources left out show what they are worth elsewhere.
* A study's calibration was fitted on runs of 8-bit slices of one hospital that stand for studies, by the network's probability, while
  a study's share is of outlined lesion; assess it on your own cases.
* What would lift it: lesion masks from more hospitals and scanners, whole studies with labels of patients, and other pneumonia.

Filled-in checklists: [CLAIM 2024](checklists/claim.md), [TRIPOD+AI](checklists/tripod-ai.md).
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
    return "".join(
        (
            head,
            *(GOALS, *_goals(facts)),
            *(MASKS, *_masks(facts["masks"])),
            *(SLICES, *map(_slices, facts["slices"])),
            *(STRETCHES, *map(_slices, facts["stretches"])),
            *(RUNS, *_runs(facts["runs"])),
            *(SHORTCUTS, *map(_blanked, facts["blanked"])),
            "\nOutside the lungs that experts drew (`ctseg` val) lie "
            f"{facts['masks']['outside_lungs']['lesion']:.1%} of the lesions' probability and "
            f"{facts['masks']['outside_lungs']['evidence']:.1%} of the evidence for and against the pattern.\n",
            *(GIVEAWAYS, *(_giveaway(b, c) for b, c in zip(facts["giveaways"], facts["splits"], strict=True))),
            *(STUDIES, *map(_study, facts["studies"])),
            *(PHANTOMS, *map(_phantom, facts["phantoms"])),
            *(WORST, *map(_worst, facts["worst"])),
            LIMITS,
        )
    )


def _goals(facts: Facts) -> list[str]:
    by_name = {f"{row['source']} {row['split']}": row for row in facts["slices"]}
    studies = {row["study"]: row for row in facts["studies"]}
    masks = facts["masks"]

    def auc(name: str) -> float:
        return by_name[name]["auc"]["value"]

    def accuracy(name: str) -> float:
        return by_name[name]["triage"]["accuracy"]["value"]

    def row(goal: str, value: str, reached: bool) -> str:
        return f"| {goal} | {value} | {'yes' if reached else '**no**'} |\n"

    volume = masks["volume"]
    seconds = facts["inference_seconds"]
    rows = [
        row("lesion Dice 0.75 on `ctseg` val", f"{masks['lesion']:.3f}", masks["lesion"] >= 0.75),
        row("lung Dice 0.97", f"{masks['lung']:.3f}", masks["lung"] >= 0.97),
        row("lesion area within 15 % of the drawn", f"{volume:.2f}", abs(volume - 1) <= 0.15),
        row("`ucsd` test: AUC 0.95", f"{auc('ucsd test'):.3f}", auc("ucsd test") >= 0.95),
        row("`ucsd` test: accuracy 0.89", f"{accuracy('ucsd test'):.3f}", accuracy("ucsd test") >= 0.89),
        row("`sars` val: AUC 0.97", f"{auc('sars val'):.3f}", auc("sars val") >= 0.97),
        row("`sars` val: accuracy 0.92", f"{accuracy('sars val'):.3f}", accuracy("sars val") >= 0.92),
    ]
    for name, source, words in (
        ("pattern, without ucsd", "ucsd", "`sars` to `ucsd`"),
        ("pattern, without sars", "sars", "`ucsd` to `sars`"),
    ):
        runs = [run for run in facts["runs"] if run["name"] == f"{name}: weighed as shipped"]
        value, _ = spread(runs, f"{source} train and val")
        goal = f"leave one source out, {words}, all but the test split, weighed as shipped, mean of {len(runs)} seeds: AUC 0.85"
        rows.append(row(goal, f"{value:.3f}", value >= 0.85))
    for name in ("covid_p001", "cap_001"):
        value = studies[name]["auc_share_of_slice"]
        rows.append(row(f"`{name}`: infected against clean slices, AUC 0.92", f"{value:.3f}", value >= 0.92))
    rows.append(
        row('`normal_001`: "no sign"', studies["normal_001"]["category"], studies["normal_001"]["category"] == "no sign")
    )
    rows.append(row("300 slices, all inference on two cores under 5 s", f"{seconds['best_s']} s", seconds["best_s"] < 5))
    return rows


def _masks(masks: Facts) -> list[str]:
    rows = [
        f"| {r['patient']} | {r['slices']} | {r['lung']:.3f} | {r['lesion']:.3f} | {r['volume']:.2f} |\n"
        for r in masks["patients"]
    ]
    return [*rows, f"| mean of patients | | {masks['lung']:.3f} | {masks['lesion']:.3f} | {masks['volume']:.2f} |\n"]


def _slices(r: Facts) -> str:
    def both(point: Facts) -> str:
        return f"{interval(point['sensitivity'], 2)}, {interval(point['specificity'], 2)}"

    return (
        f"| {r['source']} {r['split']} | {r['n']} ({r['positive']}) | {r['patients']} | {interval(r['auc'])} | "
        f"{interval(r['triage']['accuracy'], 2)} | {both(r['rule_out'])} | {both(r['triage'])} | "
        f"{interval(r['calibration_error'], 2)} | {interval(r['brier'], 2)} |\n"
    )


def _runs(runs: list[Facts]) -> list[str]:
    rows = []
    for name in dict.fromkeys(row["name"] for row in runs):
        same = [row for row in runs if row["name"] == name]

        def shown(key: str, same: list[Facts] = same) -> str:
            if key not in same[0]["auc"]:
                return ""
            mean, deviation = spread(same, key)
            if " and " in key and key.split(maxsplit=1)[0] in same[0]["learnt"]:
                return "learnt"
            mark = " (seen)" if key.split(maxsplit=1)[0] in same[0]["learnt"] else ""
            return f"{mean:.3f}{f' ± {deviation:.3f}' if len(same) > 1 else ''}{mark}"

        def mean(key: str, same: list[Facts] = same) -> str:
            return f"{sum(row[key] for row in same) / len(same):.3f}"

        cells = " | ".join(
            shown(key) for key in ("sars train and val", "sars val", "ucsd train and val", "ucsd val", "ucsd test")
        )
        rows.append(f"| {name} | {len(same)} | {mean('lung')} | {mean('lesion')} | {cells} |\n")
    return rows


def _blanked(r: Facts) -> str:
    return f"| {r['source']} {r['split']} | {r['n']} | {interval(r['as_it_is'])} | {interval(r['lungs_blanked'])} | {interval(r['only_lungs'])} |\n"


def _giveaway(b: Facts, c: Facts) -> str:
    return f"| {b['source']} | {interval(b['auc'])} | {interval(c['at_random'])} | {interval(c['by_group'])} |\n"


def _worst(r: Facts) -> str:
    return f"| `{r['file']}` | {r['label']} | {r['score']:.2f} | {r['share_percent']} % |\n"


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
