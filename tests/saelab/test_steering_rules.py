from __future__ import annotations

from pathlib import Path

import pytest

from services.saelab.errors import SaeLabError
from services.saelab.steer import TOPICS
from services.saelab.steering_rules import distinct_runs, read_topics, topic_words


def test_topic_words_are_counted_by_stem_and_short_ones_whole() -> None:
    assert topic_words("The seaside ships; a sea.", ["sea", "ship"]) == pytest.approx(100 * 2 / 5)


def test_matches_of_a_pattern_count_as_words() -> None:
    assert topic_words("Who? Why? I do not know at all.", [], r"\?") == pytest.approx(100 * 2 / 8)
    assert topic_words("", ["sea"], r"\?") == 0.0


def test_repeated_runs_of_words_lower_distinctness() -> None:
    assert distinct_runs("a b c d e f") == 1.0
    assert distinct_runs("a b c a b c a b c") == pytest.approx(3 / 7)
    assert distinct_runs("a b") == 0.0


def test_forty_topics_whose_own_sentences_have_their_words_more_than_those_of_others() -> None:
    topics = read_topics(TOPICS).topics
    assert len(topics) == 40
    for topic in topics:
        assert len(topic.sentences) >= 4, topic.name
        own = " ".join(topic.sentences)
        counts = sorted(((other.words(own), other.name) for other in topics), reverse=True)
        assert topic.words(own) > 10, topic.name
        assert topic.name in [name for _, name in counts[:2]], counts[:3]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("choosing = ['a?']", "proving"),
        ("choosing = ['a?']\nproving = ['a?']\n[topics]", "others to prove by"),
        ("choosing = ['a?']\nproving = ['b?']\n[topics.sea]\nstems = 'sea'", "'sea' is at fault"),
        ("choosing = ['a?']\nproving = ['b?']\n[topics.sea]\nsentences = ['sea']", "'sea' needs"),
        (
            "choosing = ['a?']\nproving = ['b?']\n[topics.sea]\nsentences = ['sea']\npattern = '('",
            "'sea' is at",
        ),
        ("choosing", "no list of topics"),
    ],
)
def test_a_faulty_list_of_topics_is_told_with_its_fault(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "topics.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SaeLabError, match=told):
        read_topics(path)
