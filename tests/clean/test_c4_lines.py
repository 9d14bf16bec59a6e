from nightforge.clean.c4_lines import SAMPLE, edit

PAGE = """The first line of it ends as a sentence does.
Home | About
Please enable JavaScript in your browser.
Two words.
  He said [12] that it was “so”. [citation needed]
He said that it was "so"
And then nothing more ...
By this you accept our Terms of Use.

Is that all?"""


def test_lines_that_are_sentences_stay() -> None:
    found = edit(PAGE, SAMPLE)
    assert found.text.split("\n") == [
        "The first line of it ends as a sentence does.",
        'He said that it was "so"',
        "Is that all?",
    ]
    assert found.counts == {"unended_lines": 3, "phrase_lines": 2, "short_lines": 1}


def test_a_line_of_encoded_bytes_goes() -> None:
    assert edit("See the key " + "a" * 1000 + " of it.", SAMPLE).text
    assert edit("See the key " + "a" * 1001 + " of it.", SAMPLE).counts == {"long_word_lines": 1}


def test_without_ends_lines_may_end_as_they_like() -> None:
    any_end = SAMPLE.model_copy(update={"ends": [], "citations": True})
    assert edit("a heading of words\nfollowed by [3] this", any_end).text == "a heading of words\nfollowed by [3] this"
