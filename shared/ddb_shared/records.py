"""Makes records that several threads decode safe to decode.

msgspec builds what it has to know of a type when it first decodes it, and keeps that on the type. Where two threads do so at
the same moment, 0.22.0 crashes the process. So each module prepares the records that are read from files when it is imported.
"""

from __future__ import annotations

import msgspec


def prepare(*kinds: type) -> None:
    """Builds what msgspec has to know of these types and of those within them."""
    for kind in kinds:
        msgspec.json.Decoder(kind)
