"""A battery that every kind of corruption of sound meets, and what is particular to single kinds."""

import doctest
from functools import cache

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from elision.corruption.media import _speech, codec, reverberation
from elision.corruption.media.reverberation import decay_time
from elision.corruption.medium import SEVERITIES, Clip, SoundKind, catalogue
from elision.errors import ElisionError
from elision.features.media import read_audio

KINDS = {name: kind for name, kind in catalogue().items() if issubclass(kind, SoundKind)}
ADDITIVE = ("white_noise", "pink_noise", "babble", "noises")
RATES = (8000, 16000, 22050)
RATE = 16000


@cache
def speech(rate=RATE, seconds=3.0, seed=0):
    """Voiced syllables with pauses between them, and silence around: what speech is to a measurement of energy."""
    random = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    pitch = 2 * np.pi * np.cumsum(random.uniform(90, 220) + 20 * np.sin(2 * np.pi * 0.7 * t)) / rate
    voice = sum(np.sin(k * pitch) / k for k in range(1, 25) if k * 260 < rate / 2)
    syllables = np.maximum(0, np.sin(2 * np.pi * (2.5 * t + random.random()))) ** 0.5
    y = 0.1 * voice * syllables * (t > 0.2 * seconds) * (t < 0.9 * seconds)
    y = (y + 1e-4 * random.standard_normal(len(t))).astype(np.float32)
    y.flags.writeable = False
    return y


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Noises: two recordings, one of them in a folder within, and a file that is none."""
    folder, random = tmp_path_factory.mktemp("noises"), np.random.default_rng(5)
    (folder / "street").mkdir()
    soundfile.write(folder / "hum.wav", 0.3 * np.sin(np.arange(4000) * 0.1), 8000)
    soundfile.write(folder / "street" / "rain.flac", 0.1 * random.standard_normal(90_000), 22050)
    (folder / "LICENSE").write_text("Not a recording.")
    return folder


@pytest.fixture
def made(folder):
    """From the name of a kind to an object of it; noises come from a folder."""
    return lambda name: KINDS[name](KINDS[name].Options(folder=str(folder)) if name == "noises" else None)


def clip(name="clip 1", seed=1, others=8):
    return Clip(name, seed, others=lambda rate: (speech(rate, 2 + 0.3 * k, 100 + k) for k in range(others)))


def within_speech(noisy, y, rate=RATE):
    """Signal-to-noise ratio in dB, where the clean sound is speech."""
    where = _speech.speech_samples(y, rate)
    noise = noisy[where].astype(np.float64) - y[where]
    return 10 * np.log10(np.mean((y[where].astype(np.float64) - y.mean()) ** 2) / np.mean(noise**2))


@pytest.mark.parametrize("module", [_speech, reverberation])
def test_the_examples_run(module):
    failed, tried = doctest.testmod(module)
    assert tried and not failed


# ---- what every kind does


def test_the_kinds_are_those_of_the_folder():
    others = {"reverberation", "clipping", "codec", "low_pass", "packet_loss", "muted"}
    assert {*ADDITIVE, *others} <= set(KINDS)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("name", KINDS)
def test_length_type_and_input_are_kept_and_the_sound_changes(made, name, rate):
    y = speech(rate)  # not writeable
    before = y.tobytes()
    for severity in SEVERITIES:
        corrupted, measured = made(name).corrupt(y, rate, severity, clip())
        assert corrupted.shape == y.shape and corrupted.dtype == np.float32
        assert np.isfinite(corrupted).all() and y.tobytes() == before and not np.shares_memory(corrupted, y)
        assert set(measured) == set(KINDS[name].measured)
        assert all(type(value) is float for value in measured.values())
        below_half_the_rate = name != "low_pass" or 1.05 * KINDS[name].levels[severity - 1] < rate / 2
        assert np.array_equal(corrupted, y) != below_half_the_rate or name == "packet_loss"


@pytest.mark.parametrize("name", KINDS)
def test_the_same_bytes_come_twice_and_depend_on_seed_and_clip_if_anything_is_drawn(made, name):
    def drawn(**key):
        return made(name).corrupt(speech(), RATE, 5, clip(**key))[0].tobytes()

    assert drawn() == drawn()
    constant = name in ("clipping", "codec", "low_pass")
    assert (drawn() == drawn(seed=2)) is constant and (drawn() == drawn(name="clip 2")) is constant


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("samples", [1, 2, 80, 160, 161])
@pytest.mark.parametrize("name", KINDS)
def test_the_shortest_clips_pass(made, name, samples, rate):
    y = speech(rate)[rate:][:samples]  # 10 ms are 80 samples at 8 kHz, and 160 at 16 kHz
    for severity in SEVERITIES:
        corrupted, _ = made(name).corrupt(y, rate, severity, clip())
        assert corrupted.shape == y.shape and np.isfinite(corrupted).all()


@pytest.mark.parametrize("name", KINDS)
def test_silence_stays_silent_and_there_is_nothing_to_measure(made, name):
    y = np.zeros(RATE, np.float32)
    corrupted, measured = made(name).corrupt(y, RATE, 5, clip())
    assert np.abs(corrupted).max() < 2**-12  # mu-law and MP3 have no exact zero
    if name in ADDITIVE:
        assert np.isnan(measured["snr"])


@pytest.mark.parametrize("name", sorted(set(KINDS) - {"babble"}))
def test_other_clips_of_the_split_play_no_part_but_in_babble(made, name):
    def corrupted(others):
        return made(name).corrupt(speech(), RATE, 3, clip(others=others))[0].tobytes()

    assert corrupted(0) == corrupted(8)


# ---- what is speech


@given(gain=st.floats(1e-3, 10), pause=st.floats(0, 3), offset=st.floats(-0.1, 0.1))
@settings(max_examples=25, deadline=None)
def test_speech_is_found_whatever_its_gain_offset_and_the_silence_around(gain, pause, offset):
    tone = np.sin(np.arange(RATE) * 0.3)
    silence = np.zeros(round(pause * 50) * RATE // 50)
    y = gain * np.concatenate([silence, tone, silence])
    found = _speech.speech_samples(y + (offset if len(silence) else 0) * gain, RATE)
    assert not found[: len(silence)].any() and found[len(silence) : len(silence) + RATE].all()


def test_speech_lies_within_the_margin_of_its_own_mean_power_and_a_click_does_not_hide_it():
    y = np.array(speech())
    y[:10] = 1
    found = _speech.speech_samples(y, RATE)
    truth = np.convolve(np.abs(speech()) > 0.02, np.ones(160), "same") > 0
    assert found[truth].mean() > 0.9 and found[RATE // 10 : RATE // 2].sum() == 0
    frames = np.square(y.astype(np.float64) - y.mean()).reshape(-1, 320).mean(axis=1)
    active = found.reshape(-1, 320)[:, 0]
    assert 10 * np.log10(frames[active].mean() / frames[active].min()) <= 15.9
    assert frames[~active].max() < frames[active].min()


@given(size=st.integers(1, 60), length=st.integers(1, 40), seed=st.integers(0, 9))
def test_a_looped_sound_goes_on_from_its_end_to_its_start_and_a_cut_one_has_no_seam(size, length, seed):
    found = _speech.looped(np.arange(length), size, np.random.default_rng(seed))
    assert len(found) == size
    assert set(np.diff(found) % length) <= {1 % length}
    assert length < size or (np.diff(found) == 1).all()


# ---- noise


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("name", ADDITIVE)
def test_the_realised_ratio_is_that_of_the_level_over_draws(made, name, rate):
    kind = made(name)
    for k in range(6):
        y = speech(rate, 1 + 0.7 * k, k)
        for severity, level in zip(SEVERITIES, (20, 10, 5, 0, -5), strict=True):
            noisy, measured = kind.corrupt(y, rate, severity, clip(f"clip {k}", seed=k))
            assert within_speech(noisy, y, rate) == pytest.approx(level, abs=0.05)
            assert measured["snr"] == pytest.approx(within_speech(noisy, y, rate), abs=0.05)


@pytest.mark.parametrize("name", ADDITIVE)
def test_the_noise_of_all_severities_is_one_noise_scaled(made, name):
    y = speech()
    weak, strong = (made(name).corrupt(y, RATE, severity, clip())[0].astype(np.float64) - y for severity in (2, 4))
    assert weak * 10**0.5 == pytest.approx(strong, abs=1e-5 * np.abs(strong).max())


@pytest.mark.parametrize("name", ADDITIVE)
def test_silence_around_the_speech_does_not_change_the_level_of_the_noise(made, name):
    y = speech()
    padded = np.concatenate([y, np.zeros(3 * RATE, np.float32)])
    _, measured = made(name).corrupt(padded, RATE, 3, clip())
    assert measured["snr"] == pytest.approx(5, abs=0.05)
    assert _speech.speech_samples(padded, RATE)[: len(y)].tolist() == _speech.speech_samples(y, RATE).tolist()


def slope(name):
    """By how many dB the power of noise in a band of constant width falls from one octave to the next."""
    noise, _ = KINDS[name]().noise(8 * RATE, RATE, clip(), np.random.default_rng(0))
    assert np.mean(noise**2) == pytest.approx(1, abs=0.3)
    frequency, density = signal.welch(noise, RATE, nperseg=4096)
    band = (frequency > 50) & (frequency < 7000)
    return np.polyfit(np.log2(frequency[band]), 10 * np.log10(density[band]), 1)[0]


def test_white_noise_is_flat_and_pink_noise_falls_by_3_db_an_octave():
    assert slope("white_noise") == pytest.approx(0, abs=0.1)
    assert slope("pink_noise") == pytest.approx(-3.01, abs=0.1)


def test_babble_is_made_of_the_first_clips_that_sound_and_says_how_many():
    kind = KINDS["babble"]()
    heard = []

    def others(rate):
        for k in range(20):
            heard.append(k)
            yield np.zeros(rate, np.float32) if k == 1 else speech(rate, 2, k)

    _, measured = kind.corrupt(speech(), RATE, 3, Clip("clip", 1, others=others))
    assert measured["voices"] == 6 and heard == list(range(7))  # the silent one is passed over
    assert kind.corrupt(speech(), RATE, 3, clip(others=2))[1]["voices"] == 2
    two = KINDS["babble"](KINDS["babble"].Options(voices=2))
    assert two.corrupt(speech(), RATE, 3, clip())[1]["voices"] == 2


def test_babble_holds_the_voices_of_the_other_clips_at_equal_levels():
    rate = 8000
    tones = [np.sin(np.arange(2 * rate) * 2 * np.pi * f / rate) * gain for f, gain in ((500, 0.01), (1500, 0.9))]
    kind = KINDS["babble"]()
    noise, _ = kind.noise(2 * rate, rate, Clip("c", 1, others=lambda rate: iter(tones)), np.random.default_rng(0))
    spectrum = np.abs(np.fft.rfft(noise)) ** 2
    assert spectrum[1000] == pytest.approx(spectrum[3000], rel=0.01)
    assert spectrum[[1000, 3000]].sum() > 0.9 * spectrum.sum()


def test_babble_without_another_clip_says_what_to_do():
    with pytest.raises(ElisionError, match=r"clip 1 has no other clip with sound in its split; add clips"):
        KINDS["babble"]().corrupt(speech(), RATE, 3, clip(others=0))
    silent = Clip("clip 1", 1, others=lambda rate: iter([np.zeros(rate, np.float32)]))
    with pytest.raises(ElisionError, match="no other clip with sound"):
        KINDS["babble"]().corrupt(speech(), RATE, 3, silent)


def test_noises_are_found_in_folders_within_in_the_order_of_names_and_all_are_used(made, folder):
    kind = made("noises")
    assert [path.name for path in kind.files()] == ["hum.wav", "rain.flac"]

    def is_tonal(name):
        noise = kind.corrupt(speech(), RATE, 5, clip(name))[0] - speech()
        spectrum = np.abs(np.fft.rfft(noise)) ** 2
        return spectrum.max() > 0.1 * spectrum.sum()

    assert 5 < sum(is_tonal(f"clip {k}") for k in range(30)) < 25


def test_a_noise_with_a_pause_is_drawn_until_it_sounds_during_the_speech(tmp_path):
    noise = np.zeros(12 * RATE)
    noise[: 2 * RATE] = 0.1 * np.random.default_rng(0).standard_normal(2 * RATE)
    soundfile.write(tmp_path / "bark.wav", noise, RATE)
    kind = KINDS["noises"](KINDS["noises"].Options(folder=str(tmp_path)))
    for k in range(5):
        y = speech(seconds=1.0)
        noisy, measured = kind.corrupt(y, RATE, 1, clip(f"clip {k}"))
        assert measured["snr"] == pytest.approx(20, abs=0.05) and np.abs(noisy).max() < 10 * np.abs(y).max()


def test_a_folder_of_noises_that_is_of_no_use_is_refused(tmp_path):
    def refused(folder, match):
        with pytest.raises(ElisionError, match=match):
            KINDS["noises"](KINDS["noises"].Options(folder=folder)).corrupt(speech(), RATE, 1, clip())

    refused("", "give corruption.media.noises.folder")
    refused(str(tmp_path / "none"), "is no folder")
    (tmp_path / "README.txt").write_text("nothing")
    refused(str(tmp_path), "holds no recording")
    soundfile.write(tmp_path / "quiet.wav", np.zeros(RATE), RATE)
    refused(str(tmp_path), r"quiet\.wav: is silent")
    (tmp_path / "quiet.wav").write_bytes(b"no sound at all")
    refused(str(tmp_path), r"quiet\.wav")


# ---- reverberation


@pytest.mark.parametrize("rate", RATES)
def test_reverberation_decays_as_long_as_it_says(rate):
    click = np.zeros(2 * rate, np.float32)
    click[0] = 0.5
    for severity, level in zip(SEVERITIES, (0.3, 0.5, 0.7, 0.9, 1.2), strict=True):
        rooms = [KINDS["reverberation"]().corrupt(click, rate, severity, clip(f"clip {k}")) for k in range(5)]
        for response, measured in rooms:
            assert decay_time(response.astype(np.float64), rate) == pytest.approx(level, rel=0.08)
            assert measured["rt60"] == pytest.approx(decay_time(response.astype(np.float64), rate), rel=0.01)
            assert np.argmax(np.abs(response)) == 0  # the direct path keeps its time, and is the loudest
            direct = response[0].astype(np.float64) ** 2
            drr = 10 * np.log10(direct / (np.sum(response.astype(np.float64) ** 2) - direct))
            assert measured["drr"] == pytest.approx(drr, abs=0.01)
        # Sabine's critical distance, for a room of 60 cubic metres and a speaker at 1 m
        expected = 20 * np.log10(0.057 * np.sqrt(60 / level))
        assert np.mean([measured["drr"] for _, measured in rooms]) == pytest.approx(expected, abs=0.5)


def test_reverberation_keeps_the_level_of_speech_and_fills_the_pauses():
    y = speech()
    where = _speech.speech_samples(y, RATE)
    pauses = []
    for severity in SEVERITIES:
        wet, _ = KINDS["reverberation"]().corrupt(y, RATE, severity, clip())
        assert np.mean(wet[where] ** 2) == pytest.approx(np.mean(y[where] ** 2), rel=1e-3)
        pauses.append(np.mean(wet[~where][RATE:] ** 2))
    assert pauses == sorted(pauses) and pauses[0] > 10 * np.mean(y[~where][RATE:] ** 2)


# ---- clipping


@pytest.mark.parametrize("rate", RATES)
def test_the_share_of_clipped_samples_is_that_of_the_level_and_nested(rate):
    y, before = speech(rate), np.zeros(len(speech(rate)), bool)
    for severity, level in zip(SEVERITIES, (0.01, 0.02, 0.05, 0.1, 0.2), strict=True):
        clipped, measured = KINDS["clipping"]().corrupt(y, rate, severity, clip())
        changed = clipped != y
        assert changed.mean() == pytest.approx(level, abs=1e-3) and measured["clipped"] == pytest.approx(changed.mean())
        assert not (before & ~changed).any()
        assert np.abs(clipped).max() <= np.abs(y[~changed]).max() and (np.sign(clipped) == np.sign(y)).all()
        before = changed


def test_padding_does_not_change_what_is_clipped():
    y = speech()
    padded = np.concatenate([np.zeros(30 * RATE, np.float32), y])
    alone, together = (KINDS["clipping"]().corrupt(each, RATE, 5, clip())[0] for each in (y, padded))
    assert np.array_equal(together[30 * RATE :], alone) and not together[: 30 * RATE].any()


# ---- codecs


def lag(y, of, rate):
    """By how many ms a sound comes later than another one, where they correlate most."""
    correlation = signal.correlate(y.astype(np.float64), of.astype(np.float64))
    return 1000 * (np.argmax(correlation) - (len(of) - 1)) / rate


def bursts_of_noise(rate, seconds=3):
    t = np.arange(seconds * rate) / rate
    noise = np.random.default_rng(0).standard_normal(len(t)) * (np.sin(2 * np.pi * 3 * t) > 0)
    return (0.1 * noise).astype(np.float32)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("severity", SEVERITIES)
def test_codecs_keep_times_and_most_of_the_speech(rate, severity):
    y = bursts_of_noise(rate)  # a periodic sound would correlate with itself one period later
    assert abs(lag(KINDS["codec"]().corrupt(y, rate, severity, clip())[0], y, rate)) <= 0.2
    y = speech(rate)
    coded, _ = KINDS["codec"]().corrupt(y, rate, severity, clip())
    envelopes = [np.sqrt(np.square(each[: len(y) // 400 * 400]).reshape(-1, 400).mean(axis=1)) for each in (coded, y)]
    assert np.corrcoef(*envelopes)[0, 1] > 0.95


def test_codecs_have_the_bit_rates_of_their_levels():
    y = bursts_of_noise(RATE, seconds=8)
    found = [KINDS["codec"]().corrupt(y, RATE, severity, clip())[1]["bitrate"] for severity in SEVERITIES]
    # AMR's frames are whole bytes with one of headers (13 bytes in 20 ms); the ends are padded.
    assert found == pytest.approx([12, 16, 64, 6, 5.2], rel=0.05)


def test_codecs_of_8_khz_lose_what_lies_above_4_khz():
    y = np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32) * 0.1
    for severity in (3, 5):
        coded, _ = KINDS["codec"]().corrupt(y, RATE, severity, clip())
        power = np.abs(np.fft.rfft(coded)) ** 2
        high = np.fft.rfftfreq(len(y), 1 / RATE) > 4200
        assert power[high].sum() < 1e-3 * power.sum()


def test_mu_law_is_that_of_g711():
    """The steps of mu-law grow with the magnitude: 16 in each of 8 segments, so that the error is relative."""
    y = np.sin(2 * np.pi * 440 * np.arange(8000) / 8000).astype(np.float32)
    for gain in (1.0, 0.1, 0.01):
        coded, _ = KINDS["codec"]().corrupt(gain * y, 8000, 3, clip())
        ratio = 10 * np.log10(np.sum((gain * y) ** 2) / np.sum((coded - gain * y) ** 2))
        assert 30 < ratio < 42
    assert len(np.unique(KINDS["codec"]().corrupt(y, 8000, 3, clip())[0])) <= 255


def test_an_encoder_that_is_missing_is_named_with_the_remedy(monkeypatch):
    without = codec._CODECS[4]._replace(encoder="libnone")
    monkeypatch.setattr(codec, "_CODECS", (*codec._CODECS[:4], without))
    with pytest.raises(ElisionError, match=r"no libnone, for AMR-NB, 4.75 kbit/s. Install PyAV's own build"):
        KINDS["codec"]().corrupt(speech(), RATE, 5, clip())


# ---- low-pass


@pytest.mark.parametrize("rate", RATES)
def test_low_pass_stops_what_lies_above_and_passes_what_lies_below_without_delay(rate):
    t = np.arange(2 * rate) / rate
    middle = slice(rate // 2, -rate // 2)
    for severity, cutoff in zip(SEVERITIES, (6000, 4000, 3000, 2000, 1000), strict=True):
        if 1.05 * cutoff >= rate / 2:
            continue
        low, high = (np.sin(2 * np.pi * factor * cutoff * t).astype(np.float32) for factor in (0.9, 1.1))
        passed, _ = KINDS["low_pass"]().corrupt(low, rate, severity, clip())
        assert passed[middle] == pytest.approx(low[middle], abs=2e-3)
        if 1.1 * cutoff < rate / 2:
            stopped, measured = KINDS["low_pass"]().corrupt(high, rate, severity, clip())
            assert np.abs(stopped[middle]).max() < 2e-3 and measured["attenuation"] > 40


def test_the_measured_attenuation_is_nan_where_there_is_nothing_above():
    for y in (speech(8000), np.zeros(8000, np.float32)):
        assert np.isnan(KINDS["low_pass"]().corrupt(y, 8000, 1, clip())[1]["attenuation"])
    assert KINDS["low_pass"]().corrupt(speech(), RATE, 4, clip())[1]["attenuation"] > 30


# ---- packet loss and muted segments


def packets(y, rate):
    """Which packets of 20 ms of a sound are all zero."""
    return ~y[: len(y) // (rate // 50) * (rate // 50)].reshape(-1, rate // 50).any(axis=1)


@pytest.mark.parametrize("rate", (8000, 16000))
def test_packets_are_lost_at_the_rates_of_the_levels_in_bursts_of_three(rate):
    y = np.ones(6 * rate, np.float32)
    for severity, level in zip(SEVERITIES, (0.05, 0.1, 0.2, 0.3, 0.4), strict=True):
        shares, bursts, lost_packets = [], 0, 0
        for k in range(100):
            heard, measured = KINDS["packet_loss"]().corrupt(y, rate, severity, clip(f"clip {k}"))
            lost = packets(heard, rate)
            assert measured["lost"] == pytest.approx(lost.mean())
            runs = [len(run) for run in "".join("x" if each else " " for each in lost).split()]
            assert measured["burst"] == pytest.approx(np.mean(runs)) if runs else np.isnan(measured["burst"])
            shares.append(lost.mean())
            bursts, lost_packets = bursts + len(runs), lost_packets + lost.sum()
        assert np.mean(shares) == pytest.approx(level, abs=0.02)
        assert lost_packets / bursts == pytest.approx(3, abs=0.3)


@pytest.mark.parametrize("name", ["packet_loss", "muted"])
@given(samples=st.integers(1, 5 * 8000), seed=st.integers(0, 20))
@settings(max_examples=40, deadline=None)
def test_what_is_silent_at_one_severity_is_silent_at_every_higher_one_and_the_rest_is_untouched(name, samples, seed):
    y, silent = np.ones(samples, np.float32), np.zeros(samples, bool)
    for severity in SEVERITIES:
        heard, _ = KINDS[name]().corrupt(y, 8000, severity, clip(seed=seed))
        assert set(np.unique(heard)) <= {0, 1} and not (silent & (heard != 0)).any()
        silent = heard == 0


@pytest.mark.parametrize("seconds", [0.01, 0.5, 3, 7.3, 60])
def test_the_muted_share_is_that_of_the_level_with_one_segment_in_two_seconds(seconds):
    y = np.ones(round(seconds * RATE), np.float32)
    for severity, level in zip(SEVERITIES, (0.1, 0.2, 0.4, 0.6, 0.8), strict=True):
        heard, measured = KINDS["muted"]().corrupt(y, RATE, severity, clip())
        assert np.mean(heard == 0) == pytest.approx(level, abs=0.01) and measured["muted"] == np.mean(heard == 0)
        segments = np.count_nonzero(np.diff(heard == 0, prepend=False) & (heard == 0))
        assert 1 <= segments <= max(1, round(seconds / 2))


# ---- real recordings


@pytest.mark.real
@pytest.mark.parametrize("name", KINDS)
def test_real_recordings_run_through(made, real_data, name):
    files = sorted((real_data / "emodb_two_speakers").rglob("*.wav"))[::20]
    sounds = [read_audio(path, sample_rate=RATE) for path in files]
    for k, y in enumerate(sounds):
        for severity, level in zip(SEVERITIES, KINDS[name].levels, strict=True):
            others = [sound for j, sound in enumerate(sounds) if j != k]
            corrupted, measured = made(name).corrupt(
                y, RATE, severity, Clip(files[k].name, 1, others=lambda _, o=others: iter(o))
            )
            assert corrupted.shape == y.shape and np.isfinite(corrupted).all()
            if name in ADDITIVE:
                assert measured["snr"] == pytest.approx(level, abs=0.5)
