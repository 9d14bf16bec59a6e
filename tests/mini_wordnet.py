"""A WordNet of a few words in WordNet's own files, for tests that may not download the real one."""

from pathlib import Path

SYNSETS = {
    "noun": [
        (20, ["tree", "arbor"]),
        (18, ["meal", "repast"]),
        (18, ["lunch", "tiffin", "midday_meal"]),
        (28, ["noon"]),
    ],
    "verb": [(34, ["eat", "consume"]), (34, ["feed"])],
    "adj": [(0, ["large", "massive"]), (0, ["tall", "high", "lofty"]), (0, ["showy", "flashy", "splashy"])],
    "adv": [(2, ["often", "oftentimes"])],
}
TYPE = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}


def write(folder: Path) -> Path:
    """Write data.*, index.*, *.exc and lexnames (wndb(5WN)) into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for pos, synsets in SYNSETS.items():
        data, index = "  1 A test's licence.\n", []
        for lex, names in synsets:
            offset = len(data)
            listed = " ".join(f"{name} 0" for name in names)
            frames = " 00" if pos == "verb" else ""
            data += f"{offset:08d} {lex:02d} {TYPE[pos]} {len(names):02x} {listed} 000{frames} | a test's {names[0]}\n"
            index += [f"{name} {TYPE[pos]} 1 0 1 0 {offset:08d}\n" for name in names]
        (folder / f"data.{pos}").write_text(data)
        (folder / f"index.{pos}").write_text("  1 A test's licence.\n" + "".join(sorted(index)))
        (folder / f"{pos}.exc").write_text("")
    (folder / "lexnames").write_text("".join(f"{n:02d}\tfile{n}\t1\n" for n in range(45)))
    return folder
