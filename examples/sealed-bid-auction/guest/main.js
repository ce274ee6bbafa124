/**
 * Auctions by sealed bid. A seller opens one and says what the terms are; each invited bidder bids once, and may replace
 * that until the seller closes; then all parties can read who won and at what price. What the others bid is deleted.
 *
 * The schemas say how arguments look, the manifest who may call; the rest is decided here. Every entry point refuses
 * before it writes.
 */

import { priceOf, winnerOf } from "./outcome.js";
import { answering, Refusal } from "./refusal.js";
import { hasPassed, instantOf } from "./time.js";

/** Auctions that one enclave holds, closed ones among them. */
const MAX_AUCTIONS = 1000;

/**
 * Opens an auction; gives its number and its terms.
 *
 * @param {{title: string, currency: string, rule: string, reserve: number, bidders: string[], deadline?: string}} terms
 */
export const open = answering((terms, { caller, state }) => {
  const number = (state.get("auctions") ?? 0) + 1;
  if (number > MAX_AUCTIONS) {
    throw new Refusal("too-many", `${MAX_AUCTIONS} auctions were opened here, and that is all there may be`);
  }
  if (terms.deadline !== undefined) instantOf(terms.deadline);
  const auction = { number, seller: caller.name, terms, status: "open", bids: 0 };
  state.put("auctions", number);
  state.put(keyOf(number), auction);
  return shown(auction);
});

/**
 * The terms, which all parties can read, and the caller's own bid while it stands.
 *
 * @param {{auction: number}} input
 */
export const terms = answering((input, { caller, state }) => {
  const auction = find(input.auction, caller, state);
  const bid = state.get(bidKeyOf(auction, caller.name));
  return bid === undefined ? shown(auction) : { ...shown(auction), your_bid: bid.amount };
});

/**
 * Bids, in place of what the caller bid before. A replaced bid goes to the end of the line that decides between equals.
 *
 * @param {{auction: number, amount: number}} input
 */
export const bid = answering((input, context) => {
  const { caller, state } = context;
  const auction = find(input.auction, caller, state);
  if (caller.name === auction.seller) throw new Refusal("not-invited", "a seller does not bid in an auction of their own");
  if (auction.status !== "open") throw new Refusal("closed", `auction ${auction.number} is closed`);
  if (hasPassed(auction.terms.deadline, context)) {
    throw new Refusal("too-late", `bids were taken until ${auction.terms.deadline}`);
  }
  if (input.amount < auction.terms.reserve) {
    throw new Refusal("below-reserve", `${input.amount} is below the reserve of ${auction.terms.reserve}`);
  }
  const key = bidKeyOf(auction, caller.name);
  const replaced = state.get(key) !== undefined;
  const order = auction.bids + 1;
  state.put(key, { bidder: caller.name, amount: input.amount, order });
  state.put(keyOf(auction.number), { ...auction, bids: order });
  return { auction: auction.number, amount: input.amount, replaced };
});

/**
 * Closes the auction, decides, and deletes the bids. With a deadline, not before that, unless every invited bidder has
 * bid.
 *
 * @param {{auction: number}} input
 */
export const close = answering((input, context) => {
  const { caller, state } = context;
  const auction = find(input.auction, caller, state);
  if (caller.name !== auction.seller) {
    throw new Refusal("not-yours", `auction ${auction.number} is closed by its seller, ${auction.seller}`);
  }
  if (auction.status !== "open") throw new Refusal("closed", `auction ${auction.number} is closed already`);
  const keys = auction.terms.bidders.map((name) => bidKeyOf(auction, name));
  const bids = keys.map((key) => state.get(key)).filter((bid) => bid !== undefined);
  if (auction.terms.deadline !== undefined && bids.length < keys.length && !hasPassed(auction.terms.deadline, context)) {
    throw new Refusal("too-early", `somebody can still bid until ${auction.terms.deadline}`);
  }
  const winner = winnerOf(bids);
  const outcome =
    winner === null
      ? { sold: false }
      : { sold: true, winner: winner.bidder, price: priceOf(bids, winner, auction.terms) };
  for (const key of keys) state.delete(key);
  const closed = { ...auction, status: "closed", outcome };
  state.put(keyOf(auction.number), closed);
  return resultOf(closed);
});

/**
 * What came of it: the same for all parties.
 *
 * @param {{auction: number}} input
 */
export const result = answering((input, { caller, state }) => resultOf(find(input.auction, caller, state)));

/** An auction that the caller is a party to. To everybody else it is as if there were none. */
function find(number, caller, state) {
  const auction = state.get(keyOf(number));
  const isParty =
    auction !== undefined && (auction.seller === caller.name || auction.terms.bidders.includes(caller.name));
  if (!isParty) throw new Refusal("unknown-auction", `you are party to no auction ${number}`);
  return auction;
}

function resultOf({ number, status, seller, terms: { title, currency, rule }, outcome = {} }) {
  return { auction: number, status, title, seller, rule, currency, ...outcome };
}

/** Without the number of bids, which would tell one bidder how many others there are. */
const shown = ({ number, seller, status, terms }) => ({ auction: number, seller, status, terms });

const keyOf = (number) => `auction/${number}`;
const bidKeyOf = ({ number }, bidder) => `bid/${number}/${bidder}`;
