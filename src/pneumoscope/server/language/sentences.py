"""Sentences that are kept in English, in records and results, said in the language of a page.

A kept sentence is all that holds the numbers of its case. It is recognised by the pattern that it was made by, which is the
text of the catalogues, and made anew with the same values. A gate test holds the patterns against the modules that make the
sentences; one that is not known stays English.
"""

import re
from functools import cache

from markupsafe import Markup, escape

from pneumoscope.server.language import ENGLISH, current, say
from pneumoscope.server.language.vocabulary import N_, REGIONS
from pneumoscope.server.rights import Right

#: The finding: ``results.words``.
FINDINGS = (
    N_("Cannot say."),
    N_("No sign of pneumonia of the COVID-19 pattern: %(what)s."),
    N_("Indeterminate for pneumonia of the COVID-19 pattern: %(what)s."),
    N_("Sign of pneumonia of the COVID-19 pattern: %(what)s."),
    N_("no lesion was found in the lungs"),
    N_("hardly any lesion was found"),
    N_("%(share)s of the lungs involved, most in the %(zone)s, %(kind)s"),
    N_("mostly ground-glass"),
    N_("ground-glass and consolidation"),
    N_("mostly consolidation"),
)
#: What was chosen to be read, and what to know of it: ``series``.
SERIES = (
    N_("None of %(count)s series can be read; the nearest %(fault)s."),
    N_("The only series cannot be read: it %(fault)s."),
    N_("the only axial chest-sized series"),
    N_("the best of %(count)s that could be read"),
    N_("belongs to another study than the one read"),
    N_("is equal to the one chosen"),
    N_("%(how)s than the one chosen"),
    N_("Slices are %(thickness)s mm thick or apart; above %(limit)s mm small lesions can be missed."),
    N_("%(count)s slices are missing (largest gap %(gap)s mm); volumes bridge the gap."),
    N_("The scan was taken with contrast, which raises the density of lung and vessels; read for scans without."),
    N_("The images were compressed with loss; densities may be off by some HU."),
)
#: Why a series may not be read, and why another is better: ``series.rules``.
RULES = (
    N_("has modality %(modality)s; CT is read"),
    N_("is %(kind)s; CT Image and Enhanced CT Image Storage are read"),
    N_("is a localizer, a projection of the whole patient; slices are needed"),
    N_("holds no pixel data"),
    N_("has %(count)s samples a pixel; CT has 1"),
    N_("is a derived view (%(kinds)s), not slices of density"),
    N_("is lossy JPEG, whose 8 or 12 bits are not HU"),
    N_("has a transfer syntax (%(syntax)s) that cannot be decoded"),
    N_("absent"),
    N_("lacks a rescale slope or intercept, so its values are not HU"),
    N_("holds values in another unit than HU, such as the concentration of a material"),
    N_("lacks Image Position (Patient) or Image Orientation (Patient)"),
    N_("lacks pixel spacing"),
    N_("has a pixel spacing of %(rows)s x %(columns)s mm; %(least)s to %(most)s mm is read"),
    N_("has a matrix of %(rows)s x %(columns)s; at least %(least_rows)s x %(least_columns)s is read"),
    N_("has %(count)s million voxels; at most %(limit)s million are read"),
    N_("has slices %(angle)s degrees off axial; at most %(limit)s is read"),
    N_("has one slice; at least %(least)s are needed"),
    N_("has %(count)s slices at different positions; at least %(least)s are needed"),
    N_("covers %(extent)s mm; at least %(least)s mm is needed"),
    N_("is sheared by %(angle)s degrees (gantry tilt); at most %(limit)s is read"),
    N_("has slices %(distance)s mm apart or thick; at most %(limit)s mm is read"),
    N_("has a gap of %(gap)s mm; at most %(limit)s mm is allowed"),
    N_("lacks %(missing)s slices of %(count)s; at most %(limit)s of those present is allowed"),
    N_("covers less of the chest"),
    N_("is derived, another is original"),
    N_("has thicker slices"),
    N_("has a sharper, noisier kernel, which blurs densities"),
    N_("was taken with contrast"),
    N_("lacks more slices"),
    N_("has slices further from 1.5 mm"),
    N_("has fewer slices"),
)
#: What became of its slices: ``volume``.
VOLUME = (
    N_("%(bad)s of %(count)s slices cannot be decoded; at most %(limit)s may, and no two neighbours."),
    N_("%(bad)s of %(count)s slices could not be decoded and are left out; volumes bridge the gap."),
    N_("At %(count)s positions there are two images with different pixels; the one with the lower instance number is read."),
)
#: Refusals, doubts and warnings: ``classification.guard``.
GUARD = (
    N_(
        "This is not a chest CT: %(volume)s ml of lung over %(height)s mm were found; "
        "at least %(least_ml)s ml over %(least_mm)s mm are needed."
    ),
    N_("%(volume)s ml of lung were found; lungs hold at most %(limit)s ml."),
    N_("The lungs' mean density is %(mean)s HU; %(low)s to %(high)s HU is known."),
    N_("%(share)s of what looks like lung is plain air; at most %(limit)s is known."),
    N_("The network is unsure (%(confidence)s; %(limit)s is needed): the images are unlike its training images."),
    N_("The patient is %(age)s years old; the model was trained on adults."),
    N_("Noise is %(noise)s HU; above %(limit)s HU faint lesions cannot be told from it."),
    N_("Lung outlines jump between %(share)s of neighbouring slices: heavy motion or doubled anatomy."),
    N_("Metal (%(volume)s ml above %(limit)s HU) throws streaks that can look like lesions."),
    N_("The lungs are not wholly in the scan (cut: %(places)s); volumes and shares are of what is there."),
    N_("bases"),
    N_("apices"),
    N_("sides"),
)
#: What happens around a reading: ``intake``, ``pipeline``, ``models``, ``worker``, ``store``, ``output``.
AROUND = (
    N_("This reading replaces that of %(moment)s, which was made of the same study."),
    N_("The model that made this reading was not signed; it is for development only."),
    N_("The study was read. The model in service has not been released at this site, so that nothing of it is shown or sent."),
    N_("The study was read. The model in service was taken out of service, so that nothing of it is shown or sent."),
    N_("Another model, or another mode, came into service while the study was read."),
    N_("The reader died or hung on this study."),
    N_("The worker died %(count)s times while it read this study."),
    N_("The reading failed by a fault of ours (%(kind)s)."),
    N_("The workflow of this reading ended without it."),
    N_("The reader does not start; `pneumoscope model verify` tells whether the model is whole."),
    N_("Its work item was canceled before it began."),
    N_("The disk for the results is full; nothing was written."),
)
#: Why an object was not taken: ``filing.objects``, ``server.anonymous``.
TAKING = (
    N_("It bears a study, series or instance UID that is none; digits and dots, at most 64, are allowed."),
    N_("Its instance UID is not the one that it was sent under."),
    N_("Another object with the same instance UID is here already; the first one counts."),
    N_("Its study is larger than the settings allow."),
    N_("Its header is damaged and cannot be read."),
    N_("It is no DICOM object."),
    N_("It has no SOP class that can be filed."),
    N_("It is a DICOMDIR, which is a list and no object of a study."),
    N_("It cannot be opened."),
    N_("It is no CT image; only those are anonymised."),
    N_("It says that text is burned into its image, which cannot be anonymised."),
    N_("It is damaged, and so cannot be anonymised."),
)
#: What becomes of a delivery: ``delivery``, ``worker.posting``, ``store``, ``output``; the first that fits counts.
DELIVERING = (
    N_("%(stored)s of %(total)s objects were stored; the peer answered %(answers)s: %(kinds)s."),
    N_("%(stored)s of %(total)s objects were stored; the peer answered %(answers)s."),
    N_("%(number)s (%(meaning)s) to %(count)s"),
    N_("out of resources"),
    N_("resource limitation"),
    N_("processing failure"),
    N_("SOP class not supported"),
    N_("not authorized"),
    N_("object does not match its SOP class"),
    N_("object not understood"),
    N_("no meaning that we know"),
    N_("The peer broke off or did not answer in time; %(stored)s of %(total)s objects were stored."),
    N_("The peer tells of %(stored)s of %(total)s objects only."),
    N_("The peer stored the objects but does not vouch for all of them."),
    N_("The destination did not vouch for every object."),
    N_("No storage commitment came."),
    N_("%(count)s objects were stored and are committed."),
    N_("%(count)s objects were stored and commitment was asked."),
    N_("%(count)s objects were stored; the peer took no request for storage commitment."),
    N_("%(count)s objects were stored."),
    N_("The server lists %(count)s objects as stored."),
    N_("The server took %(count)s objects but lists none."),
    N_("%(created)s resources were created, %(others)s were there already."),
    N_("The message was acknowledged with %(code)s."),
    N_("%(count)s files were written."),
    N_("The same files lie there already."),
    N_("The reading has no DICOM objects."),
    N_("The settings no longer name this destination."),
    N_("The results are no longer in the file store."),
    N_("It failed by a fault of ours (%(kind)s)."),
    N_("Its sending ended by a fault of ours."),
    N_("The stored reading has no %(name)s, which this destination needs."),
    N_("The stored %(name)s is no DICOM object."),
    N_("The stored %(name)s is no FHIR bundle."),
    N_("The stored %(name)s is no reading."),
    N_("The peer rejected the association: %(words)s (source %(source)s, reason %(reason)s)."),
    N_("it does not support our application context"),
    N_("it does not know our AE title, %(ours)s"),
    N_("it does not know the AE title that we call, %(theirs)s"),
    N_("it gives no reason"),
    N_("The peer is busy and rejected the association for now (source %(source)s, reason %(reason)s)."),
    N_("The peer accepts none of the kinds of object that we send."),
    N_("The peer did not answer the request for an association in time."),
    N_("The peer broke off before it accepted the association."),
    N_("The peer broke off before it accepted the association; it may speak TLS alone."),
    N_("The peer broke off, or what it sent is not HTTP."),
    N_("The peer broke off."),
    N_("The peer closed the connection during TLS."),
    N_("The peer closed the connection."),
    N_("The peer did not answer in time."),
    N_("The delivery was not done in the time set for it."),
    N_("The peer's host name is not known to the network."),
    N_("The peer cannot be reached: %(reason)s."),
    N_("no answer in time"),
    N_("no reason known"),
    N_("The peer's certificate is not trusted: %(reason)s."),
    N_("TLS with the peer failed: %(reason)s; version 1.2 or later is needed."),
    N_("%(key)s is not the key of %(certificate)s."),
    N_("One of %(names)s cannot be used; PEM files without a password are needed."),
    N_("The peer answered with HTTP status %(status)s (%(what)s)."),
    N_("it does not say which objects it stored"),
    N_("The peer answered with HTTP status %(status)s."),
    N_("The peer answered %(code)s with error %(error)s of HL7 table 0357."),
    N_("The peer answered %(code)s."),
    N_("The peer acknowledged another message than ours."),
    N_("The peer's answer is no acknowledgement: MSA-1 is none of AA, AE, AR, CA, CE, CR."),
    N_("The peer's answer is no HL7 message."),
    N_("The peer's answer is no MLLP message."),
    N_("The acknowledgement is longer than %(limit)s bytes."),
    N_("The peer's answer is longer than %(limit)s MB; is the URL right?"),
    N_("The answer is not that to a transaction: %(entries)s entries came for %(count)s; is the URL a FHIR base?"),
    N_("The URL or the token of the destination cannot be used; http:// or https:// is needed."),
    N_("The folder is not there; it may be a share that is not mounted."),
    N_("The folder cannot be read: %(reason)s."),
    N_("The output path is a file; a new or empty folder is needed."),
    N_("The output folder holds other files; a new or empty folder, or one with an earlier reading, is needed."),
    N_("The results cannot be written: %(reason)s; nothing was written."),
    N_("The file store cannot be written: %(reason)s."),
    N_("The bucket does not exist."),
    N_("The object storage refuses our key, or the right to do this."),
    N_("The object storage does not answer as it should."),
    N_("%(file)s cannot be read: %(reason)s."),
)
#: The words of the operating system for what is met most.
SYSTEM = (
    N_("Connection refused"),
    N_("No route to host"),
    N_("Network is unreachable"),
    N_("Host is down"),
    N_("Permission denied"),
    N_("Stale file handle"),
    N_("No space left on device"),
    N_("Read-only file system"),
    N_("Input/output error"),
)
#: Why what a person asked a page for is not to be had.
ASKING = (
    N_("There is no such study here."),
    N_("There is no such reading here that could be answered."),
    N_("There is no such result here."),
    N_("There is no such delivery here."),
    N_("There is no such account."),
    N_("There is no such task here any more."),
    N_("There is nothing here."),
    N_("It was removed meanwhile."),
    N_("The study has no images that could be read."),
    N_("Your roles do not allow you to %(right)s."),
    N_("The database does not answer."),
    N_("The disk is nearly full; nothing more is taken."),
    N_("Nobody logs in by password here."),
    N_("Nobody logs in by OpenID Connect here."),
    N_("Roles and password of this account are its provider's."),
    N_("Someone must remain who may manage people."),
    N_("Too many wrong links came from this address; wait a while."),
    N_("The hub names no such hospital."),
    N_("This node offers no readings; its settings say so."),
    N_("This task was taken here before."),
    N_("The reading of this study is shown; blind verdicts are given while it is held."),
    N_("A reading is modified or rejected for a reason, which is missing."),
    N_("Another reason is to be said in words."),
    N_("A zone is both added and removed."),
    N_("Nothing is corrected: a category, a zone or words are needed."),
    N_("This is for people with an account, who are named in what is decided."),
    N_("This was not asked for, or something else was decided meanwhile."),
    N_("A limit is a number from 0 to 1."),
    N_("One limit was given; allowed are both, or none for those of the model."),
    N_("%(limit)s %(value)s was given; allowed is %(low)s to %(high)s."),
    N_("No sign below"),
    N_("Sign from"),
    N_("No sign below %(below)s lies above sign from %(above)s."),
    N_("No reason was given; readers are told why a model is out of service."),
    N_("No person was named; it takes a named one."),
    N_("Fewer than two people were named; it takes two different ones."),
    N_("One person was named twice; it takes two different ones."),
    N_("The model is out of service already."),
    N_("There is no candidate that could be put in service."),
    N_("There is no candidate that could be withdrawn."),
    N_("There is neither a candidate nor a previous model that a step back could lead to."),
)
SENTENCES = (*FINDINGS, *SERIES, *RULES, *VOLUME, *GUARD, *AROUND, *TAKING, *DELIVERING, *SYSTEM, *ASKING)
#: Places of names that someone chose, which stay as they are.
_NAMES = frozenset({"ours", "theirs"})
_PLACEHOLDER = re.compile(r"%\((\w+)\)s")
_NUMBER = re.compile(r"(?P<under>under )?(?P<number>-?[0-9]+(?:\.(?P<digits>[0-9]+))?)(?P<percent> ?%)?")
_PIECES = re.compile(r"(?<=\.) ")


def known(sentence: str) -> str | None:
    """A kept sentence, or several, in the page's language; None where one of them is not known."""
    if current.get() == ENGLISH or not sentence:
        return sentence
    whole = _whole(sentence)
    if whole is not None or ". " not in sentence:
        return whole
    pieces = [_whole(piece) for piece in _PIECES.split(sentence)]
    return None if None in pieces else " ".join(piece for piece in pieces if piece)


def worded(sentence: str) -> str:
    """A kept sentence in the page's language, or else in English."""
    found = known(sentence)
    return sentence if found is None else found


def said(sentence: str) -> Markup:
    """The same for HTML, where what stays English is marked so, for screen readers."""
    found = known(sentence)
    return escape(found) if found is not None else Markup('<span lang="en">{}</span>').format(sentence)


def _whole(sentence: str) -> str | None:
    if sentence in _plain():
        return say(sentence)
    for pattern, text in _patterns():
        if found := pattern.fullmatch(sentence):
            given = found.groupdict().items()
            return say(text, **{name: value if name in _NAMES else _value(value) for name, value in given})
    return None


def _value(value: str) -> str:
    """A number as the language writes it, a phrase or a list of words in it, or what it is."""
    if found := _NUMBER.fullmatch(value):
        number = current.get().number(float(found["number"]), len(found["digits"] or ""))
        if not found["percent"]:
            return number if not found["under"] else value
        return say("under %(percent)s %%" if found["under"] else "%(percent)s %%", percent=number)
    words = [_whole(word) for word in value.split(", ")]
    if None not in words:  # before the whole: a pattern for one would take several for one
        return ", ".join(word for word in words if word)
    whole = _whole(value)
    return value if whole is None else whole


@cache
def _plain() -> frozenset[str]:
    return frozenset(text for text in (*SENTENCES, *REGIONS.values(), *Right) if "%(" not in text)


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((_pattern(text), text) for text in SENTENCES if "%(" in text)


def _pattern(text: str) -> re.Pattern[str]:
    parts = _PLACEHOLDER.split(text)  # by turns what lies between, and a name; no value reaches into another sentence
    named = (rf"(?P<{part}>(?:(?!\. ).)+?)" if place % 2 else re.escape(part) for place, part in enumerate(parts))
    return re.compile("".join(named), re.DOTALL)
