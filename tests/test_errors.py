from elision.errors import ElisionError


def test_words_of_a_file_cannot_steer_a_terminal():
    assert str(ElisionError("a\x1b[2Jb\rc\ud800d\u202ee\nf")) == "a\\x1b[2Jb\\rc\\ud800d\\u202ee\nf"
    assert str(ElisionError("Zoë: 情感")) == "Zoë: 情感"


def test_the_middle_of_a_long_message_is_left_out_and_counted():
    said = str(ElisionError("a.csv: " + "x" * 10_000 + "; delete it"))
    assert said.startswith("a.csv: xxx") and said.endswith("xxx; delete it")
    assert len(said) < 4100 and "[... 6018 characters left out ...]" in said
    assert str(ElisionError(said)).count("left out") == 1
