// One JSON object a line on standard input, one a line on standard output: {quote, root (hex), collateral, now}
// becomes {status, advisories} or {refused}.
'use strict';
const readline = require('node:readline');
const { QuoteVerifier } = require('@phala/dcap-qvl');

async function judge({ quote, root, collateral, now }) {
  try {
    const verifier = new QuoteVerifier(Buffer.from(root, 'hex'));
    const report = await verifier.verify(Buffer.from(quote, 'hex'), collateral, now);
    return { status: report.status, advisories: report.advisory_ids };
  } catch (error) {
    return { refused: String(error.message || error) };
  }
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(JSON.stringify(await judge(JSON.parse(line))) + '\n');
  }
})();
