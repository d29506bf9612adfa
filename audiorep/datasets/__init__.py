"""Data sets: `make_*` synthesises, `load_*` reads from disk, `fetch_*` downloads."""

from audiorep.datasets._audio_folder import load_audio_folder
from audiorep.datasets._esc50 import load_esc50
from audiorep.datasets._fsdd import load_fsdd
from audiorep.datasets._instrument_notes import make_instrument_notes
from audiorep.datasets._speech_commands import fetch_speech_commands

__all__ = [
    "fetch_speech_commands",
    "load_audio_folder",
    "load_esc50",
    "load_fsdd",
    "make_instrument_notes",
]
