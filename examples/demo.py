"""The main job on synthetic voices: enroll six, then identify and verify. Run by `make demo`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from speakerdb import Gallery

HERE = Path(__file__).parent
PEOPLE = ["ana", "ben", "eva", "kal", "rms", "slt"]


def main() -> None:
    """Print what a newcomer should see first."""
    with tempfile.TemporaryDirectory() as folder, Gallery.open(Path(folder) / "people") as gallery:
        done = [gallery.enroll(name, [HERE / f"{name}_{i}.wav" for i in (1, 2, 3)]) for name in PEOPLE]
        card = gallery.encoder.card
        recordings, seconds = sum(len(d.enrolled) for d in done), sum(d.net_speech_s for d in done)
        print(
            f"{'Enrolled':<10}{' '.join(PEOPLE):<31}{recordings} recordings, {len(PEOPLE)} speakers, "
            f"{seconds:.0f} s of speech   encoder {card.id} ({card.dimension}-d)"
        )
        for clip in ("ana_4.wav", "slt_4.wav", "stranger_1.wav", "visitor_1.wav"):
            found = gallery.identify(HERE / clip)
            nearest, second = found.candidates[:2]
            measured = f"{found.threshold.distance:.2f}  LLR {found.llr:+.1f}"
            if found.speaker is None:
                why = f"nearest: {nearest.speaker}  distance {found.distance:.2f} > {measured}"
            else:
                why = f"distance {found.distance:.2f} ≤ {measured}    next: {second.speaker} {second.distance:.2f}"
            print(f"{'identify':<10}{clip:<17}{found.speaker or 'unknown':<14}{why}")
        for clip in ("ana_4.wav", "ben_4.wav"):
            answer = gallery.verify("ana", HERE / clip)
            verdict, sign = ("accepted", "≤") if answer.accepted else ("rejected", ">")
            why = f"distance {answer.distance:.2f} {sign} {answer.threshold.distance:.2f}  LLR {answer.llr:+.1f}"
            print(f"{'verify':<10}{f'ana  {clip}':<17}{verdict:<14}{why}")


if __name__ == "__main__":
    main()
