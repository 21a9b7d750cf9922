"""What the hub wishes of this site, done as far as the site's settings and people allow: each step once, also over restarts."""

import shutil
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa
import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from pneumoscope.config import Settings
from pneumoscope.errors import OperatorNeeded, PneumoscopeError, Rejected, RetryLater
from pneumoscope.fleet.messages import Alarm, AlarmKind, Mode, Offer, Wish, WishKind, WishStage, WishState
from pneumoscope.intake.archive import unpack
from pneumoscope.member import membership
from pneumoscope.member.line import BadBundle, Line
from pneumoscope.member.model import default_model
from pneumoscope.models import examine, trust
from pneumoscope.models.library import install
from pneumoscope.store import Store, alarms, audit, now, service

_FILE, _SCRATCH = "wish.json", ".bundle-"
#: Faults of this machine that say nothing against a bundle.
_PASSING = ("disk-full", "model-install-failed", "key-unreadable")
log = structlog.get_logger()


class _Done(BaseModel):
    """How far the site has come with a roll-out; ``model`` is what it put beside or in service for it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    state: WishState
    kind: WishKind
    model: str = ""


class Wishes:
    """One of it. ``state`` may be asked by another thread."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._model = default_model(settings)
        self._lock = threading.Lock()
        self._done = self._read()
        self._trouble = ""
        for left in membership.folder(settings).glob(f"{_SCRATCH}*"):  # by one that was killed
            shutil.rmtree(left, ignore_errors=True)

    def state(self) -> WishState | None:
        """What the next report says of the wish."""
        with self._lock:
            return self._done.state if self._done else None

    def look(self) -> None:
        """Do what the last orders wish and is not done yet."""
        place = membership.load(self._settings)
        orders = membership.orders(place.folder) if place else None
        if place is None or orders is None or orders.wish is None:
            if orders is not None and self._done is not None:
                self._keep(None)
            return
        wish = orders.wish
        if wish.paused:
            return
        try:
            self._act(place, wish)
            self._trouble = ""
        except RetryLater as fault:
            self._log("The hub's wish waits", fault)
        except PneumoscopeError as fault:
            self._log("The hub's wish cannot be met yet", fault)

    def _log(self, text: str, fault: PneumoscopeError) -> None:
        if fault.code != self._trouble:
            log.warning(f"{text}. {fault}", code=fault.code)
        self._trouble = fault.code

    def _act(self, place: membership.Membership, wish: Wish) -> None:
        done = self._done if self._done and self._done.state.rollout == wish.rollout else None
        if wish.kind is WishKind.BACK:
            self._back(wish, done)
        elif wish.offer is not None and not (done and done.state.stage is WishStage.REFUSED):
            held = done.model if done and done.kind is not WishKind.BACK else ""
            if self._shadow(place, wish, wish.offer, held=held) and wish.kind is WishKind.LIVE:
                self._live(wish, wish.offer)

    def _shadow(self, place: membership.Membership, wish: Wish, offer: Offer, *, held: str) -> bool:
        """Have the offered model here, as candidate or in service; False where it was refused, by a check or by people.

        ``held``: what this roll-out had brought here before.
        """
        state = self._service()
        if state.model == offer.model:
            live = state.mode is Mode.LIVE
            stage = WishStage.LIVE if live else WishStage.STOPPED if state.mode is Mode.STOPPED else WishStage.WAITS
            self._note(wish, stage, model=offer.model)
            return True
        if state.candidate != offer.model and held == offer.model:  # people took it away, who decide here
            self._note(wish, WishStage.BACK)
            return False
        if state.candidate != offer.model:
            self._note(wish, WishStage.FETCHING)
            try:
                self._install(place, offer)
                with self._store.database.begin() as db:
                    self._propose(db, wish, offer)
            except (Rejected, OperatorNeeded) as fault:
                if fault.code in _PASSING:
                    raise
                self._refuse(wish, offer, fault)
                return False
        if self._stage(wish) is not WishStage.WAITS:
            self._note(wish, WishStage.SHADOW, model=offer.model)
        return True

    def _propose(self, db: sa.Connection, wish: Wish, offer: Offer) -> None:
        state = service.current(db, self._model)
        if state.candidate and state.candidate != offer.model:
            service.withdraw(db, actor=service.HUB, reason=_reason(wish, "another candidate comes"), rollout=wish.rollout)
        reason = _reason(wish, "tried beside the present model")
        own = {"rollout": wish.rollout, "default_model": self._model}
        service.propose(db, offer.model, actor=service.HUB, reason=reason, **own)

    def _install(self, place: membership.Membership, offer: Offer) -> None:
        """Fetch, unpack, verify, put beside the others: nothing unsigned or altered is installed, and so none is run."""
        with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=place.folder) as scratch:
            archive, folder = Path(scratch) / "bundle.zip", Path(scratch) / "bundle"
            folder.mkdir()
            Line(place, proxy=self._settings.fleet.proxy).fetch(offer, archive)
            try:
                unpack(archive, to=folder, keep_names=True)
            except OSError as fault:
                raise BadBundle("The bundle holds names that no file here can have.") from fault
            found = examine(folder, trust=trust())
            if found.fault is None and found.manifest and f"{found.manifest.name} {found.manifest.version}" != offer.model:
                raise BadBundle(
                    f"The bundle holds {found.manifest.name} {found.manifest.version}; offered was {offer.model}.",
                    code="bundle-other-model",
                )
            install(folder)

    def _live(self, wish: Wish, offer: Offer) -> None:
        """Put the candidate in service, where this site has left that to its hub; else its people do."""
        with self._store.database.begin() as db:
            state = service.current(db, self._model)
            if state.candidate == offer.model:
                if self._settings.fleet.promotion == "hub" and state.mode is Mode.LIVE:
                    reason = _reason(wish, "put in service, as fleet.promotion lets the hub do")
                    own = {"rollout": wish.rollout, "default_model": self._model}
                    service.promote(db, actor=service.HUB, reason=reason, by_hub=True, **own)
                    stage = WishStage.LIVE
                else:
                    stage = WishStage.WAITS
            elif state.model == offer.model and state.mode is Mode.LIVE:
                stage = WishStage.LIVE
            else:
                return
        self._note(wish, stage, model=offer.model)

    def _back(self, wish: Wish, done: _Done | None) -> None:
        """Undo what was done for this roll-out and nothing else, once: what people decided since stands."""
        if done and done.state.stage is WishStage.BACK:
            return
        model = done.model if done and done.model else wish.offer.model if wish.offer else ""
        with self._store.database.begin() as db:
            state = service.current(db, self._model)
            own = {"actor": service.HUB, "reason": _reason(wish, "taken back"), "rollout": wish.rollout}
            ours = state.rollout == wish.rollout
            if state.candidate and (state.candidate == model or (ours and not model)):
                service.withdraw(db, **own, default_model=self._model)
            elif state.previous and (state.model == model or (ours and not model)) and not state.candidate:
                service.back(db, **own, default_model=self._model)
            elif state.previous and state.model == model:  # with another candidate, of people's own
                service.withdraw(db, **own, default_model=self._model)
                service.back(db, **own, default_model=self._model)
        self._note(wish, WishStage.BACK, model=model)

    def _refuse(self, wish: Wish, offer: Offer, fault: PneumoscopeError) -> None:
        log.error(f"A bundle of the hub was refused. {fault}", code=fault.code, rollout=wish.rollout)
        found = Alarm(kind=AlarmKind.BUNDLE_REFUSED, subject=_subject(offer.model), since=now())
        with self._store.database.begin() as db:
            alarms.settle(db, [found], of=[AlarmKind.BUNDLE_REFUSED])
            detail = f"Roll-out {wish.rollout}: {offer.model} was refused ({fault.code})."
            audit.record(db, action="fleet", outcome="refused", actor=service.HUB, detail=detail)
        self._note(wish, WishStage.REFUSED, code=fault.code)

    def _service(self) -> service.Service:
        with self._store.database.look() as db:
            return service.current(db, self._model)

    def _stage(self, wish: Wish) -> WishStage | None:
        state = self.state()
        return state.stage if state and state.rollout == wish.rollout else None

    def _note(self, wish: Wish, stage: WishStage, *, code: str = "", model: str = "") -> None:
        before = self._done if self._done and self._done.state.rollout == wish.rollout else None
        state = WishState(rollout=wish.rollout, stage=stage, code=code)
        self._keep(_Done(state=state, kind=wish.kind, model=model or (before.model if before else "")))
        if stage is not WishStage.REFUSED and (before is None or before.state.stage is WishStage.FETCHING):
            with self._store.database.begin() as db:  # what was refused before is not what is wished now
                alarms.settle(db, [], of=[AlarmKind.BUNDLE_REFUSED])

    def _keep(self, done: _Done | None) -> None:
        if done == self._done:
            return
        path = membership.folder(self._settings) / _FILE
        if done is None:
            path.unlink(missing_ok=True)
        else:
            membership.write(path, done.model_dump_json().encode())
        with self._lock:
            self._done = done

    def _read(self) -> _Done | None:
        with suppress(OSError, ValidationError):
            return _Done.model_validate_json((membership.folder(self._settings) / _FILE).read_bytes())
        return None


def _reason(wish: Wish, text: str) -> str:
    return f"Roll-out {wish.rollout}: {text}."


def _subject(model: str) -> str:
    return "".join(character for character in model.lower() if character.isalnum() or character in " .+-_")[:60]
