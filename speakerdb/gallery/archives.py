"""Export and import: a gallery, or part of its people, from one machine to another."""

from __future__ import annotations

import os

from speakerdb.encoder.bundle import read_card
from speakerdb.encoder.registry import find_by_hash
from speakerdb.errors import EmptyGallery, EncoderMismatch, InputError, StateError
from speakerdb.gallery.naming import lasting_path, require_outside, usable_name, usable_path
from speakerdb.gallery.opened import OpenGallery, identity_of, require_identity
from speakerdb.gallery.reports import Exported, Imported
from speakerdb.store import binding, decisions, records
from speakerdb.store.binding import EncoderIdentity


class Archives(OpenGallery):
    """`export` and `import_archive`."""

    def export(self, file: str | os.PathLike[str]) -> Exported:
        """Write everybody, as of this moment, to a new file, whole or not at all; others may use the gallery meanwhile.

        Recordings' vectors and what is known of them, sounds where they are kept, the gallery's own calibration; not
        the answers that `feedback` kept.
        Raises: EmptyGallery; StateError where there is a file of that name; InputError where it would be among the
            gallery's own; StorageError.
        """
        from speakerdb.store import archive

        target = lasting_path(file)
        require_outside(self.folder, target)
        with self._existing().reading() as connection:
            identity = require_identity(connection)
            if not records.anybody(connection):
                raise EmptyGallery
            return Exported(str(file), *archive.write(connection, identity, target))

    def import_archive(self, file: str | os.PathLike[str], *, on_conflict: str = "fail") -> Imported:
        """Take in everybody of an archive, in one transaction: all or, where anything is wrong, nobody.

        What is in the archive was enrolled by another gallery's rules; no recording is screened again.
        Args:
            on_conflict: where a name is taken: `fail`; `skip` that speaker; `rename` to `ana (2)`; `merge` the
                recordings. A sound that is enrolled already is passed over (with `fail`: an error).
        Raises: InputError for an archive that cannot be believed, with the member and line; EncoderMismatch;
            StateError for a conflict; StorageError. Nothing was written then.
        """
        from speakerdb.gallery import importing
        from speakerdb.store.archive_reading import Archive

        policy = importing.policy(on_conflict)
        with Archive(usable_path(file), usable_name) as opened:
            bound = self._encoder_for(opened.encoder)
            opened.check()
            calibration = opened.calibration()
            with self._writable().writing() as connection:
                there = binding.identity(connection)
                if there is None:
                    binding.bind(connection, bound)
                elif there.encoder.sha256 != bound.sha256:
                    raise EncoderMismatch(there.encoder.shown, bound.shown)
                first = not records.anybody(connection)
                done = importing.take_in(connection, opened, policy)
                taken = calibration if first else None
                if taken is not None:
                    decisions.keep_calibration(connection, taken)
        return Imported(
            done.speakers,
            done.recordings,
            done.merged,
            done.renamed,
            done.skipped,
            done.already,
            done.known_as,
            taken is not None,
        )

    def _encoder_for(self, wanted: EncoderIdentity) -> EncoderIdentity:
        """The encoder of the archive, where it is the gallery's; for a new gallery, where it is here.

        Raises: EncoderMismatch; StateError where it is not here; InputError where the archive's vectors are not its.
        """
        found = self._encoder_here(wanted)
        if found.dimension != wanted.dimension:
            raise InputError(f"the archive's vectors have {wanted.dimension} numbers, its encoder's {found.dimension}")
        return found

    def _encoder_here(self, wanted: EncoderIdentity) -> EncoderIdentity:
        bound = self._identity()
        if bound is not None:
            if bound.encoder.sha256 != wanted.sha256:
                raise EncoderMismatch(bound.encoder.shown, wanted.shown)
            return bound.encoder
        if self._asked_encoder is not None:
            card = self._asked_encoder.card
            if card.vectors_of != wanted.sha256:
                asked = identity_of(card).shown
                raise StateError(f"the archive is of the encoder {wanted.shown}, not of {asked}; ask for that one")
        else:
            folder = find_by_hash(wanted.sha256)
            if folder is None:
                raise StateError(
                    f"the archive's encoder {wanted.shown} is not here; add it with `speakerdb encoder add`"
                )
            card = read_card(folder)
        return identity_of(card)
