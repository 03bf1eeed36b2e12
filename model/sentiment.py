"""What an article says: one score from -1 to 1, the same function for training and stream.

VADER (Hutto and Gilbert 2014) adds up the words of its lexicon, with rules for negation and
emphasis. It knows no "rally" and takes a "block" for an obstacle: `crypto_lexicon.csv` says what
words mean on this market, each with the reason.
"""

import csv
import html
import re
import unicodedata
from functools import cache
from importlib.resources import files
from typing import Final

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

# A reporter says first what matters. What is left is not read, so that no text takes long.
SCORED_CHARACTERS: Final = 1_000
# Markup is longer than the text in it: so much is looked at before it is taken out.
_READ_CHARACTERS: Final = 10_000
# VADER was made for sentences and looks through all words for each: longer ones are cut.
_SENTENCE_CHARACTERS: Final = 300
# A resource, not a path: a cluster's workers have the code as a zip.
_LEXICON: Final = files("model").joinpath("crypto_lexicon.csv")
_HIDDEN: Final = re.compile(r"<(script|style)\b.*?(</\1\s*>|\Z)", re.DOTALL | re.IGNORECASE)
_TAG: Final = re.compile(r"<!--.*?(-->|\Z)|</?[a-zA-Z][^<>]*(>|\Z)", re.DOTALL)
_URL: Final = re.compile(r"https?://\S+")
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+|\n+")
_CONTROL: Final = ("Cc", "Cf", "Co", "Cs")


def score(title: str, body: str = "") -> float:
    """Mean of VADER's compound score over the title and the sentences of the body's beginning.

    Markup, addresses and control characters (those of right-to-left text too) say nothing. A text
    of which the lexicon knows no word, so one in another language, scores 0.

    >>> score("Bitcoin rallies as fund inflows surge") > 0.5
    True
    >>> score("Exchange hacked", "<p>All coins were <b>stolen</b>.</p>") < -0.4
    True
    >>> score("Binance adds a block explorer")
    0.0
    """
    text = f"{plain_text(title)}\n{plain_text(body)}"[:SCORED_CHARACTERS]
    sentences = [s for s in _SENTENCE_END.split(text) if s and not s.isspace()]
    if not sentences:
        return 0.0
    rate = _analyser().polarity_scores
    total = sum(rate(sentence[:_SENTENCE_CHARACTERS])["compound"] for sentence in sentences)
    return float(total) / len(sentences)


def plain_text(text: str) -> str:
    """The text without markup, addresses and control characters; line breaks stay.

    >>> plain_text("<p>Up &amp; away</p><script>evil()</script>")
    'Up & away'
    """
    text = html.unescape(_TAG.sub(" ", _HIDDEN.sub(" ", text[:_READ_CHARACTERS])))
    text = _URL.sub(" ", text)
    return "\n".join(" ".join(_shown(line).split()) for line in text.splitlines()).strip()


def _shown(line: str) -> str:
    return "".join(" " if unicodedata.category(c) in _CONTROL else c for c in line)


@cache
def _analyser() -> SentimentIntensityAnalyzer:
    analyser = SentimentIntensityAnalyzer()
    rows = csv.DictReader(_LEXICON.read_text().splitlines())
    analyser.lexicon.update((row["term"], float(row["score"])) for row in rows)
    return analyser
