/** Refusals: what a caller is told where a call cannot be done. The message of any other error stays in the enclave. */

export class Refusal extends Error {
  /**
   * @param {string} code for programs
   * @param {string} message for people
   */
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/**
 * An entry point that answers with `{ refused: { code, message } }` where the given one throws a Refusal.
 *
 * To the enclave that is a call that went well, so what was changed before the throw is kept: refuse first, write last.
 */
export function answering(entry) {
  return (input, context) => {
    try {
      return entry(input, context);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return { refused: { code: error.code, message: error.message } };
    }
  };
}
