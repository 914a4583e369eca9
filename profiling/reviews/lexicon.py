"""A small English opinion lexicon for shops, written for this project: how good or bad a word of a review sounds.

Strengths run from -3 (worst) to 3 (best) and were set by hand, not fitted to any data set. Words are looked up as
written and then by a light stem, so "loved", "loving" and "looooved" find "love". Other languages are not here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

_BY_STRENGTH: Mapping[float, str] = {
    3: """amazing awesome outstanding superb perfect perfection flawless phenomenal exceptional incredible magnificent
    masterpiece fantastic wonderful excellent spectacular stellar marvelous marvellous brilliant adore obsessed stunning
    gorgeous breathtaking unbeatable favourite favorite love best terrific fabulous divine heavenly exquisite addicting
    glorious sublime legendary""",
    2: """great beautiful lovely delightful impressive impressed thrilled delighted pleased happy satisfied satisfying
    comfortable comfy cozy cosy elegant flattering compliment compliments recommend recommended sturdy durable reliable
    delicious tasty fresh fun enjoyable enjoy entertaining hilarious addictive immersive polished smooth crisp sharp
    vibrant luxurious classy stylish chic adorable cute pretty sexy feminine cool sweet charming quality superior
    effective efficient fast quick easy helpful friendly generous bargain steal affordable worth worthwhile valuable
    rewarding engaging exciting excited classic timeless versatile gem treat joy glad grateful thankful
    pleasant pleasure refreshing fragrant yummy scrumptious hooked epic atmospheric gripping memorable unique ideal
    spotless seamless responsive intuitive rich favorites blast winner keeper""",
    1: """good nice fine decent solid soft light warm clean simple clever smart handy useful practical convenient neat
    tidy bright clear accurate precise secure safe strong thick stable quiet roomy spacious lightweight breathable
    flowy stretchy silky plush snug flexible compact portable casual dressy fashionable trendy fashion creative
    original interesting like liked likes enjoyed works worked improved improve improvement better properly true
    perfectly nicely well fits flatters relaxed forgiving slimming interested okay ok fair reasonable suitable helps
    helped appreciate appreciated generously promptly fresher legit positive plus bonus thanks congrats balanced
    detailed gentle natural healthy moist creamy juicy tender crunchy hearty fluffy absorbent washable
    waterproof rugged ready authentic genuine correct""",
    -1: """meh mediocre average bland plain boring dull slow noisy loud heavy bulky stiff itchy scratchy rough tight
    loose baggy boxy shapeless sheer thin flimsy short issue issues complain complaint confusing confused complicated
    difficult hard awkward odd weird strange unfortunately sadly sad unsure doubt doubtful hesitant lacking lack lacks
    missing limited shallow repetitive repeat grind grindy outdated dated old generic unnecessary disappointingly
    expensive pricey costly overprice wrinkle wrinkles wrinkled faded fade shrink shrunk stain stained stains bleed
    pilled pilling pill snag snagged unraveling unravel fray frayed wobbly scratched dented creased dusty sticky greasy
    soggy stale dry bitter sour smelly stinky late delayed delay wait waited return returned returning refund exchange
    exchanged error errors fiddly annoying annoy annoyed bother bothered irritating irritate problem problems trouble
    fail failed fails tacky frumpy dowdy unflattering matronly maternity tent sack costume gaping gap gaped lag lags
    laggy clunky crash unbalanced unfinished unresponsive clingy bunchy bunched puffy billowy overwhelmed drowned
    swallowed uneven crooked mislead lukewarm unimpressed unnatural hassle worry worried unclear inconsistent
    inaccurate disconnect disconnected stuck freeze freezes drain drained cramped underwhelm wish""",
    -2: """bad poor poorly disappointing disappointed disappointment disappoint unhappy dissatisfied unsatisfied
    uncomfortable ugly unpleasant cheap cheaply junk lousy weak broken broke break breaks damage damaged defective
    defect faulty flaw flawed ripped rip tear torn hole holes mess messy wrong waste wasted useless pointless worse
    overpriced unusable unplayable unwearable unreliable unstable buggy bugs bug glitch glitches glitchy glitched
    crashes crashed crashing broken hate hated hates dislike disliked regret regretted frustrating frustrated
    frustration avoid fake misleading misled dishonest rude unhelpful leak leaked leaks leaking rotten moldy mouldy
    expired burnt burned disturbing shoddy sloppy inferior ruined ruin ruins unacceptable unfit stupid dumb ridiculous
    lame tedious abandoned greedy cheaters cheater hackers hacker toxic unfair died dead dies insult painful pain hurt
    hurts sick fell falls stinks smelled sucks suck sucked crap crappy nope pathetic mistake""",
    -3: """terrible horrible awful worst horrendous atrocious disgusting disgusted garbage trash rubbish scam fraud
    abysmal appalling dreadful hideous horrid nasty ripoff robbery unbearable nightmare disaster catastrophe
    worthless despise loathe inedible vomit cancer disgrace shameful revolting repulsive""",
}

_PHRASES: Mapping[str, float] = {
    "must have": 2.5,
    "must buy": 2.5,
    "must play": 2.5,
    "highly recommend": 3.0,
    "well made": 2.0,
    "well worth": 2.5,
    "worth every penny": 3.0,
    "worth the money": 2.0,
    "worth it": 2.0,
    "true to size": 1.5,
    "true to form": 1.0,
    "easy to use": 2.0,
    "looking forward": 1.0,
    "can not wait": 2.0,
    "blown away": 2.5,
    "thumbs up": 2.5,
    "thumbs down": -2.5,
    "five stars": 3.0,
    "one star": -3.0,
    "two stars": -2.0,
    "zero stars": -3.0,
    "never disappoints": 2.5,
    "never fails": 2.0,
    "go wrong": -1.5,
    "wanted to love": -2.5,
    "wanted to like": -2.5,
    "want to love": -2.0,
    "tried to like": -2.0,
    "had high hopes": -2.0,
    "looked like": -0.3,
    "would like": 0.0,
    "feel like": 0.0,
    "felt like": 0.0,
    "feels like": 0.0,
    "looks like": 0.0,
    "look like": 0.0,
    "just like": 0.0,
    "more like": -0.7,
    "like a": 0.0,
    "like an": 0.0,
    "like the": 0.5,
    "sort of": 0.0,
    "kind of": 0.0,
    "falls apart": -3.0,
    "fell apart": -3.0,
    "fall apart": -3.0,
    "came apart": -2.5,
    "sent back": -2.0,
    "sending back": -2.0,
    "sent it back": -2.0,
    "going back": -2.0,
    "goes back": -2.0,
    "went back": -1.5,
    "had to return": -2.0,
    "will return": -2.0,
    "stay away": -3.0,
    "save your money": -3.0,
    "waste of": -3.0,
    "rip off": -2.5,
    "let down": -2.0,
    "money back": -2.0,
    "not worth": -2.5,
    "no good": -2.0,
    "stopped working": -2.5,
    "does not work": -2.5,
    "did not work": -2.5,
    "do not buy": -3.0,
    "dont buy": -3.0,
    "would not recommend": -3.0,
    "can not recommend": -2.5,
    "runs small": -1.0,
    "runs large": -0.7,
    "runs big": -0.7,
    "ran small": -1.0,
    "see through": -1.5,
    "good thing": 0.0,
    "pretty much": 0.0,
    "fine print": 0.0,
    "full price": -0.3,
    "on sale": 0.3,
    "too bad": -1.5,
    "so much better": 2.0,
    "could be better": -1.5,
    "would be better": -1.0,
    "would have been": -1.0,
    "could have been": -1.0,
    "should have been": -1.0,
    "looked better": -1.0,
    "looks better": -0.3,
    "at best": -1.5,
    "at all": 0.0,
    "best of luck": 0.0,
    "better off": -1.5,
    "hard to put down": 2.5,
    "over priced": -2.0,
    "pay to win": -2.5,
    "cash grab": -3.0,
    "early access": 0.0,
    "old school": 0.5,
    "no problem": 1.5,
    "no problems": 1.5,
    "no issues": 1.5,
    "no complaints": 2.0,
    "love hate": 0.0,
    "like new": 1.5,
    "love to see": -0.5,
    "like to see": -0.5,
    "like to": 0.0,
    "as expected": 0.7,
    "as described": 1.0,
    "as pictured": 1.0,
    "not as": -1.0,
    "nothing special": -1.5,
    "nothing but": 0.0,
}

_NEGATING = """
not no never none nobody nothing neither nor cannot without hardly barely scarcely isn't aren't wasn't weren't don't
doesn't didn't won't wouldn't can't couldn't shouldn't haven't hasn't hadn't ain't dont doesnt didnt wont cant isnt
wasnt wouldnt couldnt
"""
_STRONGER = (
    "very really so super absolutely extremely incredibly totally truly completely most highly exceptionally insanely"
)
_STRONGER_TOO = "seriously definitely ridiculously fully"
_A_LITTLE_STRONGER = "quite pretty much especially always still even"
_WEAKER = "slightly somewhat fairly little bit kinda sorta mildly almost rather"
_COMPLAINT_AFTER_TOO = """
big small large long short tight loose thin thick heavy light sheer low high wide narrow dark bright bulky stiff
expensive much many boxy baggy revealing tiny huge hard easy slow fast sweet salty soft warm hot cold
"""
NEGATORS: frozenset[str] = frozenset(_NEGATING.split())
INTENSIFIERS: Mapping[str, float] = {
    **dict.fromkeys(f"{_STRONGER} {_STRONGER_TOO}".split(), 1.35),
    **dict.fromkeys(_A_LITTLE_STRONGER.split(), 1.1),
    **dict.fromkeys(_WEAKER.split(), 0.6),
}
UNREAL: frozenset[str] = frozenset({"hoped", "hoping", "wanted", "expected", "expecting", "wish", "wished", "supposed"})
"""Words after which praise is of something that did not come true."""
CONTRASTS: frozenset[str] = frozenset({"but", "however", "though", "although", "unfortunately", "except", "yet"})
EXCESS: frozenset[str] = frozenset(_COMPLAINT_AFTER_TOO.split())
"""Words that complain after "too", whatever they mean alone."""

_ENGLISH_WORDS = """
the and this that you with have are my but they would which there their what when about from your been were because
just then than them these those does did will could should very really good great game love it's i'm don't is it i
"""
ENGLISH: frozenset[str] = frozenset(_ENGLISH_WORDS.split())
"""Frequent words that tell English from its neighbours."""

_STRENGTH: dict[str, float] = {word: strength for strength, words in _BY_STRENGTH.items() for word in words.split()}
_LONGEST_PHRASE = {
    first: max(len(phrase.split()) for phrase in _PHRASES if phrase.split()[0] == first)
    for first in {phrase.split()[0] for phrase in _PHRASES}
}
_REPEATED = re.compile(r"(.)\1{2,}")


@lru_cache(maxsize=65_536)
def word_strength(word: str) -> float | None:
    """Strength of a lower-case word, or None where it has no opinion.

    >>> word_strength("loved"), word_strength("gooood"), word_strength("zipper")
    (3, 1, None)
    """
    for form in _forms(word):
        if form in _STRENGTH:
            return _STRENGTH[form]
    return None


def phrase_strength(words: list[str], start: int) -> tuple[float, int] | None:
    """Strength and length of the longest set phrase that starts at ``words[start]``, or None."""
    for length in range(min(_LONGEST_PHRASE.get(words[start], 0), len(words) - start), 1, -1):
        strength = _PHRASES.get(" ".join(words[start : start + length]))
        if strength is not None:
            return strength, length
    return None


def _forms(word: str) -> list[str]:
    """The word, without letters repeated for effect, and its likely base forms."""
    forms = [word]
    if _REPEATED.search(word):
        forms += [_REPEATED.sub(r"\1\1", word), _REPEATED.sub(r"\1", word)]
    for base in list(forms):
        for ending, instead in (("ing", ""), ("ing", "e"), ("ed", ""), ("ed", "e"), ("es", ""), ("s", ""), ("ly", "")):
            if base.endswith(ending) and len(base) - len(ending) >= 3:
                forms.append(base[: -len(ending)] + instead)
    return forms
