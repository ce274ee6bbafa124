"""What is kept: documents that come, are replaced, and go. `python -m unittest discover tests` in this folder."""

import json
import sys
import unittest
from collections.abc import Mapping
from pathlib import Path

from casemate.testing.fake_enclave import FakeEnclave

FOLDER = Path(__file__).parent.parent
sys.path.insert(0, str(FOLDER / "guest"))  # where imports start inside the enclave

import main  # noqa: E402
from segment import pack, unpack  # noqa: E402
from tokenise import make_tokeniser  # noqa: E402

LETTERS = {
    "boris": "Coffee is dear, and gold is not to be had.",
    "anna": "The ships carry gold dust and coffee.",
}


def upload(texts: Mapping[str, str]) -> dict[str, list[dict[str, str]]]:
    return {"documents": [{"name": name, "text": text} for name, text in texts.items()]}


def filled(texts: Mapping[str, str] = LETTERS) -> FakeEnclave:
    enclave = FakeEnclave()
    enclave.call(main.add, upload(texts), caller="owner")
    return enclave


def found(enclave: FakeEnclave, query: str) -> list[str]:
    return [hit["document"] for hit in enclave.call(main.search, {"query": query}, caller="ann")["hits"]]


class Documents(unittest.TestCase):
    def test_the_examples_result_is_the_committed_one(self) -> None:
        texts = FOLDER.parent / "keyword-search" / "documents"
        if not texts.is_dir():
            self.skipTest("the documents lie beside the example in JavaScript")
        enclave = filled({path.name: path.read_text() for path in sorted(texts.glob("*.txt"))})
        asked = json.loads((FOLDER / "input.json").read_text())
        expected = json.loads((FOLDER / "expected.json").read_text())
        self.assertEqual(enclave.call(main.search, asked, caller="ann"), expected)

    def test_documents_are_found_from_the_next_call_on_until_they_are_removed(self) -> None:
        enclave = filled()
        self.assertEqual(sorted(found(enclave, "gold")), ["anna", "boris"])
        removed = enclave.call(main.remove, {"names": ["anna", "nobody"]}, caller="owner")
        self.assertEqual(removed, {"removed": 1, "unknown": ["nobody"], "documents": 1})
        self.assertEqual(found(enclave, "gold"), ["boris"])
        self.assertEqual(found(enclave, "ships"), [])
        enclave.call(main.remove, {"names": ["boris"]}, caller="owner")
        self.assertEqual(found(enclave, "gold"), [])
        self.assertEqual([*enclave.state], ["catalogue"])

    def test_a_document_of_the_same_name_is_replaced_words_and_all(self) -> None:
        enclave = filled()
        again = enclave.call(main.add, upload({"anna": "No ship came."}), caller="owner")
        self.assertEqual(again, {"added": 0, "replaced": 1, "documents": 2})
        self.assertEqual(found(enclave, "dust"), [])
        self.assertEqual(found(enclave, "came"), ["anna"])

    def test_documents_are_listed_by_name_whatever_order_they_came_in(self) -> None:
        listed = filled().call(main.list, None, caller="owner")["documents"]
        words = {"anna": 7, "boris": 10}
        self.assertEqual(
            listed, [{"name": name, "words": count, "length": len(LETTERS[name])} for name, count in words.items()]
        )

    def test_a_search_changes_nothing(self) -> None:
        enclave = filled()
        before = enclave.epoch
        found(enclave, "gold")
        self.assertEqual(enclave.epoch, before)

    def test_two_enclaves_in_one_process_do_not_find_each_others_documents(self) -> None:
        one, other = filled(), filled({"anna": "nothing"})
        self.assertEqual(found(one, "ships"), ["anna"])
        self.assertEqual(found(other, "ships"), [])
        self.assertEqual(found(one, "ships"), ["anna"])

    def test_documents_that_make_no_sense_together_are_refused_all_of_them(self) -> None:
        enclave = filled()
        twice = {"documents": upload({"x": ""})["documents"] * 2}
        many = {f"{number}": "" for number in range(999)}
        long = {"1": "-" * 2_000_001, "2": "-" * 2_000_001}
        wordy = {"a": "字" * 500_001}
        wanted = [(twice, "same-name"), (upload(many), "too-many"), (upload(long), "too-long")]
        for asked, code in [*wanted, (upload(wordy), "too-long")]:
            self.assertEqual(enclave.call(main.add, asked, caller="owner")["refused"]["code"], code)
        self.assertEqual(enclave.epoch, 1)
        self.assertEqual(enclave.call(main.add, upload(dict([*many.items()][1:])))["documents"], 1000)

    def test_brackets_that_are_too_deep_are_refused_by_name(self) -> None:
        refused = filled().call(main.search, {"query": "(" * 17 + "gold"}, caller="ann")["refused"]
        self.assertEqual(refused["code"], "bad-query")

    def test_long_texts_are_kept_in_pieces_and_come_back_whole(self) -> None:
        enclave = FakeEnclave()
        for text in ("🔑" * 400_000, "\u0001" * 1_000_000, ""):
            enclave.call(main.add, upload({"long": f"{text} comet"}), caller="owner")
            (hit,) = enclave.call(main.search, {"query": "comet"}, caller="ann")["hits"]
            self.assertTrue(hit["snippets"][0]["text"].endswith("comet"))
        enclave.call(main.remove, {"names": ["long"]}, caller="owner")
        self.assertEqual([*enclave.state], ["catalogue"])

    def test_a_segment_of_the_index_unpacks_to_what_was_packed(self) -> None:
        for text in ("", "a", "a b a  b\nc", "东京 東京 🔑 é"):
            tokens = make_tokeniser()(text)
            self.assertEqual(unpack(json.loads(json.dumps(pack(tokens)))), tokens)


if __name__ == "__main__":
    unittest.main()
