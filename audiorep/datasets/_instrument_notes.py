"""Synthetic notes of instrument-like timbres, each with a pitch, a player, a room and noise."""

from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.utils import Bunch, check_random_state
from sklearn.utils._param_validation import Interval

from audiorep.datasets._parameters import check_parameters

FloatArray = npt.NDArray[np.floating[Any]]


class Timbre(NamedTuple):
    """What notes of one instrument have in common."""

    name: str
    tilt: float  # level of the harmonics, dB per octave
    even: float  # level of the lowest even harmonics against the odd ones, dB
    formants: tuple[tuple[float, float, float], ...]  # centre in Hz, width in octaves, gain in dB
    inharmonicity: float  # stiffness B: partial h of a string (or bar) is at h * sqrt(1 + B h^2)
    attack: float  # time constant of the onset, seconds
    decay: float  # decay rate of the fundamental, 1/second; 0 is a sustained note
    lag: float  # per harmonic: how much faster it decays, or later it comes, than the fundamental
    breath: float  # noise of breath or bow, which follows the envelope, dB against the note
    breath_centre: float  # Hz
    strike: float  # burst of noise at the onset, dB against the note
    vibrato: float  # cents


TIMBRES = (
    Timbre("flute", -16, -2, ((800, 0.8, 4),), 0, 0.07, 0, 0.05, -12, 1500, -16, 14),
    Timbre("clarinet", -5, -25, ((1500, 0.7, 8),), 0, 0.03, 0, 0.02, -20, 4200, -30, 3),
    Timbre("trumpet", -1, 0, ((2500, 1.0, 14),), 0, 0.08, 0, 0.16, -20, 700, -24, 6),
    Timbre("violin", -8, -1, ((480, 0.4, 6), (2600, 0.7, 6)), 0, 0.16, 0, 0.03, -14, 6000, -20, 25),
    Timbre("guitar", -5, -2, ((220, 0.5, 6),), 8e-5, 0.003, 4, 0.12, -50, 2500, -10, 0),
    Timbre("marimba", -12, 0, (), 5, 0.002, 14, 0.5, -60, 1000, -10, 0),
    Timbre("oboe", -8, 4, ((1150, 0.4, 14), (3000, 0.4, 14)), 0, 0.015, 0, 0.01, -36, 3000, -40, 9),
    Timbre("piano", -10, 0, ((500, 1.0, 4),), 3e-4, 0.006, 1.5, 0.06, -55, 1000, -12, 0),
)


@check_parameters(
    {
        "n_clips": [Interval(Integral, 1, None, closed="left")],
        "duration": [Interval(Real, 0, None, closed="neither")],
        "sample_rate": [Interval(Integral, 1, None, closed="left")],
        "n_timbres": [Interval(Integral, 1, len(TIMBRES), closed="both")],
        "pitch_range": [tuple, list],
        "noise": [Interval(Real, 0, None, closed="left")],
        "return_X_y": ["boolean"],
        "random_state": ["random_state"],
    }
)
def make_instrument_notes(
    n_clips: int = 300,
    *,
    duration: float = 1.0,
    sample_rate: int = 16000,
    n_timbres: int = 6,
    pitch_range: tuple[int, int] = (48, 84),
    noise: float = 0.1,
    return_X_y: bool = False,
    random_state: int | np.random.RandomState | None = None,
) -> Any:
    """Make single notes of instrument-like timbres, to be told apart at any pitch.

    Each timbre has its own balance of harmonics, formants, attack, decay, noise of breath or
    bow, and vibrato. Each clip varies all of them a little, and has a pitch, a loudness (louder
    is brighter), an onset, a room (a random smooth filter) and a background noise of its own.

    Parameters
    ----------
    n_clips : int, default=300
        Number of clips, shared out evenly among the timbres.

    duration : float, default=1.0
        Duration of a clip in seconds.

    sample_rate : int, default=16000
        Timesteps per second. Harmonics above half of it are left out, so that nothing aliases.

    n_timbres : int, default=6
        Number of timbres, at most 8.

    pitch_range : tuple of two ints, default=(48, 84)
        Lowest and highest pitch as MIDI note numbers, both included; 69 is 440 Hz. Each clip
        draws its pitch from them with equal chance.

    noise : float, default=0.1
        Largest level of the background noise: its root mean square over that of the note. Each
        clip draws its own level between a thirtieth of `noise` and `noise`, uniformly in
        decibels. 0 leaves the noise out.

    return_X_y : bool, default=False
        If True, return `(data, target)` instead of a Bunch.

    random_state : int, RandomState instance or None, default=None
        Determines the clips. Pass an int for the same clips in each call.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes.

        data : ndarray of shape (n_clips, n_timesteps), float32
            The clips, between -1 and 1.
        target : ndarray of shape (n_clips,)
            The timbre of each clip, an index into `target_names`.
        target_names : list of str, of length n_timbres
            The names of the timbres.
        pitch : ndarray of shape (n_clips,)
            The pitch of each clip, a MIDI note number.
        groups : ndarray of shape (n_clips,)
            What to keep on one side of a split, so that a timbre must be recognised at pitches
            that were not heard before: the pitch.
        sample_rate : int
            Timesteps per second.
        DESCR : str
            A description of the data set.

    (data, target) : tuple if ``return_X_y=True``
        The clips and their timbres.

    See Also
    --------
    load_audio_folder : Load recordings from a folder.

    Examples
    --------
    >>> from audiorep.datasets import make_instrument_notes
    >>> notes = make_instrument_notes(12, duration=0.25, random_state=0)
    >>> notes.data.shape
    (12, 4000)
    >>> notes.target_names
    ['flute', 'clarinet', 'trumpet', 'violin', 'guitar', 'marimba']
    >>> X, y = make_instrument_notes(12, duration=0.25, random_state=0, return_X_y=True)
    >>> y.shape
    (12,)
    """
    low, high = _check_pitch_range(pitch_range, sample_rate)
    n_timesteps = round(duration * sample_rate)
    if n_timesteps < 1:
        raise ValueError(
            f"duration={duration} at sample_rate={sample_rate} is less than one timestep; "
            f"use duration >= {1 / sample_rate}."
        )
    rng = check_random_state(random_state)
    target = rng.permutation(np.arange(n_clips) % n_timbres)
    pitch = rng.randint(low, high + 1, size=n_clips)
    data = np.empty((n_clips, n_timesteps), dtype=np.float32)
    for clip, timbre, midi in zip(data, target, pitch, strict=True):
        clip[:] = _note(TIMBRES[timbre], midi, n_timesteps, sample_rate, noise, rng)
    if return_X_y:
        return data, target
    names = [timbre.name for timbre in TIMBRES[:n_timbres]]
    return Bunch(
        data=data,
        target=target,
        target_names=names,
        pitch=pitch,
        groups=pitch.copy(),
        sample_rate=sample_rate,
        DESCR=(
            f"Synthetic notes: {n_clips} clips of {duration} s at {sample_rate} Hz, {n_timbres} "
            f"instrument-like timbres ({', '.join(names)}), MIDI pitches {low} to {high}.\n\n"
            "The task is to name the timbre of notes whose pitch was not in the training set; "
            "`groups` holds the pitch.\nMade by audiorep.datasets.make_instrument_notes."
        ),
    )


def _check_pitch_range(pitch_range: tuple[int, int], sample_rate: int) -> tuple[int, int]:
    if len(pitch_range) != 2 or not all(isinstance(pitch, Integral) for pitch in pitch_range):
        raise ValueError(f"pitch_range={pitch_range!r} must be two MIDI note numbers (ints).")
    low, high = (int(pitch) for pitch in pitch_range)
    if low > high:
        raise ValueError(f"pitch_range={pitch_range!r} must be (lowest, highest).")
    # a semitone to spare for tuning and vibrato
    highest = int(np.floor(69 + 12 * np.log2(sample_rate / 2 / 440))) - 1
    if high > highest:
        raise ValueError(
            f"pitch_range={pitch_range!r} goes beyond half the sample rate; at "
            f"sample_rate={sample_rate} use pitches <= {highest}."
        )
    return low, high


def _note(
    timbre: Timbre,
    midi: int,
    n_timesteps: int,
    sample_rate: int,
    noise: float,
    rng: np.random.RandomState,
) -> FloatArray:
    """One clip, float32 of shape (n_timesteps,), peak between 0.1 and 1."""
    duration = n_timesteps / sample_rate
    velocity = rng.uniform(0.3, 1.0)
    # seconds since the onset
    times = np.arange(n_timesteps) / sample_rate - rng.uniform(0.0, 0.1) * duration
    cycles = _cycles(timbre, midi, times, sample_rate, rng)
    envelope = _log_envelope(timbre, times, duration, rng)
    note = _harmonics(timbre, velocity, cycles, envelope, sample_rate, rng)
    note /= _rms(note)
    note += _contact_noise(timbre, times, envelope, sample_rate, rng)
    note = _through_room(note, sample_rate, rng)
    if noise > 0:
        level = noise * 30 ** rng.uniform(-1.0, 0.0)
        note += level * _rms(note) * _coloured_noise(n_timesteps, rng.uniform(-9.0, 0.0), rng)
    peak = velocity * 10 ** rng.uniform(-0.15, 0.0)
    scaled: FloatArray = note * np.float32(peak / np.abs(note).max())
    return scaled


def _cycles(
    timbre: Timbre, midi: int, times: FloatArray, sample_rate: int, rng: np.random.RandomState
) -> FloatArray:
    """Cycles of the fundamental until each timestep: tuning, and vibrato that sets in late."""
    depth = timbre.vibrato * rng.uniform(0.3, 1.5)
    rate, start = rng.uniform(4.5, 6.5), rng.uniform()
    onset = np.clip((times - rng.uniform(0.1, 0.3)) / 0.2, 0.0, 1.0)
    cents = rng.normal(0.0, 6.0) + depth * onset * np.sin(2 * np.pi * (rate * times + start))
    frequency = 440.0 * 2 ** ((midi - 69 + cents / 100) / 12)
    cycles: FloatArray = np.cumsum(frequency) / sample_rate
    return cycles


def _log_envelope(
    timbre: Timbre, times: FloatArray, duration: float, rng: np.random.RandomState
) -> FloatArray:
    """Natural logarithm of the fundamental's amplitude: attack, decay, release."""
    attack = timbre.attack * np.exp(rng.normal(0.0, 0.5))
    decay = timbre.decay * np.exp(rng.normal(0.0, 0.4))
    held = rng.uniform(0.8, 1.0) * duration
    release = rng.uniform(10.0, 30.0)
    # 1e-6, that is -120 dB, stands for silence before the onset
    sounding = np.maximum(times, 0.0)
    rise = np.log(np.maximum(-np.expm1(-sounding / attack), 1e-6))
    envelope: FloatArray = rise - decay * sounding - release * np.maximum(times - held, 0.0)
    return envelope


def _harmonics(
    timbre: Timbre,
    velocity: float,
    cycles: FloatArray,
    envelope: FloatArray,
    sample_rate: int,
    rng: np.random.RandomState,
) -> FloatArray:
    """Sum of the partials below half the sample rate."""
    highest = sample_rate * np.diff(cycles, prepend=0.0).max()  # of the fundamental, Hz
    number = np.arange(1, max(int(sample_rate / 2 / highest), 1) + 1)
    stiffness = timbre.inharmonicity * np.exp(rng.normal(0.0, 0.5))
    ratio = number * np.sqrt((1 + stiffness * number**2) / (1 + stiffness))
    number = number[ratio * highest < sample_rate / 2]
    ratio = ratio[: len(number)]
    amplitude = _amplitudes(timbre, velocity, number, ratio * highest, rng)
    # the higher the partial, the later it comes and the faster it goes
    speed = 1 + timbre.lag * rng.uniform(0.6, 1.4) * (number - 1)
    start = rng.uniform(size=len(number))
    total = np.zeros(len(cycles), dtype=np.float32)
    level = np.float32(envelope)
    for k in range(len(number)):
        turns = ratio[k] * cycles + start[k]
        # whole turns go while in double precision; what is left is exact enough in single
        turns -= np.floor(turns)
        wave = np.sin(np.float32(2 * np.pi) * np.float32(turns))
        total += np.float32(amplitude[k]) * np.exp(np.float32(speed[k]) * level) * wave
    return total


def _amplitudes(
    timbre: Timbre,
    velocity: float,
    number: npt.NDArray[np.integer[Any]],
    frequency: FloatArray,
    rng: np.random.RandomState,
) -> FloatArray:
    """Amplitudes of the partials."""
    tilt = timbre.tilt - 2 * (1 - velocity) + rng.normal(0.0, 0.8)
    # half of the fall goes with the number of the partial, half with its frequency
    octaves = 0.5 * np.log2(number) + 0.5 * np.log2(1 + frequency / 400)
    decibels = tilt * octaves + rng.normal(0.0, 1.5, size=len(number))
    decibels += timbre.even * (number % 2 == 0) * 0.9**number * rng.uniform(0.6, 1.2)
    for centre, width, gain in timbre.formants:
        moved = centre * 2 ** rng.normal(0.0, 0.06)
        shape = np.exp(-0.5 * (np.log2(frequency / moved) / width) ** 2)
        decibels += gain * rng.uniform(0.7, 1.3) * shape
    amplitudes: FloatArray = 10 ** (decibels / 20)
    return amplitudes


def _contact_noise(
    timbre: Timbre,
    times: FloatArray,
    envelope: FloatArray,
    sample_rate: int,
    rng: np.random.RandomState,
) -> FloatArray:
    """Noise where the player touches the instrument: breath or bow, and the strike of the onset."""
    breath = 10 ** ((timbre.breath + rng.normal(0.0, 2.0)) / 20)
    strike = 10 ** ((timbre.strike + rng.normal(0.0, 2.0)) / 20)
    burst = (times > 0) * np.exp(-np.maximum(times, 0.0) / 0.015)
    level = breath * np.exp(envelope) + strike * burst
    frequency = np.maximum(np.fft.rfftfreq(len(times), 1 / sample_rate), 20.0)
    centre = timbre.breath_centre * 2 ** rng.normal(0.0, 0.3)
    white = np.fft.rfft(_coloured_noise(len(times), 0.0, rng))
    coloured = np.fft.irfft(white * np.exp(-0.5 * np.log2(frequency / centre) ** 2), n=len(times))
    contact: FloatArray = (level * coloured / _rms(coloured)).astype(np.float32)
    return contact


def _through_room(waveform: FloatArray, sample_rate: int, rng: np.random.RandomState) -> FloatArray:
    """Filter by a random gain that is smooth over the logarithm of frequency."""
    frequency = np.maximum(np.fft.rfftfreq(len(waveform), 1 / sample_rate), 50.0)
    position = np.log2(frequency / 50.0) / np.log2(max(sample_rate / 100.0, 2.0))
    wave = np.arange(1, 5)[:, None]
    strength, start = rng.normal(0.0, 1.0, size=(4, 1)), rng.uniform(size=(4, 1))
    decibels = np.sum(strength * np.cos(np.pi * (wave * position + 2 * start)), axis=0)
    filtered = np.fft.irfft(np.fft.rfft(waveform) * 10 ** (decibels / 20), n=len(waveform))
    return filtered.astype(np.float32)


def _coloured_noise(n_timesteps: int, tilt: float, rng: np.random.RandomState) -> FloatArray:
    """Noise of root mean square 1 whose spectrum falls by `tilt` dB per octave."""
    white = np.float32(rng.uniform(-1.0, 1.0, size=n_timesteps))
    spectrum = np.fft.rfft(white)
    # the lowest hundredth of the spectrum is left flat
    position = np.maximum(np.arange(len(spectrum)), 1 + len(spectrum) // 100)
    coloured = spectrum * np.float32(position ** (tilt / 20 / np.log10(2)))
    waveform = np.fft.irfft(coloured, n=n_timesteps)
    normalised: FloatArray = (waveform / _rms(waveform)).astype(np.float32)
    return normalised


def _rms(waveform: FloatArray) -> np.float32:
    return np.float32(np.sqrt(np.mean(np.square(waveform))) + 1e-12)
