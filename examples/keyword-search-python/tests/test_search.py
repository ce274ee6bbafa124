"""Queries, ranking and snippets. `python -m unittest discover tests` in this folder, or pytest."""

import sys
import time
import unittest
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from at_hand import names_found, search

LETTERS = {
    "anna": "Dear Anna,\nthe ships carry gold dust and coffee.\nThe ship's captain is ill.",
    "boris": "Dear Boris,\ncoffee is dear; dust is cheap, and gold is not to be had.",
    "cai": "Dear Cai,\nno ship came.",
}
NOTHING = {"hits": [], "documents_matched": 0, "documents_searched": 3, "terms": []}


def found(query: str) -> list[str]:
    return sorted(names_found(query, LETTERS))


def found_in(text: str, query: str) -> bool:
    return names_found(query, {"it": text}) == ["it"]


def snippets(query: str, text: str) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = search(query, {"it": text})["hits"][0]["snippets"]
    return shown


class Queries(unittest.TestCase):
    def test_queries_find_what_they_say(self) -> None:
        for query, names in {
            "gold coffee": ["anna", "boris"],
            "gold AND captain": ["anna"],
            '"gold dust"': ["anna"],
            "“gold dust”": ["anna"],
            '"dust gold"': [],
            '"coffee the ship"': ["anna"],
            "captain OR came": ["anna", "cai"],
            "ship NOT gold": ["cai"],
            "ship -gold": ["cai"],
            'dear -"gold dust" -came': ["boris"],
            "ship (came OR captain)": ["anna", "cai"],
            "ship NOT (gold OR captain)": ["cai"],
            "ship NOT NOT gold": ["anna"],
            "dust and not": ["boris"],
        }.items():
            self.assertEqual(found(query), names, query)

    def test_a_query_of_exclusions_alone_finds_the_rest_without_score(self) -> None:
        result = search("NOT captain", LETTERS)
        hits = [{"document": name, "score": 0, "snippets": []} for name in ("boris", "cai")]
        self.assertEqual((result["hits"], result["terms"]), (hits, []))

    def test_queries_that_say_nothing_find_nothing(self) -> None:
        for query in (
            "",
            "  ",
            '"',
            '""',
            "!!!",
            "- -- –",
            "()",
            "(((",
            ")",
            "AND",
            "OR OR",
            "NOT",
            "NOT OR",
            "\u0301",
        ):
            self.assertEqual(search(query, LETTERS), NOTHING, query)

    def test_what_is_malformed_in_a_query_is_passed_over(self) -> None:
        for query in ("captain)", "(captain", '"captain', "captain AND", "OR captain", "captain NOT", ") captain ("):
            self.assertEqual(found(query), ["anna"], query)

    def test_deep_brackets_are_refused_and_many_operators_are_not(self) -> None:
        with self.assertRaisesRegex(Exception, "want at most 16"):
            found("(" * 17 + "gold")
        for query in ("(" * 16 + "captain", "NOT " * 240 + "captain", "captain OR " * 90 + "captain"):
            self.assertEqual(found(query), ["anna"])

    def test_a_term_is_reported_as_it_was_first_typed(self) -> None:
        terms = search("Ships OR ship OR “Gold  Dust”", LETTERS)["terms"]
        self.assertEqual(
            terms,
            [
                {"term": "Ships", "documents": 2, "occurrences": 3},
                {"term": "Gold  Dust", "documents": 1, "occurrences": 1},
            ],
        )


class Ranking(unittest.TestCase):
    def test_rare_words_and_repetition_weigh_more_and_long_documents_less(self) -> None:
        filler = "and then some more words of no account"
        common = {"common": f"ship ship {filler}", "rare": f"ship comet {filler}", "other": f"ship and {filler}"}
        self.assertEqual(names_found("ship OR comet", common), ["rare", "common", "other"])
        long = {"long": "comet " + "word " * 200, "short": "comet word"}
        self.assertEqual(names_found("comet", long), ["short", "long"])

    def test_the_score_is_bm25s(self) -> None:
        # One of two documents, of equal length, holds the term once: ln(1 + 1.5 / 1.5) * 2.2 / 2.2.
        self.assertEqual(search("a", {"x": "a", "y": "b"})["hits"][0]["score"], 0.6931)

    def test_equal_scores_keep_the_order_given_and_a_limit_cuts_after_ranking(self) -> None:
        documents = {f"n{30 - number}": "comet" for number in range(30)} | {"best": "comet comet"}
        result = search("comet", documents, limit=3)
        self.assertEqual([hit["document"] for hit in result["hits"]], ["best", "n30", "n29"])
        self.assertEqual(result["documents_matched"], 31)


class Words(unittest.TestCase):
    def test_case_plural_possessive_and_accents_do_not_matter(self) -> None:
        for text, query in [
            ("SHIPS", "ship"), ("ship's", "ships"), ("ship’s", "SHIP"), ("duties", "duty"), ("houses", "house"),
            ("café", "cafe"), ("cafe\u0301", "CAFÉ"), ("Straße", "STRASSE"), ("ﬁnal", "final"), ("ＦＵＬＬ", "full"),
            ("İstanbul", "istanbul"), ("ΟΔΟΣ", "οδός"), ("don’t", "don't"), ("O'Brien", "o’brien"), ("𝐛𝐨𝐥𝐝", "bold"),
        ]:  # fmt: skip
            self.assertTrue(found_in(text, query), f"{query} in {text}")

    def test_different_words_stay_different(self) -> None:
        for text, query in [
            ("congress", "congres"), ("bus", "bu"), ("gas", "ga"), ("shipping", "ship"), ("कि", "की"), ("not", "no"),
        ]:  # fmt: skip
            self.assertFalse(found_in(text, query), f"{query} in {text}")

    def test_numbers_are_found_with_and_without_grouping(self) -> None:
        for text, query in [
            ("a loan of 3,000,000 florins", "3000000"), ("3000000", "3,000,000"), ("in 1862, 37.5 per", "1862 37.5"),
            ("1,2,3", "2"),
        ]:  # fmt: skip
            self.assertTrue(found_in(text, query), f"{query} in {text}")

    def test_compounds_are_phrases_of_their_parts(self) -> None:
        self.assertTrue(found_in("the light-house", '"light house"'))
        self.assertTrue(found_in("the light house", "light-house"))
        self.assertFalse(found_in("house light", "light-house"))
        self.assertTrue(found_in("The U.S. Army", "U.S."))

    def test_scripts_without_spaces_are_searched_by_character(self) -> None:
        for text, query in [("我们在东京见面。", "东京"), ("東京タワーへ行く", "タワー"), ("ภาษาไทย", "ไทย")]:
            self.assertTrue(found_in(text, query), f"{query} in {text}")
        self.assertFalse(found_in("京东", "东京"))

    def test_hostile_text_takes_time_in_proportion_to_its_size(self) -> None:
        for text in ("1,000" * 200_000, "a'" * 500_000, "a" * 1_000_000, "\u0301" * 1_000_000, "x\u0301" * 500_000):
            begin = time.monotonic()
            found_in(text, 'comet OR "comet comet" OR 1')
            self.assertLess(time.monotonic() - begin, 4, text[:6])


class Snippets(unittest.TestCase):
    def test_lines_end_at_lf_cr_and_crlf_and_are_counted_from_1(self) -> None:
        self.assertEqual(snippets("comet", "a\r\nb\rc\nthe comet\r\n"), [{"line": 4, "text": "the comet"}])

    def test_they_are_the_lines_with_most_of_the_query_in_order(self) -> None:
        text = "comet\nship\nnothing\nship and comet\ncomet\nship"
        self.assertEqual([snippet["line"] for snippet in snippets("comet ship", text)], [1, 2, 4])

    def test_a_long_line_is_cut_around_its_first_match_at_words_where_it_has_any(self) -> None:
        words, dashes = "word " * 1000, "-" * 5000
        for text, pattern in [
            (f"{words}a comet {words}", r"^…word .* a comet word .* word…$"),
            (f"{dashes}comet{dashes}", r"^…-+comet-+…$"),
            (f"comet {words}", r"^comet word .* word…$"),
            (f"{words}comet", r"^…word .* word comet$"),
        ]:
            (snippet,) = snippets("comet", text)
            self.assertRegex(snippet["text"], pattern)
            self.assertLessEqual(len(snippet["text"]), 202)

    def test_they_have_no_control_characters(self) -> None:
        (snippet,) = snippets("comet", "\u001b[31ma\tcomet\u0000\u0007 \u0085end")
        self.assertEqual(snippet["text"], "[31ma comet end")


if __name__ == "__main__":
    unittest.main()
