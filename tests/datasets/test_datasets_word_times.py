import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elision.datasets import clips
from elision.datasets._word_times import outside
from elision.errors import ElisionError

SPOKEN = [("well", 0.2, 0.5), ("the", 0.5, 0.7), ("film", 0.7, 1.1), ("good", 1.4, 1.9)]


def scaled(factor, words=SPOKEN, later=0.0):
    return [(word, factor * start + later, factor * end + later) for word, start, end in words]


def test_words_inside_a_clip_are_no_problem():
    assert outside(SPOKEN, 2.0) is None
    assert outside([], 2.0) is None
    # Aligners round, and containers leave out the last packet.
    assert outside(SPOKEN, 1.5) is None
    assert outside([("a", 2.05, 2.4)], 2.0) is None


@pytest.mark.parametrize(
    ("factor", "unit"),
    [
        (1000, "milliseconds: divide them by 1000"),
        (100, "hundredths of a second: divide them by 100"),
        (16_000, "samples at 16 kHz: divide them by 16000"),
        (44_100, "samples at 44.1 kHz: divide them by 44100"),
        (10**6, "microseconds: divide them by 1000000"),
        (10**7, "units of 100 nanoseconds: divide them by 10000000"),
        (10**9, "nanoseconds: divide them by 1000000000"),
    ],
)
def test_the_likely_unit_is_named(factor, unit):
    assert outside(scaled(factor), 2.0).endswith(f"the times are probably {unit}")


def test_times_in_a_longer_recording_are_not_taken_for_another_unit():
    told = outside(scaled(1, later=125.0), 2.0)
    assert told.startswith("'well' (125.2 to 125.5) lies outside of the clip of 2.00 s; ")
    assert told.endswith("timed in a longer recording: subtract the second at which the clip begins (<= 125.2)")


def test_words_of_a_longer_clip_are_those_of_another_one():
    words = [*SPOKEN, ("again", 7.0, 7.4)]
    told = outside(words, 2.0)
    assert told == "'again' (7 to 7.4) lies outside of the clip of 2.00 s; the words are probably those of another clip"


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=9), st.floats(0.5, 600))
def test_no_word_within_a_clip_is_refused_and_each_beyond_it_is(times, duration):
    words = [("x", duration * min(pair), duration * max(pair)) for pair in times]
    assert outside(words, duration) is None
    assert outside([*words, ("late", duration + 0.2, duration + 0.3)], duration).startswith("'late' ")


def test_a_table_of_clips_is_refused_with_the_line_and_the_file(tmp_path):
    with av.open(str(tmp_path / "a.wav"), "w") as container:
        track = container.add_stream("pcm_s16le", 16000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.full((1, 32000), 99, np.int16), "s16", "mono")
        sound.sample_rate = 16000
        for part in (sound, None):
            container.mux(track.encode(part))
    rows = "".join(f"{word},{start},{end}\n" for word, start, end in scaled(1000))
    (tmp_path / "words.csv").write_text(f"word,start,end\n{rows}")
    (tmp_path / "clips.csv").write_text(
        "id,path,text,label,split,words\na,a.wav,well the film good,1,train,words.csv\nb,,x,1,valid,\nc,,x,1,test,\n"
    )
    with pytest.raises(ElisionError) as caught:
        clips.prepare(clips.Settings(source="clips", folder=tmp_path), tmp_path / "made")
    assert (
        f"line 2, id 'a': words {tmp_path}/words.csv: 'well' (200 to 500) lies outside of the clip of 2.00 s; "
        "the times are probably milliseconds: divide them by 1000"
    ) in str(caught.value)
