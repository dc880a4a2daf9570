"""Texts are taken out of the formats that packages keep them in."""

from __future__ import annotations

import json
import struct
import zlib

import pytest

from services.saelab.extract import extractor, get_extractor
from services.saelab.sources import load_sources


def texts(extract: str, file: str | bytes, *keys: str, name: str = "name") -> list[str]:
    data = file if isinstance(file, bytes) else file.encode()
    return [piece.text for piece in get_extractor(extract)([(name, data)], keys)]


@pytest.mark.parametrize(
    ("extract", "file", "expected"),
    [
        ("fortune", "One.\n%\nTwo.\n", ["One.", "Two.\n"]),
        (
            "dictd",
            "bot\n\n   A {program} that\n   runs.\n\nbug\n\n   A fault.\n",
            ["bot\nA program that runs.", "bug\nA fault."],
        ),
        (
            "jargon",
            "top\n   :foo: n.\n\n   A word.\n\n   :bar: n.\n\n   Another.\n",
            [":foo: n.\n\nA word.", ":bar: n.\n\nAnother."],
        ),
        (
            "html",
            "<html><head><title>T</title></head><body><div class='related'><div>Nav</div></div>"
            "<p>One &amp; two</p><script>x()</script><p>Three</p></body></html>",
            ["One & two\n\nThree"],
        ),
    ],
)
def test_texts_are_taken_out_of_their_formats(extract: str, file: str, expected: list[str]) -> None:
    assert texts(extract, file) == expected


def test_json_documents_hold_the_strings_under_the_keys_in_order() -> None:
    file = json.dumps([{"title": "A", "say": ["x", {"say": "y"}], "no": "z"}, {"say": "w"}])
    found = list(get_extractor("json")([("name", file.encode())], ("say",)))
    assert [(piece.title, piece.text) for piece in found] == [("A", "x\ny"), ("", "w")]


def test_a_name_of_an_extractor_is_taken_once() -> None:
    with pytest.raises(ValueError, match="'plain' is registered already"):
        extractor("plain")


def test_books_are_cut_before_each_heading() -> None:
    book = "TITLE\n\n\n\nCHAPTER I\n\nOne.\n\nCHAPTER II\n\nTwo, see CHAPTER I.\n"
    assert texts("chapters", book, "CHAPTER [IVX]+") == [
        "TITLE",
        "CHAPTER I\n\nOne.",
        "CHAPTER II\n\nTwo, see CHAPTER I.",
    ]


def r_object(lines: list[str | None], kind: int = 16) -> bytes:
    """A character vector as R's saveRDS writes it, in the frame of a package's data base."""
    item = (
        b"X\n"
        + struct.pack(">iiii", 3, 0x40201, 0x30500, 5)
        + b"UTF-8"
        + struct.pack(">ii", kind, len(lines))
    )
    for line in lines:
        data = b"" if line is None else line.encode()
        item += struct.pack(">ii", 0x00040009, -1 if line is None else len(data)) + data
    return struct.pack(">I", len(item)) + zlib.compress(item)


def test_lines_of_r_packages_become_unwrapped_chapters() -> None:
    emma = ["EMMA", "", "CHAPTER I", "", "Emma was", "hand\u00adsome.", None, "CHAPTER II", "", "Mr. Weston."]
    data = r_object(emma) + r_object([], kind=19) + r_object(["CHAPTER 1", "", "Sir Walter."])
    assert texts("r-lines", data, "CHAPTER [IVX0-9]+") == [
        "EMMA",
        "CHAPTER I\n\nEmma was hand\u00adsome.",
        "CHAPTER II\n\nMr. Weston.",
        "CHAPTER 1\n\nSir Walter.",
    ]


def mail(body: str, subject: str = "Re: boats") -> str:
    return json.dumps({"text": f"From: Ann <ann@sea.org>\nSubject: {subject}\n\n{body}"})


def test_of_mail_the_own_words_are_kept_without_addresses() -> None:
    body = "Bob <bob@sea.org> wrote:\n> Which?\n\nThe red one, ask ann@sea.org.\n\n\n\nYours\n-- \nAnn, Sea Street 1\n"
    assert texts("mail", mail(body)) == ["Subject: Re: boats\n\nThe red one, ask .\n\nYours"]


def test_mail_that_passes_on_what_others_wrote_is_left_out() -> None:
    assert texts("mail", mail("URL: http://news.example/1\n\nA headline.")) == []
    assert texts("mail", mail("An article.", "[clippings] Boats"), r"\[clippings\]") == []


def test_scenes_of_a_campaign_are_what_is_said_in_one_event() -> None:
    campaign = """
[scenario]
    [story]
        [part]
            story= _ "Long ago,
there was <i>war</i>."
        [/part]
    [/story]
    [event]
        [message]
            speaker=Konrad
            message= _ "Who {NAME} goes there?"
        [/message]
        [message]
            speaker=narrator
            message= _ "Nobody answers."
        [/message]
    [/event]
"""
    assert texts("wesnoth", campaign)[1:] == [
        "Long ago, there was war.",
        "Konrad: Who goes there?\nNobody answers.",
    ]


def test_neighbouring_synsets_are_one_document_of_words_and_glosses() -> None:
    line = '{:08} 06 n 02 land_line 0 landline{} 0 001 @ 04402057 n 0000 | a line over land; "a landline"  \n'
    found = texts("wordnet", "  1 This is the licence.\n" + "".join(line.format(n, n) for n in range(11)))
    assert found[0].splitlines()[:2] == [
        'land line, landline0: a line over land; "a landline"',
        'land line, landline1: a line over land; "a landline"',
    ]
    assert [len(text.splitlines()) for text in found] == [10, 1]


def test_chapters_of_a_country_are_documents_of_its_facts() -> None:
    country = {
        "Geography": {"Area": {"total": {"text": "9 sq km"}, "land": {"text": "8 sq km"}}, "Note": {}},
        "Government": {"Country name": {"conventional short form": {"text": "Ruritania"}}},
    }
    assert texts("factbook", json.dumps(country)) == [
        "Ruritania - Geography\n\nArea: total: 9 sq km; land: 8 sq km",
        "Ruritania - Government\n\nCountry name: conventional short form: Ruritania",
    ]


def test_descriptions_between_percent_signs_leave_out_programs() -> None:
    text = "%%%%\n# Uniques\nAgnes\n\nThis spriggan\nis old.\n%%%%\nX\n\n{{ return 1 }}\n%%%%\n_hidden_\n\nword\n"
    assert [piece for piece in texts("crawl", text) if piece.strip()] == ["Agnes\nThis spriggan is old."]


def test_of_a_dictionary_marks_are_left_out() -> None:
    (keys,) = (source.keys for source in load_sources() if source.name == "gcide")
    entry = 'Coagulate \\Co*ag"u*late\\, v. i.\n   To undergo {coagulation}. --Boyle.\n   [1913 Webster]\n'
    assert texts("dictd", entry, *keys) == ["Coagulate, v. i.\nTo undergo coagulation. --Boyle."]
