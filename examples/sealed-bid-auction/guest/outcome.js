/** Who wins, and what they pay. */

/**
 * The highest bid; of equal ones, the one that has stood longest. `null` where there is none.
 *
 * @param {{bidder: string, amount: number, order: number}[]} bids
 */
export function winnerOf(bids) {
  return bids.reduce(
    (best, bid) =>
      best === null || bid.amount > best.amount || (bid.amount === best.amount && bid.order < best.order) ? bid : best,
    null,
  );
}

/**
 * What the winner pays: under "first-price" the winning bid, under "second-price" (Vickrey) the highest of the others,
 * and at least the reserve.
 */
export function priceOf(bids, winner, { rule, reserve }) {
  if (rule === "first-price") return winner.amount;
  return Math.max(reserve, ...bids.filter((bid) => bid !== winner).map(({ amount }) => amount));
}
