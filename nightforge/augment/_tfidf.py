"""Which words of a language carry little: the statistics of TF-IDF augmentation over some texts."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import accumulate

from nightforge.augment._prose import prose_words


class Statistics:
    """Of the words of texts, folded to lower case: Xie et al. 2020, arXiv 1904.12848, appendix B."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Memory: that of the texts' vocabulary."""
        frequency: Counter[str] = Counter()  # texts that hold the word
        share: defaultdict[str, float] = defaultdict(float)  # Σ over texts of its share of the words
        rows = 0
        for text in texts:
            found = Counter(word.lower() for _, word in prose_words(text))
            rows += 1
            frequency.update(found.keys())
            for word, count in found.items():
                share[word] += count / found.total()
        self.idf = {word: math.log(rows / count) for word, count in frequency.items()}
        scores = {word: share[word] * idf for word, idf in self.idf.items()}
        highest = max(scores.values(), default=0.0)
        self.words = sorted(scores)
        weights = [highest - scores[word] for word in self.words]
        self.weights = list(accumulate(weights if any(weights) else [1.0] * len(weights)))
        """Cumulated: a word that carries much in the texts at hand is not drawn to stand in for another."""
