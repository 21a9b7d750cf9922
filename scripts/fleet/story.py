"""What `make fleet` does: a hub and 26 hospitals in 16 provinces on this machine, and what befalls them in nine minutes.

None of the names is of a real place; the patients are phantoms. Everything else is real: each hospital runs a node of its own,
with a receiver, a worker and a member process and a database; scanners send by DICOM; hub and hospitals speak mutual TLS.
"""

import json
import os
import random
import shutil
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import sqlalchemy as sa
from hub_node import Hub
from making import make_models, make_phantoms, reading_s
from rich.table import Table
from site_node import Scanner, Site
from telling import FOLDER, begun_s, console, say, until

from pneumoscope.fleet.messages import AlarmKind, Mode, Window
from pneumoscope.hub.inviting import invite
from pneumoscope.models.library import install
from pneumoscope.node.prepare import FIRST, first_account
from pneumoscope.store import now, service
from pneumoscope.store.fleet_schema import alarm, fleet_window, observation
from pneumoscope.store.hub_schema import rollout, rollout_site, site_window
from pneumoscope.store.hub_schema import site as hub_site

PLACES = {
    "Alder": ("General", "Harbour"),
    "Birch": ("General", "Hill"),
    "Cedar": ("General", "Lake"),
    "Elm": ("General", "Bridge"),
    "Fir": ("General", "Valley"),
    "Hazel": ("General", "Market"),
    "Juniper": ("General", "Mill"),
    "Larch": ("General", "North"),
    "Maple": ("General", "Quay"),
    "Oak": ("General", "Ridge"),
    "Pine": ("General",),
    "Poplar": ("General",),
    "Rowan": ("General",),
    "Spruce": ("General",),
    "Willow": ("General",),
    "Yew": ("General",),
}
SCANNERS = (
    Scanner("SIEMENS", "B60f"),
    Scanner("GE MEDICAL SYSTEMS", "LUNG"),
    Scanner("Philips", "B"),
    Scanner("CANON_MEC", "FC08"),
    Scanner("UIH", "B_SOFT_B"),
)
CANARIES = ("Alder General", "Birch General")
DRIFTING, AWAY, WRONG = "Maple Quay", "Fir Valley", "Oak Ridge"
#: Studies that a site gets at once, all sick or all well, so that hardly a count is small enough to be hidden.
BURST = 5
SICK_SHARE = 0.4
#: At the site with the wrong model, so that its readers' answers stop that.
HEALTHY = 15
#: Ten minutes stand for some days. A window of counts is about a minute: a stage of a roll-out should take one, in which hub
#: and sites act upon the last, and a burst is read; how long that takes goes with the machine.
LEAST_WINDOW_S, MOST_WINDOW_S = 45, 75
#: Until the hub and the sites have acted upon what a window that closed has told.
TOLD_S = 50.0
#: Windows of work that a gate is given.
MOST_WINDOWS = 4


def free_ports(number: int) -> list[int]:
    held = [socket.socket() for _ in range(number)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


class Story:
    """The fleet and what happens to it."""

    def __init__(self) -> None:
        shutil.rmtree(FOLDER, ignore_errors=True)
        self.public, self.models = make_models(FOLDER / "models")
        self.good, self.bad = self.models
        self.phantoms = make_phantoms(FOLDER / "phantoms")
        self.reading_s = reading_s(self.phantoms["usual", True])
        self.window_s = float(round(min(MOST_WINDOW_S, max(LEAST_WINDOW_S, 15 + 46 * self.reading_s))))
        number = sum(map(len, PLACES.values()))
        port, sites_port, *dicom_ports = free_ports(number + 2)
        self.hub = Hub(port, sites_port, self.public, window_s=self.window_s)
        self.sites: dict[str, Site] = {}
        self.reading: list[Site] = []  # whose studies are being read, and wait for an answer then
        self.shown: list[tuple[str, bool, str]] = []
        self.burst_s = 30 * self.reading_s  # of some sites in one window, until it was seen to take longer
        names = [(f"{province} {name}", province) for province, given in PLACES.items() for name in given]
        for k, (title, province) in enumerate(names):
            folder = FOLDER / "sites" / title.replace(" ", "-").lower()
            site = Site(title, province, folder, SCANNERS[k % len(SCANNERS)], dicom_ports[k], random.Random(k))
            site.promotion = "people" if title == DRIFTING else "hub"
            self.sites[title] = site

    def show(self, what: str, right: bool, detail: str = "") -> None:
        """Note one of the things to be shown."""
        self.shown.append((what, right, detail))
        say(f"{'[green]shown[/green]' if right else '[red]not shown[/red]'}: {what}{f' ({detail})' if detail else ''}")

    def every(self) -> list[Site]:
        """All sites."""
        return list(self.sites.values())

    def join(self) -> None:
        """All sites join, in shadow."""
        for site in self.every():
            site.prepare(self.public)
            token = invite(self.hub.settings, title=site.title, province=site.province, again="", actor="operator")
            site.join(token, keep_live=site.title == DRIFTING)  # that one serves for long
            site.start()
        until(lambda: sum(row["heard_at"] is not None for row in self.hub.sites().values()) == len(self.sites), "all reports")
        modes = {row["mode"] for row in self.hub.sites().values()}
        right = len(self.hub.sites()) == 26 and modes == {"shadow", "live"}
        self.show("26 hospitals in 16 provinces join", right, "in shadow, save one that served before")

    def work(self, *busy: Site, others: Sequence[Site] = (), fresh: int = 0, sick: bool | None = None) -> None:
        """Studies come: those of ``busy`` are read within one window of counts, since a gate waits for them, and answered.

        ``others``, and ``fresh`` more sites that are in shadow, get theirs after that, to be read while the story goes on.
        ``sick``: what a burst shows; None: one or the other by chance.
        """
        left_s = self.window_s - time.time() % self.window_s
        if busy and left_s < min(0.9 * self.window_s, self.burst_s):
            next_s = time.time() + left_s + 0.3
            self.until(lambda: time.time() > next_s, "the next window")
        begun_at, begun_s = now(), time.time()
        if busy:
            self.scan(busy, sick=sick)
            self.until(lambda: not any(site.unread or site.unpaired(begun_at) for site in busy), "readings")
            self.burst_s = max(self.burst_s, time.time() - begun_s)
            say(f"{sum(site.unanswered for site in busy)} studies were read in {time.time() - begun_s:.0f} s")
            for site in busy:
                site.answer()
        later = [*others, *self.fresh[:fresh]]
        self.scan(later, sick=sick)
        self.reading, self.fresh = [*self.reading, *later], self.fresh[fresh:]

    def scan(self, sites: Sequence[Site], *, sick: bool | None) -> None:
        """A burst of studies comes to each."""
        for site in sites:
            shown = site.chance.random() < SICK_SHARE if sick is None else sick
            for _ in range(HEALTHY if site.misled else BURST):
                site.scan(self.phantoms, sick=shown)

    def tend(self) -> None:
        """Where all was read, a site's reader answers; sites in shadow are then released by two of their people."""
        for site in [one for one in self.reading if not one.unread]:
            self.reading.remove(site)
            site.answer()
            with site.database.begin() as db:
                if service.current(db, "").mode == Mode.SHADOW:
                    service.release(
                        db, actor="head of radiology", second="physicist", reason="agrees with our readers in shadow"
                    )

    def until(self, condition: Callable[[], object], what: str, *, patience_s: float = 240) -> None:
        """Wait, while the sites work."""

        def reached() -> object:
            self.tend()
            return condition()

        until(reached, what, patience_s=patience_s)

    def of_stage(self, number: int) -> list[Site]:
        """Sites of a stage of the newest roll-out."""
        query = (
            sa.select(hub_site.c.title)
            .join(rollout_site, rollout_site.c.site == hub_site.c.id)
            .join(rollout, rollout.c.id == rollout_site.c.rollout)
            .where(rollout_site.c.stage == number)
            .order_by(rollout.c.started_at.desc(), hub_site.c.title)
        )
        return [self.sites[row["title"]] for row in self.hub.rows(query) if row["title"] not in (DRIFTING, AWAY, WRONG)]

    def work_until(
        self,
        reached: Callable[[], bool],
        what: str,
        *busy: Site,
        others: Sequence[Site] = (),
        fresh: int = 0,
        sick: bool | None = None,
    ) -> None:
        """Windows of work, until something is reached; ``others`` and ``fresh``: of the first."""
        for turn in range(MOST_WINDOWS):
            if turn:
                self.work(*busy, sick=sick)
            else:
                self.work(*busy, others=others, fresh=fresh, sick=sick)
            give_up_at = time.time() + self.window_s - time.time() % self.window_s + TOLD_S
            while time.time() < give_up_at:
                self.tend()
                if reached():
                    return
                time.sleep(0.5)
        raise SystemExit(f"{MOST_WINDOWS} windows of work did not bring {what}; the logs are in {FOLDER}.")

    def at(self, phase: str, stage: int) -> bool:
        """Whether the roll-out of the good model has come to a phase of a stage, and its first site has done so."""
        row = self.hub.rollout(self.good)
        there = (row["stage"], row["phase"]) == (stage, phase)
        for site in self.of_stage(stage)[:1] if there else ():
            with site.database.look() as db:
                state = service.current(db, "")
            there &= self.good == (state.candidate if phase == "shadow" else state.model)
        if there:
            say(f"stage {stage + 1} of the roll-out is {'in shadow' if phase == 'shadow' else 'in service'}")
        return there

    def shadow(self) -> None:
        """The first studies, of which nobody sees a result, until two people of each site release the model."""
        first = [self.sites[title] for title in (*CANARIES, AWAY, WRONG)]
        self.fresh = [*first, *(site for site in self.every() if site not in first and site.title != DRIFTING)]
        self.work(fresh=7)
        self.until(lambda: not self.reading, "the first readings")
        with first[0].database.look() as db:
            held = sa.select(sa.func.count()).select_from(observation).where(observation.c.mode == Mode.SHADOW)
            number = db.execute(held).scalar()
        self.show("in shadow a node reads everything and shows nothing", number == BURST, "readers' verdicts are blind")
        self.sites[DRIFTING].remember(first, readings=280, days=14)
        self.sites[AWAY].stop("member")
        say(f"{AWAY} is cut off from the hub; it reads on")

    def roll_out(self) -> None:
        """A good model comes to the canaries first, then to every site."""
        canaries, away = [self.sites[title] for title in CANARIES], self.sites[AWAY]
        self.hub.types("offer", str(self.models[self.good]))
        self.hub.types("roll-out", self.good, *(word for title in CANARIES for word in ("--canary", title)), "--share", "1")
        self.until(lambda: self.at("shadow", 0), "the canaries in shadow", patience_s=60)
        self.work_until(lambda: self.at("live", 0), "the canaries into service", canaries[0], others=canaries[1:], fresh=4)
        self.work_until(lambda: self.at("shadow", 1), "the second stage", canaries[0], others=[away], fresh=4)
        self.show("canaries first: shadow, gate, service, gate", set(CANARIES) <= set(self.hub.running(self.good)))
        silent = self.alarms(AlarmKind.SILENT)
        self.show("the site that went silent is seen", AWAY in silent, f"in trouble: {', '.join(silent)}")
        busy = self.of_stage(1)[0]
        self.work_until(lambda: self.at("live", 1), "the second stage into service", busy, fresh=3)
        away.start("member")
        say(f"{AWAY} reaches the hub again")
        self.work_until(lambda: self.hub.rollout(self.good)["state"] == "done", "the end of the roll-out", busy, fresh=4)

    def rolled_out(self) -> None:
        """All sites that follow the hub run it in the end."""
        expected = {site.title for site in self.every()} - {DRIFTING}
        self.until(lambda: set(self.hub.running(self.good)) == expected, "all sites", patience_s=3 * self.window_s)
        waits = json.dumps(self.hub.sites()[DRIFTING]["service"])
        detail = f"{len(expected)} sites run {self.good}; at {DRIFTING} it waits for two people, as that site chose"
        self.show("promotion by stages", '"waits_for_people": true' in waits, detail)

    def trouble(self) -> None:
        """A bad model, which the hub offers in good faith and one site takes by hand, and a scanner that is changed."""
        canaries, drifting, wrong = [self.sites[title] for title in CANARIES], self.sites[DRIFTING], self.sites[WRONG]
        self.hub.types("offer", str(self.models[self.bad]))
        self.hub.types("roll-out", self.bad, *(word for title in CANARIES for word in ("--canary", title)))
        self.put_by_hand(wrong)
        say(f"at {WRONG} two people put {self.bad} in service by hand")
        drifting.scanner = replace(drifting.scanner, look="changed", ConvolutionKernel="B20f")
        say(f"the scanner of {DRIFTING} is changed")
        self.until(
            lambda: all(self.hub.sites()[title]["candidate"] == self.bad for title in CANARIES), "the bad model in shadow"
        )

        def paused() -> bool:
            return self.hub.rollout(self.bad)["state"] == "paused"

        others, fresh = [wrong, drifting], len(self.fresh)
        self.work_until(paused, "the gate to close", canaries[0], others=others, fresh=fresh, sick=False)
        reason = self.hub.rollout(self.bad)["reason"]
        nowhere = set(self.hub.running(self.bad)) <= {WRONG}
        self.show("a bad model never gets beyond shadow at its canaries", nowhere, reason)
        self.hub.types("back", "--reason", "calls healthy lungs sick")
        self.until(lambda: all(not self.hub.sites()[title]["candidate"] for title in CANARIES), "the canaries to go back")
        self.show("one command takes it back", set(CANARIES) <= set(self.hub.running(self.good)))

    def watched(self) -> None:
        """What the sites' own watches find."""
        wrong, drifting = self.sites[WRONG], self.sites[DRIFTING]
        self.until(lambda: self.hub.sites()[WRONG]["mode"] == Mode.STOPPED, "the stop rule", patience_s=180)
        with wrong.database.look() as db:
            state = service.current(db, "")
        self.show("the stop rule takes a wrong model out of service", state.actor == service.STOP_RULE, state.reason)
        with wrong.database.begin() as db:
            service.back(db, actor="head of radiology", reason="the model before it was right")
        self.until(lambda: WRONG in self.hub.running(self.good), "the model before")
        self.show("its people take it back to the model before", right=True)
        kinds = (AlarmKind.INPUT_DRIFT, AlarmKind.SCORE_DRIFT)
        if DRIFTING not in self.alarms(*kinds):
            self.work_until(lambda: DRIFTING in self.alarms(*kinds), "the drift", drifting, sick=False)
        self.show("the changed scanner is flagged, and no other", self.alarms(*kinds) == [DRIFTING])

    def put_by_hand(self, site: Site) -> None:
        """Two people of a site promote a model without a trial, as nobody should."""
        os.environ["PNEUMOSCOPE_HOME"] = str(site.folder / "home")
        install(self.models[self.bad])
        with site.database.begin() as db:
            service.propose(db, self.bad, actor="head of radiology")
            service.promote(db, actor="head of radiology", second="physicist", reason="looked better in a paper")
        site.misled = True

    def alarms(self, *kinds: AlarmKind) -> list[str]:
        """Titles of sites where such an alarm stands."""
        query = sa.select(hub_site.c.title).join(alarm, alarm.c.site == hub_site.c.id).where(alarm.c.kind.in_(kinds))
        return sorted({row["title"] for row in self.hub.rows(query.where(alarm.c.ended_at.is_(None)))})

    def compare(self) -> None:
        """The hub's picture against what each site has in its own database."""
        self.until(lambda: not self.reading and self.all_told(), "the last windows to be told", patience_s=2 * self.window_s)
        at_hub = {(row["site"], row["start"]): json.loads(row["content"]) for row in self.hub.rows(sa.select(site_window))}
        ids = {title: row["id"] for title, row in self.hub.sites().items()}
        same, least, most, true = True, 0, 0, 0
        for site in self.every():
            with site.database.look() as db:
                own = db.execute(sa.select(fleet_window)).mappings().all()
                truth = sa.select(sa.func.count()).select_from(observation)
                mine = observation.c.role == "present", observation.c.StudyInstanceUID != ""
                true += db.execute(truth.where(*mine)).scalar() or 0
            for row in own:
                told = Window.model_validate(at_hub.get((ids[site.title], row["start"])))
                same &= told == Window.model_validate(row["content"])
                least += 1 if told.studies is None else told.studies
                most += 4 if told.studies is None else told.studies
        sent = sum(len(site.truth) for site in self.every())
        away = [row for row in at_hub if row[0] == ids[AWAY]]
        self.show(
            "the site that was away caught up",
            len(away) > 0 and AWAY not in self.alarms(AlarmKind.SILENT),
            f"{len(away)} windows",
        )
        right = same and least <= true <= most and true == sent
        between = f"{least}" if least == most else f"{least} to {most}"
        self.show("the picture is right to the study", right, f"{sent} sent, {true} read, {between} at the hub")

    def all_told(self) -> bool:
        """Whether the hub keeps every window of every site, up to that of its last reading."""
        for site in self.every():
            with site.database.look() as db:
                windows = db.execute(sa.select(fleet_window.c.start, fleet_window.c.kept_at)).all()
                last = db.execute(sa.select(sa.func.max(observation.c.at))).scalar()
            if any(kept is None for _, kept in windows):
                return False
            if last and not any(start <= last < start + timedelta(seconds=self.window_s) for start, _ in windows):
                return False
        return True

    def end(self) -> None:
        """Stop everything."""
        for site in self.every():
            for process in site.processes.values():
                process.terminate()
        for site in self.every():
            site.stop()
        self.hub.process.terminate()
        self.hub.process.wait()


def main() -> int:
    """Tell the story; the exit status says whether all of it was shown."""
    story = Story()
    try:
        for part in (story.join, story.shadow, story.roll_out, story.trouble, story.watched, story.rolled_out, story.compare):
            part()
        table = Table("what", "shown", title=f"26 hospitals, 16 provinces, one picture, {time.monotonic() - begun_s:.0f} s")
        for what, right, detail in story.shown:
            table.add_row(f"{what} ({detail})" if detail else what, "[green]yes[/green]" if right else "[red]NO[/red]")
        console.print(table)
        story.hub.types("export", str(FOLDER / "fleet.csv"))
        hold(story)
    finally:
        story.end()
    return 0 if all(right for _, right, _ in story.shown) else 1


def hold(story: Story) -> None:
    """Leave the hub to be looked at, where somebody sits before it."""
    if not sys.stdin.isatty():
        return
    password = first_account(story.hub.settings)
    address = f"https://localhost:{story.hub.settings.hub.port}/"
    say(f"Look at {address} as {FIRST}, first password {password}. Enter ends the fleet.")
    input()


if __name__ == "__main__":
    sys.exit(main())
