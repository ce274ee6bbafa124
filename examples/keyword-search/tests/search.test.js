/**
 * Tests of queries, ranking and snippets. Run in this folder, with the one or the other:
 *
 *     deno test --no-prompt tests/
 *     node --test tests/
 */

import assert from "node:assert/strict";
import test from "node:test";
import { search } from "./library.js";

const letters = [
  { name: "anna", text: "Dear Anna,\nthe ships carry gold dust and coffee.\nThe ship's captain is ill." },
  { name: "boris", text: "Dear Boris,\ncoffee is dear; dust is cheap, and gold is not to be had." },
  { name: "cai", text: "Dear Cai,\nno ship came." },
];

const found = (query, documents = letters) => search({ query, documents }).hits.map(({ document }) => document);
const foundIn = (text, query) => found(query, [{ name: "it", text }]).length === 1;
const snippets = (query, text) => search({ query, documents: [{ name: "it", text }] }).hits[0].snippets;

test("words side by side must all occur", () => {
  assert.deepEqual(found("gold coffee").sort(), ["anna", "boris"]);
  assert.deepEqual(found("gold captain"), ["anna"]);
  assert.deepEqual(found("gold AND captain"), ["anna"]);
});

test("a phrase must stand in order and without gap", () => {
  assert.deepEqual(found('"gold dust"'), ["anna"]);
  assert.deepEqual(found("“gold dust”"), ["anna"]);
  assert.deepEqual(found('"dust gold"'), []);
});

test("a phrase may run on from one line to the next", () => {
  assert.deepEqual(found('"coffee the ship"'), ["anna"]);
});

test("OR widens, NOT and minus exclude, brackets group", () => {
  assert.deepEqual(found("captain OR came").sort(), ["anna", "cai"]);
  assert.deepEqual(found("ship NOT gold"), ["cai"]);
  assert.deepEqual(found("ship -gold"), ["cai"]);
  assert.deepEqual(found('dear -"gold dust" -came'), ["boris"]);
  assert.deepEqual(found("ship (came OR captain)").sort(), ["anna", "cai"]);
  assert.deepEqual(found("ship NOT (gold OR captain)"), ["cai"]);
  assert.deepEqual(found("ship NOT NOT gold"), ["anna"]);
});

test("a query of exclusions alone finds the rest, in the order given, without score", () => {
  const { hits, terms } = search({ query: "NOT captain", documents: letters });
  assert.deepEqual(hits, [
    { document: "boris", score: 0, snippets: [] },
    { document: "cai", score: 0, snippets: [] },
  ]);
  assert.deepEqual(terms, []);
});

test("operators in small letters are words", () => {
  assert.deepEqual(found("dust and not"), ["boris"]);
});

test("queries that say nothing find nothing", () => {
  for (const query of ["", "   ", '"', '""', "!!!", "- -- –", "()", "(((", ")", "AND", "OR OR", "NOT", "NOT OR", "\u0301", "\ud800"]) {
    const output = search({ query, documents: letters });
    assert.deepEqual(output, { hits: [], documents_matched: 0, documents_searched: 3, terms: [] }, JSON.stringify(query));
  }
});

test("what is malformed in a query is passed over", () => {
  for (const query of ["captain)", "(captain", '"captain', "captain AND", "OR captain", "captain OR", "captain NOT", ") captain ("]) {
    assert.deepEqual(found(query), ["anna"], query);
  }
});

test("deep brackets are refused, many operators are not", () => {
  assert.throws(() => found("(".repeat(17) + "gold"), /want at most 16/);
  assert.deepEqual(found("(".repeat(16) + "captain"), ["anna"]);
  assert.deepEqual(found("NOT ".repeat(240) + "captain"), ["anna"]);
  assert.deepEqual(found("captain OR ".repeat(90) + "captain"), ["anna"]);
});

test("no hit and no document are ordinary answers", () => {
  assert.deepEqual(search({ query: "zebra", documents: letters }), {
    hits: [],
    documents_matched: 0,
    documents_searched: 3,
    terms: [{ term: "zebra", documents: 0, occurrences: 0 }],
  });
  assert.deepEqual(search({ query: "zebra", documents: [] }).hits, []);
  assert.deepEqual(found("zebra OR NOT zebra", [{ name: "empty", text: "" }]), ["empty"]);
});

test("rare words weigh more than common ones, and repetition more than a single mention", () => {
  const filler = "and then some more words of no account";
  const documents = [
    { name: "common", text: `ship ship ${filler}` },
    { name: "rare", text: `ship comet ${filler}` },
    { name: "other", text: `ship and ${filler}` },
  ];
  assert.deepEqual(found("ship OR comet", documents), ["rare", "common", "other"]);
});

test("a short document beats a long one with as many mentions", () => {
  const documents = [
    { name: "long", text: "comet " + "word ".repeat(200) },
    { name: "short", text: "comet word" },
  ];
  assert.deepEqual(found("comet", documents), ["short", "long"]);
});

test("the score is BM25's", () => {
  // One of two documents, of equal length, holds the term once: ln(1 + 1.5 / 1.5) * 2.2 / 2.2.
  const { hits } = search({ query: "a", documents: [{ name: "x", text: "a" }, { name: "y", text: "b" }] });
  assert.equal(hits[0].score, 0.6931);
});

test("equal scores keep the order given, and a limit cuts after ranking", () => {
  const documents = Array.from({ length: 30 }, (_, number) => ({ name: `n${30 - number}`, text: "comet" }));
  documents.push({ name: "best", text: "comet comet" });
  assert.equal(search({ query: "comet", documents }).hits.length, 10);
  const { hits, documents_matched } = search({ query: "comet", limit: 3, documents });
  assert.deepEqual(hits.map(({ document }) => document), ["best", "n30", "n29"]);
  assert.equal(documents_matched, 31);
});

test("case, plural, possessive and accents do not matter", () => {
  for (const [text, query] of [
    ["SHIPS", "ship"], ["ship's", "ships"], ["ship’s", "SHIP"], ["duties", "duty"], ["houses", "house"],
    ["café", "cafe"], ["cafe\u0301", "CAFÉ"], ["Straße", "STRASSE"], ["ﬁnal", "final"], ["ＦＵＬＬ", "full"],
    ["İstanbul", "istanbul"], ["ΟΔΟΣ", "οδός"], ["don’t", "don't"], ["O'Brien", "o’brien"], ["𝐛𝐨𝐥𝐝", "bold"],
  ]) {
    assert.ok(foundIn(text, query), `${query} in ${text}`);
  }
});

test("different words stay different", () => {
  for (const [text, query] of [
    ["congress", "congres"], ["bus", "bu"], ["gas", "ga"], ["shipping", "ship"], ["कि", "की"], ["not", "no"], ["3", "30"],
  ]) {
    assert.ok(!foundIn(text, query), `${query} in ${text}`);
  }
});

test("numbers are found with and without grouping", () => {
  assert.ok(foundIn("a loan of 3,000,000 florins", "3000000"));
  assert.ok(foundIn("3000000", "3,000,000"));
  assert.ok(foundIn("in 1862, 37.5 per cent.", "1862 37.5"));
  assert.ok(foundIn("1,2,3", "2"));
});

test("compounds and initials are phrases of their parts", () => {
  assert.ok(foundIn("the light-house", '"light house"'));
  assert.ok(foundIn("the light house", "light-house"));
  assert.ok(!foundIn("house light", "light-house"));
  assert.ok(foundIn("The U.S. Army", "U.S."));
});

test("scripts without spaces are searched by character", () => {
  assert.ok(foundIn("我们在东京见面。", "东京"));
  assert.ok(!foundIn("京东", "东京"));
  assert.ok(foundIn("東京タワーへ行く", "タワー"));
  assert.ok(foundIn("ภาษาไทย", "ไทย"));
});

test("names of object members are ordinary words", () => {
  const documents = [{ name: "__proto__", text: "__proto__ constructor toString" }];
  assert.deepEqual(found("constructor", documents), ["__proto__"]);
  assert.deepEqual(found("hasOwnProperty OR valueOf OR length", documents), []);
});

test("lines end at LF, CR and CRLF, and are counted from 1", () => {
  assert.deepEqual(snippets("comet", "a\r\nb\rc\nthe comet\r\n"), [{ line: 4, text: "the comet" }]);
  assert.deepEqual(snippets("comet", "\ufeffcomet"), [{ line: 1, text: "comet" }]);
});

test("snippets are the lines with most of the query, in order", () => {
  const text = ["comet", "ship", "nothing", "ship and comet", "comet", "ship"].join("\n");
  assert.deepEqual(snippets("comet ship", text).map(({ line }) => line), [1, 2, 4]);
});

test("a long line is cut around its first match, at words where it has any", () => {
  const [{ text }] = snippets("comet", "word ".repeat(1000) + "a comet " + "word ".repeat(1000));
  assert.match(text, /^…word .* a comet word .* word…$/);
  assert.ok(text.length <= 202);
  const [{ text: unbroken }] = snippets("comet", "-".repeat(5000) + "comet" + "-".repeat(5000));
  assert.match(unbroken, /^…-+comet-+…$/);
  assert.ok(unbroken.length <= 202);
  const [{ text: early }] = snippets("comet", "comet " + "word ".repeat(1000));
  assert.match(early, /^comet word .* word…$/);
  const [{ text: late }] = snippets("comet", "word ".repeat(1000) + "comet");
  assert.match(late, /^…word .* word comet$/);
});

test("snippets are well-formed text without control characters", () => {
  const [{ text }] = snippets("comet", "\u001b[31ma\tcomet\u0000\u0007 \ud800 \u0085end");
  assert.equal(text, "[31ma comet \ufffd end");
  for (let shift = 0; shift < 4; shift += 1) {
    const [{ text: cut }] = snippets("comet", "x".repeat(shift) + "🜚".repeat(300) + " comet " + "🜚".repeat(300));
    assert.ok(cut.isWellFormed());
  }
});

test("a term is reported as it was first typed", () => {
  const { terms } = search({ query: "Ships OR ship OR “Gold  Dust”", documents: letters });
  assert.deepEqual(terms, [
    { term: "Ships", documents: 2, occurrences: 3 },
    { term: "Gold  Dust", documents: 1, occurrences: 1 },
  ]);
});

test("hostile text takes time in proportion to its size", () => {
  for (const text of ["1,000".repeat(200_000), "a'".repeat(500_000), "a".repeat(1_000_000), "\u0301".repeat(1_000_000),
    "x\u0301".repeat(500_000), "\r\n".repeat(500_000), "comet ".repeat(160_000)]) {
    const started = performance.now();
    found('comet OR "comet comet" OR 1', [{ name: "it", text }]);
    const took = performance.now() - started;
    assert.ok(took < 2000, `${text.slice(0, 6)}…: ${took} ms`);
  }
});

test("the input is not changed, and one call leaves nothing for the next", () => {
  const input = { query: "ship", documents: structuredClone(letters) };
  const first = search(input);
  assert.deepEqual(input, { query: "ship", documents: letters });
  search({ query: "dust", documents: [{ name: "secret", text: "ship dust" }] });
  assert.deepEqual(search(input), first);
});
