/** Tests of the function without an enclave: `deno test --no-prompt tests/` in this folder. */

import assert from "node:assert/strict";
import test from "node:test";
import { FakeEnclave } from "casemate/testing";
import { bid, close, open, result, terms } from "../guest/main.js";

const TERMS = {
  title: "A painting",
  currency: "EUR",
  rule: "second-price",
  reserve: 500,
  bidders: ["ann", "ben", "cleo"],
};
const DEADLINE = "2026-03-01T12:00:00Z";

/** An enclave with one open auction, number 1. */
async function opened(changed = {}) {
  const enclave = new FakeEnclave();
  assert.equal((await enclave.call(open, { ...TERMS, ...changed }, "seller")).auction, 1);
  return enclave;
}

const bids = (enclave, who, amount) => enclave.call(bid, { auction: 1, amount }, who);
const closes = (enclave, who = "seller") => enclave.call(close, { auction: 1 }, who);

test("under second price the highest bid wins and pays the second", async () => {
  const enclave = await opened();
  for (const [who, amount] of [["ann", 700], ["ben", 1200], ["cleo", 900]]) await bids(enclave, who, amount);
  const decided = {
    auction: 1, status: "closed", title: "A painting", seller: "seller", rule: "second-price", currency: "EUR",
    sold: true, winner: "ben", price: 900,
  };
  assert.deepEqual(await closes(enclave), decided);
  for (const party of ["seller", "ann", "ben", "cleo"]) {
    assert.deepEqual(await enclave.call(result, { auction: 1 }, party), decided);
  }
});

test("under first price the winner pays what they bid", async () => {
  const enclave = await opened({ rule: "first-price" });
  await bids(enclave, "ann", 700);
  await bids(enclave, "ben", 1200);
  assert.equal((await closes(enclave)).price, 1200);
});

test("a single bidder pays the reserve under second price", async () => {
  const enclave = await opened();
  await bids(enclave, "cleo", 2000);
  const { winner, price } = await closes(enclave);
  assert.deepEqual([winner, price], ["cleo", 500]);
});

test("of equal bids the one that has stood longest wins, and the price is the same", async () => {
  const enclave = await opened();
  await bids(enclave, "ben", 800);
  await bids(enclave, "ann", 800);
  const { winner, price } = await closes(enclave);
  assert.deepEqual([winner, price], ["ben", 800]);
});

test("a replaced bid counts alone, and stands at the end of the line", async () => {
  const enclave = await opened();
  assert.equal((await bids(enclave, "ben", 900)).replaced, false);
  assert.equal((await bids(enclave, "ann", 800)).replaced, false);
  assert.deepEqual(await bids(enclave, "ben", 800), { auction: 1, amount: 800, replaced: true });
  assert.equal((await enclave.call(terms, { auction: 1 }, "ben")).your_bid, 800);
  assert.equal((await closes(enclave)).winner, "ann");
});

test("without a bid nothing is sold", async () => {
  const enclave = await opened();
  const closed = await closes(enclave);
  assert.equal(closed.sold, false);
  assert.ok(!("winner" in closed) && !("price" in closed));
});

test("a bid below the reserve is refused, and one at the reserve taken", async () => {
  const enclave = await opened();
  assert.equal((await bids(enclave, "ann", 499)).refused.code, "below-reserve");
  assert.equal((await closes(enclave)).sold, false);
  const other = await opened();
  await bids(other, "ann", 500);
  assert.equal((await closes(other)).price, 500);
});

test("a refused bid leaves the earlier one standing", async () => {
  const enclave = await opened();
  await bids(enclave, "ann", 800);
  assert.equal((await bids(enclave, "ann", 100)).refused.code, "below-reserve");
  assert.equal((await enclave.call(terms, { auction: 1 }, "ann")).your_bid, 800);
});

test("bids come until the deadline, and the seller closes after it", async () => {
  const enclave = await opened({ deadline: DEADLINE });
  enclave.now = Date.parse(DEADLINE);
  await bids(enclave, "ann", 800);
  assert.equal((await closes(enclave)).refused.code, "too-early");
  enclave.now += 1;
  assert.equal((await bids(enclave, "ben", 900)).refused.code, "too-late");
  assert.equal((await closes(enclave)).winner, "ann");
});

test("the seller need not wait once all have bid", async () => {
  const enclave = await opened({ deadline: DEADLINE });
  for (const who of TERMS.bidders) await bids(enclave, who, 600);
  assert.equal((await closes(enclave)).sold, true);
});

test("a closed auction takes no bid and closes once", async () => {
  const enclave = await opened();
  await bids(enclave, "ann", 800);
  await closes(enclave);
  assert.equal((await bids(enclave, "ben", 900)).refused.code, "closed");
  assert.equal((await closes(enclave)).refused.code, "closed");
  assert.equal((await enclave.call(result, { auction: 1 }, "ben")).winner, "ann");
});

test("the seller alone closes, and does not bid", async () => {
  const enclave = await opened({ bidders: ["ann", "seller"] });
  assert.equal((await closes(enclave, "ann")).refused.code, "not-yours");
  assert.equal((await bids(enclave, "seller", 800)).refused.code, "not-invited");
});

test("for all but its parties there is no auction", async () => {
  const enclave = await opened({ bidders: ["ann"] });
  for (const [entry, input] of [[bid, { amount: 800 }], [close, {}], [terms, {}], [result, {}]]) {
    for (const [who, number] of [["ben", 1], ["constructor", 1], ["ann", 2]]) {
      const { refused } = await enclave.call(entry, { auction: number, ...input }, who);
      assert.deepEqual(refused, { code: "unknown-auction", message: `you are party to no auction ${number}` });
    }
  }
});

test("nobody learns how many bids there are, or how high, before the end", async () => {
  const enclave = await opened();
  const before = await enclave.call(terms, { auction: 1 }, "ann");
  await bids(enclave, "ben", 777);
  assert.deepEqual(await enclave.call(terms, { auction: 1 }, "ann"), before);
  for (const party of ["seller", "ann"]) {
    const open = await enclave.call(result, { auction: 1 }, party);
    assert.equal(open.status, "open");
    assert.ok(!("sold" in open));
  }
});

test("the losers' bids are gone when the auction is closed", async () => {
  const enclave = await opened({ rule: "first-price" });
  await bids(enclave, "ann", 731);
  await bids(enclave, "ben", 1200);
  await closes(enclave);
  assert.doesNotMatch(JSON.stringify([...enclave.committed]), /731/);
});

test("auctions are numbered, and keep apart", async () => {
  const enclave = await opened();
  assert.equal((await enclave.call(open, { ...TERMS, title: "A vase" }, "seller")).auction, 2);
  await bids(enclave, "ann", 800);
  assert.equal((await enclave.call(close, { auction: 2 }, "seller")).sold, false);
  assert.equal((await closes(enclave)).sold, true);
});

test("a leap second, which is an RFC 3339 time, is no deadline", async () => {
  const enclave = new FakeEnclave();
  const { refused } = await enclave.call(open, { ...TERMS, deadline: "2016-12-31T23:59:60Z" }, "seller");
  assert.equal(refused.code, "no-such-time");
  assert.equal(enclave.epoch, 0);
});

test("the largest amounts stay exact", async () => {
  const enclave = await opened({ rule: "first-price" });
  await bids(enclave, "ann", 1e12 - 1);
  await bids(enclave, "ben", 1e12);
  assert.equal((await closes(enclave)).price, 1e12);
});
