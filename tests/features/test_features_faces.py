from fractions import Fraction

import av
import numpy as np
import pytest
from skimage import data

from elision.features import vision
from elision.features.faces import face_boxes
from elision.settings.params import VisionFeatures

SETTINGS = VisionFeatures(max_length=None)


def write_video(path, frames, rate=10):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "12"})
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_the_box_is_around_the_face_where_it_is_seen(tmp_path):
    face = np.ascontiguousarray(data.astronaut()[:256, 96:352])
    wide = np.zeros((256, 512, 3), np.uint8)
    wide[:, 256:] = face  # the face is in the right half
    boxes = face_boxes(write_video(tmp_path / "clip.mp4", [wide] * 6 + [np.zeros_like(wide)] * 6), SETTINGS)
    left, top, right, bottom = boxes(Fraction(0))
    assert 0.5 < left < right < 1 and 0 < top < bottom < 1
    assert (right - left) * 512 == pytest.approx((bottom - top) * 256)  # a square of pixels
    # Eyes and mouth of the photograph, in pixels of the half.
    for x, y in ((109, 99), (150, 99), (130, 150)):
        assert left < (256 + x) / 512 < right and top < y / 256 < bottom
    assert boxes(Fraction(1, 2)) is not None and boxes(Fraction(11, 10)) is None
    assert boxes(Fraction(100)) is None and boxes(Fraction(-1)) == boxes(Fraction(0))


def test_the_nearest_analysed_frame_counts_and_another_person_is_no_face(tmp_path, monkeypatch):
    places = np.array([(10.0, 20, 10)] * 5 + [(90, 20, 10)] + [(np.nan,) * 3])

    def analyse(frames, settings):
        return np.zeros((sum(1 for _ in frames), 1), np.float32), places

    monkeypatch.setitem(vision.BACKENDS, "mediapipe", vision.Backend(("a",), lambda: "1", analyse))
    path = write_video(tmp_path / "clip.mp4", [np.zeros((40, 100, 3), np.uint8)] * 7)
    places[1:5, 0] += np.arange(1, 5)  # the face moves by a pixel
    boxes = face_boxes(path, SETTINGS)
    assert boxes(Fraction(0)) == pytest.approx((0.05, 15 / 40, 0.15, 25 / 40))
    assert boxes(Fraction(14, 100)) == boxes(Fraction(1, 10)) == pytest.approx((0.06, 15 / 40, 0.16, 25 / 40))
    assert boxes(Fraction(15, 100)) == boxes(Fraction(1, 10))  # as near to both: the earlier
    assert boxes(Fraction(16, 100)) == boxes(Fraction(2, 10))
    assert boxes(Fraction(5, 10)) is None and boxes(Fraction(6, 10)) is None


def test_a_clip_without_pictures_has_no_face(tmp_path):
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1600), np.int16), format="s16", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert face_boxes(path, SETTINGS)(Fraction(0)) is None
