import pytest

from nightforge.languages import detect


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("a tall tree with showy flowers\nstands beside the river", "en"),
        ("ein hoher Baum mit schönen Blüten steht am Ufer des Flusses", "de"),
        ("un grand arbre avec de belles fleurs au bord de la rivière", "fr"),
        ("河の近くに大きな木があります", "ja"),
    ],
)
def test_the_language_of_a_sentence(text: str, language: str) -> None:
    found, confidence = detect(text)
    assert found == language and 0.5 < confidence <= 1


def test_a_text_without_letters_is_of_none() -> None:
    assert detect("") == detect(" \n3.50 …") == ("", 0.0)
