"""In which language a page speaks: chosen by a cookie, else by what the browser asks for; English where nothing fits.

English is written in the templates; the others come from ``*.po`` beside this file, compiled when first needed, so that
no file has to be made when the package is built. ``scripts/catalogues.py`` keeps them in step, and a gate test tells.
"""

import gettext
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from babel.core import Locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal

COOKIE = "language"
FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Language:
    """One that the pages speak. ``tag``: as in HTML; ``own_name``: as its speakers call it."""

    tag: str
    locale: str  # as Babel calls it
    own_name: str

    @property
    def catalogue(self) -> gettext.NullTranslations:
        """Its texts."""
        return _catalogue(self.locale)

    def number(self, value: float, digits: int) -> str:
        """A number with so many digits behind the point."""
        pattern = "#,##0" + ("." + "0" * digits if digits else "")
        return format_decimal(value, format=pattern, locale=Locale.parse(self.locale))


ENGLISH = Language(tag="en", locale="en", own_name="English")
LANGUAGES = {
    language.tag: language
    for language in (
        ENGLISH,
        Language(tag="ko", locale="ko", own_name="한국어"),
        Language(tag="zh-Hans", locale="zh_Hans", own_name="简体中文"),
        Language(tag="de", locale="de", own_name="Deutsch"),
    )
}
#: Of the page that is being made.
current: ContextVar[Language] = ContextVar("language", default=ENGLISH)


@contextmanager
def speaking(language: Language) -> Iterator[None]:
    """Within it, texts are said in this language."""
    token = current.set(language)
    try:
        yield
    finally:
        current.reset(token)


@cache
def _catalogue(locale: str) -> gettext.NullTranslations:
    if locale == ENGLISH.locale:
        return gettext.NullTranslations()
    with (FOLDER / f"{locale}.po").open("rb") as file:
        catalogue = read_po(file, locale=locale)
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def choose(cookie: str, accept: str) -> Language:
    """The language of a visitor. ``cookie``: what was chosen here; ``accept``: Accept-Language (RFC 9110 12.5.4)."""
    if cookie in LANGUAGES:
        return LANGUAGES[cookie]
    for tag in _preferred(accept):
        main = tag.partition("-")[0].lower()
        for language in LANGUAGES.values():
            if language.tag.partition("-")[0] == main:
                return language
    return ENGLISH


def _preferred(accept: str) -> Sequence[str]:
    found = []
    for place, part in enumerate(accept[:500].split(",")):
        tag, _, quality = part.strip().partition(";q=")
        try:
            weight = float(quality) if quality else 1.0
        except ValueError:
            continue
        if tag and weight > 0:
            found.append((-weight, place, tag))
    return [tag for _, _, tag in sorted(found)]


def say(text: str, **values: object) -> str:
    """A text of ours in the language of the page; ``%(name)s`` in it stands for a value."""
    told = current.get().catalogue.gettext(text)
    return told % values if values else told


def say_many(one: str, many: str, number: int) -> str:
    """A text about ``number`` things, which stands in it as ``%(num)s``."""
    return current.get().catalogue.ngettext(one, many, number)
