"""Learning from use: what users say of answers, and the gallery's own calibration."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from speakerdb import settings
from speakerdb.audio import channel_of
from speakerdb.calibration import Basis
from speakerdb.decision.criterion import Asked
from speakerdb.decision.judging import Judge
from speakerdb.encoder.encoder import Encoder
from speakerdb.encoder.utterance import Utterance
from speakerdb.errors import InputError, StateError, printable
from speakerdb.gallery.answers import Calibrated, FeedbackKept
from speakerdb.gallery.deciding import warnings_of
from speakerdb.gallery.feedback import Answer, Decision, key, said
from speakerdb.gallery.naming import beside, usable_name, usable_path
from speakerdb.gallery.opened import OpenGallery, Progress, require_identity, require_speaker
from speakerdb.store import decisions, records, voiceprints
from speakerdb.store.fields import DamagedRow

if TYPE_CHECKING:
    from speakerdb.gallery.calibrating import OwnTrials
    from speakerdb.trials import ModelTrial


class Learning(OpenGallery):
    """`feedback` and `calibrate`."""

    def feedback(
        self, decision: str, answer: Answer, *, speaker: str | None = None, stranger: bool = False
    ) -> FeedbackKept:
        """Remember whether an answer of `identify` or `verify` was right; no audio, and nothing changes by it.

        `calibrate` uses what was said once there are thirty comparisons of either kind: of one speaker from both
        verbs, of two from `verify` alone.
        Args: decision: the answer's id; speaker: who it really was; stranger: that it was nobody enrolled.
        Raises: InputError for what is no id, or an answer that leaves open who it was; NoSuchSpeaker; StateError for
            a decision of another gallery or encoder, or about people who are gone.
        """
        if answer not in ("correct", "wrong") or (speaker is not None and stranger):
            raise InputError("say `correct`, `wrong`, or `wrong` with --speaker NAME or --stranger")
        with self._existing().writing() as connection:
            identity = require_identity(connection)
            found = Decision.parse(decision, identity)
            who = None if speaker is None else require_speaker(connection, usable_name(speaker))
            known = records.names_of(connection, [one.speaker for one in found.compared])
            if not known:
                raise StateError("the people of this decision are not enrolled any more; nothing was kept")
            told = said(found, answer, who, stranger, list(known))
            decisions.keep_feedback(connection, key(decision), told)
            everything = decisions.feedback(connection)
        targets, all_targets = sum(one.target for one in told), sum(one.target for one in everything)
        return FeedbackKept(key(decision), targets, len(told) - targets, all_targets, len(everything) - all_targets)

    def calibrate(
        self,
        *,
        trials: str | os.PathLike[str] | None = None,
        fmr: float = settings.VERIFY_FMR,
        dry_run: bool = False,
        channel: int | None = None,
        progress: Progress | None = None,
    ) -> Calibrated:
        """Find out what distances mean among this gallery's people, and decide by that from now on.

        Args:
            trials: lines of `1 NAME FILE` (the speaker NAME says FILE) and `0 NAME FILE`, files beside the list and
                not enrolled for NAME; left out, each enrolled recording is held to its speaker's others and to
                everybody else.
            fmr: the false match rate that shall be known. dry_run: change nothing.
            channel: of each of the list's files, from 1, instead of all averaged.
        Raises: TooFewTrials by the rule of 30; EmptyGallery; EncoderMismatch; InputError for a list or a recording.
        """
        from speakerdb.gallery import calibrating

        Asked(fmr=fmr)  # refused where it is no rate
        if channel is not None and trials is None:
            raise InputError("a channel belongs to a list of trials; what is enrolled was heard before")
        encoder = self.encoder
        with self._existing().reading() as connection:
            held = self._recordings(connection, encoder)
            before = self._judge(encoder, connection).calibration
            told = calibrating.said_trials(decisions.feedback(connection))
            names = records.all_names_of(connection, [int(speaker) for speaker in held.people])
        judge = Judge(encoder.cohort, encoder.card.calibration)
        if trials is None:
            own = calibrating.left_out(judge, held, names)
            source = f"{len(held.ids):,} recordings of {len(held.people):,} speakers of this gallery, each left out"
        else:
            file = usable_path(trials)
            own, source = self._listed(judge, encoder, file, channel, progress), f"the list {printable(file.name, 200)}"
        used = encoder.card.calibration is not None and calibrating.enough(told)
        answers = f" and {len(told.target):,} answers" if used else ""
        today = datetime.datetime.now(datetime.UTC).date()
        origin = (
            f"{source}{answers}: {own.targets:,} trials of one speaker, {own.nontargets:,} of two, {today.isoformat()}"
        )
        if encoder.card.calibration is not None:
            origin += f", {calibrating.reach(own)}"
        found = calibrating.fitted(encoder.card.calibration, own.trials, told if used else None, fmr, origin)
        if not dry_run:
            with self._existing().writing() as connection:
                self._bound(connection, encoder)
                decisions.keep_calibration(connection, found)
        return Calibrated(
            not dry_run,
            origin,
            own.targets,
            own.nontargets,
            len(told.target) if used else 0,
            0 if used else len(told.target),
            calibrating.rates(own, before, found, fmr),
            calibrating.changed(own, before, found, fmr),
            [*own.warnings],
        )

    def forget_calibration(self) -> bool:
        """Decide by the encoder's calibration again; False where the gallery had none of its own."""
        with self._existing().writing() as connection:
            return decisions.forget_calibration(connection)

    def _listed(
        self, judge: Judge, encoder: Encoder, file: Path, channel: int | None, progress: Progress | None
    ) -> OwnTrials:
        """The list's trials, each of its files heard once."""
        from speakerdb.calibration.fit import Trials
        from speakerdb.gallery.calibrating import OwnTrials
        from speakerdb.trials import read_model_trials

        listed = read_model_trials(file)
        with self._existing().reading() as connection:
            rows = {name: require_speaker(connection, usable_name(name)) for name in {trial.model for trial in listed}}
        heard: dict[str, Utterance] = {}
        names = list(dict.fromkeys(trial.clip for trial in listed))
        sources = (channel_of(str(beside(file) / name), channel) for name in names)
        for number, (name, future) in enumerate(zip(names, encoder.probes(sources), strict=True)):
            heard[name] = future.result()
            if progress:
                progress(number, len(names), 1.0, 1.0)
        with self._existing().reading() as connection:
            prints = {row: voiceprints.of_speaker(connection, row) for row in rows.values()}
            enrolled = records.enrolled_speech(connection, list(rows.values()))
            if enrolled.keys() != set(prints):
                raise DamagedRow("a speaker has no enrollment")
            owners = {one.sha256: records.enrolled_for(connection, one.sha256) for one in heard.values()}
        listed = _distinct(listed, {name: one.sha256 for name, one in heard.items()}, owners)
        place = {name: row for row, name in enumerate(heard)}
        people = {name: row for row, name in enumerate(rows)}
        of_voice = np.array([people[trial.model] for trial in listed])
        of_probe = np.array([place[trial.clip] for trial in listed])
        has = [enrolled[row] for row in rows.values()]
        basis = Basis(
            np.array([one.quality.net_speech_s for one in heard.values()])[of_probe],
            np.array([one.net_speech_s for one in has])[of_voice],
            np.array([one.recordings for one in has])[of_voice],
        )
        voices = np.stack([prints[row] for row in rows.values()])
        probes = np.stack([one.vector for one in heard.values()])
        scores = judge.scores_of_pairs(voices, of_voice, probes, of_probe)
        found = Trials(scores, basis, np.array([trial.target for trial in listed]))
        named: Sequence[str] = [trial.model for trial in listed if trial.target]
        told = [line for one in heard.values() for line in warnings_of(one, "Its trials are")]
        return OwnTrials(found, named, [trial.clip for trial in listed if trial.target], told)


def _distinct(listed: list[ModelTrial], sounds: dict[str, str], owners: dict[str, str | None]) -> list[ModelTrial]:
    """Every comparison once, however often it is listed: rates are worth as much as there are different ones.

    Args: sounds: hash of each clip; owners: of each hash, the name for whom that sound is enrolled.
    Raises: InputError for a sound that is enrolled for whom it is held to, or one that is and is not the speaker's.
    """
    once: dict[tuple[str, str], ModelTrial] = {}
    for trial in listed:
        shown = f"{printable(trial.clip, 200)} of {printable(trial.model)!r}"
        if owners[sounds[trial.clip]] == usable_name(trial.model):
            raise InputError(f"{shown} is enrolled; a list wants recordings that the voiceprints were not made of")
        first = once.setdefault((usable_name(trial.model), sounds[trial.clip]), trial)
        if first.target != trial.target:
            raise InputError(f"{shown} stands in the list as the speaker's and as another's")
    return list(once.values())
