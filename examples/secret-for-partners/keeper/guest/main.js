// A secret, and its owner's policy: whoever shows evidence that meets it gets the secret, sealed to the evidence's key.

/** The owner says what is kept, and for whom: a policy's text, as `casemate policy` prints it. */
export function keep({ secret, policy }, context) {
  context.state.put("kept", { secret, policy });
  return true;
}

/** What evidence has to answer: good for one question of the same caller. */
export const nonce = (_, context) => context.nonce();

/** The secret, sealed for the enclave whose evidence this is; nobody in between can open it. */
export function ask({ evidence, nonce }, context) {
  const kept = context.state.get("kept");
  if (kept === undefined) throw context.refuse("nothing-kept");
  let claims;
  try {
    claims = context.appraise(evidence, kept.policy, nonce);
  } catch (error) {
    if (error.name !== "appraisal-refused") throw error;
    throw context.refuse("not-for-you", { rule: error.rule, got: error.got, want: error.want });
  }
  return claims.seal(kept.secret);
}
