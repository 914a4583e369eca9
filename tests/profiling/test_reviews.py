"""Reviews: rules by hand, learning on made-up shops, other languages unknown, and figures on real reviews."""

import math

import numpy as np
import pandas as pd
import pytest

from tasteprint.profiling.log import event_log
from tasteprint.profiling.reviews.opinions import OpinionModel, fit_opinions, polarity_of, read
from tasteprint.profiling.reviews.polarity import opinion_hits, sentences
from tasteprint.profiling.reviews.reviews import rate_by_words, shop_aspects, summarise, understand_review


def polarity(text: str) -> float:
    return understand_review(text).polarity


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ("good", "not good"),
        ("very good", "good"),
        ("slightly boring", "boring"),
        ("not bad", "bad"),
        ("not bad", "not good"),
        ("It was ugly, but I love it.", "I love it, but it was ugly."),
        ("The dress is long.", "The dress is too long."),
        ("It is soft.", "I hoped it would be soft."),
        ("Great!", "Great"),
        ("looooove it", "like it"),
        ("10/10", "5/10"),
        ("5/10", "1/10"),
        ("Not only pretty but comfortable", "Not pretty and not comfortable"),
        ("never disappoints", "disappoints"),
        ("no problems", "problems"),
    ],
)
def test_rules_order_sentences_as_people_do(better, worse):
    one, two = (sum(h.value for s in sentences(t) for h in opinion_hits(s)) for t in (better, worse))
    assert one > two, (one, two)


@pytest.mark.parametrize(
    "text", ["I don't like it.", "isn't great", "This isn’t great", "waste of money", "It fell apart."]
)
def test_complaints_are_negative(text):
    assert polarity(text) < 0


def test_pretty_good_is_one_opinion_and_pretty_dress_too():
    assert len(opinion_hits(sentences("pretty good")[0])) == 1
    assert polarity("a pretty dress") > 0


@pytest.mark.parametrize(
    "text",
    [
        "Das Kleid ist sehr schön und der Stoff fühlt sich gut an, ich bin zufrieden.",
        "La tela es preciosa pero la cremallera se rompió a los dos días.",
        "Убил бы разработчика который отвечал за разработку прыжков",
        "质量很好，物流很快，非常满意",
        "Le tissu est magnifique mais la fermeture a cassé au bout de deux jours.",
        "",
        None,
        "♥♥♥♥",
        "12345 !!!",
    ],
)
def test_what_is_not_known_is_said_not_to_be_known(text):
    found = understand_review(text)
    assert math.isnan(found.polarity)
    assert found.confidence == 0.0
    assert found.aspects == ()


def test_polarity_and_confidence_stay_in_range():
    texts = ["love " * 5000, "hate " * 5000, "good", "the and of", "A\n\n\n!", "1000/1", "😀 great 😀", "0/0"]
    for text in texts:
        found = understand_review(text)
        assert math.isnan(found.polarity) or -1 <= found.polarity <= 1
        assert 0 <= found.confidence <= 1
    assert understand_review("good soft warm nice lovely").confidence > understand_review("good").confidence


def test_aspects_have_their_own_polarity_and_words():
    text = "Runs small! The fabric is lovely and soft, but the zipper broke after a week. Overpriced."
    found = {a.aspect: a for a in understand_review(text).aspects}
    assert found["fabric"].polarity > 0.5
    assert found["zipper"].polarity < -0.5
    assert found["zipper"].quote == "the zipper broke after a week"
    assert found["size"].polarity < 0
    assert found["price"].polarity < 0
    assert all(a.quote in text for a in found.values())


def test_aspects_of_a_shop_are_its_own_nouns():
    rng = np.random.default_rng(0)
    texts = [
        f"The {rng.choice(['crust', 'yeast'])} was {rng.choice(['great', 'bad'])}. I baked it quickly."
        for _ in range(120)
    ]
    texts += ["Nothing to say."] * 400
    found = shop_aspects(texts)
    assert {"crust", "yeast"} <= found
    assert not {"great", "quickly", "baked", "say", "nothing"} & found
    opinion = understand_review("The crust was superb.", aspects=found)
    assert [a.aspect for a in opinion.aspects] == ["crust"]


def test_summary_counts_praise_and_complaints():
    opinions = [understand_review(t) for t in ("Great fabric.", "The fabric is lovely.", "Terrible zipper.", "ok")]
    praised, complained = summarise(opinions)
    assert [(p.aspect, p.mentions) for p in praised] == [("fabric", 2)]
    assert [(c.aspect, c.quote) for c in complained] == [("zipper", "Terrible zipper")]


def made_up_reviews(rng, n=400):
    """A shop whose people say 'zork' when content and 'blap' when not, in no known language."""
    signs = rng.choice([-1.0, 1.0], n)
    texts = [" ".join(rng.permutation([*rng.choice(list("abcdefgh"), 6), "zork" if s > 0 else "blap"])) for s in signs]
    return texts, signs


def test_a_shop_teaches_its_own_words():
    rng = np.random.default_rng(1)
    texts, signs = made_up_reviews(rng)
    model = fit_opinions(texts, signs)
    assert model.words["zork"] > 1 > -1 > model.words["blap"]
    fresh, truth = made_up_reviews(rng)
    found = np.asarray([polarity_of(read(text), model)[0] for text in fresh])
    assert ((found > 0) == (truth > 0)).mean() > 0.97


def test_ratings_without_meaning_teach_almost_nothing():
    rng = np.random.default_rng(2)
    texts, _ = made_up_reviews(rng)
    noise = rng.choice([-1.0, 1.0], len(texts))
    model = fit_opinions(texts, noise)
    found = np.asarray([polarity_of(read(text), model)[0] for text in made_up_reviews(rng)[0]])
    assert np.abs(found).mean() < 0.25


def test_too_few_ratings_leave_the_rules():
    model = fit_opinions(["good", "bad", None], np.asarray([1.0, -1.0, np.nan]))
    assert model.words == {}
    assert polarity_of(read("good soft warm"), model) == polarity_of(read("good soft warm"), OpinionModel())


def test_words_rate_what_has_no_rating():
    events = pd.DataFrame(
        {
            "user_id": "u",
            "kind": "review",
            "at": pd.date_range("2024-01-01", periods=5),
            "seq": range(5),
            "item_id": list("abcde"),
            "text": [
                "Terrible, broke at once, awful.",
                "Superb, beautiful, I love it.",
                None,
                "Sehr schlecht",
                "Awful, terrible.",
            ],
            "rating": [np.nan, np.nan, np.nan, np.nan, 5.0],
        }
    )
    rated = rate_by_words(events, rating_scale="1-5")
    assert rated["rating"][0] < 2 < 4 < rated["rating"][1]
    assert rated["rating"][[2, 3]].isna().all()
    assert rated["rating"][4] == 5.0
    assert events["rating"].isna().sum() == 4
    weights = event_log(rated, list("abcde"), rating_scale="1-5").weight
    assert weights[0] < -0.5 < 0.5 < weights[1]
    thumbs = rate_by_words(events, rating_scale="0/1")["rating"]
    assert 0 <= thumbs[0] < 0.5 < thumbs[1] <= 1


@pytest.mark.data
def test_untaught_rules_read_real_reviews(shop_path):
    """Area under the ROC curve on a sample of validation reviews; .90 on all of them."""
    labels = pd.read_parquet(shop_path("clothing_reviews") / "labels.parquet")
    valid = labels[labels["split"] == "valid"].iloc[:800]
    score = pd.Series([understand_review(text).polarity for text in valid["text"]]).fillna(0.0)
    positive = (valid["label"] == "positive").to_numpy()
    ranks = score.rank().to_numpy()
    n_high, n_low = positive.sum(), (~positive).sum()
    area = (ranks[positive].sum() - n_high * (n_high + 1) / 2) / (n_high * n_low)
    assert area > 0.87
