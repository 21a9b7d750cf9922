"""Bring the catalogues of the pages' texts in step with the templates and modules.

New texts are added without a translation, which a gate test then asks for; texts that are no longer used go.

    python scripts/catalogues.py
"""

import sys
from io import BytesIO
from pathlib import Path

from babel.core import Locale
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from pneumoscope.server.language import ENGLISH, FOLDER, LANGUAGES

SERVER = Path(__file__).parents[1] / "src/pneumoscope/server"
#: A text is marked by one of these; ``ngettext`` holds one and many.
KEYWORDS = {"_": None, "N_": None, "gettext": None, "ngettext": (1, 2)}
OPTIONS = {"**.html": {"trimmed": "true", "newstyle_gettext": "true"}}
EMPTY = tuple(
    f'"{name}' for name in ("POT-Creation", "PO-Revision", "Generated-By", "Report-Msgid", "Last-Tr", "Language-Team")
)
METHODS = [("**.html", "jinja2"), ("**.py", "python")]


def texts() -> Catalog:
    """Every text that pages say, as it stands in templates and modules."""
    found = Catalog(project="Pneumoscope")
    for file, _, text, comments, _ in extract_from_dir(SERVER, METHODS, OPTIONS, KEYWORDS):
        found.add(text, locations=[(file, 0)], auto_comments=comments)
    return found


def read(locale: str) -> Catalog:
    """The catalogue of a language, empty where there is none yet."""
    path = FOLDER / f"{locale}.po"
    if not path.exists():
        return Catalog(locale=locale, project="Pneumoscope")
    with path.open("rb") as file:
        return read_po(file, locale=locale)


def main() -> int:
    wanted, lacking = texts(), 0
    for language in LANGUAGES.values():
        if language == ENGLISH:
            continue
        catalogue = read(language.locale)
        catalogue.update(wanted, no_fuzzy_matching=True)
        catalogue.obsolete.clear()
        missing = sum(not message.string or not all(message.string) for message in catalogue if message.id)
        lacking += missing
        catalogue.header_comment, catalogue.fuzzy = (
            f"# What the pages say, in {Locale.parse(language.locale).english_name}.",
            False,
        )
        buffer = BytesIO()
        write_po(buffer, catalogue, width=0, no_location=True, sort_output=True)
        # without what changes with every run or says nothing
        lines = [line for line in buffer.getvalue().decode().splitlines() if not line.startswith(EMPTY)]
        (FOLDER / f"{language.locale}.po").write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
        print(f"{language.locale}: {len(catalogue)} texts, {missing} without a translation")
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main())
